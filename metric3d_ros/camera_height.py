"""The ground before a camera, and what its known height above it says of the scale of its depth maps.

A plane with the unit normal n, from the camera towards the ground, and the distance h is seen along the ray r (of
z = 1) at the depth d with n . r / h = 1 / d, which is linear in m = n / h. The relative errors e = d (m . r) - 1
of a depth map in a strip ahead of and below a camera, each over its standard deviation, are made small by
iteratively reweighted least squares with Cauchy's weights

    w = 1 / (1 + (e / 2.385 s)^2),    s = 1.4826 median |e|

(Holland and Welsch 1977), so that a car or a kerb in the strip costs little. Then h = 1 / |m|, and a depth map in
which the camera stands at h instead of the known height is wrong by that factor, whatever its unit.

Where it is known along which way t the ground runs, as the camera moves along it, m is sought among those with
m . t = 0: a degree of slope moves the height by 6 %, and depths know it less well than that.

The strip is as wide as two camera heights, about the lane a vehicle drives in, and nine long: beside it lie kerbs,
verges and other lanes' slopes, and farther off a depth says little of the height.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.errors import CameraError

# The strip in camera heights, where the ground is level: how far it goes, and how far to either side.
_FARTHEST = 9.0
_MOST_ASIDE = 1.0
_SAMPLES = 4000
_FEWEST_SAMPLES = 60
_ITERATIONS = 12
_CAUCHY = 2.385
_SUREST = 0.03  # no depth counts as surer, relative: ground is no plane to the millimetre
_LEAST_SPREAD = 0.2  # of errors over their standard deviations
# A plane counts as ground where enough of the strip is read and most of that lies on it, and it is seen nearly
# from above. On it lies what is no farther off than this, or than twice its own standard deviation.
_INLIER_ERROR = 0.05
_LEAST_READ = 0.4
_LEAST_SUPPORT = 0.6
_MOST_TILT_RAD = math.radians(20)
# Readings of the last images; their median neither jumps with one of them nor lags behind a slow change for long.
_KEPT_READINGS = 25
_LARGEST_FACTOR = 2.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ground:
    """The plane that a camera stands on.

    Attributes
    ----------
    height_m : of the camera above it, in the unit of the depth map.
    normal_in_camera : float64 (3,), unit vector from the camera towards the ground.
    support : share of the strip's readings that lie on it.
    """

    height_m: float
    normal_in_camera: NDArray[np.float64]
    support: float


def find_ground(
    depth_m: NDArray[np.float32],
    camera: PinholeCamera,
    depth_sigma: NDArray[np.float32] | None = None,
    along: NDArray[np.float64] | None = None,
) -> Ground | None:
    """The ground ahead of and below a camera, or None where most of what is seen there is no ground.

    Parameters
    ----------
    depth_m : float32 (height, width), metres along the optical axis; NaN, infinite or 0 where there is no reading.
    camera : of the depth map; without roll, and its pitch within 20 degrees of level.
    depth_sigma : float32 (height, width), relative standard deviation of each depth; None where all are alike.
    along : float64 (3,), unit vector in the camera along which the ground runs; None where it is not known.
    """
    rays, v, u = _strip(camera)
    depth = depth_m[v, u].astype(np.float64)
    sigma = np.zeros_like(depth) if depth_sigma is None else depth_sigma[v, u].astype(np.float64)
    is_read = np.isfinite(depth) & (depth > 0) & np.isfinite(sigma)
    if is_read.sum() < max(_FEWEST_SAMPLES, _LEAST_READ * len(depth)):
        return None
    rows, sigma = rays[is_read] * depth[is_read, None], sigma[is_read]
    directions = np.eye(3) if along is None else _across(along)
    plane = _fitted_plane(rows @ directions, np.hypot(sigma, _SUREST), _level_plane(rows) @ directions)
    if plane is None:
        return None
    plane = directions @ plane
    is_on_it = np.abs(rows @ plane - 1) < np.maximum(_INLIER_ERROR, 2 * sigma)
    height_m = 1 / float(np.linalg.norm(plane))
    ground = Ground(height_m, plane * height_m, support=float(is_on_it.mean()))
    is_below = ground.normal_in_camera[1] > math.cos(_MOST_TILT_RAD)
    return ground if is_below and ground.support >= _LEAST_SUPPORT else None


class KnownCameraHeight:
    """The scale of the depth of a moving camera, from its known height above flat ground.

    Parameters
    ----------
    height_m : of the optical centre above the ground.

    Raises
    ------
    CameraError
        If the height is not a positive number.
    """

    def __init__(self, height_m: float) -> None:
        if not (math.isfinite(height_m) and height_m > 0):
            raise CameraError(f"camera height {height_m:g} m is not above the ground; measure it to the lens.")
        self.height_m = height_m
        self._log_factors: deque[float] = deque(maxlen=_KEPT_READINGS)
        self._has_warned = False

    @property
    def factor(self) -> float:
        """What depth is to be multiplied by: the median of the last readings, 1 before the first."""
        return math.exp(float(np.median(self._log_factors))) if self._log_factors else 1.0

    def read(self, depth_m: NDArray[np.float32], camera: PinholeCamera) -> float:
        """Take in the depth map of the next image, and give ``factor`` anew.

        A map without ground counts for nothing, nor does one with ground at less than half or more than twice the
        height, of which the first is told in the log.
        """
        ground = find_ground(depth_m, camera)
        if ground is None:
            return self.factor
        log_factor = math.log(self.height_m / ground.height_m)
        if abs(log_factor) < math.log(_LARGEST_FACTOR):
            self._log_factors.append(log_factor)
        elif not self._has_warned:
            self._has_warned = True
            logger.warning(
                "the ground is seen %.2f m below the camera, but its height is given as %.2f m: such images do "
                "not change the scale; give the height of the lens above the ground that it sees, in metres.",
                ground.height_m,
                self.height_m,
            )
        return self.factor


def _strip(camera: PinholeCamera) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Rays (n, 3) of a grid of pixels in the strip, and their rows and columns (n,)."""
    top = max(0, math.ceil(camera.cy + camera.fy / _FARTHEST))
    aside_px = _MOST_ASIDE * camera.fx * (camera.height_px - 1 - camera.cy) / camera.fy
    left = max(0, math.ceil(camera.cx - aside_px))
    right = min(camera.width_px, math.floor(camera.cx + aside_px) + 1)
    if top >= camera.height_px or left >= right:
        return np.empty((0, 3)), np.empty(0, np.int64), np.empty(0, np.int64)
    # The strip is half of the rectangle that it spans.
    step = max(1, math.isqrt((camera.height_px - top) * (right - left) // (2 * _SAMPLES)))
    v, u = np.mgrid[top : camera.height_px : step, left:right:step].reshape(2, -1)
    rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(u.shape)], axis=-1)
    inside = np.abs(rays[:, 0]) <= _MOST_ASIDE * rays[:, 1]
    return rays[inside], v[inside], u[inside]


def _across(along: NDArray[np.float64]) -> NDArray[np.float64]:
    """Two unit vectors, the columns (3, 2), at right angles to one and to each other."""
    return np.linalg.svd(along[None])[2][1:].T


def _level_plane(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """m (3,) of the level plane that half of the points, rows (n, 3), lie above."""
    return np.array([0.0, float(np.median(1 / rows[:, 1])), 0.0])


def _fitted_plane(
    rows: NDArray[np.float64], sigma: NDArray[np.float64], plane: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """The unknowns (k,) that bring rows (n, k) times them nearest to 1, from a first guess; None where many do."""
    for _ in range(_ITERATIONS):
        error = (rows @ plane - 1) / sigma
        spread = max(1.4826 * float(np.median(np.abs(error))), _LEAST_SPREAD)
        weighted = rows / (sigma**2 * (1 + (error / (_CAUCHY * spread)) ** 2))[:, None]
        try:
            plane = np.linalg.solve(weighted.T @ rows, weighted.sum(axis=0))
        except np.linalg.LinAlgError:
            return None
    return plane
