"""Relative pose errors over segments of a drive: what KITTI's drift is the mean of.

KITTI (Geiger et al., CVPR 2012): for every tenth frame and every length, the segment runs to the first frame
whose true path distance exceeds the length; its error is the relative pose of the estimate against that of the
truth, per length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from droid_bridge.errors import TrajectoryError
from droid_bridge.evaluation.association import Association
from droid_bridge.trajectory import Trajectory

KITTI_LENGTHS_M: tuple[float, ...] = (100, 200, 300, 400, 500, 600, 700, 800)
KITTI_STEP = 10
KITTI_FRAME_PERIOD_S = 0.1
"""The time between frames that KITTI's own tool takes for its error by speed."""


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

    def mean_over(self, chosen: NDArray[np.bool_]) -> tuple[float | None, float | None]:
        """t_rel (percent) and r_rel (degrees per 100 m) of the chosen segments; None where there are none."""
        if not chosen.any():
            return None, None
        return (
            float(self.translation[chosen].mean()) * 100.0,
            float(self.rotation_deg_per_m[chosen].mean()) * 100.0,
        )

    def speed_m_per_s(
        self, truth: Trajectory, frame_period_s: float = KITTI_FRAME_PERIOD_S
    ) -> NDArray[np.float64]:
        """Mean speed over each segment: its length over its time, as KITTI's tool has it.

        Times are the truth's stamps where it has them, else its frame numbers times ``frame_period_s``.
        """
        if truth.stamps_ns is not None:
            seconds = (truth.stamps_ns[self.truth_last] - truth.stamps_ns[self.truth_first]) / 1e9
        else:
            frames = np.arange(len(truth)) if truth.frame_indices is None else truth.frame_indices
            seconds = np.float64(frame_period_s) * (frames[self.truth_last] - frames[self.truth_first])
        return np.asarray(self.length_m / seconds, dtype=np.float64)


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
    error = np.linalg.inv(motions(estimate, estimate_first, estimate_last)) @ motions(
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


def motions(trajectory: Trajectory, first: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.float64]:
    """``first_from_last`` (segments, 4, 4) between rows of a trajectory."""
    poses = trajectory.world_from_camera
    motion: NDArray[np.float64] = np.linalg.inv(poses[first]) @ poses[last]
    return motion


def check_segments(lengths_m: Sequence[float], step: int, frame_period_s: float) -> None:
    """Refuse lengths, steps and periods that make no segments.

    Raises
    ------
    TrajectoryError
        If one is out of range; it names the option.
    """
    if not lengths_m or not all(np.isfinite(length_m) and length_m > 0 for length_m in lengths_m):
        shown = ",".join(f"{length_m:g}" for length_m in lengths_m)
        raise TrajectoryError(f"segment lengths are '{shown}'; give metres above 0, such as --lengths 100,200.")
    if len(set(lengths_m)) != len(lengths_m):
        raise TrajectoryError("a segment length is given twice; give each once, such as --lengths 100,200.")
    if step < 1:
        raise TrajectoryError(f"the step between segments is {step} frames; give --step 1 or more.")
    if not (np.isfinite(frame_period_s) and frame_period_s > 0):
        raise TrajectoryError(
            f"the time between frames is {frame_period_s:g} s; give seconds above 0, such as --frame-period 0.1."
        )


def no_segment_message(truth: Trajectory, association: Association, lengths_m: Sequence[float]) -> str:
    """Why there is no segment, and lengths that would have some."""
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
