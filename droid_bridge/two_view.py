"""The first relative pose and depths where nothing metric is known: the essential matrix of one pair of frames.

Gauss-Newton from a flat scene falls into wrong minima when the camera moves forward; five-point estimation
(Nister, PAMI 2004) under RANSAC, as OpenCV has it, starts it in the right one.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from droid_bridge.matching.matcher import Match
from droid_bridge.projection import CellGrid

_MIN_MATCHES = 50
_MIN_INLIER_SHARE = 0.5
_OUTLIER_CELLS = 0.1
_MIN_PARALLAX_CELLS = 0.25


@dataclass(frozen=True)
class TwoView:
    """Geometry of two frames up to scale.

    Attributes
    ----------
    second_from_first : (4, 4) float64, with a translation of length 1.
    inverse_depth : (cells,) of the first frame in the same unit; NaN where it is not known.
    """

    second_from_first: Tensor
    inverse_depth: Tensor

    def scaled_to(self, median_depth: float) -> TwoView:
        """The same geometry in the unit that gives the known cells this median depth."""
        known = self.inverse_depth[torch.isfinite(self.inverse_depth)]
        unit = float(known.median()) * median_depth
        pose = self.second_from_first.clone()
        pose[:3, 3] *= unit
        return TwoView(pose, self.inverse_depth / unit)


def estimate_two_view(forward: Match, grid: CellGrid) -> TwoView | None:
    """Relative pose and depths from the cells of the first frame matched in the second.

    None where the matches agree on no geometry, or show no motion but rotation.
    """
    matched = forward.weight.reshape(-1, 2).min(axis=1) > 0
    if matched.sum() < _MIN_MATCHES:
        return None
    first = grid.coords.T.cpu().double().numpy()[matched]
    second = forward.coords.reshape(-1, 2)[matched].astype(np.float64)
    intrinsics = grid.camera.matrix()
    essential, inliers = cv2.findEssentialMat(
        first, second, intrinsics, method=cv2.RANSAC, prob=0.9999, threshold=_OUTLIER_CELLS
    )
    if essential is None or essential.shape != (3, 3) or inliers.mean() < _MIN_INLIER_SHARE:
        return None
    _, rotation, translation, _ = cv2.recoverPose(essential, first, second, intrinsics, mask=inliers.copy())
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, translation[:, 0]

    rays = grid.rays.T.cpu().double().numpy()
    seen = (
        np.concatenate([forward.coords.reshape(-1, 2), np.ones((len(rays), 1), np.float32)], axis=1)
        @ np.linalg.inv(intrinsics).T
    )
    inverse_depth = np.full(len(rays), np.nan)
    if _median_parallax_cells(rays[matched], second, rotation, intrinsics) < _MIN_PARALLAX_CELLS:
        return None
    agreeing = np.flatnonzero(matched)[inliers[:, 0] > 0]
    inverse_depth[agreeing] = _triangulated(rays[agreeing], seen[agreeing], pose)
    if np.isfinite(inverse_depth).sum() < _MIN_MATCHES:
        return None
    return TwoView(torch.from_numpy(pose).to(grid.rays.device), torch.from_numpy(inverse_depth).to(grid.rays))


def _median_parallax_cells(
    rays: NDArray[np.float64],
    second: NDArray[np.float64],
    rotation: NDArray[np.float64],
    intrinsics: NDArray[np.float64],
) -> float:
    """Median motion that the rotation does not explain, in cells."""
    turned = rays @ rotation.T @ intrinsics.T
    return float(np.median(np.linalg.norm(second - turned[:, :2] / turned[:, 2:], axis=1)))


def _triangulated(
    rays: NDArray[np.float64],
    seen: NDArray[np.float64],
    pose: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Inverse depths d (n,) by least squares of ``seen x (R ray + d t) = 0``, for rays and seen (n, 3)."""
    at_infinity = np.cross(seen, rays @ pose[:3, :3].T)
    by_inverse_depth = np.cross(seen, pose[:3, 3])
    inverse_depth = -(at_infinity * by_inverse_depth).sum(axis=1) / (by_inverse_depth**2).sum(axis=1).clip(1e-12)
    return np.where(inverse_depth > 1e-6, inverse_depth, np.nan)
