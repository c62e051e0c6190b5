from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from droid_bridge.errors import TrajectoryError
from droid_bridge.evaluation.alignment import Similarity, align, find_alignment, umeyama
from droid_bridge.evaluation.association import associate
from droid_bridge.evaluation.scale import scale_from_first_fraction, scale_over_distance, scaled
from droid_bridge.trajectory import Trajectory

seeds = st.integers(0, 2**31)
scales = st.floats(0.05, 20.0)


def winding_drive(count: int = 300, spacing_m: float = 1.0) -> Trajectory:
    heading = 0.8 * np.sin(np.arange(count) * spacing_m / 40.0)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = Rotation.from_rotvec(np.outer(heading, [0, 1, 0])).as_matrix()
    steps = poses[:-1, :3, 2] * spacing_m
    poses[1:, :3, 3] = np.cumsum(steps, axis=0)
    return Trajectory(poses)


def random_similarity(seed: int, scale: float) -> Similarity:
    generator = np.random.default_rng(seed)
    rotation = Rotation.from_quat(generator.normal(size=4)).as_matrix()
    return Similarity(scale, rotation, generator.normal(size=3) * 100)


def with_poses(trajectory: Trajectory, rows: NDArray[np.int64]) -> Trajectory:
    return Trajectory(trajectory.world_from_camera[rows], frame_indices=rows)


@settings(max_examples=60, deadline=None)
@given(seeds, scales)
def test_umeyama_recovers_a_random_similarity(seed: int, scale: float) -> None:
    source = np.random.default_rng(seed).normal(size=(12, 3)) * 10
    true = random_similarity(seed + 1, scale)
    found = umeyama(source @ (true.scale * true.rotation).T + true.translation_m, source)
    assert found.scale == pytest.approx(scale, rel=1e-9)
    np.testing.assert_allclose(found.rotation, true.rotation, atol=1e-9)
    np.testing.assert_allclose(found.translation_m, true.translation_m, atol=1e-7)


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_umeyama_never_mirrors(seed: int) -> None:
    source = np.random.default_rng(seed).normal(size=(12, 3))
    found = umeyama(source * [1, 1, -1], source)
    assert np.linalg.det(found.rotation) == pytest.approx(1.0)


@settings(max_examples=20, deadline=None)
@given(seeds, scales)
def test_sim3_and_scale_undo_what_was_done(seed: int, scale: float) -> None:
    truth = winding_drive()
    estimate = random_similarity(seed, scale).apply(truth)
    for method in ("sim3", "scale"):
        aligned = align(truth, estimate, method)
        np.testing.assert_allclose(aligned.world_from_camera, truth.world_from_camera, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_none_only_moves_the_first_pose_onto_the_first_pose(seed: int) -> None:
    truth = winding_drive()
    for scale in (1.0, 0.5):
        aligned = align(truth, random_similarity(seed, scale).apply(truth), "none")
        np.testing.assert_allclose(aligned.positions_m, scale * truth.positions_m, atol=1e-7)


def test_se3_keeps_the_scale_that_sim3_finds() -> None:
    truth = winding_drive()
    estimate = random_similarity(3, 0.5).apply(truth)
    assert find_alignment(truth, estimate, "se3").scale == 1.0
    assert find_alignment(truth, estimate, "sim3").scale == pytest.approx(2.0)


def test_scale_is_the_least_squares_one() -> None:
    truth = winding_drive()
    noisy = truth.world_from_camera.copy()
    noisy[1:, :3, 3] += np.random.default_rng(0).normal(size=(len(truth) - 1, 3))
    estimate = Trajectory(noisy)
    best = find_alignment(truth, estimate, "scale").scale

    def cost(scale: float) -> float:
        return float(((truth.positions_m - scale * estimate.positions_m) ** 2).sum())

    assert cost(best) < min(cost(best * 1.001), cost(best * 0.999))


def test_estimates_without_a_scale_are_refused() -> None:
    truth = winding_drive(50)
    still = Trajectory(np.tile(np.eye(4), (50, 1, 1)))
    backwards = Trajectory(scaled(truth, -1.0).world_from_camera)
    for estimate, method in ((still, "sim3"), (still, "scale"), (backwards, "scale")):
        with pytest.raises(TrajectoryError, match="--align"):
            align(truth, estimate, method)


def test_association_by_frame_number_skips_what_is_missing() -> None:
    truth = winding_drive(20)
    pairs = associate(truth, with_poses(truth, np.array([2, 3, 7, 19])))
    np.testing.assert_array_equal(pairs.truth_rows, [2, 3, 7, 19])
    np.testing.assert_array_equal(pairs.estimate_rows, [0, 1, 2, 3])


def test_association_by_stamp_is_nearest_one_to_one_and_within_tolerance() -> None:
    truth = Trajectory(np.tile(np.eye(4), (4, 1, 1)), stamps_ns=np.array([0, 100, 200, 300]) * 10**6)
    estimate_ms = np.array([5, 95, 103, 250, 315, 330])
    estimate = Trajectory(np.tile(np.eye(4), (6, 1, 1)), stamps_ns=estimate_ms * 10**6)
    pairs = associate(truth, estimate)
    np.testing.assert_array_equal(pairs.truth_rows, [0, 1, 3])
    np.testing.assert_array_equal(pairs.estimate_rows, [0, 2, 4])


def test_single_poses_associate() -> None:
    one = Trajectory(np.eye(4)[None], stamps_ns=np.array([7]))
    assert len(associate(one, one).truth_rows) == 1


def test_trajectories_that_do_not_belong_together_are_refused() -> None:
    twenty, ten = winding_drive(20), winding_drive(10)
    later = Trajectory(ten.world_from_camera, frame_indices=np.arange(100, 110))
    stamped = Trajectory(ten.world_from_camera, stamps_ns=np.arange(10) * 10**8)
    next_day = Trajectory(ten.world_from_camera, stamps_ns=86400 * 10**9 + np.arange(10) * 10**8)
    for truth, estimate, complaint in (
        (twenty, ten, "truth has 20 rows and the estimate 10"),
        (twenty, later, "none in common"),
        (twenty, stamped, "both as TUM files or both as KITTI"),
        (stamped, twenty, "both as TUM files or both as KITTI"),
        (stamped, next_day, "no stamp of the estimate"),
    ):
        with pytest.raises(TrajectoryError, match=complaint):
            associate(truth, estimate)


@settings(max_examples=20, deadline=None)
@given(seeds, scales)
def test_scale_from_first_fraction_makes_the_start_metric(seed: int, scale: float) -> None:
    truth = winding_drive()
    estimate = random_similarity(seed, scale).apply(truth)
    factor = scale_from_first_fraction(truth, estimate)
    assert factor == pytest.approx(1.0 / scale)
    assert scale_over_distance(truth, scaled(estimate, factor)).over_first() == pytest.approx(1.0)


def test_scale_ignores_what_happens_after_the_first_fraction() -> None:
    truth = winding_drive(400)
    poses = truth.world_from_camera.copy()
    poses[60:, :3, 3] = poses[59, :3, 3] + 3.0 * (poses[60:, :3, 3] - poses[59, :3, 3])
    estimate = Trajectory(poses)
    assert scale_from_first_fraction(truth, estimate, 0.1) == pytest.approx(1.0)
    assert scale_over_distance(truth, estimate).over_last() == pytest.approx(3.0)


def test_jitter_does_not_pass_for_scale() -> None:
    truth = winding_drive(400, spacing_m=0.25)
    poses = truth.world_from_camera.copy()
    poses[:, :3, 3] += np.random.default_rng(0).normal(size=(400, 3)) * 0.1
    steps_m = Trajectory(poses).path_distance_m()[-1]
    assert steps_m > 1.2 * truth.path_distance_m()[-1]
    assert scale_over_distance(truth, Trajectory(poses)).over_first() == pytest.approx(1.0, abs=0.02)


def test_estimate_that_stands_still_has_no_scale() -> None:
    truth = winding_drive(50)
    still = Trajectory(np.tile(np.eye(4), (50, 1, 1)))
    with pytest.raises(TrajectoryError, match="does not move"):
        scale_from_first_fraction(truth, still)
    with pytest.raises(TrajectoryError, match="truth does not move"):
        scale_over_distance(still, truth)
