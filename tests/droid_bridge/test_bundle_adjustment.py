from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from droid_bridge.bundle_adjustment import (
    DepthTerms,
    Estimate,
    FlowFactors,
    SolverOptions,
    linearise,
    motion_only_step,
    step,
)
from droid_bridge.lie import se3_exp, se3_inverse, se3_log, se3_retract
from droid_bridge.projection import CellGrid, relative_poses, reproject_coords
from metric3d_ros.camera import PinholeCamera

torch.set_num_threads(1)

FRAMES, CELLS = 4, 12 * 9
GRID = CellGrid.of_camera(PinholeCamera(12, 9, 8.0, 8.5, 5.4, 4.2), torch.device("cpu"), torch.float64)
PAIRS = [(i, j) for i in range(FRAMES) for j in range(FRAMES) if i != j]
SOURCE, TARGET = (torch.tensor(side) for side in zip(*PAIRS, strict=True))
EXACT = SolverOptions(cauchy_scale_cells=None, pose_damping_relative=0, pose_damping=0, depth_damping=1e-12)
FREE = torch.arange(1, FRAMES)


def _truth(seed: int = 0) -> Estimate:
    generator = torch.Generator().manual_seed(seed)
    tangents = 0.1 * torch.randn(FRAMES, 6, generator=generator, dtype=torch.float64)
    tangents[:, 2] -= 0.4 * torch.arange(FRAMES)
    tangents[0] = 0
    inverse_depth = 0.1 + 0.3 * torch.rand(FRAMES, CELLS, generator=generator, dtype=torch.float64)
    return Estimate(se3_exp(tangents), inverse_depth, torch.zeros(FRAMES, dtype=torch.float64))


def _flow(truth: Estimate) -> FlowFactors:
    poses = relative_poses(truth.camera_from_world, SOURCE, TARGET)
    coords, _ = reproject_coords(poses, truth.inverse_depth[SOURCE], GRID)
    return FlowFactors(SOURCE, TARGET, coords, torch.full_like(coords, 50.0))


def _disturbed(truth: Estimate, size: float, seed: int = 1) -> Estimate:
    generator = torch.Generator().manual_seed(seed)
    tangents = size * torch.randn(FRAMES, 6, generator=generator, dtype=torch.float64)
    tangents[0] = 0
    noise = torch.randn(FRAMES, CELLS, generator=generator, dtype=torch.float64)
    return Estimate(
        se3_retract(truth.camera_from_world, tangents),
        truth.inverse_depth * torch.exp(5 * size * noise),
        truth.log_scale,
    )


def _nothing_known() -> DepthTerms:
    return DepthTerms(
        torch.zeros(FRAMES, CELLS, dtype=torch.float64),
        torch.zeros(FRAMES, CELLS, dtype=torch.float64),
        torch.zeros(FRAMES, dtype=torch.float64),
        torch.zeros(FRAMES, dtype=torch.float64),
    )


def _prior(
    estimate: Estimate, prior_inverse_depth: torch.Tensor, frame_sigma: float, information: float = 4.0
) -> DepthTerms:
    residual = torch.log(prior_inverse_depth / estimate.inverse_depth) - estimate.log_scale[:, None]
    return DepthTerms(
        torch.full((FRAMES, CELLS), information, dtype=torch.float64),
        residual,
        torch.full((FRAMES,), 1 / frame_sigma**2, dtype=torch.float64),
        -estimate.log_scale,
    )


def test_converges_to_the_truth_when_the_scale_is_held() -> None:
    truth = _truth()
    estimate, factors = _disturbed(truth, 0.01), _flow(truth)
    free = torch.arange(2, FRAMES)
    estimate = replace(
        estimate,
        camera_from_world=torch.cat([truth.camera_from_world[:2], estimate.camera_from_world[2:]]),
    )
    for _ in range(15):
        estimate = step(estimate, factors, _nothing_known(), GRID, free, EXACT)
    torch.testing.assert_close(estimate.camera_from_world, truth.camera_from_world, atol=1e-8, rtol=0)
    torch.testing.assert_close(estimate.inverse_depth, truth.inverse_depth, atol=1e-6, rtol=1e-5)


def test_one_step_solves_the_full_normal_equations() -> None:
    """The Schur complement, the scale states and the back substitution against one dense least-squares solve."""
    truth = _truth()
    factors = _flow(truth)
    estimate = replace(_disturbed(truth, 0.01), log_scale=torch.tensor([0.02, -0.01, 0.03, 0.0]).double())
    terms = _prior(estimate, truth.inverse_depth, 0.05)
    damping = 0.3
    options = replace(EXACT, depth_damping=damping, max_log_depth_step=100.0)
    moved = step(estimate, factors, terms, GRID, FREE, options)

    def unpacked(x: torch.Tensor) -> Estimate:
        tangents = torch.cat([torch.zeros(6, dtype=torch.float64), x[: 6 * 3]]).reshape(FRAMES, 6)
        return Estimate(
            se3_retract(estimate.camera_from_world, tangents),
            estimate.inverse_depth * torch.exp(x[18 : 18 + FRAMES * CELLS].reshape(FRAMES, CELLS)),
            estimate.log_scale + x[-FRAMES:],
        )

    def residuals(x: torch.Tensor) -> torch.Tensor:
        at = unpacked(x)
        poses = relative_poses(at.camera_from_world, SOURCE, TARGET)
        coords, _ = reproject_coords(poses, at.inverse_depth[SOURCE], GRID)
        prior = _prior(at, truth.inverse_depth, 0.05)
        return torch.cat(
            [
                ((factors.coords - coords) * factors.weight.sqrt()).flatten(),
                (prior.information.sqrt() * prior.residual).flatten(),
                prior.scale_information.sqrt() * prior.scale_residual,
                damping**0.5 * x[18:-FRAMES],
            ]
        )

    zero = torch.zeros(18 + FRAMES * CELLS + FRAMES, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(residuals, zero, vectorize=True)
    expected = unpacked(torch.linalg.solve(jacobian.T @ jacobian, -jacobian.T @ residuals(zero)))
    torch.testing.assert_close(moved.camera_from_world, expected.camera_from_world, atol=1e-7, rtol=0)
    torch.testing.assert_close(moved.log_scale, expected.log_scale, atol=1e-7, rtol=0)
    torch.testing.assert_close(moved.inverse_depth, expected.inverse_depth, atol=1e-6, rtol=1e-5)


def test_the_prior_gives_the_scale_and_its_state_takes_the_noise_of_one_frame() -> None:
    truth = _truth()
    factors = _flow(truth)
    factors = replace(factors, weight=1e6 * factors.weight)
    shrunk = Estimate(
        truth.camera_from_world.clone(), truth.inverse_depth / 0.8, torch.zeros(FRAMES, dtype=torch.float64)
    )
    shrunk.camera_from_world[:, :3, 3] *= 0.8
    prior_inverse_depth = truth.inverse_depth.clone()
    prior_inverse_depth[2] /= 1.12
    estimate = shrunk
    for _ in range(40):
        terms = _prior(estimate, prior_inverse_depth, 0.05, information=4e3)
        estimate = step(estimate, factors, terms, GRID, FREE, EXACT)
    scale = torch.linalg.vector_norm(estimate.camera_from_world[3, :3, 3]) / torch.linalg.vector_norm(
        truth.camera_from_world[3, :3, 3]
    )
    assert float(scale) == pytest.approx(1.12 ** (1 / FRAMES), rel=0.005)
    others = estimate.log_scale[[0, 1, 3]].mean()
    assert float(others - estimate.log_scale[2]) == pytest.approx(torch.tensor(1.12).log().item(), rel=0.02)


def test_outliers_count_little_with_cauchys_loss() -> None:
    truth = _truth()
    factors = _flow(truth)
    broken = factors.coords.clone()
    broken[:, :, ::5] += 3.0
    factors = replace(factors, coords=broken)
    fixed_scale = torch.arange(2, FRAMES)

    def error_with(options: SolverOptions) -> float:
        estimate = truth
        for _ in range(15):
            estimate = step(estimate, factors, _nothing_known(), GRID, fixed_scale, options)
        moved = se3_log(estimate.camera_from_world @ se3_inverse(truth.camera_from_world))
        return float(moved.abs().max())

    assert error_with(replace(EXACT, cauchy_scale_cells=0.1)) < 0.2 * error_with(EXACT)


def test_motion_only_finds_a_pose_and_leaves_the_rest() -> None:
    truth = _truth()
    estimate = replace(_disturbed(truth, 0.02), inverse_depth=truth.inverse_depth)
    start = estimate.camera_from_world.clone()
    start[:3] = truth.camera_from_world[:3]
    estimate = replace(estimate, camera_from_world=start)
    full = _flow(truth)
    chosen = (full.target == 3) & (full.source == 2)
    factors = FlowFactors(full.source[chosen], full.target[chosen], full.coords[chosen], full.weight[chosen])
    for _ in range(8):
        estimate = motion_only_step(estimate, factors, GRID, torch.tensor([3]), EXACT)
    torch.testing.assert_close(estimate.camera_from_world, truth.camera_from_world, atol=1e-7, rtol=0)
    assert estimate.inverse_depth is truth.inverse_depth


def test_normal_equations_are_symmetric_and_blind_to_where_the_world_is() -> None:
    truth = _truth()
    estimate = _disturbed(truth, 0.02)
    normal = linearise(estimate, _flow(truth), GRID, EXACT)
    system = normal.pose_pose.reshape(6 * FRAMES, 6 * FRAMES)
    torch.testing.assert_close(system, system.T)
    world = se3_exp(torch.tensor([3.0, -2.0, 7.0, 0.5, 1.0, -0.3], dtype=torch.float64))
    moved = replace(estimate, camera_from_world=estimate.camera_from_world @ world)
    torch.testing.assert_close(linearise(moved, _flow(truth), GRID, EXACT).pose_pose, normal.pose_pose)


def test_without_any_match_nothing_moves() -> None:
    truth = _truth()
    factors = _flow(truth)
    factors = replace(factors, weight=torch.zeros_like(factors.weight))
    moved = step(truth, factors, _nothing_known(), GRID, FREE, EXACT)
    torch.testing.assert_close(moved.camera_from_world, truth.camera_from_world)
    torch.testing.assert_close(moved.inverse_depth, truth.inverse_depth)
