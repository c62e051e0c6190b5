"""Absolute and relative pose error, as the TUM benchmark defines them and evo computes them.

Sturm et al., "A benchmark for the evaluation of RGB-D SLAM systems" (IROS 2012): ATE is the root mean square
distance of associated positions; RPE is what is left of the estimate's motion over a fixed number of frames once
the true motion is taken away, its translation and its angle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from droid_bridge.errors import TrajectoryError
from droid_bridge.evaluation.alignment import ALIGN_METHODS, AlignMethod, find_alignment
from droid_bridge.evaluation.association import Association
from droid_bridge.evaluation.segments import motions
from droid_bridge.trajectory import Trajectory


@dataclass(frozen=True)
class RelativePoseError:
    """RPE over all pairs of common poses that are ``delta_frames`` apart.

    Attributes
    ----------
    delta_frames, pairs : common poses from one end to the other, and how many such pairs there are.
    translation_rmse_m, translation_mean_m, translation_max_m : metres over ``delta_frames``.
    rotation_rmse_deg, rotation_mean_deg, rotation_max_deg : degrees over ``delta_frames``.
    """

    delta_frames: int
    pairs: int
    translation_rmse_m: float
    translation_mean_m: float
    translation_max_m: float
    rotation_rmse_deg: float
    rotation_mean_deg: float
    rotation_max_deg: float


def absolute_error_m(truth: Trajectory, aligned: Trajectory, association: Association) -> float:
    """ATE: root mean square distance of associated positions, metres, of an estimate that is aligned already."""
    offset_m = truth.positions_m[association.truth_rows] - aligned.positions_m[association.estimate_rows]
    return float(np.sqrt((offset_m**2).sum(axis=1).mean()))


def absolute_errors_m(
    truth: Trajectory, estimate: Trajectory, association: Association
) -> dict[AlignMethod, float | None]:
    """ATE after each alignment, metres; None where an estimate has no such alignment (it stands still, say)."""
    errors_m: dict[AlignMethod, float | None] = {}
    for method in ALIGN_METHODS:
        try:
            alignment = find_alignment(truth, estimate, method, association)
        except TrajectoryError:
            errors_m[method] = None
            continue
        errors_m[method] = absolute_error_m(truth, alignment.apply(estimate), association)
    return errors_m


def relative_pose_error(
    truth: Trajectory, aligned: Trajectory, association: Association, delta_frames: int = 1
) -> RelativePoseError | None:
    """RPE of an estimate that is aligned already; None where no two common poses are so far apart.

    Raises
    ------
    TrajectoryError
        If ``delta_frames`` is below 1.
    """
    if delta_frames < 1:
        raise TrajectoryError(f"the RPE is asked for over {delta_frames} frames; give --rpe-delta 1 or more.")
    if len(association.truth_rows) <= delta_frames:
        return None
    true_motion = motions(truth, association.truth_rows[:-delta_frames], association.truth_rows[delta_frames:])
    estimated_motion = motions(
        aligned, association.estimate_rows[:-delta_frames], association.estimate_rows[delta_frames:]
    )
    error = np.linalg.inv(true_motion) @ estimated_motion
    distance_m = np.linalg.norm(error[:, :3, 3], axis=1)
    # The trace's arc cosine turns the seventh digit of a file's rotations into hundredths of a degree.
    angle_deg = np.degrees(Rotation.from_matrix(error[:, :3, :3]).magnitude())
    return RelativePoseError(
        delta_frames=delta_frames,
        pairs=len(error),
        translation_rmse_m=float(np.sqrt((distance_m**2).mean())),
        translation_mean_m=float(distance_m.mean()),
        translation_max_m=float(distance_m.max()),
        rotation_rmse_deg=float(np.sqrt((angle_deg**2).mean())),
        rotation_mean_deg=float(angle_deg.mean()),
        rotation_max_deg=float(angle_deg.max()),
    )
