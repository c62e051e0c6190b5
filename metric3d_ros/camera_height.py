"""What the known height of a camera above the ground says of the scale of its depth maps.

A plane with the unit normal n, from the camera towards the ground, and the distance h is seen along the ray r (of
z = 1) at the depth d with n . r / h = 1 / d, which is linear in m = n / h. The relative errors e = d (m . r) - 1
of a depth map in a window ahead of and below a camera are made small by iteratively reweighted least squares with
Cauchy's weights

    w = 1 / (1 + (e / 2.385 s)^2),    s = 1.4826 median |e|

(Holland and Welsch 1977), so that a car or a kerb in the window costs little. Then h = 1 / |m|, and a depth map in
which the camera stands at h instead of the known height is wrong by that factor, whatever its unit.
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

# The window, as slopes of rays: they meet level ground at most 9 camera heights ahead, and not far to a side.
_LEAST_FALL = 1 / 9
_MOST_ASIDE = 0.35
_SAMPLES = 4000
_FEWEST_SAMPLES = 100
_ITERATIONS = 12
_CAUCHY = 2.385
_LEAST_SPREAD = 0.005
# A plane counts as ground where it is seen in most of the window, and nearly from above.
_INLIER_ERROR = 0.05
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
    support : share of the window's pixels that lie within 5 % of it.
    """

    height_m: float
    normal_in_camera: NDArray[np.float64]
    support: float


def find_ground(depth_m: NDArray[np.float32], camera: PinholeCamera) -> Ground | None:
    """The ground ahead of and below a camera, or None where most of what is seen there is no ground.

    Parameters
    ----------
    depth_m : float32 (height, width), metres along the optical axis; NaN, infinite or 0 where there is no reading.
    camera : of the depth map; without roll, and its pitch within 20 degrees of level.
    """
    rays, depth = _window(depth_m, camera)
    is_read = np.isfinite(depth) & (depth > 0)
    if is_read.sum() < max(_FEWEST_SAMPLES, _LEAST_SUPPORT * len(depth)):
        return None
    plane = _fitted_plane(rays[is_read], depth[is_read])
    if plane is None:
        return None
    error = depth[is_read] * (rays[is_read] @ plane) - 1
    height_m = 1 / float(np.linalg.norm(plane))
    ground = Ground(
        height_m=height_m,
        normal_in_camera=plane * height_m,
        support=float(np.count_nonzero(np.abs(error) < _INLIER_ERROR)) / len(depth),
    )
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


def _window(
    depth_m: NDArray[np.float32], camera: PinholeCamera
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rays (n, 3) and depths (n,) of a grid of pixels in the window; none where the image does not reach it."""
    top = max(0, math.ceil(camera.cy + _LEAST_FALL * camera.fy))
    left = max(0, math.ceil(camera.cx - _MOST_ASIDE * camera.fx))
    right = min(camera.width_px, math.floor(camera.cx + _MOST_ASIDE * camera.fx) + 1)
    if top >= camera.height_px or left >= right:
        return np.empty((0, 3)), np.empty(0)
    step = max(1, math.isqrt((camera.height_px - top) * (right - left) // _SAMPLES))
    v, u = np.mgrid[top : camera.height_px : step, left:right:step]
    rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(u.shape)], axis=-1)
    return rays.reshape(-1, 3), depth_m[v, u].reshape(-1).astype(np.float64)


def _fitted_plane(rays: NDArray[np.float64], depth_m: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """m (3,) of the plane m . r = 1 / d; None where the rays do not span one."""
    rows = rays * depth_m[:, None]
    # Begin with the level plane that half of the pixels lie above.
    plane = np.array([0.0, float(np.median(1 / rows[:, 1])), 0.0])
    for _ in range(_ITERATIONS):
        error = rows @ plane - 1
        spread = max(1.4826 * float(np.median(np.abs(error))), _LEAST_SPREAD)
        weighted = rows / (1 + (error / (_CAUCHY * spread)) ** 2)[:, None]
        try:
            plane = np.linalg.solve(weighted.T @ rows, weighted.sum(axis=0))
        except np.linalg.LinAlgError:
            return None
    return plane
