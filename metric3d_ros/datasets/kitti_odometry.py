"""KITTI odometry: rectified sequences 00 to 21 with the poses of camera 0 for the first eleven.

Layout: ``ROOT/sequences/NN/{image_0..image_3/, calib.txt, times.txt}`` and ``ROOT/poses/NN.txt``.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.image_files import list_numbered_images, require_inside
from metric3d_ros.datasets.image_sequence import ImageSequence, first_image_size
from metric3d_ros.datasets.kitti_files import (
    GRAY_CAMERAS,
    calibration_matrix,
    camera_from_rectified,
    read_calibration,
    read_poses,
    read_stamps_ns,
    rows_of_frames,
)
from metric3d_ros.errors import DatasetError

log = logging.getLogger(__name__)

PERIOD_S = 0.1036
"""The period of the KITTI cameras, for sequences without times.txt."""

# Colour first: the network was trained on colour.
_CAMERAS_BY_PREFERENCE = (2, 0, 3, 1)


class KittiOdometry(ImageSequence):
    """One sequence of KITTI odometry, seen by one camera.

    The world is rectified camera 0 at frame 0, as in the pose files; the poses are those of the chosen camera.

    Parameters
    ----------
    root : the folder that holds ``sequences`` and ``poses``.
    sequence : its name, such as ``03``.
    camera : 0 or 1 (gray), 2 or 3 (colour), or ``auto``: the first of 2, 0, 3, 1 that has images and calibration.
    period_s : time between frames where the sequence has no ``times.txt``.

    Raises
    ------
    DatasetError
        If something is missing or does not fit together; the message says what, and where it was looked for.
    """

    def __init__(
        self, root: Path | str, sequence: str, camera: int | str = "auto", period_s: float = PERIOD_S
    ) -> None:
        root = Path(root)
        folder = require_inside(root, root / "sequences" / str(sequence))
        if not folder.is_dir():
            raise DatasetError(f"no sequence {sequence} at {folder}; {_sequences_in(root / 'sequences')}.")
        calib_path = folder / "calib.txt"
        calibration = read_calibration(calib_path)
        self.camera_number = _choose_camera(folder, calibration, camera)
        paths, numbers = list_numbered_images(folder / f"image_{self.camera_number}")
        projection = calibration_matrix(calibration, f"P{self.camera_number}", (3, 4), calib_path)
        super().__init__(
            name=f"kitti_odometry_{folder.name}",
            image_paths=paths,
            camera=PinholeCamera.from_matrix(projection, *first_image_size(paths)),
            stamps_ns=_read_or_assume_stamps(folder / "times.txt", numbers, period_s),
            world_from_camera=_read_poses(root / "poses" / f"{folder.name}.txt", numbers, projection),
            is_gray=self.camera_number in GRAY_CAMERAS,
        )


def _sequences_in(folder: Path) -> str:
    found = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    return f"{folder} has {', '.join(found)}" if found else f"{folder} has no sequences"


def _choose_camera(folder: Path, calibration: dict[str, NDArray[np.float64]], camera: int | str) -> int:
    if camera != "auto":
        if str(camera) not in {"0", "1", "2", "3"}:
            raise DatasetError(f"camera is {camera!r}; KITTI has 0 and 1 (gray), 2 and 3 (colour), or give auto.")
        return int(camera)
    for number in _CAMERAS_BY_PREFERENCE:
        if (folder / f"image_{number}").is_dir() and f"P{number}" in calibration:
            return number
    raise DatasetError(
        f"no camera in {folder}: looked for image_N/ with PN in calib.txt (N = 0 to 3); "
        f"calib.txt has {', '.join(calibration) or 'no matrix'}."
    )


def _read_or_assume_stamps(path: Path, numbers: list[int], period_s: float) -> NDArray[np.int64]:
    if path.exists():
        return rows_of_frames(read_stamps_ns(path), numbers, path, "times")
    if not (math.isfinite(period_s) and period_s > 0):
        raise DatasetError(f"period_s is {period_s:g}; it must be above 0 where {path} is missing.")
    log.info("%s is missing: frames are taken to be %g s apart.", path, period_s)
    return np.round(np.asarray(numbers) * (period_s * 1e9)).astype(np.int64)


def _read_poses(path: Path, numbers: list[int], projection: NDArray[np.float64]) -> NDArray[np.float64] | None:
    if not path.exists():
        return None
    world_from_camera_0 = rows_of_frames(read_poses(path), numbers, path, "poses")
    return world_from_camera_0 @ np.linalg.inv(camera_from_rectified(projection))
