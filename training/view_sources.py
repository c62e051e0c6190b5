"""What gives labelled views by number: annotation files, KITTI raw, NYU folders, simulated worlds, pools."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.canonical import CANONICAL_FOCAL_PX
from metric3d_ros.datasets.image_files import read_depth_png, read_rgb
from metric3d_ros.datasets.kitti_raw import KittiRaw
from metric3d_ros.datasets.simulated import StreetWorld
from metric3d_ros.datasets.simulated.styles import world_style
from training.cameras import FIRST_EVALUATION_SEED, sample_camera
from training.errors import TrainingError
from training.label_kind import LabelKind
from training.labelled_view import LabelledView
from training.pool import Pool
from training.simulated_view import WORLD_LENGTH_M, simulated_view

VIEWS_PER_WORLD = 16
ROUNDS_PER_WORLD = 6

# The Kinect of NYU Depth v2, as its toolbox gives it for the 640x480 images.
NYU_INTRINSICS_PX = (518.857901, 519.469611, 325.582449, 253.736166)
# The synchronised frames that training code shares: sync_depth_*.png in millimetres beside rgb_*.jpg.
NYU_RGB_PREFIX, NYU_DEPTH_PREFIX = "rgb_", "sync_depth_"
KITTI_PNG_PER_METRE, NYU_PNG_PER_METRE = 256.0, 1000.0


class ViewSource(Protocol):
    """Labelled views by number; a view that cannot be had raises a ``Metric3dError``."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> LabelledView: ...


class KittiViews:
    """Frames of a KITTI raw drive with the depth of their LiDAR scans.

    Parameters
    ----------
    frames : first and end of the frames taken, as positions in the drive; empty for all.
    bottom_crop_px : height and width of the part kept, at the bottom and in the middle: above it no scanner sees.
    """

    def __init__(
        self, root: Path, drive: str, frames: Sequence[int] = (), bottom_crop_px: Sequence[int] = ()
    ) -> None:
        self._drive = KittiRaw(root, drive, depth="lidar")
        first, end = (frames[0], frames[1]) if frames else (0, len(self._drive))
        if not 0 <= first < end <= len(self._drive):
            raise TrainingError(
                f"frames {first} to {end} of {drive} were asked for; it has frames 0 to {len(self._drive)}."
            )
        self._numbers = range(first, end)
        self._bottom_crop_px = tuple(bottom_crop_px)

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> LabelledView:
        """One frame."""
        frame = self._drive[self._numbers[index]]
        assert frame.depth_m is not None
        view = LabelledView(frame.image, frame.depth_m, frame.camera, LabelKind.LIDAR)
        return bottom_cropped(view, *self._bottom_crop_px) if self._bottom_crop_px else view


def bottom_cropped(view: LabelledView, height_px: int, width_px: int) -> LabelledView:
    """The middle of the bottom of a view; a smaller view stays as it is."""
    height_px, width_px = min(height_px, view.camera.height_px), min(width_px, view.camera.width_px)
    left = (view.camera.width_px - width_px) // 2
    return view.cropped(left, view.camera.height_px - height_px, width_px, height_px)


class NyuViews:
    """The synchronised frames of NYU Depth v2: rooms of ``rgb_*.jpg`` with ``sync_depth_*.png`` in millimetres.

    Raises
    ------
    TrainingError
        If a folder holds no such pair.
    """

    def __init__(self, root: Path) -> None:
        folders = [root, *sorted(path for path in root.iterdir() if path.is_dir())] if root.is_dir() else []
        pairs = (pair for folder in folders for pair in sorted(folder.glob(f"{NYU_RGB_PREFIX}*.jpg")))
        self._images = [path for path in pairs if _nyu_depth(path).is_file()]
        if not self._images:
            raise TrainingError(
                f"no NYU frames in {root}; looked for {NYU_RGB_PREFIX}*.jpg with {NYU_DEPTH_PREFIX}*.png beside."
            )

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> LabelledView:
        """One frame."""
        path = self._images[index]
        rgb = read_rgb(path)
        depth_m = read_depth_png(_nyu_depth(path)) * np.float32(KITTI_PNG_PER_METRE / NYU_PNG_PER_METRE)
        camera = PinholeCamera(rgb.shape[1], rgb.shape[0], *NYU_INTRINSICS_PX)
        return LabelledView(rgb, depth_m, camera, LabelKind.DENSE)


def _nyu_depth(rgb_path: Path) -> Path:
    number = rgb_path.stem.removeprefix(NYU_RGB_PREFIX)
    return rgb_path.with_name(f"{NYU_DEPTH_PREFIX}{number}.png")


class SimulatedViews:
    """Views of ever new worlds; the seed and a view's number decide the view.

    Making a world costs far more than looking at it, so a round of ``size`` views has ``size / 16`` worlds, which
    are kept while it lasts, and is seen ``ROUNDS_PER_WORLD`` times, varied afresh, before other worlds come.

    Parameters
    ----------
    size : views of a round; the numbers go on beyond it.
    long_side_px : how wide the views are rendered.
    """

    def __init__(self, style: str, seed: int, size: int, long_side_px: int) -> None:
        world_style(style)
        self._style = style
        self._seed = seed
        self._size = size
        self._long_side_px = long_side_px
        self._world = lru_cache(maxsize=-(-size // VIEWS_PER_WORLD))(self._made_world)
        self._view = lru_cache(maxsize=size)(self._rendered)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> LabelledView:
        """View ``index``; from ``size`` on it belongs to a later round."""
        round_, place = divmod(index, self._size)
        return self._view(place + self._size * (round_ // ROUNDS_PER_WORLD))

    def _made_world(self, number: int) -> StreetWorld:
        rng = np.random.default_rng([self._seed, number])
        seed = int(rng.integers(FIRST_EVALUATION_SEED))
        return StreetWorld.generate(seed=seed, length_m=WORLD_LENGTH_M, style=self._style)

    def _rendered(self, number: int) -> LabelledView:
        world = self._world(number // VIEWS_PER_WORLD)
        rng = np.random.default_rng([self._seed, number, 1])
        whole = sample_camera(rng)
        height_px = max(1, round(whole.height_px * self._long_side_px / whole.width_px))
        camera = whole.resized(self._long_side_px, height_px)
        rgb, depth_m = simulated_view(rng, world, camera, self._style)
        return LabelledView(rgb, depth_m, camera, LabelKind.DENSE, sky=np.isnan(depth_m))


class PoolViews:
    """A pool of rendered views (``training.pool``), whose depth is canonical already.

    A pool does not say which camera took a view: the canonical one with the same image and principal row stands
    for it, which makes its metres canonical units and leaves every ratio as it was.
    """

    def __init__(self, folder: Path) -> None:
        self._pool = Pool(folder)

    def __len__(self) -> int:
        return len(self._pool)

    def __getitem__(self, index: int) -> LabelledView:
        """One view."""
        image, depth, principal_row_px = self._pool[index]
        height_px, width_px = depth.shape
        centre = ((width_px - 1) / 2, principal_row_px)
        camera = PinholeCamera(width_px, height_px, CANONICAL_FOCAL_PX, CANONICAL_FOCAL_PX, *centre)
        return LabelledView(image, depth, camera, LabelKind.DENSE, sky=np.isnan(depth))
