"""Dense bundle adjustment: Gauss-Newton on the poses of a window and one inverse depth per cell.

Minimised is

    sum_e w_e rho(|u*_e - u_e(T, d)|) + sum_c a_c (residual of the depth terms)^2,

with u* the matched coordinates, u the reprojection and rho Cauchy's loss (reweighted in each iteration). Each
inverse depth belongs to one frame and couples to poses only, so the depth block of the normal equations is
diagonal and is eliminated by the Schur complement (Teed and Deng, DROID-SLAM, 2021, eq. 5 and 6):

    [B   E] [xi]   [v]         S = B - E C^-1 E^T,   xi = S^-1 (v - E C^-1 w),   dz = C^-1 (w - E^T xi).
    [E^T C] [dz] = [w]

A depth step is taken in log inverse depth, so that steps, damping and prior are relative and no depth changes
sign. The cells are accumulated in the type of the inverse depth; the reduced system is solved in float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from droid_bridge.lie import se3_retract
from droid_bridge.pose_covariance import PoseInformation
from droid_bridge.projection import CellGrid, reproject


@dataclass(frozen=True)
class FlowFactors:
    """Where the cells of the source frames were found in the target frames.

    Attributes
    ----------
    source, target : (E,) frame indices in the window; a pair occurs once.
    coords : (E, 2, cells) matched column and row in the target, in cells.
    weight : (E, 2, cells) information of each coordinate, 1/cell^2; 0 is no match.
    """

    source: Tensor
    target: Tensor
    coords: Tensor
    weight: Tensor


@dataclass(frozen=True)
class DepthTerms:
    """What is known of the depths apart from the flow, linearised at the current estimate.

    Attributes
    ----------
    information : (frames, cells) information of the depth steps; 0 is nothing known.
    residual : (frames, cells) step that would satisfy each cell, where the frame's scale state stays as it is.
    scale_information : (frames,) information of each frame's log-scale state; 0 leaves the state out.
    scale_residual : (frames,) step that would satisfy each scale state alone.
    yields : a cell's information is divided by 1 + this times the flow's information over it: strong where the
        parallax says little, weak where it says more; 0 is never.
    """

    information: Tensor
    residual: Tensor
    scale_information: Tensor
    scale_residual: Tensor
    yields: float = 0.0

    def beside(self, flow_information: Tensor) -> Tensor:
        """The information (frames, cells) that counts beside that of the flow."""
        if self.yields == 0:
            return self.information
        squared = self.information * self.information
        return squared / (self.information + self.yields * flow_information).clamp(min=1e-12)


@dataclass(frozen=True)
class SolverOptions:
    """How a step is damped and how outliers are weighed.

    Attributes
    ----------
    cauchy_scale_cells : residual at which a match counts half, in cells; None for plain least squares.
    pose_damping_relative, pose_damping : Levenberg-Marquardt terms on the reduced pose system.
    depth_damping : added to the information of every depth, in the unit of the depth step.
    min_depth_ratio : cells seen nearer than this share of their depth in the source do not count.
    log_depth_step : step in log inverse depth; otherwise in inverse depth, added.
    min_inverse_depth, max_inverse_depth : bounds after the step, 1/m.
    max_log_depth_step : bound of one step in log inverse depth.
    """

    cauchy_scale_cells: float | None = 0.125
    pose_damping_relative: float = 1e-4
    pose_damping: float = 1e-6
    depth_damping: float = 1e-2
    min_depth_ratio: float = 0.2
    log_depth_step: bool = True
    min_inverse_depth: float = 1e-4
    max_inverse_depth: float = 1e2
    max_log_depth_step: float = 1.0


@dataclass(frozen=True)
class NormalEquations:
    """The blocks of one linearisation, in the names of the module's equation.

    Attributes
    ----------
    pose_pose : (frames, 6, frames, 6) float64, B.
    pose_depth : (frames of the depth, 6 frames, cells), E.
    depth_depth : (frames, cells), C without damping.
    pose_rhs : (frames, 6) float64, v.
    depth_rhs : (frames, cells), w.
    squares : weighted sum of the squared residuals.
    observations : how many coordinates counted.
    """

    pose_pose: Tensor
    pose_depth: Tensor
    depth_depth: Tensor
    pose_rhs: Tensor
    depth_rhs: Tensor
    squares: Tensor
    observations: Tensor


@dataclass(frozen=True)
class Estimate:
    """The unknowns of a window.

    Attributes
    ----------
    camera_from_world : (frames, 4, 4) float64.
    inverse_depth : (frames, cells) 1/m.
    log_scale : (frames,) float64, log of (depth of the map / depth of the frame's prior).
    """

    camera_from_world: Tensor
    inverse_depth: Tensor
    log_scale: Tensor


def linearise(estimate: Estimate, factors: FlowFactors, grid: CellGrid, options: SolverOptions) -> NormalEquations:
    """Accumulate the normal equations of the flow factors at an estimate."""
    frames, cells = estimate.inverse_depth.shape
    source, target = factors.source, factors.target
    seen = reproject(estimate.camera_from_world, estimate.inverse_depth, source, target, grid)
    by_depth = seen.inverse_depth_jacobian
    if options.log_depth_step:
        by_depth = by_depth * estimate.inverse_depth[source][:, None]
    residual = factors.coords - seen.coords
    weight = _robust_weight(residual, factors.weight, seen.depth_ratio, options)

    edges = source.numel()
    weighted = (seen.pose_jacobian * weight[:, None]).reshape(edges, 6, 2 * cells)
    target_target = (weighted @ seen.pose_jacobian.reshape(edges, 6, 2 * cells).mT).double()
    target_rhs = (weighted @ residual.reshape(edges, 2 * cells, 1)).double()[..., 0]
    target_depth = (weighted.reshape(edges, 6, 2, cells) * by_depth[:, None]).sum(dim=2)
    # The source's Jacobian is the target's through the adjoint, so no sum over cells is done twice.
    through = -seen.source_adjoint.mT
    source_target = through @ target_target
    source_depth = through.to(target_depth.dtype) @ target_depth

    pose_pose = torch.zeros(frames * frames, 6, 6, dtype=torch.float64, device=source.device)
    pose_pose.index_add_(0, target * frames + target, target_target)
    pose_pose.index_add_(0, source * frames + target, source_target)
    pose_pose.index_add_(0, target * frames + source, source_target.mT)
    pose_pose.index_add_(0, source * frames + source, source_target @ through.mT)
    pose_rhs = torch.zeros(frames, 6, dtype=torch.float64, device=source.device)
    pose_rhs.index_add_(0, target, target_rhs)
    pose_rhs.index_add_(0, source, (through @ target_rhs[..., None])[..., 0])

    pose_depth = target_depth.new_zeros(frames * frames, 6, cells)
    pose_depth.index_add_(0, source * frames + target, target_depth)
    pose_depth.index_add_(0, source * frames + source, source_depth)
    depth_depth = target_depth.new_zeros(frames, cells)
    depth_depth.index_add_(0, source, (weight * by_depth * by_depth).sum(dim=1))
    depth_rhs = target_depth.new_zeros(frames, cells)
    depth_rhs.index_add_(0, source, (weight * by_depth * residual).sum(dim=1))

    return NormalEquations(
        pose_pose=pose_pose.reshape(frames, frames, 6, 6).permute(0, 2, 1, 3),
        pose_depth=pose_depth.reshape(frames, 6 * frames, cells),
        depth_depth=depth_depth,
        pose_rhs=pose_rhs,
        depth_rhs=depth_rhs,
        squares=torch.vdot((weight * residual).flatten(), residual.flatten()),
        observations=torch.count_nonzero(weight),
    )


def _robust_weight(residual: Tensor, weight: Tensor, depth_ratio: Tensor, options: SolverOptions) -> Tensor:
    """Weights (E, 2, cells) with Cauchy's loss applied and cells that came too near left out."""
    weight = weight * (depth_ratio > options.min_depth_ratio)[:, None]
    if options.cauchy_scale_cells is None:
        return weight
    squared = (residual * residual).sum(dim=1, keepdim=True)
    return weight / (1 + squared / options.cauchy_scale_cells**2)


def motion_only_step(
    estimate: Estimate, factors: FlowFactors, grid: CellGrid, free_poses: Tensor, options: SolverOptions
) -> Estimate:
    """One Gauss-Newton step of the poses (poses,) in ``free_poses``, with every depth held."""
    normal = linearise(estimate, factors, grid, options)
    rows = _pose_rows(free_poses)
    size = normal.pose_rhs.numel()
    system = normal.pose_pose.reshape(size, size)[rows][:, rows]
    system.diagonal().add_(options.pose_damping + options.pose_damping_relative * system.diagonal())
    solution, failed = torch.linalg.solve_ex(system, normal.pose_rhs.flatten()[rows])
    if bool(failed) or not bool(torch.isfinite(solution).all()):
        return estimate
    camera_from_world = estimate.camera_from_world.clone()
    camera_from_world[free_poses] = se3_retract(camera_from_world[free_poses], solution.reshape(-1, 6))
    return Estimate(camera_from_world, estimate.inverse_depth, estimate.log_scale)


def _pose_rows(poses: Tensor) -> Tensor:
    """Rows (6 poses,) of the pose system that belong to the given frames."""
    return (poses[:, None] * 6 + torch.arange(6, device=poses.device)).flatten()


def step(
    estimate: Estimate,
    factors: FlowFactors,
    terms: DepthTerms,
    grid: CellGrid,
    free_poses: Tensor,
    options: SolverOptions,
) -> Estimate:
    """The estimate after one Gauss-Newton step; see ``informed_step``."""
    return informed_step(estimate, factors, terms, grid, free_poses, options)[0]


def informed_step(
    estimate: Estimate,
    factors: FlowFactors,
    terms: DepthTerms,
    grid: CellGrid,
    free_poses: Tensor,
    options: SolverOptions,
    independent_share: float = 1.0,
) -> tuple[Estimate, PoseInformation, Tensor]:
    """One Gauss-Newton step, and what is known of the poses where it starts.

    Parameters
    ----------
    estimate : where to start from.
    factors, terms : what was measured.
    grid : the cells.
    free_poses : (poses,) indices of the frames whose pose may move; at least one frame must not be in it.
    options : damping and robustness.
    independent_share : share of the cells that err independently; the weights of the factors have it in them.

    Returns
    -------
    The estimate after the step, or the one given where the system had no finite solution; the information of
    the poses that may move; and that (frames, cells) of the depths from matches alone, the poses as they are.
    """
    normal = linearise(estimate, factors, grid, options)
    frames = estimate.inverse_depth.shape[0]
    device = free_poses.device
    information = terms.beside(normal.depth_depth)
    depth_depth = normal.depth_depth + information + options.depth_damping
    depth_rhs = normal.depth_rhs + information * terms.residual
    pose_rows = _pose_rows(free_poses)
    poses = pose_rows.numel()

    # One row per frame beneath the poses couples its scale state to its own depths, whose
    # residual both move alike.
    coupling = torch.cat([normal.pose_depth[:, pose_rows], information[:, None]], dim=1)
    eliminated = coupling / depth_depth[:, None]
    reduced_blocks = (eliminated @ coupling.mT).double()
    reduced_rhs = (eliminated @ depth_rhs[..., None]).double()[..., 0]

    size = poses + frames
    system = torch.zeros(size, size, dtype=torch.float64, device=device)
    rhs = torch.zeros(size, dtype=torch.float64, device=device)
    full_pose = normal.pose_pose.reshape(6 * frames, 6 * frames)
    full_rhs = normal.pose_rhs.flatten()
    system[:poses, :poses] = full_pose[pose_rows][:, pose_rows] - reduced_blocks[:, :poses, :poses].sum(0)
    rhs[:poses] = full_rhs[pose_rows] - reduced_rhs[:, :poses].sum(0)
    scales = poses + torch.arange(frames, device=device)
    system[:poses, scales] = -reduced_blocks[:, :poses, poses].T
    system[scales, :poses] = -reduced_blocks[:, poses, :poses]
    own = information.sum(dim=1).double() + terms.scale_information.double()
    system[scales, scales] = own - reduced_blocks[:, poses, poses]
    rhs[scales] = (
        terms.scale_information.double() * terms.scale_residual.double()
        + (information * terms.residual).sum(dim=1).double()
        - reduced_rhs[:, poses]
    )
    diagonal = system.diagonal()
    unused = scales[terms.scale_information <= 0]
    system[unused], system[:, unused], rhs[unused] = 0, 0, 0
    diagonal[unused] = 1
    unknown_depths = torch.count_nonzero(normal.depth_depth)
    redundancy = independent_share * (normal.observations - unknown_depths) - poses
    known = PoseInformation(system.clone(), free_poses.numel(), normal.squares, redundancy)
    diagonal[:poses] += options.pose_damping + options.pose_damping_relative * diagonal[:poses]
    solution, failed = torch.linalg.solve_ex(system, rhs)
    if bool(failed) or not bool(torch.isfinite(solution).all()):
        return estimate, known, normal.depth_depth
    back = torch.cat([solution[:poses].expand(frames, poses), solution[poses:, None]], dim=1)
    depth_step = (depth_rhs - (back[:, None].to(coupling.dtype) @ coupling)[:, 0]) / depth_depth
    steps = solution[:poses].reshape(-1, 6), depth_step, solution[poses:]
    return _stepped(estimate, free_poses, *steps, options), known, normal.depth_depth


def _stepped(
    estimate: Estimate,
    free_poses: Tensor,
    pose_step: Tensor,
    depth_step: Tensor,
    scale_step: Tensor,
    options: SolverOptions,
) -> Estimate:
    camera_from_world = estimate.camera_from_world.clone()
    camera_from_world[free_poses] = se3_retract(camera_from_world[free_poses], pose_step)
    if options.log_depth_step:
        bound = options.max_log_depth_step
        inverse_depth = estimate.inverse_depth * torch.exp(depth_step.clamp(-bound, bound))
    else:
        inverse_depth = estimate.inverse_depth + depth_step
    return Estimate(
        camera_from_world,
        inverse_depth.clamp(options.min_inverse_depth, options.max_inverse_depth),
        estimate.log_scale + scale_step,
    )
