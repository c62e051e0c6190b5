"""The local scale of an estimate along the drive, and how it drifts.

The local scale at a place is the length of the estimate's chord over the length of the truth's, the chord being
the straight line to the pose some 10 m of true path further on. Chords, not summed frame-to-frame steps: the
jitter of single poses lengthens every step and would pass for scale, while over 10 m it averages out. Heading
errors do not change a chord. 1 is metric; scale drift is ``scale_end / scale_start``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from droid_bridge.errors import TrajectoryError
from droid_bridge.evaluation.association import Association, associate
from droid_bridge.trajectory import Trajectory

CHORD_M = 10.0
WINDOW_FRACTION = 0.1
SHORTEST_WINDOW_M = 20.0


@dataclass(frozen=True)
class ScaleOverDistance:
    """The chords of a drive, ordered along it; all arrays float64 (chords,).

    Attributes
    ----------
    start_m, end_m : where each chord starts and ends, metres of true path.
    true_m, estimated_m : the lengths of each chord in the truth and in the estimate.
    """

    start_m: NDArray[np.float64]
    end_m: NDArray[np.float64]
    true_m: NDArray[np.float64]
    estimated_m: NDArray[np.float64]

    def curve(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Distance (metres of true path, the chord's middle) and local scale, leaving out U-turns.

        A chord much shorter than its path says little about scale, so those under half of it are left out.
        """
        straight = self.true_m > 0.5 * (self.end_m - self.start_m)
        middle_m = 0.5 * (self.start_m + self.end_m)
        return middle_m[straight], self.estimated_m[straight] / self.true_m[straight]

    def over_first(self, fraction: float = WINDOW_FRACTION) -> float:
        """Scale over the first part of the covered path: summed chords of the estimate over the truth's.

        The part is ``fraction`` of the path, at least 20 m, and never less than the first chord.
        """
        inside = self.end_m <= self.start_m[0] + self._window_m(fraction)
        inside[0] = True
        return self._ratio(inside)

    def over_last(self, fraction: float = WINDOW_FRACTION) -> float:
        """Scale over the last part of the covered path, as `over_first`."""
        inside = self.start_m >= self.end_m[-1] - self._window_m(fraction)
        inside[-1] = True
        return self._ratio(inside)

    def _window_m(self, fraction: float) -> float:
        return max(fraction * float(self.end_m[-1] - self.start_m[0]), SHORTEST_WINDOW_M)

    def _ratio(self, chosen: NDArray[np.bool_]) -> float:
        true_m = float(self.true_m[chosen].sum())
        if true_m <= 0:
            raise TrajectoryError(
                "the truth ends its chords where they began, so there is no scale; drive further."
            )
        return float(self.estimated_m[chosen].sum()) / true_m


def scale_over_distance(
    truth: Trajectory, estimate: Trajectory, association: Association | None = None
) -> ScaleOverDistance:
    """Chords of about 10 m (half the drive where it is under 20 m) from every common pose.

    Raises
    ------
    TrajectoryError
        If the trajectories cannot be associated or the truth does not move between common poses.
    """
    pairs = associate(truth, estimate) if association is None else association
    distance_m = truth.path_distance_m()[pairs.truth_rows]
    covered_m = float(distance_m[-1] - distance_m[0])
    if covered_m <= 0:
        raise TrajectoryError(
            "the truth does not move over the estimate's frames, so there is no scale; drive further."
        )
    chord_m = min(CHORD_M, 0.5 * covered_m)
    ends = np.searchsorted(distance_m, distance_m + chord_m)
    starts = np.flatnonzero(ends < len(distance_m))
    ends = ends[starts]
    true_m = truth.positions_m[pairs.truth_rows]
    estimated_m = estimate.positions_m[pairs.estimate_rows]
    return ScaleOverDistance(
        start_m=distance_m[starts],
        end_m=distance_m[ends],
        true_m=np.linalg.norm(true_m[ends] - true_m[starts], axis=1),
        estimated_m=np.linalg.norm(estimated_m[ends] - estimated_m[starts], axis=1),
    )


def scale_from_first_fraction(truth: Trajectory, estimate: Trajectory, fraction: float = WINDOW_FRACTION) -> float:
    """One factor for an estimate whose scale is free, from the first part of the true path (at least 20 m).

    The inverse of the estimate's scale over that part, so that the scaled estimate's ``scale_start`` is 1 with
    the default fraction, and its ``scale_end`` is its scale drift.

    Raises
    ------
    TrajectoryError
        If the trajectories cannot be associated or one does not move in that part.
    """
    scale = scale_over_distance(truth, estimate).over_first(fraction)
    if not (np.isfinite(scale) and scale > 0):
        raise TrajectoryError(
            "the estimate does not move in the first part of the drive, so it has no scale there."
        )
    return 1.0 / scale


def scaled(trajectory: Trajectory, factor: float) -> Trajectory:
    """The trajectory with all positions multiplied, about the world's origin."""
    poses = trajectory.world_from_camera.copy()
    poses[:, :3, 3] *= factor
    return Trajectory(poses, trajectory.frame_indices, trajectory.stamps_ns)
