"""How far an adjusted pose may be off: from the normal equations to a covariance, and into the axes of a robot.

An error e of a pose is six numbers, translation before rotation, in the axes of the camera:
``camera_from_world_true = se3_exp(e) @ camera_from_world``.

Where an adjustment ends, the information of its poses is the reduced camera system S of its normal equations: the
Schur complement took out every depth, and inverting S marginalises the scale states. Matches are weighed by what
the matcher thinks of them, so S is set right by what they left over, the variance factor of least squares:

    Sigma = s^2 S^-1,    s^2 = sum of weighted squared residuals / (phi (coordinates - depths) - 6 poses),

phi being the share of the cells that err independently. Sigma is relative to the poses that were held. How it adds
up along the way is in ``covariance_chain``. float64 throughout.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from droid_bridge.lie import se3_adjoint, se3_inverse, skew

# A pose that nothing fixes is still somewhere: within a kilometre. Rounding leaves as much beside large ones.
_LEAST_INFORMATION = 1e-6
_ROUNDING = 1e-9
_NANOSECONDS_PER_SECOND = 1e9


@dataclass(frozen=True)
class PoseInformation:
    """What an adjustment knows of the poses that it moved, before it was damped.

    Attributes
    ----------
    system : (6 poses + others, the same) reduced normal matrix, poses first, each cell counted by its share.
    poses : how many.
    squares : sum of the weighted squared residuals, each counted by its share.
    redundancy : independent observations beyond the unknowns.
    """

    system: Tensor
    poses: int
    squares: Tensor | float
    redundancy: Tensor | float

    @property
    def variance_factor(self) -> float:
        """How much larger the squared residuals are than their weights say, s^2."""
        return float(self.squares) / max(float(self.redundancy), 1.0)

    def covariance(self) -> Tensor:
        """The covariance (6 poses, 6 poses) of the poses, on the CPU; positive definite whatever the system."""
        system = self.system.double().cpu()
        if not (bool(torch.isfinite(system).all()) and math.isfinite(self.variance_factor)):
            return torch.eye(6 * self.poses, dtype=torch.float64) / _LEAST_INFORMATION
        values, vectors = torch.linalg.eigh(system)
        least = max(_LEAST_INFORMATION, _ROUNDING * float(values[-1]))
        of_poses = vectors[: 6 * self.poses]
        covariance: Tensor = self.variance_factor * (of_poses / values.clamp(min=least)) @ of_poses.mT
        return covariance


class WindowCovariance:
    """The poses of an adjusted window and their joint covariance, relative to the last one that was held.

    Parameters
    ----------
    frame_indices : of its frames, oldest first.
    held : how many of them did not move.
    camera_from_world : (frames, 4, 4) their poses.
    covariance : (6 free poses, 6 free poses) of the others.
    """

    def __init__(
        self, frame_indices: Sequence[int], held: int, camera_from_world: Tensor, covariance: Tensor
    ) -> None:
        self.anchor = frame_indices[held - 1]
        self._pose_of = dict(zip(frame_indices, camera_from_world.cpu(), strict=True))
        self._row_of = {index: 6 * k for k, index in enumerate(frame_indices[held:])}
        self._covariance = covariance

    @property
    def free(self) -> int:
        """How many of the poses moved."""
        return len(self._row_of)

    def rescaled(self, factor: float) -> WindowCovariance:
        """The same in a world that became larger by a factor about its origin."""
        poses = torch.stack(list(self._pose_of.values()))
        poses[:, :3, 3] *= factor
        size = rescaling(factor).repeat(self.free)
        held = len(self._pose_of) - self.free
        return WindowCovariance(list(self._pose_of), held, poses, size[:, None] * self._covariance * size)

    def between(self, new: int, old: int) -> Tensor:
        """``new_from_old`` (4, 4) of two frames."""
        new_from_old: Tensor = self._pose_of[new] @ se3_inverse(self._pose_of[old])
        return new_from_old

    def block(self, first: int, second: int) -> Tensor:
        """The covariance (6, 6) between two frames; zero where one was held."""
        if first not in self._row_of or second not in self._row_of:
            return torch.zeros(6, 6, dtype=torch.float64)
        row, column = self._row_of[first], self._row_of[second]
        return self._covariance[row : row + 6, column : column + 6]

    def relative(self, new: int, old: int) -> Tensor:
        """The covariance (6, 6) of the motion from one frame to another."""
        adjoint = se3_adjoint(self.between(new, old))
        shared = adjoint @ self.block(old, new)
        return self.block(new, new) - shared - shared.mT + adjoint @ self.block(old, old) @ adjoint.mT


@dataclass(frozen=True)
class MotionCovariance:
    """How far an answer of the front end may be off, in the terms of the module.

    Attributes
    ----------
    of_pose : (6, 6) float64, of the pose in its world.
    of_step : (6, 6) float64, of the motion since the frame before.
    now_from_before : (4, 4) float64, that motion as it is known now.
    elapsed_ns : the time it took; 0 for the first frame of all.
    """

    of_pose: NDArray[np.float64]
    of_step: NDArray[np.float64]
    now_from_before: NDArray[np.float64]
    elapsed_ns: int

    def of_position(self, world_from_camera: NDArray[np.float64]) -> NDArray[np.float64]:
        """That of position and turn (6, 6), along and about the fixed axes of the world: m^2, m rad and rad^2.

        From the definition of e, ``position_true = position - R e_t`` and ``R_true = exp(-R e_r) R``.
        """
        turn = np.kron(np.eye(2), world_from_camera[:3, :3])
        return _symmetric(turn @ self.of_pose @ turn.T)

    def of_velocity(self) -> NDArray[np.float64]:
        """That of the mean velocity and turning rate over the step (6, 6), along the axes of the camera now.

        The velocity is ``-t`` over the time, with t the translation of ``now_from_before``, which is off by
        ``e_t - t x e_r``.
        """
        if self.elapsed_ns <= 0:
            return np.eye(6) / _LEAST_INFORMATION
        by_error = np.eye(6)
        by_error[:3, 3:] = -skew(torch.from_numpy(self.now_from_before[:3, 3].copy())).numpy()
        return _symmetric(by_error @ self.of_step @ by_error.T / (self.elapsed_ns / _NANOSECONDS_PER_SECOND) ** 2)


def rescaling(factor: float) -> Tensor:
    """What an error (6,) is multiplied by where the world becomes larger by a factor."""
    return torch.tensor([factor] * 3 + [1.0] * 3, dtype=torch.float64)


def _symmetric(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(0.5 * (covariance + covariance.T), dtype=np.float64)
