from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from droid_bridge.errors import TrajectoryError
from droid_bridge.evaluation.alignment import Similarity, align
from droid_bridge.evaluation.association import associate
from droid_bridge.evaluation.drift import evaluate_drift
from droid_bridge.evaluation.scale import scaled
from droid_bridge.evaluation.segments import KITTI_LENGTHS_M, segment_errors
from droid_bridge.trajectory import Trajectory, read_kitti

KITTI = Path(__file__).parents[3] / "shared" / "data" / "kitti_odometry"
needs_kitti = pytest.mark.skipif(
    not (KITTI / "estimates" / "example").is_dir(), reason=f"KITTI poses are not at {KITTI}"
)
# Sequence: t_rel (%), r_rel (deg/100 m), ATE (m), published with the estimates by the KITTI odometry toolbox.
PUBLISHED = {"09": (2.884113, 0.249056, 8.386619), "10": (3.297840, 0.304590, 6.630158)}


def random_drive(seed: int, count: int = 120) -> Trajectory:
    generator = np.random.default_rng(seed)
    turns = Rotation.from_rotvec(generator.normal(size=(count, 3)) * 0.05)
    poses = np.tile(np.eye(4), (count, 1, 1))
    for i in range(1, count):
        poses[i, :3, :3] = poses[i - 1, :3, :3] @ turns[i].as_matrix()
        poses[i, :3, 3] = poses[i - 1, :3, 3] + poses[i - 1, :3, 2] * generator.uniform(0.2, 1.5)
    return Trajectory(poses)


def straight_drive(count: int, spacing_m: float) -> Trajectory:
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, 2, 3] = np.arange(count) * spacing_m
    return Trajectory(poses)


def kitti_pair(sequence: str) -> tuple[Trajectory, Trajectory]:
    truth = read_kitti(KITTI / "poses" / f"{sequence}.txt")
    return truth, read_kitti(KITTI / "estimates" / "example" / f"{sequence}.txt")


@needs_kitti
@pytest.mark.kitti
@pytest.mark.parametrize("sequence", PUBLISHED)
def test_published_figures_are_reproduced(sequence: str) -> None:
    report = evaluate_drift(*kitti_pair(sequence), align="sim3")
    found = (report.t_rel_percent, report.r_rel_deg_per_100m, report.ate_m)
    assert found == pytest.approx(PUBLISHED[sequence], abs=1e-4)


@needs_kitti
@pytest.mark.kitti
@pytest.mark.parametrize("sequence", PUBLISHED)
def test_evo_agrees(sequence: str) -> None:
    metrics = pytest.importorskip("evo.core.metrics")
    trajectory = pytest.importorskip("evo.core.trajectory")
    truth, estimate = kitti_pair(sequence)
    pairs = associate(truth, estimate)
    truth_path = trajectory.PosePath3D(poses_se3=list(truth.world_from_camera[pairs.truth_rows]))
    estimate_path = trajectory.PosePath3D(poses_se3=list(estimate.world_from_camera[pairs.estimate_rows]))
    estimate_path.align(truth_path, correct_scale=True)
    ape = metrics.APE(metrics.PoseRelation.translation_part)
    ape.process_data((truth_path, estimate_path))
    ate_m = evaluate_drift(truth, estimate, align="sim3").ate_m
    assert ate_m == pytest.approx(ape.get_statistic(metrics.StatisticsType.rmse), rel=1e-5)

    aligned = align(truth, estimate, "sim3")
    errors = segment_errors(truth, aligned, pairs, KITTI_LENGTHS_M, 10)
    for i in range(0, len(errors.length_m), 40):
        relative = metrics.RPE.rpe_base(
            truth.world_from_camera[errors.truth_first[i]],
            truth.world_from_camera[errors.truth_last[i]],
            aligned.world_from_camera[errors.estimate_first[i]],
            aligned.world_from_camera[errors.estimate_last[i]],
        )
        # evo's error is the inverse of KITTI's: same angle, translation seen from the other end.
        expected_m = np.linalg.norm(np.linalg.inv(relative)[:3, 3])
        assert errors.translation[i] * errors.length_m[i] == pytest.approx(expected_m, rel=1e-4)
        angle_deg = np.degrees(Rotation.from_matrix(relative[:3, :3]).magnitude())
        assert errors.rotation_deg_per_m[i] * errors.length_m[i] == pytest.approx(angle_deg, abs=0.01)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31))
def test_identical_trajectories_do_not_drift(seed: int) -> None:
    drive = random_drive(seed)
    report = evaluate_drift(drive, drive, lengths_m=(5, 10))
    assert report.t_rel_percent == pytest.approx(0, abs=1e-9)
    assert report.r_rel_deg_per_100m == pytest.approx(0, abs=1e-3)
    assert report.ate_m == pytest.approx(0, abs=1e-9)
    assert (report.scale_start, report.scale_end) == pytest.approx((1, 1))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31))
def test_drift_does_not_depend_on_where_either_world_is(seed: int) -> None:
    truth, estimate = random_drive(seed), random_drive(seed)
    noisy = estimate.world_from_camera.copy()
    noisy[:, :3, 3] += np.random.default_rng(seed).normal(size=(len(noisy), 3)) * 0.1
    estimate = Trajectory(noisy)
    generator = np.random.default_rng(seed)
    move = Similarity(1.0, Rotation.from_quat(generator.normal(size=4)).as_matrix(), generator.normal(size=3) * 50)
    reference = evaluate_drift(truth, estimate, lengths_m=(5, 10))
    for moved in (
        evaluate_drift(truth, move.apply(estimate), lengths_m=(5, 10)),
        evaluate_drift(move.apply(truth), estimate, lengths_m=(5, 10)),
    ):
        assert moved.segments == reference.segments
        assert moved.t_rel_percent == pytest.approx(reference.t_rel_percent, rel=1e-6)
        assert moved.ate_m == pytest.approx(reference.ate_m, rel=1e-6)
        assert moved.scale_end == pytest.approx(reference.scale_end, rel=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.1, 3.0), st.floats(0.3, 1.5))
def test_wrong_scale_on_a_straight_line_is_the_drift(scale: float, spacing_m: float) -> None:
    truth = straight_drive(int(250 / spacing_m), spacing_m)
    report = evaluate_drift(truth, scaled(truth, scale), lengths_m=(50, 100))
    drift = abs(scale - 1) * 100
    # A segment ends at the first frame beyond its length, so it is up to one frame too long.
    assert drift - 1e-6 <= report.t_rel_percent <= drift * (1 + spacing_m / 50) + 1e-6
    assert report.r_rel_deg_per_100m == 0
    assert (report.scale_start, report.scale_end) == pytest.approx((scale, scale))


def test_growing_scale_is_seen_at_the_end() -> None:
    truth = straight_drive(401, 1.0)
    poses = truth.world_from_camera.copy()
    poses[1:, 2, 3] = np.cumsum(np.linspace(1.0, 1.5, 400))
    report = evaluate_drift(truth, Trajectory(poses), lengths_m=(100,))
    assert report.scale_start == pytest.approx(1.025, abs=0.01)
    assert report.scale_end == pytest.approx(1.475, abs=0.01)
    assert report.scale_drift == pytest.approx(1.475 / 1.025, abs=0.02)


def test_steady_yaw_is_degrees_per_hundred_metres() -> None:
    truth = straight_drive(301, 1.0)
    poses = truth.world_from_camera.copy()
    poses[:, :3, :3] = Rotation.from_rotvec(np.outer(np.arange(301) * 0.01, [0, 1, 0]), degrees=True).as_matrix()
    report = evaluate_drift(truth, Trajectory(poses), lengths_m=(100,))
    assert report.r_rel_deg_per_100m == pytest.approx(1.01, abs=1e-6)


def test_segments_start_every_tenth_frame_and_end_beyond_the_length() -> None:
    truth = straight_drive(131, 1.0)
    errors = segment_errors(truth, truth, associate(truth, truth), (100,), 10)
    np.testing.assert_array_equal(errors.truth_first, [0, 10, 20])
    np.testing.assert_array_equal(errors.truth_last, [101, 111, 121])


def test_partial_estimate_is_scored_on_what_it_covers() -> None:
    truth = straight_drive(401, 1.0)
    rows = np.concatenate([np.arange(50, 200), np.arange(220, 301)])
    estimate = Trajectory(truth.world_from_camera[rows], frame_indices=rows)
    report = evaluate_drift(truth, estimate, lengths_m=(100, 350))
    assert report.t_rel_percent == pytest.approx(0, abs=1e-9)
    assert (report.frames_truth, report.frames_estimate, report.frames_matched) == (401, 231, 231)
    assert report.coverage == pytest.approx(231 / 401)
    firsts = [row for row in range(0, 401, 10) if row in rows and row + 101 in rows]
    assert report.segments == report.per_length[0].segments == len(firsts)
    assert report.per_length[1].t_rel_percent is None


def test_truth_at_a_higher_rate_is_scored_by_stamp() -> None:
    truth = straight_drive(4001, 0.1)
    truth = Trajectory(truth.world_from_camera, stamps_ns=np.arange(4001) * 10**7)
    rows = np.arange(3, 4001, 10)
    estimate = Trajectory(scaled(truth, 1.02).world_from_camera[rows], stamps_ns=rows * 10**7 + 10**6)
    report = evaluate_drift(truth, estimate, lengths_m=(100,))
    assert report.segments == 30
    assert report.t_rel_percent == pytest.approx(2.0, rel=0.02)


def test_estimate_that_stands_still_is_scored() -> None:
    truth = straight_drive(301, 1.0)
    report = evaluate_drift(truth, scaled(truth, 0.0), lengths_m=(100,))
    assert report.t_rel_percent == pytest.approx(101.0)
    assert report.scale_drift is None


def test_too_short_a_drive_is_told_its_length_and_the_remedy() -> None:
    drive = straight_drive(88, 1.0)
    with pytest.raises(TrajectoryError, match=r"87\.0 m long, shorter than .* 100 m; give --lengths 22,44\."):
        evaluate_drift(drive, drive)
    assert evaluate_drift(drive, drive, lengths_m=(22, 44)).segments > 0
    part = Trajectory(straight_drive(400, 1.0).world_from_camera[:51], frame_indices=np.arange(51))
    with pytest.raises(TrajectoryError, match=r"399\.0 m long and the estimate covers 50\.0 m of it, shorter"):
        evaluate_drift(straight_drive(400, 1.0), part)
    with pytest.raises(TrajectoryError, match="a drive that moves"):
        evaluate_drift(scaled(drive, 0.0), drive)


@pytest.mark.parametrize(
    ("lengths_m", "step", "complaint"),
    [
        ((), 10, "--lengths"),
        ((-5,), 10, "--lengths"),
        ((np.nan,), 10, "--lengths"),
        ((10, 10), 10, "twice"),
        ((10,), 0, "--step"),
    ],
)
def test_requests_that_make_no_sense_are_refused(lengths_m: tuple[float, ...], step: int, complaint: str) -> None:
    drive = straight_drive(88, 1.0)
    with pytest.raises(TrajectoryError, match=complaint):
        evaluate_drift(drive, drive, lengths_m=lengths_m, step=step)


def test_drift_by_speed_follows_what_was_driven() -> None:
    # 100 m at 5 m/s with an error of 2 %, then 400 m at 20 m/s with 6 %, at ten frames a second.
    true_z = np.concatenate([np.arange(0, 100, 0.5), np.arange(100, 501, 2.0)])
    steps = np.diff(true_z) * np.where(true_z[1:] <= 100, 1.02, 1.06)
    truth, estimate = straight_drive(len(true_z), 1.0), straight_drive(len(true_z), 1.0)
    truth.world_from_camera[:, 2, 3] = true_z
    estimate.world_from_camera[1:, 2, 3] = np.cumsum(steps)
    report = evaluate_drift(truth, estimate, lengths_m=(20,), step=1)
    by_speed = {row.from_m_per_s: row for row in report.per_speed}
    assert by_speed[4.0].t_rel_percent == pytest.approx(2.0, rel=0.06)
    # A segment ends at the first frame beyond its length, two metres on at this speed.
    assert by_speed[18.0].t_rel_percent == pytest.approx(6.0, rel=0.15)
    assert sum(row.segments for row in report.per_speed) == report.segments
    assert [row.segments for row in report.per_speed if row.t_rel_percent is None] == [
        row.segments for row in report.per_speed if row.segments == 0
    ]
    slower = evaluate_drift(truth, estimate, lengths_m=(20,), step=1, frame_period_s=0.2)
    assert max(row.to_m_per_s for row in slower.per_speed) <= 10.0


def test_speed_is_by_stamp_where_the_truth_has_stamps() -> None:
    truth = straight_drive(301, 1.0)
    stamped = Trajectory(truth.world_from_camera, stamps_ns=np.arange(301) * 25 * 10**7)
    report = evaluate_drift(stamped, stamped, lengths_m=(100,), frame_period_s=1.0)
    assert [(row.from_m_per_s, row.to_m_per_s) for row in report.per_speed] == [(2.0, 4.0)]


def test_all_alignments_are_reported_and_standing_still_has_no_scale() -> None:
    truth = straight_drive(301, 1.0)
    report = evaluate_drift(truth, scaled(truth, 1.1), lengths_m=(100,))
    assert report.ate_by_align_m["none"] == pytest.approx(report.ate_m)
    assert report.ate_by_align_m["sim3"] == pytest.approx(0, abs=1e-6)
    assert report.rpe is not None
    assert report.rpe.translation_rmse_m == pytest.approx(0.1)
    still = evaluate_drift(truth, scaled(truth, 0.0), lengths_m=(100,))
    assert still.ate_by_align_m["sim3"] is None
    assert still.ate_by_align_m["scale"] is None
