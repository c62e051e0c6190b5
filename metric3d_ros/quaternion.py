"""Rotations as quaternions (x, y, z, w), the order of ROS and of TUM files."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def quaternion_from_rotation(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit quaternion (x, y, z, w), w >= 0, of a rotation matrix (3, 3).

    The quaternion is the dominant eigenvector of a symmetric matrix of the rotation's entries (Bar-Itzhack,
    2000), which is stable at every angle and projects a slightly non-orthogonal matrix on the nearest rotation.
    """
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotation
    symmetric = np.array(
        [
            [xx - yy - zz, 0.0, 0.0, 0.0],
            [yx + xy, yy - xx - zz, 0.0, 0.0],
            [zx + xz, zy + yz, zz - xx - yy, 0.0],
            [zy - yz, xz - zx, yx - xy, xx + yy + zz],
        ]
    )
    quaternion: NDArray[np.float64] = np.linalg.eigh(symmetric, UPLO="L")[1][:, -1]
    return -quaternion if quaternion[3] < 0 else quaternion


def rotation_from_quaternion(quaternion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotations (..., 3, 3) of quaternions (..., 4) as (x, y, z, w), of any length above 0."""
    x, y, z, w = np.moveaxis(quaternion / np.linalg.norm(quaternion, axis=-1, keepdims=True), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))
