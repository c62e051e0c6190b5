"""Lengths between two pixels of one image (single-image metrology), and how far they can be trusted.

A pixel's point is P = d * r, with r its ray of z = 1 and d its depth. The network's confidence is trained towards
1 - abs(d - d*) / d*, so 1 - confidence is the relative error e that it expects of d, and the point is expected to
be off by e * P along its ray. Of the length L = |A - B| with direction u = (A - B) / L, the first-order errors of
the two ends are a = e_A * (u . A) and b = e_B * (u . B), and

    variance of L = a^2 + b^2 - 2 * rho * a * b

where rho is how alike the two errors are: 0 if the network errs at each pixel for itself, 1 if it errs by one
factor for the whole image. The confidence does not tell, so the larger of both ends is taken; the variance is
linear in rho, so no rho between them gives more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.errors import ImageError
from metric3d_ros.estimator import DepthPrediction

Pixel = tuple[float, float]


@dataclass(frozen=True)
class Measurement:
    """A length between two pixels.

    Attributes
    ----------
    length_m : distance of the two points in metres.
    uncertainty_m : expected error of the length in metres; None where the network gives no confidence.
    start_m, end_m : the points (3,) in metres in the camera frame, float64.
    """

    length_m: float
    uncertainty_m: float | None
    start_m: NDArray[np.float64]
    end_m: NDArray[np.float64]


def measure(prediction: DepthPrediction, start: Pixel, end: Pixel) -> Measurement:
    """The length between two pixels (u, v) of an image; its depth is that of the nearest pixels.

    Raises
    ------
    ImageError
        If a pixel is outside the image, or has no depth.
    """
    start_m, start_error = _point(prediction, start)
    end_m, end_error = _point(prediction, end)
    length_m = float(np.linalg.norm(start_m - end_m))
    if start_error is None or end_error is None:
        return Measurement(length_m, None, start_m, end_m)
    if length_m == 0.0:
        return Measurement(0.0, 0.0, start_m, end_m)
    direction = (start_m - end_m) / length_m
    start_share_m = start_error * float(direction @ start_m)
    end_share_m = end_error * float(direction @ end_m)
    apart = math.hypot(start_share_m, end_share_m)
    alike = abs(start_share_m - end_share_m)
    return Measurement(length_m, max(apart, alike), start_m, end_m)


def expected_relative_error(confidence: float) -> float:
    """The relative error of depth that a confidence announces: 1 - confidence, between 0 and 1."""
    return min(1.0, max(0.0, 1.0 - confidence))


def _point(prediction: DepthPrediction, pixel: Pixel) -> tuple[NDArray[np.float64], float | None]:
    camera = prediction.camera
    u, v = pixel
    column, row = (math.floor(value + 0.5) if math.isfinite(value) else -1 for value in pixel)
    if not (0 <= column < camera.width_px and 0 <= row < camera.height_px):
        raise ImageError(
            f"pixel {u:g},{v:g} is outside the image; u goes from 0 to {camera.width_px - 1}, "
            f"v from 0 to {camera.height_px - 1}."
        )
    depth_m = float(prediction.depth_m[row, column])
    if not math.isfinite(depth_m):
        raise ImageError(
            f"pixel {u:g},{v:g} has no depth, because the network is not sure of any there; choose one beside it."
        )
    ray = np.array([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, 1.0])
    confidence = prediction.confidence
    error = None if confidence is None else expected_relative_error(float(confidence[row, column]))
    return depth_m * ray, error
