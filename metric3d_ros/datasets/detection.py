"""Which recording a path is: a bag, TUM RGB-D, EuRoC, KITTI or a folder of images."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.euroc import Euroc
from metric3d_ros.datasets.frame import FrameSource
from metric3d_ros.datasets.image_files import IMAGE_SUFFIXES
from metric3d_ros.datasets.image_folder import ImageFolder
from metric3d_ros.datasets.kitti_detection import open_kitti
from metric3d_ros.datasets.rectified_frames import RectifiedFrames
from metric3d_ros.datasets.rosbag import BagReader
from metric3d_ros.datasets.tum_rgbd import TumRgbd
from metric3d_ros.errors import DatasetError

BAG_SUFFIXES = (".mcap", ".db3", ".bag")


def open_recording(
    path: Path | str,
    *,
    sequence: str | None = None,
    drive: str | None = None,
    depth: Literal["none", "own"] = "none",
    camera: PinholeCamera | None = None,
    rate_hz: float = 10.0,
) -> FrameSource:
    """Open the recording at a path, whatever it is; its frames have no lens distortion.

    Parameters
    ----------
    path : a bag (rosbag2 folder, MCAP, db3, ROS 1), the folder of a TUM RGB-D, EuRoC or KITTI recording, or one
        of images.
    sequence, drive : which of KITTI's, where the folder holds several.
    depth : ``own`` gives frames the depth that the recording has: LiDAR, the Kinect's, or what a bag holds.
    camera : of the images in a folder, or of TUM's raw ones where their site is not known; others have their own.
    rate_hz : frames per second of a folder of images without ``times.txt``.

    Raises
    ------
    DatasetError
        If it is none of these, lacks something, or has no depth of its own where it is asked for.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise DatasetError(
            f"there is no {path}; give a bag, or the folder of a KITTI, TUM RGB-D or EuRoC recording."
        )
    if _is_bag(path):
        return _rectified(BagReader(path))
    if _is_tum(path):
        return TumRgbd(path, camera, depth="sensor" if depth == "own" else "none")
    if _is_euroc(path):
        if depth == "own":
            raise DatasetError(
                f"{path} is a EuRoC recording, which has no depth of its own; choose another depth."
            )
        return Euroc(path)
    if _is_image_folder(path):
        if camera is None:
            raise DatasetError(f"{path} is a folder of images, which have no camera; give --camera-file YAML.")
        return _rectified(ImageFolder(path, camera, rate_hz))
    return open_kitti(path, sequence=sequence, drive=drive, depth="lidar" if depth == "own" else "none")


def recordings_in(folder: Path) -> tuple[str, ...]:
    """Names of the bags and of the TUM RGB-D and EuRoC recordings in a folder, sorted."""
    return tuple(
        sorted(path.name for path in folder.iterdir() if _is_bag(path) or _is_tum(path) or _is_euroc(path))
    )


def _rectified(source: FrameSource) -> FrameSource:
    return RectifiedFrames(source) if source.camera.is_distorted else source


def _is_bag(path: Path) -> bool:
    return path.suffix in BAG_SUFFIXES or (path / "metadata.yaml").exists()


def _is_tum(path: Path) -> bool:
    return (path / "rgb.txt").exists()


def _is_euroc(path: Path) -> bool:
    return (path / "mav0").is_dir() or (path / "cam0" / "sensor.yaml").exists()


def _is_image_folder(path: Path) -> bool:
    return path.is_dir() and any(entry.suffix.lower() in IMAGE_SUFFIXES for entry in path.iterdir())
