"""EuRoC MAV: the left camera of a drone, rectified, and the poses of its state estimate.

Layout: ``FOLDER/mav0/cam0/{sensor.yaml, data.csv, data/}`` and ``mav0/state_groundtruth_estimate0/data.csv``
(Burri et al., IJRR 2016); the folder may also be ``mav0`` itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from metric3d_ros.calibration import CameraCalibration
from metric3d_ros.datasets.image_files import require_inside
from metric3d_ros.datasets.kitti_files import read_lines
from metric3d_ros.datasets.rectified_sequence import RectifiedSequence
from metric3d_ros.datasets.timed_poses import TimedPoses, frames_with_truth, pose_of_fields
from metric3d_ros.errors import DatasetError

TRUTH_FOLDER = "state_groundtruth_estimate0"


class Euroc(RectifiedSequence):
    """One EuRoC recording seen by camera 0, rectified with its own K; the world is that of the ground truth.

    True poses are interpolated at the images' times; frames that have none are left out, and said so in the log.

    Raises
    ------
    DatasetError
        If something is missing or does not fit together; the message says what, and where it was looked for.
    """

    def __init__(self, folder: Path | str) -> None:
        folder = Path(folder)
        mav = folder / "mav0" if (folder / "mav0").is_dir() else folder
        if not (mav / "cam0").is_dir():
            raise DatasetError(f"no EuRoC recording at {folder}: looked for mav0/cam0; check the path.")
        recording = mav.resolve().parent.name if mav.resolve().name == "mav0" else mav.resolve().name
        name = f"euroc_{recording}"
        sensor = _Sensor(mav / "cam0" / "sensor.yaml")
        stamps_ns, paths = _read_images(mav / "cam0")
        truth = _read_truth(mav / TRUTH_FOLDER / "data.csv", sensor.body_from_camera)
        poses = None
        if truth is not None:
            kept = frames_with_truth(name, stamps_ns, truth)
            paths, stamps_ns = [paths[row] for row in kept], stamps_ns[kept]
            poses = truth.at(stamps_ns)
        super().__init__(name, paths, sensor.calibration, stamps_ns, poses, is_gray=True)


class _Sensor:
    """``sensor.yaml``: the camera, and where it is on the drone."""

    def __init__(self, path: Path) -> None:
        content = _load_yaml(path)
        try:
            width_px, height_px = (int(value) for value in content["resolution"])
            fx, fy, cx, cy = (float(value) for value in content["intrinsics"])
            distortion = tuple(float(value) for value in content["distortion_coefficients"])
            model = str(content["distortion_model"])
            self.body_from_camera = np.array(content["T_BS"]["data"], dtype=np.float64).reshape(4, 4)
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(
                f"{path} must have resolution, intrinsics, distortion and T_BS of a pinhole camera ({error})."
            ) from error
        if model not in ("radial-tangential", "radtan"):
            raise DatasetError(f"{path} has the distortion {model!r}; EuRoC's cameras are radial-tangential.")
        k = (fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0)
        self.calibration = CameraCalibration(width_px, height_px, k, "plumb_bob", distortion)


def _load_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load("\n".join(read_lines(path)))
    except yaml.YAMLError as error:
        raise DatasetError(f"{path} is not YAML; take the whole recording.") from error
    if not isinstance(content, dict):
        raise DatasetError(f"{path} holds no keys; take the whole recording.")
    return content


def _rows(path: Path) -> list[tuple[int, int, list[str]]]:
    """Row number, stamp in nanoseconds and the other fields of each row of a CSV file."""
    rows = []
    for number, line in enumerate(read_lines(path), start=1):
        fields = [field.strip() for field in line.split(",")]
        if not fields[0] or fields[0].startswith("#"):
            continue
        if not fields[0].isdigit():
            raise DatasetError(f"row {number} of {path} starts with {fields[0]!r}; it must be nanoseconds.")
        rows.append((number, int(fields[0]), fields[1:]))
    if not rows:
        raise DatasetError(f"{path} has no rows; take the whole recording.")
    return rows


def _read_images(camera_folder: Path) -> tuple[NDArray[np.int64], list[Path]]:
    path = camera_folder / "data.csv"
    rows = _rows(path)
    paths = []
    for number, _, fields in rows:
        if not fields:
            raise DatasetError(f"row {number} of {path} names no image; it must be `time,file`.")
        paths.append(require_inside(camera_folder, camera_folder / "data" / fields[0]))
    return np.array([stamp_ns for _, stamp_ns, _ in rows], dtype=np.int64), paths


def _read_truth(path: Path, body_from_camera: NDArray[np.float64]) -> TimedPoses | None:
    if not path.exists():
        return None
    rows = _rows(path)
    poses = []
    for number, _, fields in rows:
        pose = pose_of_fields([*fields[:3], *fields[4:7], *fields[3:4]])
        if pose is None:
            raise DatasetError(
                f"row {number} of {path} does not start with time, position and quaternion (w x y z)."
            )
        poses.append(pose)
    stamps_ns = np.array([stamp_ns for _, stamp_ns, _ in rows], dtype=np.int64)
    return TimedPoses(stamps_ns, np.array(poses) @ body_from_camera)
