"""The solver against one and two steps of DROID-SLAM's own bundle adjustment, with its units and constants."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from droid_bridge.bundle_adjustment import (
    DepthTerms,
    Estimate,
    FlowFactors,
    SolverOptions,
    motion_only_step,
    step,
)
from droid_bridge.lie import quaternion_from_rotation, rotation_from_quaternion, se3_from_parts
from droid_bridge.projection import CellGrid, reproject
from metric3d_ros.camera import PinholeCamera

GOLDEN = Path(__file__).resolve().parents[2].parent / "shared" / "golden" / "droid" / "golden_ba.npz"
pytestmark = [
    pytest.mark.golden,
    pytest.mark.skipif(not GOLDEN.exists(), reason=f"no golden data at {GOLDEN}"),
]

FLOW_INFORMATION = 0.001  # what DROID-SLAM multiplies the weights of its network by
SENSOR_INFORMATION = 0.05
FRAMES = 4


@dataclass(frozen=True)
class Golden:
    arrays: dict[str, NDArray[np.float32]]
    grid: CellGrid
    factors: FlowFactors
    start: Estimate

    def poses(self, name: str) -> torch.Tensor:
        return _poses(self.arrays[name])

    def inverse_depth(self, name: str) -> torch.Tensor:
        return torch.from_numpy(self.arrays[name]).double().reshape(FRAMES, -1)


def _poses(translation_and_quaternion: NDArray[np.float32]) -> torch.Tensor:
    rows = torch.from_numpy(translation_and_quaternion).double().reshape(-1, 7)
    return se3_from_parts(rotation_from_quaternion(rows[:, 3:]), rows[:, :3])


def _cells_last(array: NDArray[np.float32]) -> torch.Tensor:
    return torch.from_numpy(array[0]).double().permute(0, 3, 1, 2).flatten(2)


@pytest.fixture(scope="module")
def golden() -> Golden:
    arrays = dict(np.load(GOLDEN))
    fx, fy, cx, cy = (float(value) for value in arrays["intr"].reshape(-1, 4)[0])
    rows, columns = arrays["disps"].shape[-2:]
    grid = CellGrid.of_camera(PinholeCamera(columns, rows, fx, fy, cx, cy), torch.device("cpu"), torch.float64)
    factors = FlowFactors(
        torch.from_numpy(arrays["ii"]).long(),
        torch.from_numpy(arrays["jj"]).long(),
        _cells_last(arrays["target"]),
        FLOW_INFORMATION * _cells_last(arrays["weight"]),
    )
    start = Estimate(
        _poses(arrays["poses"]),
        torch.from_numpy(arrays["disps"]).double().reshape(FRAMES, -1),
        torch.zeros(FRAMES, dtype=torch.float64),
    )
    return Golden(arrays, grid, factors, start)


def _options(**changes: float) -> SolverOptions:
    plain = {"pose_damping_relative": 1e-4, "pose_damping": 0.1, "depth_damping": 0.0, "min_depth_ratio": 0.25}
    bounds = {"min_inverse_depth": 0.001, "max_inverse_depth": float("inf")}
    return SolverOptions(cauchy_scale_cells=None, log_depth_step=False, **{**plain, **bounds, **changes})


def _terms(golden: Golden, estimate: Estimate, with_sensor: bool) -> DepthTerms:
    damping = torch.from_numpy(golden.arrays["eta"]).double().reshape(FRAMES, -1)
    sensor = torch.from_numpy(golden.arrays["sens"]).double().reshape(FRAMES, -1)
    measured = (sensor > 0) & with_sensor
    return DepthTerms(
        torch.where(measured, SENSOR_INFORMATION, damping),
        torch.where(measured, sensor - estimate.inverse_depth, 0.0),
        torch.zeros(FRAMES, dtype=torch.float64),
        torch.zeros(FRAMES, dtype=torch.float64),
    )


def _assert_poses_close(poses: torch.Tensor, expected: torch.Tensor, atol: float) -> None:
    torch.testing.assert_close(poses[:, :3, 3], expected[:, :3, 3], atol=atol, rtol=0)
    quaternion, expected_quaternion = (quaternion_from_rotation(p[:, :3, :3]) for p in (poses, expected))
    torch.testing.assert_close(quaternion, expected_quaternion, atol=atol, rtol=0)


def test_reprojection(golden: Golden) -> None:
    start = golden.start
    seen = reproject(
        start.camera_from_world, start.inverse_depth, golden.factors.source, golden.factors.target, golden.grid
    )
    in_front = (seen.depth_ratio > 0.25)[:, None].expand_as(seen.coords)
    expected = _cells_last(golden.arrays["coords1"])
    torch.testing.assert_close(seen.coords[in_front], expected[in_front], atol=2e-4, rtol=1e-5)


def test_one_step_of_the_python_solver(golden: Golden) -> None:
    options = _options(min_depth_ratio=0.2, depth_damping=1e-7, min_inverse_depth=0.0)
    terms = _terms(golden, golden.start, with_sensor=False)
    moved = step(golden.start, golden.factors, terms, golden.grid, torch.arange(2, FRAMES), options)
    _assert_poses_close(moved.camera_from_world, golden.poses("poses_py"), atol=1e-5)
    torch.testing.assert_close(moved.inverse_depth, golden.inverse_depth("disps_py"), atol=2e-3, rtol=0)


def test_one_step_of_the_kernel(golden: Golden) -> None:
    terms = _terms(golden, golden.start, with_sensor=False)
    moved = step(golden.start, golden.factors, terms, golden.grid, torch.arange(2, FRAMES), _options())
    _assert_poses_close(moved.camera_from_world, golden.poses("poses_cuda_mono"), atol=1e-6)
    torch.testing.assert_close(moved.inverse_depth, golden.inverse_depth("disps_cuda_mono"), atol=1e-5, rtol=0)


def test_two_steps_of_the_kernel_with_a_depth_sensor(golden: Golden) -> None:
    """The kernel bounds the depths once, after its last step."""
    estimate = golden.start
    for least in (-float("inf"), 0.001):
        terms = _terms(golden, estimate, with_sensor=True)
        options = _options(min_inverse_depth=least)
        estimate = step(estimate, golden.factors, terms, golden.grid, torch.arange(1, FRAMES), options)
    _assert_poses_close(estimate.camera_from_world, golden.poses("poses_cuda_sens"), atol=1e-6)
    torch.testing.assert_close(estimate.inverse_depth, golden.inverse_depth("disps_cuda_sens"), atol=1e-5, rtol=0)


def test_two_steps_of_the_kernel_on_poses_alone(golden: Golden) -> None:
    estimate = golden.start
    for _ in range(2):
        estimate = motion_only_step(estimate, golden.factors, golden.grid, torch.arange(2, FRAMES), _options())
    _assert_poses_close(estimate.camera_from_world, golden.poses("poses_cuda_motion"), atol=1e-6)
