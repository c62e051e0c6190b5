"""Depth metrics: per image over the pixels that truth and prediction both have, then averaged over images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

# What the KITTI benchmark counts; nearer or farther truth is left out.
MIN_DEPTH_M = 0.5
MAX_DEPTH_M = 80.0


@dataclass(frozen=True)
class DepthMetrics:
    """Errors of one image, or their mean over images.

    Attributes
    ----------
    abs_rel : mean of abs(d - d*) / d*.
    rmse_m : root mean square error in metres.
    rmse_log : sqrt(E[g^2]) with g = ln d - ln d*.
    log10 : mean of abs(log10 d - log10 d*).
    silog : sqrt(E[g^2] - E[g]^2).
    delta1, delta2, delta3 : share of pixels with max(d/d*, d*/d) below 1.25, 1.25^2, 1.25^3.
    median_ratio : median(d / d*); 1 is the right scale.
    coverage : share of the truth's pixels that the prediction answers.
    """

    abs_rel: float
    rmse_m: float
    rmse_log: float
    log10: float
    silog: float
    delta1: float
    delta2: float
    delta3: float
    median_ratio: float
    coverage: float


def depth_metrics(
    predicted_m: NDArray[np.float32],
    true_m: NDArray[np.float32],
    median_scaled: bool = False,
    range_m: tuple[float, float] = (MIN_DEPTH_M, MAX_DEPTH_M),
) -> DepthMetrics | None:
    """Metrics of one image (float64 inside), or None where no pixel can be compared.

    Parameters
    ----------
    predicted_m, true_m : float32 (height, width) metres, NaN where there is no reading.
    median_scaled : multiply the prediction by median(d*) / median(d) first, which forgives its scale.
    range_m : truth nearer or farther is left out; the prediction is not capped.
    """
    countable = np.isfinite(true_m) & (true_m >= range_m[0]) & (true_m <= range_m[1])
    both = countable & np.isfinite(predicted_m) & (predicted_m > 0)
    if not both.any():
        return None
    d, truth = predicted_m[both].astype(np.float64), true_m[both].astype(np.float64)
    median_ratio = float(np.median(d / truth))
    if median_scaled:
        d = d * (np.median(truth) / np.median(d))
    g = np.log(d) - np.log(truth)
    worst = np.exp(np.abs(g))
    return DepthMetrics(
        abs_rel=float(np.mean(np.abs(d - truth) / truth)),
        rmse_m=float(np.sqrt(np.mean((d - truth) ** 2))),
        rmse_log=float(np.sqrt(np.mean(g**2))),
        log10=float(np.mean(np.abs(g)) / np.log(10.0)),
        silog=float(np.sqrt(max(0.0, np.mean(g**2) - np.mean(g) ** 2))),
        delta1=float(np.mean(worst < 1.25)),
        delta2=float(np.mean(worst < 1.25**2)),
        delta3=float(np.mean(worst < 1.25**3)),
        median_ratio=median_ratio,
        coverage=float(both.sum() / countable.sum()),
    )


def mean_metrics(per_image: Sequence[DepthMetrics]) -> DepthMetrics:
    """The mean of each metric over images."""
    return DepthMetrics(
        **{f.name: float(np.mean([getattr(m, f.name) for m in per_image])) for f in fields(DepthMetrics)}
    )
