"""What `droid-bridge evaluate` says of one estimate: KITTI's drift, ATE, RPE, scale and completeness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from droid_bridge.errors import TrajectoryError
from droid_bridge.evaluation.alignment import AlignMethod, find_alignment
from droid_bridge.evaluation.association import Association, associate
from droid_bridge.evaluation.boresight import Boresight, find_boresight
from droid_bridge.evaluation.pose_error import (
    RelativePoseError,
    absolute_error_m,
    absolute_errors_m,
    relative_pose_error,
)
from droid_bridge.evaluation.scale import scale_over_distance
from droid_bridge.evaluation.segments import (
    KITTI_FRAME_PERIOD_S,
    KITTI_LENGTHS_M,
    KITTI_STEP,
    SegmentErrors,
    check_segments,
    no_segment_message,
    segment_errors,
)
from droid_bridge.trajectory import Trajectory

__all__ = ["KITTI_LENGTHS_M", "KITTI_STEP", "DriftReport", "LengthDrift", "SpeedDrift", "evaluate_drift"]

SPEED_BIN_M_PER_S = 2.0


@dataclass(frozen=True)
class LengthDrift:
    """Mean drift over the segments of one length; None where the drive has none."""

    length_m: float
    segments: int
    t_rel_percent: float | None
    r_rel_deg_per_100m: float | None


@dataclass(frozen=True)
class SpeedDrift:
    """Mean drift over the segments driven at ``from_m_per_s`` (included) to ``to_m_per_s`` on average."""

    from_m_per_s: float
    to_m_per_s: float
    segments: int
    t_rel_percent: float | None
    r_rel_deg_per_100m: float | None


@dataclass(frozen=True)
class DriftReport:
    """What `evaluate` found; the fields are the keys of its JSON.

    Attributes
    ----------
    t_rel_percent, r_rel_deg_per_100m : KITTI's drift over all segments.
    ate_m : root mean square distance of associated positions after ``align``.
    ate_by_align_m : the same after each alignment there is; None where an estimate has no such alignment.
    rpe : relative pose error after ``align``; None for a single pose.
    scale_start, scale_end : local scale over the first and last tenth of the covered path (at least 20 m),
        estimate over truth, after ``align``; see `droid_bridge.evaluation.scale`.
    align : how the estimate was put into the truth's world; its ``scale`` is ``align_scale``.
    lengths_m, step, segments : the lengths asked for, frames between segment starts, segments found.
    frames_truth, frames_estimate, frames_matched : poses in the files, and pairs among them.
    coverage : frames_matched / frames_truth.
    path_length_m, covered_length_m : the length of the true path, whole and from the first to the last pair.
    per_length, per_speed : the drift over the segments of one length, and of one speed.
    boresight_deg : constant turn between the camera and the truth's axes (`droid_bridge.evaluation.boresight`);
        None where the camera does not travel in about one direction.
    t_rel_percent_after_boresight : the drift without that turn.
    """

    t_rel_percent: float
    r_rel_deg_per_100m: float
    ate_m: float
    ate_by_align_m: dict[AlignMethod, float | None]
    rpe: RelativePoseError | None
    scale_start: float
    scale_end: float
    align: AlignMethod
    align_scale: float
    lengths_m: tuple[float, ...]
    step: int
    segments: int
    frames_truth: int
    frames_estimate: int
    frames_matched: int
    coverage: float
    path_length_m: float
    covered_length_m: float
    per_length: tuple[LengthDrift, ...]
    per_speed: tuple[SpeedDrift, ...]
    boresight_deg: tuple[float, float, float] | None
    t_rel_percent_after_boresight: float | None

    @property
    def scale_drift(self) -> float | None:
        """Scale at the end over scale at the start, 1 is no drift; None if the estimate stood still at first."""
        return self.scale_end / self.scale_start if self.scale_start > 0 else None

    def to_json(self) -> dict[str, Any]:
        """The fields and ``scale_drift`` as numbers, strings and sequences, for ``json.dumps``."""
        return {**asdict(self), "scale_drift": self.scale_drift}


def evaluate_drift(
    truth: Trajectory,
    estimate: Trajectory,
    align: AlignMethod = "none",
    lengths_m: Sequence[float] = KITTI_LENGTHS_M,
    step: int = KITTI_STEP,
    *,
    frame_period_s: float = KITTI_FRAME_PERIOD_S,
    rpe_delta_frames: int = 1,
) -> DriftReport:
    """Score an estimate against the truth on the frames that both have.

    Parameters
    ----------
    truth, estimate : trajectories of the same camera; `associate` says how they are paired.
    align : what is allowed to fit the estimate to the truth first; `find_alignment` has the methods.
    lengths_m : segment lengths in metres of true path.
    step : frames between the starts of segments.
    frame_period_s : time between frames, for the speed of segments where the truth has no stamps.
    rpe_delta_frames : common poses from one end of a relative pose to the other.

    Raises
    ------
    TrajectoryError
        If the two cannot be paired or aligned, or there is no segment of any length.
    """
    check_segments(lengths_m, step, frame_period_s)
    association = associate(truth, estimate)
    alignment = find_alignment(truth, estimate, align, association)
    aligned = alignment.apply(estimate)
    errors = segment_errors(truth, aligned, association, lengths_m, step)
    if not len(errors.length_m):
        raise TrajectoryError(no_segment_message(truth, association, lengths_m))
    scale = scale_over_distance(truth, aligned, association)
    distance_m = truth.path_distance_m()
    boresight = find_boresight(truth, estimate, association)
    return DriftReport(
        t_rel_percent=float(errors.translation.mean()) * 100.0,
        r_rel_deg_per_100m=float(errors.rotation_deg_per_m.mean()) * 100.0,
        ate_m=absolute_error_m(truth, aligned, association),
        ate_by_align_m=absolute_errors_m(truth, estimate, association),
        rpe=relative_pose_error(truth, aligned, association, rpe_delta_frames),
        scale_start=scale.over_first(),
        scale_end=scale.over_last(),
        align=align,
        align_scale=alignment.scale,
        lengths_m=tuple(float(length_m) for length_m in lengths_m),
        step=step,
        segments=len(errors.length_m),
        frames_truth=len(truth),
        frames_estimate=len(estimate),
        frames_matched=len(association.truth_rows),
        coverage=len(association.truth_rows) / len(truth),
        path_length_m=float(distance_m[-1]),
        covered_length_m=float(distance_m[association.truth_rows[-1]] - distance_m[association.truth_rows[0]]),
        per_length=tuple(_length_drift(errors, float(length_m)) for length_m in lengths_m),
        per_speed=_speed_drifts(errors, errors.speed_m_per_s(truth, frame_period_s)),
        boresight_deg=None if boresight is None else boresight.degrees,
        t_rel_percent_after_boresight=None
        if boresight is None
        else _t_rel_percent_without(boresight, truth, estimate, align, association, lengths_m, step),
    )


def _t_rel_percent_without(
    boresight: Boresight,
    truth: Trajectory,
    estimate: Trajectory,
    align: AlignMethod,
    association: Association,
    lengths_m: Sequence[float],
    step: int,
) -> float:
    """Drift of the estimate with a camera turned to the truth's axes, aligned anew."""
    turned = boresight.taken_from(estimate)
    aligned = find_alignment(truth, turned, align, association).apply(turned)
    return float(segment_errors(truth, aligned, association, lengths_m, step).translation.mean()) * 100.0


def _length_drift(errors: SegmentErrors, length_m: float) -> LengthDrift:
    chosen = errors.length_m == length_m
    return LengthDrift(length_m, int(chosen.sum()), *errors.mean_over(chosen))


def _speed_drifts(errors: SegmentErrors, speed_m_per_s: NDArray[np.float64]) -> tuple[SpeedDrift, ...]:
    """One for each bin of speed from the slowest segment's to the fastest's."""
    bins = np.floor(speed_m_per_s / SPEED_BIN_M_PER_S).astype(np.int64)
    drifts = []
    for number in range(int(bins.min()), int(bins.max()) + 1):
        chosen = bins == number
        from_m_per_s = number * SPEED_BIN_M_PER_S
        to_m_per_s = from_m_per_s + SPEED_BIN_M_PER_S
        drifts.append(SpeedDrift(from_m_per_s, to_m_per_s, int(chosen.sum()), *errors.mean_over(chosen)))
    return tuple(drifts)
