"""A constant turn between the camera and the axes that the truth gives it, by where each sees the drive go.

Truth from another sensor (an inertial unit on the roof, say) is told for the camera through a calibration between
the two. A camera that is turned by an angle a against it moves a metre ahead where the truth has it moving sin(a)
aside: half a degree is 0.9 % of t_rel that no odometry is to blame for. What turns the camera about its own way
shows only in curves, and is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from droid_bridge.evaluation.association import Association
from droid_bridge.evaluation.segments import motions
from droid_bridge.trajectory import Trajectory

# Share of the way that lies in the mean direction; a camera that goes to and fro has none.
_LEAST_RESULTANT = 0.9


@dataclass(frozen=True)
class Boresight:
    """The turn.

    Attributes
    ----------
    truth_from_estimate : (3, 3) the least rotation that takes the mean direction of travel, as the estimate's
        camera sees it, to where the truth's camera sees it.
    """

    truth_from_estimate: NDArray[np.float64]

    @property
    def degrees(self) -> tuple[float, float, float]:
        """Rotation vector about the camera's axes: it looks up by the first, to the right by the second."""
        x, y, z = Rotation.from_matrix(self.truth_from_estimate).as_rotvec(degrees=True)
        return float(x), float(y), float(z)

    def taken_from(self, estimate: Trajectory) -> Trajectory:
        """The estimate's path with a camera that looks where the truth's does."""
        poses = estimate.world_from_camera.copy()
        poses[:, :3, :3] = poses[:, :3, :3] @ self.truth_from_estimate.T
        return replace(estimate, world_from_camera=poses)


def find_boresight(truth: Trajectory, estimate: Trajectory, association: Association) -> Boresight | None:
    """The turn between two trajectories; None where one of them does not travel in about one direction."""
    true_way = _direction(truth, association.truth_rows)
    estimated_way = _direction(estimate, association.estimate_rows)
    if true_way is None or estimated_way is None:
        return None
    axis = np.cross(estimated_way, true_way)
    sine = float(np.linalg.norm(axis))
    angle_rad = np.arctan2(sine, float(estimated_way @ true_way))
    turn = Rotation.from_rotvec(axis * (angle_rad / sine) if sine > 0 else np.zeros(3))
    return Boresight(turn.as_matrix())


def _direction(trajectory: Trajectory, rows: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """Mean direction (3,) of the steps between the rows, each in the camera that it starts from."""
    steps_m = motions(trajectory, rows[:-1], rows[1:])[:, :3, 3]
    way_m = float(np.linalg.norm(steps_m, axis=1).sum())
    ahead_m = float(np.linalg.norm(steps_m.sum(axis=0)))
    return None if ahead_m <= _LEAST_RESULTANT * way_m else np.asarray(steps_m.sum(axis=0) / ahead_m)
