"""The covariance of adjusted poses, against scattered measurements and against its own definition."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from droid_bridge.bundle_adjustment import DepthTerms, Estimate, FlowFactors, SolverOptions, informed_step
from droid_bridge.lie import se3_adjoint, se3_exp, se3_inverse, se3_log
from droid_bridge.pose_covariance import MotionCovariance, PoseInformation, WindowCovariance
from droid_bridge.pose_fit import fit_pose
from droid_bridge.projection import CellGrid, relative_poses, reproject_coords
from metric3d_ros.camera import PinholeCamera

torch.set_num_threads(1)

FRAMES, CELLS = 4, 12 * 9
CAMERA = PinholeCamera(12, 9, 8.0, 8.5, 5.4, 4.2)
GRID = CellGrid.of_camera(CAMERA, torch.device("cpu"), torch.float64)
PAIRS = [(i, j) for i in range(FRAMES) for j in range(FRAMES) if i != j]
SOURCE, TARGET = (torch.tensor(side) for side in zip(*PAIRS, strict=True))
EXACT = SolverOptions(cauchy_scale_cells=None, pose_damping_relative=0, pose_damping=0, depth_damping=1e-12)
FREE = torch.arange(2, FRAMES)
RUNS = 60
DEGREES = 6 * len(FREE)


def random_system(seed: int, size: int) -> torch.Tensor:
    root = torch.randn(size, 2 * size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return root @ root.mT


def smallest_eigenvalue(covariance: torch.Tensor | np.ndarray) -> float:
    return float(np.linalg.eigvalsh(np.asarray(covariance)).min())


@given(seed=st.integers(0, 10_000), others=st.integers(0, 4), squares=st.floats(0.1, 1e4))
@settings(max_examples=30, deadline=None)
def test_it_is_the_block_of_the_inverse_times_the_variance_factor(seed: int, others: int, squares: float) -> None:
    system = random_system(seed, 12 + others)
    known = PoseInformation(system, 2, squares, 50.0)
    expected = squares / 50 * torch.linalg.inv(system)[:12, :12]
    torch.testing.assert_close(known.covariance(), expected, rtol=1e-6, atol=1e-9)
    assert smallest_eigenvalue(known.covariance()) > 0
    twice = replace(known, squares=2 * squares)
    torch.testing.assert_close(twice.covariance(), 2 * known.covariance())


@pytest.mark.parametrize("system", [torch.zeros(6, 6), torch.full((6, 6), torch.nan), -torch.eye(6)])
def test_a_pose_that_nothing_fixes_is_somewhere_within_kilometres(system: torch.Tensor) -> None:
    covariance = PoseInformation(system, 1, 1.0, 1.0).covariance()
    assert torch.isfinite(covariance).all()
    assert smallest_eigenvalue(covariance) >= 1e5


def _truth() -> Estimate:
    generator = torch.Generator().manual_seed(0)
    tangents = 0.1 * torch.randn(FRAMES, 6, generator=generator, dtype=torch.float64)
    tangents[:, 2] -= 0.4 * torch.arange(FRAMES)
    inverse_depth = 0.1 + 0.3 * torch.rand(FRAMES, CELLS, generator=generator, dtype=torch.float64)
    return Estimate(se3_exp(tangents), inverse_depth, torch.zeros(FRAMES, dtype=torch.float64))


def _nothing_known() -> DepthTerms:
    nothing, none = torch.zeros(FRAMES, CELLS, dtype=torch.float64), torch.zeros(FRAMES, dtype=torch.float64)
    return DepthTerms(nothing, nothing, none, none)


def _adjusted(noise_cells: float, weight: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Errors (free poses, 6) of an adjustment of noisy matches, and the covariance that it states."""
    truth = _truth()
    coords, _ = reproject_coords(
        relative_poses(truth.camera_from_world, SOURCE, TARGET), truth.inverse_depth[SOURCE], GRID
    )
    generator = torch.Generator().manual_seed(seed)
    coords = coords + noise_cells * torch.randn(coords.shape, generator=generator, dtype=torch.float64)
    factors = FlowFactors(SOURCE, TARGET, coords, torch.full_like(coords, weight))
    estimate = truth
    for _ in range(4):
        estimate, known, _ = informed_step(estimate, factors, _nothing_known(), GRID, FREE, EXACT)
    moved = truth.camera_from_world[FREE] @ se3_inverse(estimate.camera_from_world[FREE])
    return se3_log(moved), known.covariance()


def _mean_nees(noise_cells: float, weight: float) -> float:
    values = []
    for seed in range(RUNS):
        errors, covariance = _adjusted(noise_cells, weight, seed)
        error = errors.flatten()
        values.append(float(error @ torch.linalg.solve(covariance, error)))
    return float(np.mean(values)) / DEGREES


@pytest.mark.parametrize("weight", [50.0**2, 1.0])
def test_errors_of_an_adjustment_are_as_large_as_it_says(weight: float) -> None:
    """Squared errors in units of the covariance are 1 on average, whatever the matcher thought of its matches."""
    # Of RUNS sums of DEGREES squares: a standard error of 5 %.
    assert _mean_nees(0.02, weight) == pytest.approx(1.0, abs=0.2)


def test_it_grows_with_the_square_of_the_noise() -> None:
    small, large = (_adjusted(noise, 1.0, seed=3)[1] for noise in (0.01, 0.03))
    ratios = large.diagonal() / small.diagonal()
    torch.testing.assert_close(ratios, torch.full_like(ratios, 9.0), rtol=0.1, atol=0.0)


def test_errors_of_a_fitted_pose_are_as_large_as_it_says() -> None:
    true = se3_exp(torch.tensor([0.1, -0.05, -0.5, 0.02, 0.03, -0.01], dtype=torch.float64))
    inverse_depth = _truth().inverse_depth[0]
    coords = reproject_coords(true[None], inverse_depth[None], GRID)[0][0].numpy()
    rng = np.random.default_rng(5)
    values = []
    for _ in range(RUNS):
        noisy = coords + 0.02 * rng.standard_normal(coords.shape)
        fit = fit_pose(
            true.numpy(),
            GRID.rays.numpy(),
            inverse_depth.numpy(),
            noisy,
            np.full_like(noisy, 3.0),
            CAMERA,
            1e3,
            5,
            0.1,
        )
        error = se3_log(true @ se3_inverse(torch.from_numpy(fit.target_from_source)))
        values.append(float(error @ torch.linalg.solve(fit.information(1.0).covariance(), error)))
    assert np.mean(values) / 6 == pytest.approx(1.0, abs=0.25)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_what_lies_between_two_poses_does_not_depend_on_what_both_share(seed: int) -> None:
    """Where all poses err as one rigid body the motion between them has no error, otherwise it has."""
    generator = torch.Generator().manual_seed(seed)
    poses = se3_exp(0.3 * torch.randn(3, 6, generator=generator, dtype=torch.float64))
    from_first = torch.stack([pose @ se3_inverse(poses[0]) for pose in poses])
    shared = torch.cat(list(se3_adjoint(from_first[1:])))
    rigid = WindowCovariance([5, 6, 7], 1, poses, shared @ random_system(seed, 6) @ shared.mT)
    torch.testing.assert_close(rigid.relative(7, 6), torch.zeros(6, 6).double(), atol=1e-9, rtol=0)
    loose = WindowCovariance([5, 6, 7], 1, poses, random_system(seed, 12))
    assert smallest_eigenvalue(loose.relative(7, 6)) > 0
    torch.testing.assert_close(loose.relative(7, 5), loose.block(7, 7))


def test_position_and_velocity_are_in_the_axes_that_they_are_said_to_be_in() -> None:
    """Scattered poses and steps, read as a robot reads them, scatter as the covariances say."""
    rng = np.random.default_rng(7)
    of_pose = random_system(1, 6).numpy() * 1e-6
    of_step = random_system(2, 6).numpy() * 1e-6
    camera_from_world = se3_exp(torch.tensor([1.0, 2.0, -3.0, 0.4, -0.7, 0.2], dtype=torch.float64))
    now_from_before = se3_exp(torch.tensor([0.2, 0.1, -0.6, 0.05, 0.1, -0.02], dtype=torch.float64))
    known = MotionCovariance(of_pose, of_step, now_from_before.numpy(), 100_000_000)

    def errors(covariance: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(rng.multivariate_normal(np.zeros(6), covariance, size=20_000))

    world_from_camera = se3_inverse(camera_from_world)
    true = se3_inverse(se3_exp(errors(of_pose)) @ camera_from_world)
    moved = true[:, :3, 3] - world_from_camera[:3, 3]
    turned = se3_log(_rotation_only(true @ camera_from_world))[:, 3:]
    sampled = np.cov(torch.cat([moved, turned], dim=1).T.numpy())
    _assert_scatters_as(sampled, known.of_position(world_from_camera.numpy()))

    before_from_now = se3_inverse(se3_exp(errors(of_step)) @ now_from_before)
    linear = (before_from_now[:, :3, :3].mT @ before_from_now[:, :3, 3:])[..., 0] / 0.1
    angular = se3_log(_rotation_only(before_from_now))[:, 3:] / 0.1
    _assert_scatters_as(np.cov(torch.cat([linear, angular], dim=1).T.numpy()), known.of_velocity(), 0.12)


def _rotation_only(transforms: torch.Tensor) -> torch.Tensor:
    turned = transforms.clone()
    turned[..., :3, 3] = 0
    return turned


def _assert_scatters_as(sampled: np.ndarray, stated: np.ndarray, tolerance: float = 0.05) -> None:
    sigmas = np.sqrt(np.diag(stated))
    np.testing.assert_allclose(
        sampled / np.outer(sigmas, sigmas), stated / np.outer(sigmas, sigmas), atol=tolerance
    )


def test_the_velocity_of_a_first_frame_is_unknown() -> None:
    nothing = np.zeros((6, 6))
    assert (np.diag(MotionCovariance(nothing, nothing, np.eye(4), 0).of_velocity()) >= 1e5).all()
