"""TUM RGB-D: colour and depth of a Kinect, and the poses of a motion capture system.

Layout: ``FOLDER/{rgb.txt, depth.txt, groundtruth.txt, rgb/, depth/}``; each list has ``stamp file`` or
``stamp tx ty tz qx qy qz qw`` a row (Sturm et al., IROS 2012).
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.calibration import CameraCalibration
from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.image_files import read_depth_png, require_inside
from metric3d_ros.datasets.kitti_files import parse_stamp_ns, read_lines
from metric3d_ros.datasets.rectified_frames import calibration_of
from metric3d_ros.datasets.rectified_sequence import RectifiedSequence
from metric3d_ros.datasets.timed_poses import TimedPoses, frames_with_truth, pose_of_fields
from metric3d_ros.errors import DatasetError

DEPTH_UNITS_PER_METRE = 5000.0
DEPTH_TOLERANCE_NS = 20_000_000
"""How far a depth image may be from its colour image, as in the benchmark's own tool."""

_WIDTH_PX, _HEIGHT_PX = 640, 480
# fx, fy, cx, cy and distortion of the colour camera at each site, as the benchmark publishes them.
_SITES: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "freiburg1": ((517.3, 516.5, 318.6, 255.3), (0.2624, -0.9531, -0.0054, 0.0026, 1.1633)),
    "freiburg2": ((520.9, 521.0, 325.1, 249.7), (0.2312, -0.7849, -0.0033, -0.0001, 0.9172)),
    "freiburg3": ((535.4, 539.2, 320.1, 247.6), ()),
}


class TumRgbd(RectifiedSequence):
    """One recording of TUM RGB-D, rectified; the world is that of the motion capture.

    True poses are interpolated at the images' times; frames that have none are left out, and said so in the log.

    Parameters
    ----------
    folder : of the recording; its name says the site (``freiburg1`` to ``freiburg3``), which has the camera.
    camera : the camera of the raw images, for recordings of other cameras in this layout.
    depth : ``sensor`` gives each frame the Kinect's depth within 20 ms (None where there is no image).

    Raises
    ------
    DatasetError
        If something is missing or does not fit together; the message says what, and where it was looked for.
    """

    def __init__(self, folder: Path | str, camera: PinholeCamera | None = None, depth: str = "none") -> None:
        folder = Path(folder)
        if not folder.is_dir():
            raise DatasetError(f"no TUM RGB-D recording at {folder}; check the path.")
        name = f"tum_rgbd_{folder.resolve().name}"
        stamps_ns, paths = _read_image_list(folder / "rgb.txt")
        truth = _read_truth(folder / "groundtruth.txt")
        poses = None
        if truth is not None:
            kept = frames_with_truth(name, stamps_ns, truth)
            paths, stamps_ns = [paths[row] for row in kept], stamps_ns[kept]
            poses = truth.at(stamps_ns)
        self._depth_paths = _depth_of_frames(folder, stamps_ns) if depth == "sensor" else {}
        super().__init__(name, paths, _calibration(folder, camera), stamps_ns, poses)

    def _depth_m(self, position: int) -> NDArray[np.float32] | None:
        path = self._depth_paths.get(position)
        return None if path is None else self._rectified_depth_m(read_depth_png(path, DEPTH_UNITS_PER_METRE))


def _calibration(folder: Path, camera: PinholeCamera | None) -> CameraCalibration:
    if camera is not None:
        return calibration_of(camera)
    site = re.search("freiburg[123]", folder.resolve().name)
    if site is None:
        raise DatasetError(
            f"{folder} does not say which camera it is from: its name has none of {', '.join(_SITES)}; "
            "give a camera file (--camera-file)."
        )
    (fx, fy, cx, cy), distortion = _SITES[site[0]]
    k = (fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0)
    return CameraCalibration(_WIDTH_PX, _HEIGHT_PX, k, "plumb_bob", distortion)


def _rows(path: Path) -> list[tuple[int, int, list[str]]]:
    """Row number, stamp and the other fields of each row of a TUM list."""
    rows = []
    for number, line in enumerate(read_lines(path), start=1):
        fields = line.replace(",", " ").split()
        if not fields or fields[0].startswith("#"):
            continue
        try:
            rows.append((number, parse_stamp_ns(fields[0]), fields[1:]))
        except ValueError as error:
            raise DatasetError(f"row {number} of {path} does not start with a time: {error}.") from error
    if not rows:
        raise DatasetError(f"{path} has no rows; take the whole recording.")
    return rows


def _read_image_list(path: Path) -> tuple[NDArray[np.int64], list[Path]]:
    rows = _rows(path)
    paths = []
    for number, _, fields in rows:
        if not fields:
            raise DatasetError(f"row {number} of {path} names no image; it must be `time file`.")
        paths.append(require_inside(path.parent, path.parent / fields[0]))
    return np.array([stamp_ns for _, stamp_ns, _ in rows], dtype=np.int64), paths


def _read_truth(path: Path) -> TimedPoses | None:
    if not path.exists():
        return None
    rows = _rows(path)
    poses = []
    for number, _, fields in rows:
        pose = pose_of_fields(fields)
        if pose is None:
            raise DatasetError(f"row {number} of {path} is not `time tx ty tz qx qy qz qw`.")
        poses.append(pose)
    return TimedPoses(np.array([stamp_ns for _, stamp_ns, _ in rows], dtype=np.int64), np.array(poses))


def _depth_of_frames(folder: Path, stamps_ns: NDArray[np.int64]) -> dict[int, Path]:
    """The depth image nearest in time to each frame, by the frame's position."""
    depth_ns, paths = _read_image_list(folder / "depth.txt")
    after = np.clip(np.searchsorted(depth_ns, stamps_ns), 1, max(len(depth_ns) - 1, 1)).clip(max=len(depth_ns) - 1)
    before = np.maximum(after - 1, 0)
    nearer = np.where(stamps_ns - depth_ns[before] <= depth_ns[after] - stamps_ns, before, after)
    close = np.abs(depth_ns[nearer] - stamps_ns) <= DEPTH_TOLERANCE_NS
    return {int(row): paths[int(nearer[row])] for row in np.flatnonzero(close)}
