"""APE and RPE against evo, the field's own tool, on the same poses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.spatial.transform import Rotation

from droid_bridge.errors import TrajectoryError
from droid_bridge.evaluation.alignment import Similarity, align
from droid_bridge.evaluation.association import associate
from droid_bridge.evaluation.drift import evaluate_drift
from droid_bridge.evaluation.pose_error import relative_pose_error
from droid_bridge.trajectory import Trajectory, read_kitti

KITTI = Path(__file__).parents[3] / "shared" / "data" / "kitti_odometry"


def winding_pair() -> tuple[Trajectory, Trajectory]:
    """A drive of 400 m in a plane that is not level, and an estimate of it in a world of its own."""
    generator = np.random.default_rng(4)
    count = 500
    turns = Rotation.from_rotvec(generator.normal(size=(count, 3)) * [0.002, 0.03, 0.002])
    poses = np.tile(np.eye(4), (count, 1, 1))
    for i in range(1, count):
        poses[i, :3, :3] = poses[i - 1, :3, :3] @ turns[i].as_matrix()
        poses[i, :3, 3] = poses[i - 1, :3, 3] + poses[i - 1, :3, 2] * 0.8
    noisy = poses.copy()
    noisy[:, :3, :3] = (
        poses[:, :3, :3] @ Rotation.from_rotvec(generator.normal(size=(count, 3)) * 0.01).as_matrix()
    )
    noisy[:, :3, 3] += np.cumsum(generator.normal(size=(count, 3)) * 0.05, axis=0)
    elsewhere = Similarity(0.7, Rotation.from_euler("xyz", [0.3, -1.0, 2.0]).as_matrix(), np.array([5.0, -9, 30]))
    return Trajectory(poses), elsewhere.apply(Trajectory(noisy))


def kitti_pair() -> tuple[Trajectory, Trajectory]:
    if not (KITTI / "estimates" / "example").is_dir():
        pytest.skip(f"KITTI poses are not at {KITTI}")
    return read_kitti(KITTI / "poses" / "10.txt"), read_kitti(KITTI / "estimates" / "example" / "10.txt")


def evo_path(trajectory: Trajectory, rows: Any) -> Any:
    evo_trajectory = pytest.importorskip("evo.core.trajectory", reason="evo is not installed")
    return evo_trajectory.PosePath3D(poses_se3=list(trajectory.world_from_camera[rows].copy()))


def evo_ape_m(truth: Any, estimate: Any) -> float:
    from evo.core import metrics

    ape = metrics.APE(metrics.PoseRelation.translation_part)
    ape.process_data((truth, estimate))
    return float(ape.get_statistic(metrics.StatisticsType.rmse))


def least_squares_scale(truth: Any, estimate: Any) -> float:
    true_m, estimated_m = (path.positions_xyz - path.positions_xyz[0] for path in (truth, estimate))
    found = minimize_scalar(
        lambda scale: float(((true_m - scale * estimated_m) ** 2).sum()), bracket=(0.1, 1.0), tol=1e-13
    )
    return float(found.x)


@pytest.mark.parametrize("pair", [winding_pair, pytest.param(kitti_pair, marks=pytest.mark.kitti)])
@pytest.mark.parametrize("method", ["none", "scale", "se3", "sim3"])
def test_ate_equals_evos_for_each_alignment(pair: Any, method: Any) -> None:
    truth, estimate = pair()
    pairs = associate(truth, estimate)
    evo_truth, evo_estimate = evo_path(truth, pairs.truth_rows), evo_path(estimate, pairs.estimate_rows)
    if method in ("se3", "sim3"):
        evo_estimate.align(evo_truth, correct_scale=method == "sim3")
    else:
        evo_estimate.align_origin(evo_truth)
    if method == "scale":
        # evo has no scale about the first pose: the least-squares one, found by search, goes into its tool.
        scale = least_squares_scale(evo_truth, evo_estimate)
        first_m = evo_estimate.positions_xyz[0].copy()
        evo_estimate.scale(scale)
        back = np.eye(4)
        back[:3, 3] = first_m - evo_estimate.positions_xyz[0]
        evo_estimate.transform(back)
    report = evaluate_drift(truth, estimate, method)
    assert report.ate_m == pytest.approx(evo_ape_m(evo_truth, evo_estimate), abs=1e-6)
    assert report.ate_by_align_m[method] == pytest.approx(report.ate_m, abs=1e-12)


@pytest.mark.parametrize("pair", [winding_pair, pytest.param(kitti_pair, marks=pytest.mark.kitti)])
@pytest.mark.parametrize("method", ["none", "sim3"])
@pytest.mark.parametrize("delta_frames", [1, 10])
def test_rpe_equals_evos(pair: Any, method: Any, delta_frames: int) -> None:
    truth, estimate = pair()
    aligned = align(truth, estimate, method)
    pairs = associate(truth, estimate)
    paths = evo_path(truth, pairs.truth_rows), evo_path(aligned, pairs.estimate_rows)
    from evo.core import metrics

    found = relative_pose_error(truth, aligned, pairs, delta_frames)
    assert found is not None
    for relation, mine in (
        (metrics.PoseRelation.translation_part, (found.translation_rmse_m, found.translation_mean_m)),
        (metrics.PoseRelation.rotation_angle_deg, (found.rotation_rmse_deg, found.rotation_mean_deg)),
    ):
        rpe = metrics.RPE(relation, delta_frames, metrics.Unit.frames, all_pairs=True)
        rpe.process_data(paths)
        assert len(rpe.error) == found.pairs
        expected = [rpe.get_statistic(kind) for kind in (metrics.StatisticsType.rmse, metrics.StatisticsType.mean)]
        assert mine == pytest.approx(expected, abs=1e-6)


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 30), st.floats(0.5, 2.0))
def test_rpe_of_a_wrong_scale_is_the_missing_way(delta_frames: int, scale: float) -> None:
    poses = np.tile(np.eye(4), (100, 1, 1))
    poses[:, 2, 3] = np.arange(100)
    truth = Trajectory(poses)
    estimate = Similarity(scale, np.eye(3), np.zeros(3)).apply(truth)
    found = relative_pose_error(truth, estimate, associate(truth, truth), delta_frames)
    assert found is not None
    assert found.pairs == 100 - delta_frames
    assert found.translation_rmse_m == pytest.approx(abs(scale - 1) * delta_frames, abs=1e-9)
    assert found.translation_max_m == pytest.approx(found.translation_mean_m, abs=1e-9)
    assert found.rotation_max_deg == 0


def test_rpe_needs_two_poses_and_a_step() -> None:
    one = Trajectory(np.eye(4)[None])
    assert relative_pose_error(one, one, associate(one, one)) is None
    with pytest.raises(TrajectoryError, match="--rpe-delta"):
        relative_pose_error(one, one, associate(one, one), 0)
