"""Depth images from LiDAR scans."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.errors import ImageError


def read_velodyne(path: Path) -> NDArray[np.float32]:
    """Points (n, 3), metres in the scanner's frame, of a KITTI ``.bin`` scan (x, y, z, reflectance).

    Raises
    ------
    ImageError
        If the file is missing or its size is no multiple of a point's 16 bytes.
    """
    try:
        values = np.frombuffer(path.read_bytes(), dtype="<f4")
        return values.reshape(-1, 4)[:, :3]
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise ImageError(f"{path} is cut short: its size is no multiple of 16 bytes.") from error


def depth_from_points(
    points_in_scanner: NDArray[np.float32], camera_from_scanner: NDArray[np.float64], camera: PinholeCamera
) -> NDArray[np.float32]:
    """Depth image (height, width), metres along the optical axis, of points seen by ``camera``.

    Each point falls on its nearest pixel, the nearest point of a pixel counts, and pixels without one are NaN.
    """
    points_in_camera = points_in_scanner @ camera_from_scanner[:3, :3].T + camera_from_scanner[:3, 3]
    points_in_camera = points_in_camera[points_in_camera[:, 2] > 0.0]
    z = points_in_camera[:, 2]
    column = np.rint(points_in_camera[:, 0] / z * camera.fx + camera.cx)
    row = np.rint(points_in_camera[:, 1] / z * camera.fy + camera.cy)
    seen = (column >= 0) & (column < camera.width_px) & (row >= 0) & (row < camera.height_px)
    nearest_m = np.full((camera.height_px, camera.width_px), np.inf, dtype=np.float32)
    np.minimum.at(nearest_m, (row[seen].astype(int), column[seen].astype(int)), z[seen].astype(np.float32))
    nearest_m[np.isinf(nearest_m)] = np.nan
    return nearest_m
