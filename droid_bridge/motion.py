"""The motion of the camera between frames, and where it leads: constant velocity."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from droid_bridge.lie import se3_exp, se3_inverse, se3_log, se3_orthonormalised

# Stamps that are nanoseconds apart are one moment said twice, and no velocity.
_SHORTEST_STEP_NS = 1_000_000
_LONGEST_STEP_NS = 1_000_000_000


class MotionModel:
    """Keeps the last pose and velocity of the camera.

    Attributes
    ----------
    camera_from_world : (4, 4) float64 on the CPU, the last pose.
    stamp_ns : its time.
    """

    def __init__(self) -> None:
        self.camera_from_world = torch.eye(4, dtype=torch.float64)
        self.stamp_ns = 0
        self._velocity_per_ns = torch.zeros(6, dtype=torch.float64)

    def predicted(self, stamp_ns: int) -> Tensor:
        """Pose (4, 4) at a time, by the last velocity; after a second without a frame that says no more."""
        elapsed_ns = min(stamp_ns - self.stamp_ns, _LONGEST_STEP_NS)
        moved = se3_exp(self._velocity_per_ns * elapsed_ns) @ self.camera_from_world
        return se3_orthonormalised(moved)

    def place(self, camera_from_world: Tensor, stamp_ns: int) -> None:
        """Take over a pose and keep the velocity."""
        self.camera_from_world, self.stamp_ns = camera_from_world.cpu(), stamp_ns

    def move(self, camera_from_world: Tensor, stamp_ns: int) -> None:
        """Take over a pose and the velocity that led there."""
        elapsed_ns = stamp_ns - self.stamp_ns
        if elapsed_ns > 0:
            step = camera_from_world.cpu() @ se3_inverse(self.camera_from_world)
            self._velocity_per_ns = se3_log(step) / max(elapsed_ns, _SHORTEST_STEP_NS)
        self.place(camera_from_world, stamp_ns)

    def step_to(self, camera_from_world: Tensor) -> tuple[float, float]:
        """Distance in the unit of the map and angle in radians from the last pose to another."""
        between = camera_from_world.cpu() @ se3_inverse(self.camera_from_world)
        cosine = 0.5 * (float(between[:3, :3].trace()) - 1)
        return float(torch.linalg.vector_norm(between[:3, 3])), math.acos(min(1.0, max(-1.0, cosine)))

    def rescale(self, factor: float, centre: Tensor) -> None:
        """Follow a map that became larger by a factor about a point (3,) of the world."""
        self._velocity_per_ns[:3] *= factor
        world_from_camera = se3_inverse(self.camera_from_world)
        world_from_camera[:3, 3] = centre + factor * (world_from_camera[:3, 3] - centre)
        self.camera_from_world = se3_inverse(world_from_camera)
