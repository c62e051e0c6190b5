"""Surface normals from metric depth, for networks that give none."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.point_cloud import back_project

DIFFERENCE_RADII_STEPS = (2, 1)


def normals_from_depth(
    depth_m: NDArray[np.float32], camera: PinholeCamera, step_px: int = 1
) -> NDArray[np.float32]:
    """Unit normals (height, width, 3) in the camera frame that point to the camera, NaN where there is none.

    The cross product of the central differences of the back-projected points, at radii of 2 and 1 steps, averaged:
    the normals that Metric3D v2 holds its own against. Where only one of the two windows is all read it answers
    alone; at the image's border the windows are one-sided.

    Parameters
    ----------
    depth_m : float32 (height, width), metres along the optical axis, NaN where there is no reading.
    camera : the camera of ``depth_m``.
    step_px : how many pixels of ``depth_m`` one pixel of the network became; finer differences would only show
        how the map was interpolated.
    """
    points = back_project(depth_m, camera)
    total = np.zeros_like(points)
    for radius_steps in DIFFERENCE_RADII_STEPS:
        total += np.nan_to_num(_oriented_normals(points, radius_steps * step_px))
    total[~np.isfinite(depth_m)] = np.nan
    return _unit(total)


def _oriented_normals(points: NDArray[np.float32], radius_px: int) -> NDArray[np.float32]:
    across = _central_difference(points, radius_px, axis=1)
    down = _central_difference(points, radius_px, axis=0)
    normals = _unit(np.cross(down, across))
    faces_away = np.sum(normals * points, axis=-1, keepdims=True) > 0
    return np.where(faces_away, -normals, normals)


def _central_difference(points: NDArray[np.float32], radius_px: int, axis: int) -> NDArray[np.float32]:
    padding = [(0, 0)] * points.ndim
    padding[axis] = (radius_px, radius_px)
    padded = np.pad(points, padding, mode="edge")
    ahead = np.take(padded, np.arange(2 * radius_px, padded.shape[axis]), axis=axis)
    behind = np.take(padded, np.arange(padded.shape[axis] - 2 * radius_px), axis=axis)
    return ahead - behind


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    length: NDArray[np.float32] = np.linalg.norm(vectors, axis=-1, keepdims=True)
    length[length == 0] = np.nan
    return vectors / length
