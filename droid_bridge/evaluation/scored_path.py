"""A path against its truth: as it is where it is metric, scaled once where its scale is free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from droid_bridge.evaluation.drift import KITTI_LENGTHS_M, DriftReport, evaluate_drift
from droid_bridge.evaluation.scale import scale_from_first_fraction, scaled
from droid_bridge.trajectory import Trajectory


@dataclass(frozen=True)
class ScoredPath:
    """A path and its drift.

    Attributes
    ----------
    trajectory : the path as it was judged.
    report : its drift, nothing aligned but for the one scale.
    scaled_once_by : the factor by which the path was made larger before; None where it is metric by itself.
    """

    trajectory: Trajectory
    report: DriftReport
    scaled_once_by: float | None

    def to_json(self) -> dict[str, Any]:
        """The keys of ``droid-bridge evaluate``, and the factor."""
        return {**self.report.to_json(), "scaled_once_by": self.scaled_once_by}


def scored(
    truth: Trajectory,
    estimate: Trajectory,
    is_metric: bool,
    lengths_m: tuple[float, ...] = KITTI_LENGTHS_M,
) -> ScoredPath:
    """Judge an estimate; one whose scale is free is scaled by the first tenth of the truth before.

    Raises
    ------
    DroidBridgeError
        What `evaluate_drift` and `scale_from_first_fraction` raise.
    """
    factor = None if is_metric else scale_from_first_fraction(truth, estimate)
    placed = estimate if factor is None else scaled(estimate, factor)
    return ScoredPath(placed, evaluate_drift(truth, placed, "none", lengths_m), factor)
