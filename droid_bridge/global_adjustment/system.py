"""One Gauss-Newton step on all poses and the camera's correction, then on all depths.

Unknown are the poses T_i, the inverse depths d_ic of all cells and k, what is left of the lens (``lens``).
Minimised is

    sum_e w_e rho(|u*_e(k) - u_e(T, d, k)|) + (k / sigma)^2,

with u* the matched coordinates and u the reprojection, both as an ideal lens has them, and rho Cauchy's loss. The
depths of a keyframe couple to its own pose, to those of the keyframes it was matched to and to k, and to no other
depth: keyframe by keyframe they are eliminated (``bundle_adjustment``), and what is left is a sparse system of
six unknowns a keyframe with a border of one. The depths then take their own step from the new poses, so nothing
that is as large as all cells times all neighbours is ever held. Sums over cells are float32, the reduced system
is float64.

Only pairs that turned against each other say anything of k. What a turn moves hangs on no depth, so there a lens
shows; of two images along one line it is told from a biased match by next to nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csc_matrix, diags
from scipy.sparse.linalg import splu
from torch import Tensor

from droid_bridge.global_adjustment.lens import Lens
from droid_bridge.global_adjustment.matches import KeyframeMatches
from droid_bridge.lie import se3_retract
from droid_bridge.projection import CellGrid, Reprojection, relative_poses, reproject, reproject_coords

_HELD = 1e12
_MAX_LOG_DEPTH_STEP = 1.0
MIN_INVERSE_DEPTH, MAX_INVERSE_DEPTH = 1e-4, 1e2


@dataclass(frozen=True)
class Weighing:
    """What a match counts.

    Attributes
    ----------
    cauchy_cells : residual at which a match counts half, in cells.
    independent_share : share of the cells whose errors are independent.
    min_depth_ratio : cells seen nearer than this share of their depth in the source do not count.
    depth_damping : information that every depth has of itself, in log inverse depth.
    min_turn_rad : angle between two keyframes from which their matches count for the lens.
    """

    cauchy_cells: float = 0.125
    independent_share: float = 0.02
    min_depth_ratio: float = 0.2
    depth_damping: float = 1e-2
    min_turn_rad: float = 0.03

    def robust(self, residual: Tensor, weight: Tensor, depth_ratio: Tensor) -> Tensor:
        """Weights (e, 2, cells) of residuals (e, 2, cells)."""
        squared = (residual * residual).sum(dim=1, keepdim=True)
        ahead = (depth_ratio > self.min_depth_ratio)[:, None]
        return self.independent_share * weight * ahead / (1 + squared / self.cauchy_cells**2)

    def cost(self, residual: Tensor, weight: Tensor) -> float:
        """Cauchy's loss of residuals (e, 2, cells), summed."""
        squared = (residual * residual).sum(dim=1) / self.cauchy_cells**2
        counted = self.independent_share * weight.amax(dim=1)
        return float((counted * torch.log1p(squared)).double().sum()) * self.cauchy_cells**2


@dataclass(frozen=True)
class DriveEstimate:
    """The unknowns of a whole drive.

    Attributes
    ----------
    camera_from_world : (nodes, 4, 4) float64, rigid, all in one unit.
    inverse_depth : (nodes, cells) float32, one over that unit.
    lens : of the camera.
    """

    camera_from_world: Tensor
    inverse_depth: Tensor
    lens: Lens


def pose_step(
    estimate: DriveEstimate,
    matches: KeyframeMatches,
    grid: CellGrid,
    weighing: Weighing,
    radial_sigma: float | None,
    damping: float,
) -> DriveEstimate:
    """Move poses and lens; the depths follow linearly in the equations and stay in the estimate.

    Parameters
    ----------
    estimate : where to start from; its first pose is held.
    matches, grid, weighing : what was measured, and what it counts.
    radial_sigma : how far the lens may be off, or None to take it as it is.
    damping : Levenberg and Marquardt's, relative. The size of all that lies beyond a turn hangs on the few matches
        in it, and a damping that is nothing to one pose stops hundreds that have to move together.

    Returns
    -------
    The estimate after the step, or the one given where the system had no finite solution.
    """
    nodes = len(estimate.camera_from_world)
    system = _ReducedSystem(6 * nodes + 1)
    border = np.array([6 * nodes])
    for source in range(nodes):
        targets, coords, weight = matches.of(source)
        if targets.numel():
            matrix, rhs = _eliminated(estimate, source, targets, coords, weight, grid, weighing)
            poses = 6 * np.concatenate([[source], targets.numpy()])[:, None] + np.arange(6)
            system.add(np.concatenate([poses.ravel(), border]), matrix, rhs)
    if radial_sigma is None:
        system.hold(border)
    else:
        system.add(border, np.array([[radial_sigma**-2]]), np.array([-estimate.lens.radial * radial_sigma**-2]))
    system.hold(np.arange(6))
    step = system.solved(damping)
    if step is None:
        return estimate
    moves = torch.from_numpy(step[: 6 * nodes].reshape(nodes, 6))
    return replace(
        estimate,
        camera_from_world=se3_retract(estimate.camera_from_world, moves),
        lens=Lens(estimate.lens.radial + float(step[-1])),
    )


def _eliminated(
    estimate: DriveEstimate,
    source: int,
    targets: Tensor,
    coords: Tensor,
    weight: Tensor,
    grid: CellGrid,
    weighing: Weighing,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Normal equations of one keyframe's matches without its depths.

    Returns
    -------
    Matrix (n, n) and right-hand side (n,); unknowns are its pose, the poses of its targets and the lens.
    """
    edges, cells = targets.numel(), grid.rays.shape[1]
    true_grid = estimate.lens.ideal_grid(grid)
    depth = estimate.inverse_depth[source]
    seen = reproject(
        estimate.camera_from_world[torch.cat([torch.tensor([source]), targets])],
        depth.expand(edges + 1, cells),
        torch.zeros(edges, dtype=torch.long),
        torch.arange(1, edges + 1),
        true_grid,
    )
    residual = estimate.lens.ideal(coords, grid.camera) - seen.coords
    weight = weighing.robust(residual, weight, seen.depth_ratio)
    by_depth = seen.inverse_depth_jacobian * depth
    by_lens = _by_lens(estimate.lens, seen, coords, grid)
    by_lens *= (_turn_rad(seen.target_from_source) > weighing.min_turn_rad)[:, None, None]

    jacobian = torch.cat([seen.pose_jacobian, by_lens[:, None]], dim=1).reshape(edges, 7, 2 * cells)
    weighted = jacobian * weight.reshape(edges, 1, 2 * cells)
    both = (weighted @ jacobian.mT).double()
    both_rhs = (weighted @ residual.reshape(edges, 2 * cells, 1)).double()[..., 0]
    both_depth = (weighted.reshape(edges, 7, 2, cells) * by_depth[:, None]).sum(dim=2)

    # Unknowns of all edges in terms of each edge's own: its target, the lens, and the source through it.
    unknowns = 6 * (edges + 1) + 1
    lift = torch.zeros(edges, unknowns, 7, dtype=torch.float64)
    lift[:, :6, :6] = -seen.source_adjoint.mT
    for edge in range(edges):
        lift[edge, 6 * (edge + 1) : 6 * (edge + 2), :6] = torch.eye(6, dtype=torch.float64)
    lift[:, -1, 6] = 1
    matrix = (lift @ both @ lift.mT).sum(dim=0)
    rhs = (lift @ both_rhs[..., None]).sum(dim=0)[:, 0]
    coupling = lift.to(both_depth.dtype).permute(1, 0, 2).reshape(unknowns, -1) @ both_depth.reshape(-1, cells)
    depth_depth = (weight * by_depth * by_depth).sum(dim=(0, 1)) + weighing.depth_damping
    depth_rhs = (weight * by_depth * residual).sum(dim=(0, 1))
    eliminated = coupling / depth_depth
    matrix -= (eliminated @ coupling.T).double()
    rhs -= (eliminated @ depth_rhs).double()
    return matrix.numpy(), rhs.numpy()


def _by_lens(lens: Lens, seen: Reprojection, coords: Tensor, grid: CellGrid) -> Tensor:
    """How the reprojection moves against the matched coordinates (e, 2, cells) with k."""
    camera = grid.camera
    own = lens.jacobian(grid.coords, camera)
    ray = torch.stack([own[0] / camera.fx, own[1] / camera.fy])
    moved = seen.target_from_source[:, :3, :2].to(own) @ ray / seen.depth_ratio.clamp(min=1e-3)[:, None]
    x, y = (seen.coords[:, 0] - camera.cx) / camera.fx, (seen.coords[:, 1] - camera.cy) / camera.fy
    reprojected = [camera.fx * (moved[:, 0] - x * moved[:, 2]), camera.fy * (moved[:, 1] - y * moved[:, 2])]
    return torch.stack(reprojected, dim=1) - lens.jacobian(coords, camera)


def _turn_rad(target_from_source: Tensor) -> Tensor:
    """Angles (e,) of the relative poses."""
    cosine = 0.5 * (target_from_source.diagonal(dim1=1, dim2=2)[:, :3].sum(dim=1) - 1)
    return torch.arccos(cosine.clamp(-1, 1))


def depth_step(
    estimate: DriveEstimate, matches: KeyframeMatches, grid: CellGrid, weighing: Weighing
) -> DriveEstimate:
    """Move every inverse depth to where its matches have it with the poses as they are."""
    camera = grid.camera
    inverse_depth = estimate.inverse_depth.clone()
    for source, seen in _seen_from(estimate, matches, grid):
        weight = weighing.robust(seen.residual, seen.weight, seen.depth_ratio)
        shift = seen.target_from_source[:, :3, 3, None].to(inverse_depth)
        z = seen.depth_ratio.clamp(min=1e-3)
        by_depth = inverse_depth[source] * torch.stack(
            [
                (camera.fx * shift[:, 0] - (seen.coords[:, 0] - camera.cx) * shift[:, 2]) / z,
                (camera.fy * shift[:, 1] - (seen.coords[:, 1] - camera.cy) * shift[:, 2]) / z,
            ],
            dim=1,
        )
        information = (weight * by_depth * by_depth).sum(dim=(0, 1)) + weighing.depth_damping
        step = (weight * by_depth * seen.residual).sum(dim=(0, 1)) / information
        moved = inverse_depth[source] * torch.exp(step.clamp(-_MAX_LOG_DEPTH_STEP, _MAX_LOG_DEPTH_STEP))
        inverse_depth[source] = moved.clamp(MIN_INVERSE_DEPTH, MAX_INVERSE_DEPTH)
    return replace(estimate, inverse_depth=inverse_depth)


def total_cost(estimate: DriveEstimate, matches: KeyframeMatches, grid: CellGrid, weighing: Weighing) -> float:
    """The loss of all matches."""
    return sum(weighing.cost(seen.residual, seen.weight) for _, seen in _seen_from(estimate, matches, grid))


@dataclass(frozen=True)
class _Seen:
    """A keyframe's cells in those it was matched to: as they are expected, and what the matches say beyond.

    ``coords`` and ``residual`` (e, 2, cells) as an ideal lens has them, ``weight`` (e, 2, cells) of the matches,
    ``depth_ratio`` (e, cells), ``target_from_source`` (e, 4, 4).
    """

    coords: Tensor
    residual: Tensor
    weight: Tensor
    depth_ratio: Tensor
    target_from_source: Tensor


def _seen_from(estimate: DriveEstimate, matches: KeyframeMatches, grid: CellGrid) -> Iterator[tuple[int, _Seen]]:
    """Every keyframe that has matches, one after the other."""
    true_grid = estimate.lens.ideal_grid(grid)
    for source in range(len(estimate.inverse_depth)):
        targets, coords, weight = matches.of(source)
        if targets.numel():
            poses = relative_poses(estimate.camera_from_world, torch.full_like(targets, source), targets)
            depths = estimate.inverse_depth[source].expand(len(targets), -1)
            expected, depth_ratio = reproject_coords(poses, depths, true_grid)
            residual = estimate.lens.ideal(coords, grid.camera) - expected
            yield source, _Seen(expected, residual, weight, depth_ratio, poses)


class _ReducedSystem:
    """A sparse symmetric system that is summed up from blocks."""

    def __init__(self, size: int) -> None:
        self._rows: list[NDArray[np.int64]] = []
        self._columns: list[NDArray[np.int64]] = []
        self._values: list[NDArray[np.float64]] = []
        self._rhs = np.zeros(size)

    def add(self, unknowns: NDArray[np.int64], matrix: NDArray[np.float64], rhs: NDArray[np.float64]) -> None:
        """Add a block (n, n) and its right-hand side (n,) at unknowns (n,)."""
        self._rows.append(np.repeat(unknowns, unknowns.size))
        self._columns.append(np.tile(unknowns, unknowns.size))
        self._values.append(matrix.ravel())
        np.add.at(self._rhs, unknowns, rhs)

    def hold(self, unknowns: NDArray[np.int64]) -> None:
        """Keep unknowns (n,) where they are."""
        self.add(unknowns, _HELD * np.eye(unknowns.size), np.zeros(unknowns.size))

    def solved(self, damping: float) -> NDArray[np.float64] | None:
        """The step (size,), or None where there is no finite one."""
        size = self._rhs.size
        entries = (np.concatenate(self._rows), np.concatenate(self._columns))
        matrix: csc_matrix = coo_matrix((np.concatenate(self._values), entries), shape=(size, size)).tocsc()
        matrix = matrix + diags(damping * matrix.diagonal() + 1e-12)
        scaling = 1 / np.sqrt(matrix.diagonal())
        balanced = (diags(scaling) @ matrix @ diags(scaling)).tocsc()
        try:
            factors = splu(balanced, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
        except RuntimeError:  # SuperLU: the matrix is exactly singular
            return None
        step = np.asarray(scaling * factors.solve(scaling * self._rhs), dtype=np.float64)
        return step if np.isfinite(step).all() else None
