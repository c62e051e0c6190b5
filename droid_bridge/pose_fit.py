"""The pose of one frame against the depths of another: Gauss-Newton on six numbers.

A bundle adjustment of two frames with every depth held gives the same answer; on systems this small its time goes
into calling, not computing, so this one is plain numpy over the matched cells alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from droid_bridge.pose_covariance import PoseInformation
from metric3d_ros.camera import PinholeCamera

_SEEN_FROM_DEPTH_RATIO = 0.05
_DAMPING = 1e-6
_RELATIVE_DAMPING = 1e-4
_SMALLEST_STEP = 1e-7


@dataclass(frozen=True)
class FittedPose:
    """A pose, and what is known of it where its last step started.

    Attributes
    ----------
    target_from_source : (4, 4) the pose; the last good one where a step had no finite solution.
    system : (6, 6) normal matrix of the step, undamped.
    squares : sum of the weighted squared residuals.
    observations : how many coordinates counted.
    """

    target_from_source: NDArray[np.float64]
    system: NDArray[np.float64]
    squares: float
    observations: int

    def information(self, independent_share: float) -> PoseInformation:
        """What is known of the pose, where that share of the cells errs independently."""
        return PoseInformation(
            torch.from_numpy(independent_share * self.system),
            1,
            independent_share * self.squares,
            independent_share * self.observations - 6,
        )


def fit_pose(
    target_from_source: NDArray[np.float64],
    rays: NDArray[np.float64],
    inverse_depth: NDArray[np.float64],
    coords: NDArray[np.float64],
    weight: NDArray[np.float64],
    camera: PinholeCamera,
    cauchy_scale_cells: float,
    iterations: int,
    min_depth_ratio: float,
) -> FittedPose:
    """Move a relative pose so that cells reproject to where they were found.

    Minimises ``sum w rho(|u* - u(T, d)|)`` over T, rho being Cauchy's loss (see ``bundle_adjustment``).

    Parameters
    ----------
    target_from_source : (4, 4) where to start.
    rays : (3, cells) of the source with z = 1.
    inverse_depth : (cells,) of the source, 1/m.
    coords, weight : (2, cells) where they were found in the target, in cells, and the information of it, 1/cell^2.
    camera : intrinsics in cells.
    cauchy_scale_cells : residual at which a match counts half.
    iterations : Gauss-Newton steps at most.
    min_depth_ratio : cells seen nearer than this share of their depth in the source do not count.
    """
    matched = weight.max(axis=0) > 0
    rays, inverse_depth = rays[:, matched], inverse_depth[matched]
    coords, weight = coords[:, matched], weight[:, matched]
    rotation, translation = target_from_source[:3, :3].copy(), target_from_source[:3, 3].copy()
    for _ in range(iterations):
        points = rotation @ rays + translation[:, None] * inverse_depth
        counts = points[2] > max(min_depth_ratio, _SEEN_FROM_DEPTH_RATIO)
        z = np.where(counts, points[2], 1.0)
        x, y, k = points[0] / z, points[1] / z, inverse_depth / z
        residual_u = coords[0] - (camera.fx * x + camera.cx)
        residual_v = coords[1] - (camera.fy * y + camera.cy)
        robust = counts / (1 + (residual_u**2 + residual_v**2) / cauchy_scale_cells**2)
        zero = np.zeros_like(k)
        by_pose_u = camera.fx * np.stack([k, zero, -x * k, -x * y, 1 + x * x, -y])
        by_pose_v = camera.fy * np.stack([zero, k, -y * k, -1 - y * y, x * y, x])
        weighted_u, weighted_v = by_pose_u * (weight[0] * robust), by_pose_v * (weight[1] * robust)
        system = weighted_u @ by_pose_u.T + weighted_v @ by_pose_v.T
        damped = system + np.diag(_DAMPING + _RELATIVE_DAMPING * system.diagonal())
        step = np.linalg.solve(damped, weighted_u @ residual_u + weighted_v @ residual_v)
        if not np.isfinite(step).all():
            break
        turn = cv2.Rodrigues(step[3:])[0]
        rotation, translation = turn @ rotation, turn @ translation + step[:3]
        if np.abs(step).max() < _SMALLEST_STEP:
            break
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, translation
    squares = float((robust * (weight[0] * residual_u**2 + weight[1] * residual_v**2)).sum())
    return FittedPose(pose, system, squares, int(np.count_nonzero(robust * weight)))
