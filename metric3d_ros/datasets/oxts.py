"""KITTI's OXTS records (GPS and IMU) turned into poses of the IMU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.datasets.kitti_files import read_lines
from metric3d_ros.errors import DatasetError

EARTH_RADIUS_M = 6378137.0


def read_oxts(folder: Path, numbers: Sequence[int], columns: int = 6) -> NDArray[np.float64]:
    """Latitude, longitude (degrees), altitude (m), roll, pitch, yaw (rad) of these frames, (frames, 6).

    More ``columns`` give what follows in a record as well (``dataformat.txt`` of KITTI raw).

    Raises
    ------
    DatasetError
        If a record is missing or is not numbers; the file is named.
    """
    records = np.empty((len(numbers), columns))
    for row, number in enumerate(numbers):
        path = folder / f"{number:010d}.txt"
        words = " ".join(read_lines(path)[:1]).split()
        try:
            values = [float(word) for word in words[:columns]]
        except ValueError:
            values = []
        if len(values) < columns:
            raise DatasetError(
                f"{path} starts with {' '.join(words[:columns]) or 'nothing'}, not with {columns} numbers (from "
                "latitude on); take the record from the drive's download again."
            )
        records[row] = values
        if not np.isfinite(records[row]).all():
            raise DatasetError(f"{path} has a value that is not finite; take it from the drive's download again.")
    return records


def world_from_imu(records: NDArray[np.float64]) -> NDArray[np.float64]:
    """Poses (frames, 4, 4) of the IMU (x forward, y left, z up) in an east-north-up Mercator plane.

    The plane is scaled by the cosine of the first latitude, as in Geiger et al., "Vision meets robotics:
    the KITTI dataset" (2013), so that metres are metres near the first frame. Rotation: R_z(yaw) R_y(pitch)
    R_x(roll).
    """
    scale = math.cos(math.radians(records[0, 0]))
    poses = np.tile(np.eye(4), (len(records), 1, 1))
    for pose, (latitude, longitude, altitude, roll, pitch, yaw) in zip(poses, records, strict=True):
        pose[:3, :3] = _rotation_z(yaw) @ _rotation_y(pitch) @ _rotation_x(roll)
        pose[0, 3] = scale * EARTH_RADIUS_M * math.radians(longitude)
        pose[1, 3] = scale * EARTH_RADIUS_M * math.log(math.tan(math.pi / 4 + math.radians(latitude) / 2))
        pose[2, 3] = altitude
    return poses


def _rotation_x(angle: float) -> NDArray[np.float64]:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def _rotation_y(angle: float) -> NDArray[np.float64]:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def _rotation_z(angle: float) -> NDArray[np.float64]:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
