"""Puts an estimate into the world of the ground truth: first pose, scale, SE(3) or Sim(3)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from droid_bridge.errors import TrajectoryError
from droid_bridge.evaluation.association import Association, associate
from droid_bridge.trajectory import Trajectory

AlignMethod = Literal["none", "scale", "se3", "sim3"]
ALIGN_METHODS: tuple[AlignMethod, ...] = get_args(AlignMethod)


@dataclass(frozen=True)
class Similarity:
    """``p_in_target = scale * rotation @ p_in_source + translation_m``, float64."""

    scale: float
    rotation: NDArray[np.float64]
    translation_m: NDArray[np.float64]

    def apply(self, trajectory: Trajectory) -> Trajectory:
        """The trajectory in the target world; the cameras stay rigid, only their paths are scaled."""
        poses = trajectory.world_from_camera.copy()
        poses[:, :3, :3] = self.rotation @ poses[:, :3, :3]
        poses[:, :3, 3] = self.scale * trajectory.positions_m @ self.rotation.T + self.translation_m
        return replace(trajectory, world_from_camera=poses)


def umeyama(target: NDArray[np.float64], source: NDArray[np.float64], with_scale: bool = True) -> Similarity:
    """Least-squares similarity that maps source points onto target points (Umeyama, 1991, equations 34 to 42).

    Parameters
    ----------
    target, source : float64 (points, 3), metres, row by row the same point.
    with_scale : estimate the scale (Sim(3)), or keep 1 (SE(3)).

    Raises
    ------
    TrajectoryError
        If the shapes differ or a scale is asked of points that all coincide.

    Notes
    -----
    Points on one line leave the rotation about that line free; one of the equally good ones is given.
    """
    if target.shape != source.shape or target.ndim != 2 or target.shape[1] != 3 or len(target) == 0:
        raise TrajectoryError(f"alignment got {target.shape} and {source.shape} points; give (points, 3) twice.")
    target_mean, source_mean = target.mean(axis=0), source.mean(axis=0)
    source_variance = float(((source - source_mean) ** 2).sum() / len(source))
    covariance = (target - target_mean).T @ (source - source_mean) / len(source)
    u, singular_values, vt = np.linalg.svd(covariance)
    signs = np.ones(3)
    if np.linalg.det(u) * np.linalg.det(vt) < 0:
        signs[2] = -1.0
    rotation = (u * signs) @ vt
    scale = 1.0
    if with_scale:
        if source_variance <= np.finfo(np.float64).tiny:
            raise TrajectoryError(
                "all poses of the estimate are at one place, so it has no scale; use --align none."
            )
        scale = float(singular_values @ signs) / source_variance
    return Similarity(scale, rotation, target_mean - scale * rotation @ source_mean)


def find_alignment(
    truth: Trajectory,
    estimate: Trajectory,
    method: AlignMethod,
    association: Association | None = None,
) -> Similarity:
    """The transform from the estimate's world to the truth's.

    Parameters
    ----------
    truth, estimate : the two trajectories; only associated poses count.
    method : ``none`` puts the first common pose on the truth's first common pose (the two files may call
        different places their origin; no motion is changed by it), ``scale`` does the same and multiplies the
        path by the least-squares scale about that pose, ``se3`` and ``sim3`` fit all positions (Umeyama).
    association : pairs, if they are known already.

    Raises
    ------
    TrajectoryError
        If the trajectories cannot be associated, or a scale is asked of an estimate that has none.
    """
    pairs = associate(truth, estimate) if association is None else association
    true_m = truth.positions_m[pairs.truth_rows]
    estimated_m = estimate.positions_m[pairs.estimate_rows]
    if method in ("se3", "sim3"):
        return umeyama(true_m, estimated_m, with_scale=method == "sim3")
    true_rotation = truth.world_from_camera[pairs.truth_rows[0], :3, :3]
    estimated_rotation = estimate.world_from_camera[pairs.estimate_rows[0], :3, :3]
    rotation = true_rotation @ np.linalg.inv(estimated_rotation)
    scale = 1.0
    if method == "scale":
        scale = _scale_about_first(true_m - true_m[0], (estimated_m - estimated_m[0]) @ rotation.T)
    return Similarity(scale, rotation, true_m[0] - scale * rotation @ estimated_m[0])


def align(truth: Trajectory, estimate: Trajectory, method: AlignMethod) -> Trajectory:
    """The estimate in the truth's world; `find_alignment` says what each method does and raises."""
    return find_alignment(truth, estimate, method).apply(estimate)


def _scale_about_first(true_m: NDArray[np.float64], estimated_m: NDArray[np.float64]) -> float:
    squared = float((estimated_m**2).sum())
    scale = float((true_m * estimated_m).sum()) / squared if squared > 0 else 0.0
    if scale <= 0:
        raise TrajectoryError(
            "no positive scale puts the estimate's path on the truth's about the first pose; use --align sim3."
        )
    return scale
