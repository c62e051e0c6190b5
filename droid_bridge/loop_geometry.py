"""Whether two keyframes see the same place, and the similarity between them.

Corners of the older keyframe, lifted by its depths, give the newer one's pose by PnP under RANSAC. From there
dense flow matches every cell both ways, and Gauss-Newton fits the seven numbers of ``new_from_old`` to

    the cells of each keyframe where the other sees them        (rotation and translation)
    log of the newer depth over the older one carried across    (scale; seen from one place, motion cannot tell it)

under Cauchy's loss. With s the newer unit per older unit, the newer inverse depths times s are in the older unit,
so both directions are reprojections of one rigid pose. A repeated front fools the corners; it does not fool every
cell of two images and two depth maps at once, so the share of cells that agree decides.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from droid_bridge.expected_motion import expected_coords
from droid_bridge.keyframe_archive import ArchivedKeyframe
from droid_bridge.lie import se3_inverse, se3_retract, sim3_from_parts
from droid_bridge.matching.matcher import CELL_PX, FramePair, Match, Matcher, PairMatch
from droid_bridge.place_recognition import LocalFeatures
from droid_bridge.projection import CellGrid, Reprojection, reproject

DOF = 7
_RATIO_TEST = 0.85
_RANSAC_ROUNDS = 300
_STEPS = 10
_CONVERGED_STEP = 1e-5


@dataclass(frozen=True)
class LoopGeometryOptions:
    """When two keyframes count as one place.

    Attributes
    ----------
    min_corners, max_corner_error_px : corners that must agree on a pose, and how well.
    max_depth_sigma : relative error from which a depth lifts no corner.
    cauchy_cells : residual at which a cell counts half.
    depth_sigma : relative error of the ratio of two depths of one cell, besides their own.
    independent_share : share of the cells whose errors are independent.
    min_agreeing_share : share of all cells whose match and depth must agree, in both directions.
    max_depth_ratio_error : relative error of a cell's depth ratio up to which it agrees.
    position_sigma_m, rotation_sigma_rad, scale_sigma : floor of the error, by what the model leaves out.
    """

    min_corners: int = 20
    max_corner_error_px: float = 4.0
    max_depth_sigma: float = 0.5
    cauchy_cells: float = 0.125
    depth_sigma: float = 0.1
    independent_share: float = 0.02
    min_agreeing_share: float = 0.3
    max_depth_ratio_error: float = 0.25
    position_sigma_m: float = 0.05
    rotation_sigma_rad: float = 1e-3
    scale_sigma: float = 0.01


@dataclass(frozen=True)
class LoopGeometry:
    """One place seen twice.

    Attributes
    ----------
    new_from_old : float64 (4, 4) similarity from the older keyframe to the newer, each in its own unit.
    information : float64 (7, 7) of a left perturbation of it: translation, rotation, log scale.
    agreeing_share : share of the cells that agree.
    """

    new_from_old: NDArray[np.float64]
    information: NDArray[np.float64]
    agreeing_share: float


def pose_from_corners(
    old: ArchivedKeyframe, new: ArchivedKeyframe, camera_matrix: NDArray[np.float64], options: LoopGeometryOptions
) -> NDArray[np.float64] | None:
    """Pose new_from_old (4, 4) in the older unit from matched corners; None where too few agree."""
    pairs = _matched(old.features, new.features)
    if len(pairs) < options.min_corners:
        return None
    points_px = old.features.points_px[pairs[:, 0]]
    inverse_depth, sigma = (_at(grid, points_px) for grid in (old.inverse_depth, old.inverse_depth_sigma))
    known = (inverse_depth > 0) & (sigma < options.max_depth_sigma)
    if known.sum() < options.min_corners:
        return None
    rays = np.concatenate([points_px, np.ones((len(points_px), 1))], axis=1) @ np.linalg.inv(camera_matrix).T
    points = (rays / np.where(known, inverse_depth, 1)[:, None])[known]
    found, turn, shift, inliers = cv2.solvePnPRansac(
        points,
        new.features.points_px[pairs[known, 1]].astype(np.float64),
        camera_matrix,
        None,
        iterationsCount=_RANSAC_ROUNDS,
        reprojectionError=options.max_corner_error_px,
        confidence=0.999,
        flags=cv2.SOLVEPNP_SQPNP,
    )
    if not found or inliers is None or len(inliers) < options.min_corners:
        return None
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = cv2.Rodrigues(turn)[0], shift[:, 0]
    return pose


def _matched(old: LocalFeatures, new: LocalFeatures) -> NDArray[np.int64]:
    """Pairs (n, 2) of corners that are each other's nearest and clearly nearer than the second."""
    if min(len(old.descriptors), len(new.descriptors)) < 2:
        return np.zeros((0, 2), np.int64)
    matcher = cv2.BFMatcher(cv2.NORM_HAMMING)
    best_of_new = {match.queryIdx: match.trainIdx for match in matcher.match(new.descriptors, old.descriptors)}
    pairs = [
        (first.queryIdx, first.trainIdx)
        for first, second in matcher.knnMatch(old.descriptors, new.descriptors, k=2)
        if first.distance < _RATIO_TEST * second.distance and best_of_new[first.trainIdx] == first.queryIdx
    ]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _at(grid: NDArray[np.float16], points_px: NDArray[np.float32]) -> NDArray[np.float64]:
    """Values (n,) of the cells that image points (n, 2) lie in."""
    row, column = (
        np.clip((points_px[:, axis] + 0.5) // CELL_PX, 0, size - 1).astype(int)
        for axis, size in ((1, grid.shape[0]), (0, grid.shape[1]))
    )
    values: NDArray[np.float64] = grid[row, column].astype(np.float64)
    return values


class LoopAligner:
    """Fits the similarity between two keyframes to all of their cells."""

    def __init__(self, matcher: Matcher[Any], grid: CellGrid, options: LoopGeometryOptions) -> None:
        self._matcher = matcher
        self._grid = grid
        self._options = options

    def align(
        self,
        old: ArchivedKeyframe,
        new: ArchivedKeyframe,
        gray_of: Callable[[int], NDArray[np.uint8]],
        start: NDArray[np.float64],
    ) -> LoopGeometry | None:
        """The similarity from a start pose new_from_old (4, 4) in the older unit; None where they do not agree."""
        depths = torch.from_numpy(np.stack([k.inverse_depth.astype(np.float32).ravel() for k in (old, new)]))
        match = self._match(depths, torch.from_numpy(start), gray_of(old.number), gray_of(new.number))
        flow = _Flow.of(match, self._grid)
        fit = _Fit(torch.from_numpy(start), 0.0)
        fit = _Fit(fit.pose, self._log_scale(fit, depths, flow))
        information = np.zeros((DOF, DOF))
        for _ in range(_STEPS):
            fit, information, change = self._step(fit, depths, flow)
            if change < _CONVERGED_STEP:
                break
        share = self._agreeing_share(fit, depths, flow)
        if share < self._options.min_agreeing_share:
            return None
        scale = math.exp(fit.log_scale)
        similarity = sim3_from_parts(torch.tensor(scale), fit.pose[:3, :3], scale * fit.pose[:3, 3])
        return LoopGeometry(similarity.numpy(), self._with_floor(information, scale), share)

    def _match(
        self, depths: Tensor, new_from_old: Tensor, old_gray: NDArray[np.uint8], new_gray: NDArray[np.uint8]
    ) -> PairMatch:
        both = torch.stack([new_from_old, se3_inverse(new_from_old)])
        # The newer depths start in the older unit; a few percent of scale move no search out of its reach.
        expected = expected_coords(both, depths, self._grid)
        first, second = (self._matcher.prepare(np.repeat(g[..., None], 3, axis=2)) for g in (old_gray, new_gray))
        return self._matcher.match([FramePair(first, second, expected[0], expected[1])])[0]

    def _reprojected(self, fit: _Fit, depths: Tensor) -> tuple[Reprojection, Tensor]:
        """Both directions, and the depths (2, cells) of both keyframes in the older unit."""
        poses = torch.stack([torch.eye(4, dtype=torch.float64), fit.pose])
        in_old_unit = depths * torch.tensor([[1.0], [math.exp(fit.log_scale)]])
        source, target = torch.tensor([0, 1]), torch.tensor([1, 0])
        return reproject(poses, in_old_unit, source, target, self._grid), in_old_unit

    def _log_depth_ratio(self, fit: _Fit, depths: Tensor, flow: _Flow) -> tuple[Tensor, Tensor]:
        """Log of the newer depth over the older one carried across, in the older unit, and where it is known."""
        rep, in_old_unit = self._reprojected(fit, depths)
        camera = self._grid.camera
        column = flow.coords[0, 0].round().clamp(0, camera.width_px - 1).long()
        row = flow.coords[0, 1].round().clamp(0, camera.height_px - 1).long()
        measured = in_old_unit[1][row * camera.width_px + column]
        carried = in_old_unit[0] / rep.depth_ratio[0].clamp(min=1e-3)
        known = flow.matched[0] & (rep.depth_ratio[0] > 0.05) & (measured > 0)
        ratio = torch.log(carried.clamp(min=1e-6)) - torch.log(measured.clamp(min=1e-6))
        return torch.where(known, ratio, torch.zeros_like(ratio)), known

    def _log_scale(self, fit: _Fit, depths: Tensor, flow: _Flow) -> float:
        """The newer unit per older unit by the median of the depth ratios."""
        ratio, known = self._log_depth_ratio(fit, depths, flow)
        return fit.log_scale + float(ratio[known].median()) if bool(known.any()) else fit.log_scale

    def _step(self, fit: _Fit, depths: Tensor, flow: _Flow) -> tuple[_Fit, NDArray[np.float64], float]:
        """One Gauss-Newton step on pose and log scale; the information is that of all independent cells."""
        rep, in_old_unit = self._reprojected(fit, depths)
        by_new = rep.pose_jacobian[0]
        by_source = -torch.einsum("kdc,km->mdc", rep.pose_jacobian[1], rep.source_adjoint[1].to(by_new.dtype))
        by_scale = rep.inverse_depth_jacobian[1] * in_old_unit[1]
        zero = torch.zeros_like(by_scale)[None]
        jacobian = torch.cat(
            [
                torch.cat([by_new, zero]).flatten(1),
                torch.cat([by_source, by_scale[None]]).flatten(1),
            ],
            dim=1,
        ).double()
        residual = (flow.coords - rep.coords).double()
        seen = flow.matched & (rep.depth_ratio > 0.05)
        norm2 = (residual**2).sum(dim=1) / self._options.cauchy_cells**2
        weight = flow.weight.double() * (seen / (1 + norm2))[:, None]
        weight = (self._options.independent_share * weight).flatten(1).flatten()
        normal = (jacobian * weight) @ jacobian.T
        rhs = (jacobian * weight) @ residual.flatten(1).flatten()
        ratio, known = self._log_depth_ratio(fit, depths, flow)
        sigma = self._options.depth_sigma
        pull = self._options.independent_share * known / (sigma**2 * (1 + (ratio / (2 * sigma)) ** 2))
        normal[6, 6] += float(pull.sum())
        rhs[6] += float((pull * ratio).sum())
        damped = normal + 1e-9 * torch.diag(normal.diagonal().clamp(min=1e-6))
        change = torch.linalg.solve(damped, rhs)
        moved = _Fit(se3_retract(fit.pose, change[:6]), fit.log_scale + float(change[6]))
        return moved, normal.numpy(), float(change.abs().max())

    def _agreeing_share(self, fit: _Fit, depths: Tensor, flow: _Flow) -> float:
        """Share of the cells whose match and depth fit, the lower of both directions for the match."""
        rep, _ = self._reprojected(fit, depths)
        norm = torch.linalg.vector_norm(flow.coords - rep.coords, dim=1)
        fits = flow.matched & (rep.depth_ratio > 0.05) & (norm < 4 * self._options.cauchy_cells)
        ratio, known = self._log_depth_ratio(fit, depths, flow)
        deep = known & (ratio.abs() < self._options.max_depth_ratio_error)
        return min(float((fits[0] & deep).double().mean()), float(fits[1].double().mean()))

    def _with_floor(self, information: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
        """Information of a left perturbation of the similarity, whose translation is in the newer unit."""
        options = self._options
        to_old_unit = np.diag([1 / scale] * 3 + [1.0] * 4)
        covariance = np.linalg.inv(to_old_unit @ (information + 1e-6 * np.eye(DOF)) @ to_old_unit)
        floor = [options.position_sigma_m * scale] * 3 + [options.rotation_sigma_rad] * 3 + [options.scale_sigma]
        return np.asarray(np.linalg.inv(covariance + np.diag(np.square(floor))), dtype=np.float64)


@dataclass(frozen=True)
class _Fit:
    """``pose`` (4, 4) new_from_old in the older unit, and the log of the newer unit per older unit."""

    pose: Tensor
    log_scale: float


@dataclass(frozen=True)
class _Flow:
    """Both directions of a match as tensors: coords and weight (2, 2, cells), matched (2, cells)."""

    coords: Tensor
    weight: Tensor
    matched: Tensor

    @classmethod
    def of(cls, match: PairMatch, grid: CellGrid) -> _Flow:
        both: tuple[Match, Match] = (match.forward, match.backward)
        coords, weight = (
            torch.from_numpy(np.stack([getattr(m, name) for m in both]))
            .to(grid.rays)
            .permute(0, 3, 1, 2)
            .flatten(2)
            for name in ("coords", "weight")
        )
        return cls(coords, weight, weight.amax(dim=1) > 0)
