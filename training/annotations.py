"""The paper's annotation files: which images there are, their truth and their cameras.

    {"files": [{"rgb": "a.png", "depth": "a_depth.png", "depth_scale": 256.0, "cam_in": [fx, fy, cx, cy]}, ...]}

Paths are relative to a root folder and may not leave it. All four keys are needed; `normal`,
`sem` and `depth_mask` are labels that training uses where they are; others are passed over.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.image_files import read_depth_png, read_rgb, require_inside
from metric3d_ros.errors import CameraError, DatasetError

KITTI_DEPTH_SCALE = 256.0


@dataclass(frozen=True)
class Annotation:
    """One image with its truth.

    Attributes
    ----------
    rgb_path, depth_path : the image, and its depth as a 16-bit PNG in which 0 is no reading.
    depth_scale : what the PNG's values are divided by to give metres (KITTI 256, NYU 6000).
    intrinsics_px : fx, fy, cx, cy of the image.
    normal_path, sem_path, depth_mask_path : the further labels of the paper's format, for training; None where the
        entry has none.
    """

    rgb_path: Path
    depth_path: Path
    depth_scale: float
    intrinsics_px: tuple[float, float, float, float]
    normal_path: Path | None = None
    sem_path: Path | None = None
    depth_mask_path: Path | None = None

    def read(self) -> tuple[NDArray[np.uint8], NDArray[np.float32], PinholeCamera]:
        """Image uint8 (h, w, 3), true depth float32 (h', w') in metres or NaN, and the camera of the image.

        Raises
        ------
        ImageError
            If a file is missing, cut short or of another kind.
        CameraError
            If no camera can have these intrinsics.
        """
        rgb = read_rgb(self.rgb_path)
        true_m = read_depth_png(self.depth_path) * np.float32(KITTI_DEPTH_SCALE / self.depth_scale)
        try:
            camera = PinholeCamera(rgb.shape[1], rgb.shape[0], *self.intrinsics_px)
        except CameraError as error:
            raise CameraError(f"cam_in of {self.rgb_path}: {error}") from error
        return rgb, true_m, camera


def read_annotations(path: Path, root: Path | None = None) -> list[Annotation]:
    """The entries of an annotation file, in its order, their files not yet read.

    Parameters
    ----------
    path : the json file.
    root : what its paths are relative to; None for the folder of the file itself.

    Raises
    ------
    DatasetError
        If the file cannot be read, an entry lacks what evaluation needs, or a path leads out of ``root``.
    """
    root = path.parent if root is None else root
    entries = _entries(path)
    return [_annotation(entry, f"entry {index} of {path}", root) for index, entry in enumerate(entries)]


def _entries(path: Path) -> Sequence[Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DatasetError(
            f"annotations {path} cannot be read: {error.strerror or error}; check the path."
        ) from error
    except ValueError as error:
        raise DatasetError(f"annotations {path} are not JSON ({error}); write the file again.") from error
    entries = content.get("files") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise DatasetError(f"annotations {path} list no images; they belong in a list named files.")
    return entries


def _annotation(entry: Any, where: str, root: Path) -> Annotation:
    if not isinstance(entry, dict):
        raise DatasetError(f"{where} is {entry!r}; it must be an object with rgb, depth, depth_scale and cam_in.")
    intrinsics = entry.get("cam_in")
    if not (isinstance(intrinsics, list) and len(intrinsics) == 4 and all(map(_is_number, intrinsics))):
        raise DatasetError(
            f"{where} says cam_in is {intrinsics!r}; metric depth needs [fx, fy, cx, cy] in pixels."
        )
    depth_scale: object = entry.get("depth_scale")
    if not _is_number(depth_scale) or depth_scale <= 0:
        raise DatasetError(
            f"{where} says depth_scale is {depth_scale!r}; give what its PNG values are divided by for metres."
        )
    fx, fy, cx, cy = (float(value) for value in intrinsics)
    return Annotation(
        rgb_path=_path(entry, "rgb", where, root),
        depth_path=_path(entry, "depth", where, root),
        depth_scale=float(depth_scale),
        intrinsics_px=(fx, fy, cx, cy),
        normal_path=_optional_path(entry, "normal", where, root),
        sem_path=_optional_path(entry, "sem", where, root),
        depth_mask_path=_optional_path(entry, "depth_mask", where, root),
    )


def _optional_path(entry: dict[str, Any], key: str, where: str, root: Path) -> Path | None:
    return None if entry.get(key) is None else _path(entry, key, where, root)


def _path(entry: dict[str, Any], key: str, where: str, root: Path) -> Path:
    name = entry.get(key)
    if not isinstance(name, str) or not name or "\0" in name:
        raise DatasetError(f"{where} says {key} is {name!r}; give a path relative to {root}.")
    return require_inside(root, root / name)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
