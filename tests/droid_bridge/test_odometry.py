"""Odometry on the corridor."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from corridor import (
    CAMERA,
    PERIOD_NS,
    STEP_M,
    end_error_m,
    final_poses,
    frame_of,
    frames_of,
    path_m,
    pose,
    render,
    tracked,
    without_depth,
)
from numpy.typing import NDArray

from droid_bridge.errors import DroidBridgeError, FrameError
from droid_bridge.keyframes import KeyframeRule
from droid_bridge.odometry import Odometry, OdometryConfig, TrackingStatus
from metric3d_ros.datasets.frame import Frame


def test_metric_depth_gives_metres() -> None:
    frames = frames_of(25)
    updates = tracked(frames)
    assert end_error_m(updates, frames) < 0.02 * STEP_M * 24
    assert all(update.status is TrackingStatus.TRACKING for update in updates)
    assert all(update.has_metric_scale and not update.waits_for_scale for update in updates)
    assert updates[-1].prior_scale == pytest.approx(1.0, abs=0.03)


def test_a_prior_of_another_scale_scales_the_path() -> None:
    frames = [replace(f, depth_m=1.7 * f.depth_m) for f in frames_of(16) if f.depth_m is not None]
    true_m = path_m(np.stack([pose(k) for k in range(16)]))
    assert path_m(final_poses(tracked(frames))) == pytest.approx(1.7 * true_m, rel=0.03)


def test_noise_of_single_images_does_not_shake_the_path() -> None:
    rng = np.random.default_rng(8)
    frames = []
    for frame in frames_of(25):
        assert frame.depth_m is not None
        noise = cv2.resize(rng.standard_normal((10, 20)).astype(np.float32), (320, 160))
        scale = np.float32(1 + 0.03 * rng.standard_normal())
        frames.append(replace(frame, depth_m=frame.depth_m * scale * np.exp(0.1 * noise)))
    poses = final_poses(tracked(frames))
    assert path_m(poses) == pytest.approx(path_m(np.stack([pose(k) for k in range(25)])), rel=0.03)
    steps_m = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    assert steps_m.std() / steps_m.mean() < 0.03


def test_without_prior_the_shape_is_right_and_the_scale_is_carried() -> None:
    frames = [without_depth(frame) for frame in frames_of(25)]
    updates = tracked(frames, OdometryConfig(scale_prior=False))
    poses = final_poses(updates)
    true = np.stack([pose(k) for k in range(25)])
    scale = path_m(true) / path_m(poses)
    poses[:, :3, 3] *= scale
    relative_true = np.linalg.inv(true[0]) @ true
    assert np.abs(poses[:, :3, 3] - relative_true[:, :3, 3]).max() < 0.05 * path_m(true)
    first, last = path_m(poses[:8]) / path_m(true[:8]), path_m(poses[-8:]) / path_m(true[-8:])
    assert last / first == pytest.approx(1.0, abs=0.1)
    assert all(update.prior_scale is None for update in updates)


def _turned(yaw_rad: float) -> NDArray[np.float64]:
    pose = np.eye(4)
    pose[:3, :3] = cv2.Rodrigues(np.array([0.0, yaw_rad, 0.0]))[0]
    return pose


def test_without_prior_a_turn_on_the_spot_comes_before_the_map() -> None:
    turn = [_turned(0.05 * k) for k in range(5)]
    drive = [turn[-1] @ np.linalg.inv(pose(0)) @ pose(k) for k in range(1, 12)]
    frames = []
    for k, true_pose in enumerate([*turn, *drive]):
        image, _ = render(true_pose)
        frames.append(Frame(k, k * PERIOD_NS, image, CAMERA))
    updates = tracked(frames)
    for update, true_pose in zip(updates[:5], turn, strict=True):
        assert update.status is TrackingStatus.INITIALIZING
        np.testing.assert_allclose(update.world_from_camera[:3, :3], true_pose[:3, :3], atol=0.01)
    poses = final_poses(updates)
    way = poses[-1, :3, 3] - poses[5, :3, 3]
    true_way = drive[-1][:3, 3] - drive[0][:3, 3]
    cosine = way @ true_way / (np.linalg.norm(way) * np.linalg.norm(true_way))
    assert cosine > np.cos(np.radians(3))


def test_scale_prior_off_ignores_the_depth() -> None:
    config = OdometryConfig(scale_prior=False)
    with_depth = tracked(frames_of(6), config)[-1].world_from_camera
    without = tracked([without_depth(frame) for frame in frames_of(6)], config)[-1].world_from_camera
    np.testing.assert_array_equal(with_depth, without)


def test_depth_that_comes_late_turns_the_path_metric() -> None:
    frames = [without_depth(frame) for frame in frames_of(6)] + frames_of(22)[6:]
    poses = final_poses(tracked(frames))
    true = np.stack([pose(k) for k in range(22)])
    assert path_m(poses[12:]) == pytest.approx(path_m(true[12:]), rel=0.05)


def test_nothing_is_metric_before_the_first_depth_and_all_is_after() -> None:
    frames = [without_depth(frame) for frame in frames_of(8)] + frames_of(12)[8:]
    updates = tracked(frames)
    for update in updates[:8]:
        assert update.status is TrackingStatus.INITIALIZING
        assert not update.has_metric_scale
        assert update.waits_for_scale
        assert not update.retired
    first_metric = next(update for update in updates if update.has_metric_scale)
    assert first_metric.frame_index <= 9
    assert [tracked.frame_index for tracked in first_metric.window] == list(range(first_metric.frame_index + 1))
    assert updates[-1].status is TrackingStatus.TRACKING
    true = np.stack([np.linalg.inv(pose(0)) @ pose(k) for k in range(12)])
    np.testing.assert_allclose(final_poses(updates)[:, :3, 3], true[:, :3, 3], atol=0.1 * 11 * STEP_M)
    assert path_m(final_poses(updates)) == pytest.approx(path_m(true), rel=0.06)


def test_depth_that_goes_away_leaves_the_scale() -> None:
    frames = frames_of(10) + [without_depth(frame) for frame in frames_of(25)[10:]]
    assert end_error_m(tracked(frames), frames) < 0.04 * STEP_M * 24


def test_all_nan_depth_is_no_depth() -> None:
    nothing = np.full((160, 320), np.nan, dtype=np.float32)
    blind = tracked([replace(frame, depth_m=nothing) for frame in frames_of(6)])
    none = tracked([without_depth(frame) for frame in frames_of(6)])
    np.testing.assert_array_equal(blind[-1].world_from_camera, none[-1].world_from_camera)


def test_a_camera_that_stands_still_stays() -> None:
    still = [replace(frame_of(0), index=k, stamp_ns=k * PERIOD_NS) for k in range(6)]
    for frames in (still, [without_depth(frame) for frame in still]):
        for update in tracked(frames):
            np.testing.assert_allclose(update.world_from_camera, np.eye(4), atol=2e-3)


def test_a_repeated_image_in_a_drive_does_not_move_the_camera() -> None:
    frames = frames_of(12)
    repeated = replace(frames[9], index=10, stamp_ns=10 * PERIOD_NS)
    updates = tracked([*frames[:10], repeated])
    moved = np.linalg.inv(updates[9].world_from_camera) @ updates[10].world_from_camera
    assert np.linalg.norm(moved[:3, 3]) < 0.1 * STEP_M


def test_a_blank_image_costs_that_image_alone() -> None:
    frames = frames_of(16)
    frames[8] = replace(frames[8], image=np.zeros_like(frames[8].image), depth_m=None)
    updates = tracked(frames)
    assert updates[8].status is TrackingStatus.DEGRADED
    assert np.linalg.norm(updates[8].world_from_camera[:3, 3] - updates[7].world_from_camera[:3, 3]) > 0
    assert updates[-1].status is TrackingStatus.TRACKING
    assert end_error_m(updates, frames) < 0.04 * STEP_M * 15


def test_a_long_black_out_starts_a_new_map_and_goes_on() -> None:
    frames = frames_of(24)
    dark = [replace(f, image=np.zeros_like(f.image), depth_m=None) for f in frames[8:16]]
    updates = tracked([*frames[:8], *dark, *frames[16:]])
    assert all(update.status is TrackingStatus.DEGRADED for update in updates[8:16])
    assert updates[-1].status is TrackingStatus.TRACKING
    step = np.linalg.inv(updates[-2].world_from_camera) @ updates[-1].world_from_camera
    assert np.linalg.norm(step[:3, 3]) == pytest.approx(STEP_M, rel=0.1)


def test_without_prior_a_new_map_takes_over_about_the_scale() -> None:
    frames = [without_depth(frame) for frame in frames_of(28)]
    frames[8:15] = [replace(f, image=np.zeros_like(f.image)) for f in frames[8:15]]
    updates = tracked(frames, OdometryConfig(scale_prior=False))
    poses = final_poses(updates)
    assert updates[-1].status is TrackingStatus.TRACKING
    assert path_m(poses[-8:]) == pytest.approx(path_m(poses[:8]), rel=0.4)


@pytest.mark.parametrize("seed", [0, 1])
def test_noise_images_never_raise(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frames = []
    for k in range(12):
        image = rng.integers(0, 256, (160, 320, 3), dtype=np.uint8)
        depth_m = np.exp(rng.normal(0, 8, (160, 320))).astype(np.float32)
        depth_m[rng.random(depth_m.shape) < 0.5] = rng.choice([np.nan, np.inf, -1.0, 0.0])
        frames.append(Frame(k, k * PERIOD_NS, image, CAMERA, depth_m))
    for update in tracked(frames):
        assert np.isfinite(update.world_from_camera).all()
        np.testing.assert_allclose(
            update.world_from_camera[:3, :3] @ update.world_from_camera[:3, :3].T, np.eye(3), atol=1e-9
        )


def test_a_frame_that_left_the_window_is_final() -> None:
    config = OdometryConfig(window_size=5)
    seen: dict[int, list[int]] = {}
    for k, update in enumerate(tracked(frames_of(14), config)):
        assert update.window[-1].frame_index == update.frame_index
        np.testing.assert_array_equal(update.window[-1].world_from_camera, update.world_from_camera)
        indices = [tracked.frame_index for tracked in update.window]
        assert indices == sorted(indices)
        assert update.keyframes <= config.window_size
        for index in indices:
            seen.setdefault(index, []).append(k)
    for calls in seen.values():
        assert calls == list(range(calls[0], calls[-1] + 1))
    assert sorted(seen) == list(range(14))


def test_every_frame_leaves_once_with_its_last_estimate() -> None:
    every_frame = KeyframeRule(min_parallax_px=0.5)
    odometry = Odometry(OdometryConfig(window_size=5, keyframes=every_frame))
    updates = [odometry.track(frame) for frame in frames_of(12)]
    final = final_poses(updates)
    retired = [record for update in updates for record in update.retired]
    assert [record.frame_index for record in retired] == list(range(7))
    left = odometry.flush()
    assert [record.frame_index for record in left] == list(range(7, 12))
    for record in (*retired, *left):
        np.testing.assert_allclose(np.linalg.inv(record.camera_from_world), final[record.frame_index], atol=1e-9)
        true_depth_m = frame_of(record.frame_index).depth_m
        assert true_depth_m is not None
        seen = np.isfinite(record.inverse_depth_sigma)
        assert seen.mean() > 0.9
        sampled = cv2.resize(1 / true_depth_m, seen.shape[::-1], interpolation=cv2.INTER_AREA)
        assert np.median(np.abs(record.inverse_depth[seen] / sampled[seen] - 1)) < 0.03
        assert record.gray.shape == (160, 320)
        assert record.rgb.shape == (*seen.shape, 3)
        assert record.log_scale == pytest.approx(0.0, abs=0.03)
    assert odometry.flush() == ()


def test_two_runs_give_the_same_numbers() -> None:
    first, second = (final_poses(tracked(frames_of(12))) for _ in range(2))
    np.testing.assert_allclose(first, second, atol=1e-6)


def test_reset_starts_a_new_world() -> None:
    odometry = Odometry(OdometryConfig())
    for frame in frames_of(5):
        odometry.track(frame)
    odometry.reset()
    update = odometry.track(frame_of(0))
    np.testing.assert_array_equal(update.world_from_camera, np.eye(4))


def _broken(frame: Frame, how: str) -> Frame:
    if how == "gray":
        return replace(frame, image=frame.image[..., 0])
    if how == "float":
        return replace(frame, image=frame.image.astype(np.float32))
    if how == "size":
        return replace(frame, image=frame.image[:80], camera=CAMERA.cropped(0, 0, 320, 80), depth_m=None)
    if how == "camera":
        return replace(frame, camera=CAMERA.resized(640, 320))
    if how == "depth":
        return replace(frame, depth_m=np.ones((80, 160), dtype=np.float32))
    return replace(frame, stamp_ns=frame_of(4).stamp_ns)


@pytest.mark.parametrize("how", ["gray", "float", "size", "camera", "depth", "stamp"])
def test_a_frame_that_cannot_be_is_refused_and_changes_nothing(how: str) -> None:
    odometry, untouched = Odometry(OdometryConfig()), Odometry(OdometryConfig())
    for frame in frames_of(5):
        odometry.track(frame)
        untouched.track(frame)
    with pytest.raises(FrameError, match="frame 5"):
        odometry.track(_broken(frame_of(5), how))
    expected = untouched.track(frame_of(5)).world_from_camera
    np.testing.assert_array_equal(odometry.track(frame_of(5)).world_from_camera, expected)


@pytest.mark.parametrize(
    "wrong",
    [
        {"window_size": 2},
        {"edge_radius": 8},
        {"image_area_px": 10},
        {"matcher": "crystal_ball"},
        {"independent_share": 0.0},
        {"flat_depth_m": float("nan")},
        {"camera_height_m": 0.0},
    ],
)
def test_a_config_that_cannot_work_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(DroidBridgeError, match=next(iter(wrong))):
        OdometryConfig(**wrong)  # type: ignore[arg-type]
