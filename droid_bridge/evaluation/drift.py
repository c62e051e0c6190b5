"""The KITTI odometry metric (t_rel, r_rel), ATE and scale at start and end, of one estimate.

KITTI (Geiger et al., CVPR 2012): for every tenth frame and every length, the segment runs to the first frame
whose true path distance exceeds the length; its error is the relative pose of the estimate against that of the
truth, per length. t_rel and r_rel are means over all segments of all lengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from droid_bridge.errors import TrajectoryError
from droid_bridge.evaluation.alignment import AlignMethod, find_alignment
from droid_bridge.evaluation.association import Association, associate
from droid_bridge.evaluation.scale import scale_over_distance
from droid_bridge.trajectory import Trajectory

KITTI_LENGTHS_M: tuple[float, ...] = (100, 200, 300, 400, 500, 600, 700, 800)
KITTI_STEP = 10


@dataclass(frozen=True)
class SegmentErrors:
    """Relative pose errors of segments; all arrays (segments,).

    Attributes
    ----------
    truth_first, truth_last, estimate_first, estimate_last : int64, rows of the poses at the ends.
    length_m : float64, the nominal length.
    translation : float64, metres of error per metre of length.
    rotation_deg_per_m : float64, degrees of error per metre of length.
    """

    truth_first: NDArray[np.int64]
    truth_last: NDArray[np.int64]
    estimate_first: NDArray[np.int64]
    estimate_last: NDArray[np.int64]
    length_m: NDArray[np.float64]
    translation: NDArray[np.float64]
    rotation_deg_per_m: NDArray[np.float64]


@dataclass(frozen=True)
class LengthDrift:
    """Mean drift over the segments of one length; None where the drive has none."""

    length_m: float
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
    scale_start, scale_end : local scale over the first and last tenth of the covered path (at least 20 m),
        estimate over truth, after ``align``; see `droid_bridge.evaluation.scale`.
    align : how the estimate was put into the truth's world; its ``scale`` is ``align_scale``.
    lengths_m, step, segments : the lengths asked for, frames between segment starts, segments found.
    frames_truth, frames_estimate, frames_matched : poses in the files, and pairs among them.
    coverage : frames_matched / frames_truth.
    path_length_m : the length of the whole true path.
    """

    t_rel_percent: float
    r_rel_deg_per_100m: float
    ate_m: float
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
    per_length: tuple[LengthDrift, ...]

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
) -> DriftReport:
    """Score an estimate against the truth on the frames that both have.

    Parameters
    ----------
    truth, estimate : trajectories of the same camera; `associate` says how they are paired.
    align : what is allowed to fit the estimate to the truth first; `find_alignment` has the methods.
    lengths_m : segment lengths in metres of true path.
    step : frames between the starts of segments.

    Raises
    ------
    TrajectoryError
        If the two cannot be paired or aligned, or there is no segment of any length.
    """
    _check_request(lengths_m, step)
    association = associate(truth, estimate)
    alignment = find_alignment(truth, estimate, align, association)
    aligned = alignment.apply(estimate)
    errors = segment_errors(truth, aligned, association, lengths_m, step)
    if not len(errors.length_m):
        raise TrajectoryError(_no_segment_message(truth, association, lengths_m))
    scale = scale_over_distance(truth, aligned, association)
    return DriftReport(
        t_rel_percent=float(errors.translation.mean()) * 100.0,
        r_rel_deg_per_100m=float(errors.rotation_deg_per_m.mean()) * 100.0,
        ate_m=_ate_m(truth, aligned, association),
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
        path_length_m=float(truth.path_distance_m()[-1]),
        per_length=tuple(_length_drift(errors, float(length_m)) for length_m in lengths_m),
    )


def segment_errors(
    truth: Trajectory,
    estimate: Trajectory,
    association: Association,
    lengths_m: Sequence[float],
    step: int,
) -> SegmentErrors:
    """Relative pose errors of all segments whose two ends the estimate has.

    Segments start at every ``step``-th true frame, and at every ``step``-th paired one where stamps decided:
    truth from another sensor may run at many times the camera's rate.
    """
    frames = association.truth_rows if association.by_stamp else np.arange(len(truth), dtype=np.int64)
    distance_m = truth.path_distance_m()[frames]
    estimate_row = np.full(len(truth), -1, dtype=np.int64)
    estimate_row[association.truth_rows] = association.estimate_rows
    firsts, lasts, lengths = [], [], []
    for length_m in lengths_m:
        first = np.arange(0, len(frames), step)
        last = np.searchsorted(distance_m, distance_m[first] + length_m, side="right")
        first, last = first[last < len(frames)], last[last < len(frames)]
        covered = (estimate_row[frames[first]] >= 0) & (estimate_row[frames[last]] >= 0)
        firsts.append(frames[first[covered]])
        lasts.append(frames[last[covered]])
        lengths.append(np.full(int(covered.sum()), float(length_m)))
    truth_first, truth_last, length = map(np.concatenate, (firsts, lasts, lengths))
    estimate_first, estimate_last = estimate_row[truth_first], estimate_row[truth_last]
    error = np.linalg.inv(_motion(estimate, estimate_first, estimate_last)) @ _motion(
        truth, truth_first, truth_last
    )
    cosine = 0.5 * (np.trace(error[:, :3, :3], axis1=1, axis2=2) - 1.0)
    return SegmentErrors(
        truth_first=truth_first,
        truth_last=truth_last,
        estimate_first=estimate_first,
        estimate_last=estimate_last,
        length_m=length,
        translation=np.linalg.norm(error[:, :3, 3], axis=1) / length,
        rotation_deg_per_m=np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))) / length,
    )


def _motion(trajectory: Trajectory, first: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.float64]:
    """``first_from_last`` (segments, 4, 4)."""
    poses = trajectory.world_from_camera
    motion: NDArray[np.float64] = np.linalg.inv(poses[first]) @ poses[last]
    return motion


def _ate_m(truth: Trajectory, estimate: Trajectory, association: Association) -> float:
    offset_m = truth.positions_m[association.truth_rows] - estimate.positions_m[association.estimate_rows]
    return float(np.sqrt((offset_m**2).sum(axis=1).mean()))


def _length_drift(errors: SegmentErrors, length_m: float) -> LengthDrift:
    chosen = errors.length_m == length_m
    if not chosen.any():
        return LengthDrift(length_m, 0, None, None)
    return LengthDrift(
        length_m=length_m,
        segments=int(chosen.sum()),
        t_rel_percent=float(errors.translation[chosen].mean()) * 100.0,
        r_rel_deg_per_100m=float(errors.rotation_deg_per_m[chosen].mean()) * 100.0,
    )


def _check_request(lengths_m: Sequence[float], step: int) -> None:
    if not lengths_m or not all(np.isfinite(length_m) and length_m > 0 for length_m in lengths_m):
        shown = ",".join(f"{length_m:g}" for length_m in lengths_m)
        raise TrajectoryError(f"segment lengths are '{shown}'; give metres above 0, such as --lengths 100,200.")
    if len(set(lengths_m)) != len(lengths_m):
        raise TrajectoryError("a segment length is given twice; give each once, such as --lengths 100,200.")
    if step < 1:
        raise TrajectoryError(f"the step between segments is {step} frames; give --step 1 or more.")


def _no_segment_message(truth: Trajectory, association: Association, lengths_m: Sequence[float]) -> str:
    distance_m = truth.path_distance_m()
    covered_m = float(distance_m[association.truth_rows[-1]] - distance_m[association.truth_rows[0]])
    whole_m = float(distance_m[-1])
    drive = f"the drive is {whole_m:.1f} m long"
    if covered_m < 0.99 * whole_m:
        drive += f" and the estimate covers {covered_m:.1f} m of it"
    if covered_m > min(lengths_m):
        return f"{drive}, but no segment of {min(lengths_m):g} m has both its ends; give more frames or --step 1."
    if covered_m < 0.1:
        return f"{drive}, so it has no drift per metre; evaluate a drive that moves."
    shorter = ",".join(f"{float(f'{covered_m / parts:.2g}'):g}" for parts in (4, 2))
    return f"{drive}, shorter than the shortest segment of {min(lengths_m):g} m; give --lengths {shorter}."
