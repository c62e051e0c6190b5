"""KITTI raw, unsynchronised drives (``_extract``): distorted images and OXTS at 100 Hz, each with its own times.

Layout: ``ROOT/<date>/calib_*.txt`` and ``ROOT/<date>/<drive>_extract/{image_0C, oxts}``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.datasets.image_files import list_numbered_images, require_inside
from metric3d_ros.datasets.kitti_files import GRAY_CAMERAS, read_stamps_ns, rows_of_frames
from metric3d_ros.datasets.kitti_raw_calibration import RectifiedCamera
from metric3d_ros.datasets.oxts import read_oxts, world_from_imu
from metric3d_ros.datasets.rectified_sequence import RectifiedSequence
from metric3d_ros.datasets.timed_poses import TimedPoses, frames_with_truth
from metric3d_ros.errors import DatasetError

UNSYNCED_SUFFIX = "_extract"


class KittiRawUnsynced(RectifiedSequence):
    """One unsynchronised drive, rectified as KITTI rectifies its synchronised ones; the world is the first frame.

    True poses are interpolated between the OXTS records; frames before the first and after the last are left out.

    Parameters
    ----------
    root : the folder that holds the dates.
    drive : its full name, such as ``2011_09_26_drive_0013_extract``.
    camera : 0 or 1 (gray), 2 or 3 (colour).
    depth : ``none``; scans of these drives are not cut at the images.

    Raises
    ------
    DatasetError
        If something is missing or does not fit together; the message says what, and where it was looked for.
    """

    def __init__(
        self, root: Path | str, drive: str, camera: int = 2, depth: Literal["none", "lidar"] = "none"
    ) -> None:
        date_folder = Path(root) / drive[:10]
        folder = require_inside(Path(root), date_folder / drive)
        if not folder.is_dir():
            raise DatasetError(f"no drive {drive} at {folder}; check the path.")
        if depth != "none":
            raise DatasetError(f"{folder} is unsynchronised, so it has no {depth} depth; take the _sync drive.")
        rectified = RectifiedCamera(date_folder, camera)
        name = f"kitti_raw_{folder.name}"
        paths, numbers = list_numbered_images(folder / f"image_{camera:02d}" / "data")
        stamps_path = folder / f"image_{camera:02d}" / "timestamps.txt"
        stamps_ns = rows_of_frames(read_stamps_ns(stamps_path), numbers, stamps_path, "times")
        truth = _truth(folder / "oxts", rectified)
        poses = None
        if truth is not None:
            kept = frames_with_truth(name, stamps_ns, truth)
            paths, stamps_ns = [paths[row] for row in kept], stamps_ns[kept]
            poses = _from_first(truth.at(stamps_ns))
        super().__init__(
            name,
            paths,
            rectified.raw_calibration(),
            stamps_ns,
            poses,
            size_px=(rectified.camera.width_px, rectified.camera.height_px),
            is_gray=camera in GRAY_CAMERAS,
        )


def _truth(folder: Path, rectified: RectifiedCamera) -> TimedPoses | None:
    if not folder.is_dir():
        return None
    stamps_ns = read_stamps_ns(folder / "timestamps.txt")
    earth_from_imu = world_from_imu(read_oxts(folder / "data", range(len(stamps_ns))))
    # The receiver repeats a time now and then; the first record of each counts.
    stamps_ns, first = np.unique(stamps_ns, return_index=True)
    return TimedPoses(stamps_ns, earth_from_imu[first] @ np.linalg.inv(rectified.camera_from_imu()))


def _from_first(poses: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.inv(poses[0]) @ poses, dtype=np.float64)
