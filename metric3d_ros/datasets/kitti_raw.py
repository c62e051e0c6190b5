"""KITTI raw, synchronised and rectified drives: images, OXTS poses and LiDAR depth.

Layout: ``ROOT/<date>/calib_*.txt`` and ``ROOT/<date>/<drive>/{image_0C, oxts, velodyne_points}``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.datasets.image_files import list_numbered_images, read_depth_png, require_inside
from metric3d_ros.datasets.image_sequence import ImageSequence
from metric3d_ros.datasets.kitti_files import GRAY_CAMERAS, read_stamps_ns, rows_of_frames
from metric3d_ros.datasets.kitti_raw_calibration import RectifiedCamera
from metric3d_ros.datasets.lidar_depth import depth_from_points, read_velodyne
from metric3d_ros.datasets.oxts import read_oxts, world_from_imu
from metric3d_ros.errors import DatasetError


class KittiRaw(ImageSequence):
    """One drive of KITTI raw, seen by one camera; the world is that camera at the first frame.

    Parameters
    ----------
    root : the folder that holds the dates.
    drive : its full name, such as ``2011_09_26_drive_0013_sync``.
    camera : 0 or 1 (gray), 2 or 3 (colour).
    depth : ``lidar`` gives each frame the depth of its scan (NaN where there is none; all NaN without a scan).

    Raises
    ------
    DatasetError
        If something is missing or does not fit together; the message says what, and where it was looked for.
    """

    def __init__(
        self, root: Path | str, drive: str, camera: int = 2, depth: Literal["none", "lidar"] = "none"
    ) -> None:
        root = Path(root)
        date_folder = root / drive[:10]
        folder = require_inside(root, date_folder / drive)
        _require_sync_drive(root, folder)
        rectified = RectifiedCamera(date_folder, camera)
        paths, self._numbers = list_numbered_images(folder / f"image_{camera:02d}" / "data")
        stamps_path = folder / f"image_{camera:02d}" / "timestamps.txt"
        super().__init__(
            name=f"kitti_raw_{folder.name}",
            image_paths=paths,
            camera=rectified.camera,
            stamps_ns=rows_of_frames(read_stamps_ns(stamps_path), self._numbers, stamps_path, "times"),
            world_from_camera=_poses_from_oxts(folder / "oxts" / "data", self._numbers, rectified),
            is_gray=camera in GRAY_CAMERAS,
        )
        self._lidar = _LidarDepth(folder, camera, rectified) if depth == "lidar" else None

    def _depth_m(self, position: int) -> NDArray[np.float32] | None:
        return None if self._lidar is None else self._lidar.depth_m(self._numbers[position])


class _LidarDepth:
    """Depth of a drive's scans: the projected ones of ``derived`` where they are, else the scans themselves."""

    def __init__(self, folder: Path, camera: int, rectified: RectifiedCamera) -> None:
        self._images = folder / "derived" / f"velodyne_depth_{camera:02d}"
        self._scans = folder / "velodyne_points" / "data"
        if not self._images.is_dir() and not self._scans.is_dir():
            raise DatasetError(f"no LiDAR depth in {folder}: looked for {self._images} and {self._scans}.")
        self._camera = rectified.camera
        self._camera_from_scanner = rectified.camera_from_scanner() if self._scans.is_dir() else None

    def depth_m(self, number: int) -> NDArray[np.float32]:
        """Depth (height, width) in metres of the scan with this frame number, all NaN where there is none."""
        image_path = self._images / f"{number:010d}.png"
        if image_path.exists():
            return self._of_camera_size(read_depth_png(require_inside(self._images, image_path)), image_path)
        scan_path = self._scans / f"{number:010d}.bin"
        if self._camera_from_scanner is not None and scan_path.exists():
            points = read_velodyne(require_inside(self._scans, scan_path))
            return depth_from_points(points, self._camera_from_scanner, self._camera)
        return np.full((self._camera.height_px, self._camera.width_px), np.nan, dtype=np.float32)

    def _of_camera_size(self, depth_m: NDArray[np.float32], path: Path) -> NDArray[np.float32]:
        if depth_m.shape != (self._camera.height_px, self._camera.width_px):
            raise DatasetError(
                f"{path} is {depth_m.shape[1]}x{depth_m.shape[0]} px but its camera is "
                f"{self._camera.width_px}x{self._camera.height_px} px; project the scans again."
            )
        return depth_m


def _require_sync_drive(root: Path, folder: Path) -> None:
    if not folder.is_dir():
        found = sorted(path.name for path in root.glob("*/*_drive_*") if path.is_dir())
        raise DatasetError(f"no drive {folder.name} at {folder}; {root} has {', '.join(found) or 'no drive'}.")
    if folder.name.endswith("_extract"):
        raise DatasetError(
            f"{folder} is an unsynchronised drive; open it as one (KittiRawUnsynced), or take the _sync download."
        )


def _poses_from_oxts(folder: Path, numbers: list[int], rectified: RectifiedCamera) -> NDArray[np.float64] | None:
    if not folder.is_dir():
        return None
    earth_from_camera = world_from_imu(read_oxts(folder, numbers)) @ np.linalg.inv(rectified.camera_from_imu())
    return np.asarray(np.linalg.inv(earth_from_camera[0]) @ earth_from_camera, dtype=np.float64)
