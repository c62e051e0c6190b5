"""Odometry on a textured corridor that is ray-cast here: exact images, depths and poses, and small."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from droid_bridge.errors import DroidBridgeError, FrameError
from droid_bridge.odometry import Odometry, OdometryConfig, OdometryUpdate, TrackingStatus
from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.frame import Frame

CAMERA = PinholeCamera(320, 160, 190.0, 190.0, 159.5, 79.5)
PERIOD_NS = 100_000_000
STEP_M = 0.25
# Each plane: axis of its normal, position along it, and the two axes of its texture.
PLANES = ((0, -2.5, (1, 2)), (0, 3.0, (1, 2)), (1, 1.4, (0, 2)), (1, -2.0, (0, 2)), (2, 60.0, (0, 1)))


@cache
def _textures() -> list[NDArray[np.float32]]:
    textures = []
    for k in range(len(PLANES)):
        rng = np.random.default_rng(100 + k)
        texture = np.zeros((512, 2048), dtype=np.float32)
        for blur_px in (1.2, 3.0, 8.0, 24.0):
            layer = cv2.GaussianBlur(rng.uniform(0, 1, texture.shape).astype(np.float32), (0, 0), blur_px)
            texture += (layer - layer.mean()) / layer.std()
        textures.append(np.clip(128 + 28 * texture, 0, 255).astype(np.float32))
    return textures


def _render(world_from_camera: NDArray[np.float64]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    rays = CAMERA.rays().astype(np.float64) @ world_from_camera[:3, :3].T
    centre = world_from_camera[:3, 3]
    depth = np.full(rays.shape[:2], np.inf)
    gray = np.zeros(rays.shape[:2], dtype=np.float32)
    for (axis, position, (across, along)), texture in zip(PLANES, _textures(), strict=True):
        with np.errstate(divide="ignore"):
            distance = (position - centre[axis]) / rays[..., axis]
        nearer = (distance > 0) & (distance < depth)
        with np.errstate(invalid="ignore"):
            points = centre + np.where(nearer, distance, 0)[..., None] * rays
        px_per_m = 30.0
        seen = cv2.remap(
            texture,
            (points[..., along] * px_per_m % 2048).astype(np.float32),
            (points[..., across] * px_per_m % 512).astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_WRAP,
        )
        gray[nearer], depth[nearer] = seen[nearer], distance[nearer]
    image = np.repeat(gray.round().astype(np.uint8)[..., None], 3, axis=2)
    return image, depth.astype(np.float32)


def _pose(k: float) -> NDArray[np.float64]:
    """World from camera along a gentle bend."""
    yaw = 0.004 * k
    pose = np.eye(4)
    pose[:3, :3] = cv2.Rodrigues(np.array([0.0, yaw, 0.0]))[0]
    pose[:3, 3] = [0.1 * np.sin(0.1 * k), 0.0, STEP_M * k]
    return pose


@cache
def _frame(k: int) -> Frame:
    image, depth_m = _render(_pose(k))
    return Frame(k, k * PERIOD_NS, image, CAMERA, depth_m, _pose(k))


def _frames(count: int) -> list[Frame]:
    return [_frame(k) for k in range(count)]


def _without_depth(frame: Frame) -> Frame:
    return replace(frame, depth_m=None)


def _track(frames: list[Frame], config: OdometryConfig | None = None) -> list[OdometryUpdate]:
    odometry = Odometry(config or OdometryConfig())
    return [odometry.track(frame) for frame in frames]


def _final_poses(updates: list[OdometryUpdate]) -> NDArray[np.float64]:
    poses: dict[int, NDArray[np.float64]] = {}
    for update in updates:
        poses.update({tracked.frame_index: tracked.world_from_camera for tracked in update.window})
    return np.stack([poses[k] for k in sorted(poses)])


def _path_m(poses: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1).sum())


def _end_error_m(updates: list[OdometryUpdate], frames: list[Frame]) -> float:
    true = np.linalg.inv(frames[0].world_from_camera) @ frames[-1].world_from_camera
    return float(np.linalg.norm((updates[-1].world_from_camera - true)[:3, 3]))


def test_metric_depth_gives_metres() -> None:
    frames = _frames(25)
    updates = _track(frames)
    assert _end_error_m(updates, frames) < 0.02 * STEP_M * 24
    assert updates[0].status is TrackingStatus.INITIALIZING
    assert all(update.status is TrackingStatus.TRACKING for update in updates[3:])
    assert updates[-1].prior_scale == pytest.approx(1.0, abs=0.03)


def test_a_prior_of_another_scale_scales_the_path() -> None:
    frames = [replace(f, depth_m=1.7 * f.depth_m) for f in _frames(16) if f.depth_m is not None]
    true_m = _path_m(np.stack([_pose(k) for k in range(16)]))
    assert _path_m(_final_poses(_track(frames))) == pytest.approx(1.7 * true_m, rel=0.03)


def test_noise_of_single_images_does_not_shake_the_path() -> None:
    rng = np.random.default_rng(8)
    frames = []
    for frame in _frames(25):
        assert frame.depth_m is not None
        noise = cv2.resize(rng.standard_normal((10, 20)).astype(np.float32), (320, 160))
        scale = np.float32(1 + 0.03 * rng.standard_normal())
        frames.append(replace(frame, depth_m=frame.depth_m * scale * np.exp(0.1 * noise)))
    poses = _final_poses(_track(frames))
    assert _path_m(poses) == pytest.approx(_path_m(np.stack([_pose(k) for k in range(25)])), rel=0.03)
    steps_m = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    assert steps_m.std() / steps_m.mean() < 0.03


def test_without_prior_the_shape_is_right_and_the_scale_is_carried() -> None:
    frames = [_without_depth(frame) for frame in _frames(25)]
    updates = _track(frames, OdometryConfig(scale_prior=False))
    poses = _final_poses(updates)
    true = np.stack([_pose(k) for k in range(25)])
    scale = _path_m(true) / _path_m(poses)
    poses[:, :3, 3] *= scale
    relative_true = np.linalg.inv(true[0]) @ true
    assert np.abs(poses[:, :3, 3] - relative_true[:, :3, 3]).max() < 0.05 * _path_m(true)
    first, last = _path_m(poses[:8]) / _path_m(true[:8]), _path_m(poses[-8:]) / _path_m(true[-8:])
    assert last / first == pytest.approx(1.0, abs=0.1)
    assert all(update.prior_scale is None for update in updates)


def _turned(yaw_rad: float) -> NDArray[np.float64]:
    pose = np.eye(4)
    pose[:3, :3] = cv2.Rodrigues(np.array([0.0, yaw_rad, 0.0]))[0]
    return pose


def test_without_prior_a_turn_on_the_spot_comes_before_the_map() -> None:
    turn = [_turned(0.05 * k) for k in range(5)]
    drive = [turn[-1] @ np.linalg.inv(_pose(0)) @ _pose(k) for k in range(1, 12)]
    frames = []
    for k, pose in enumerate([*turn, *drive]):
        image, _ = _render(pose)
        frames.append(Frame(k, k * PERIOD_NS, image, CAMERA))
    updates = _track(frames)
    for update, pose in zip(updates[:5], turn, strict=True):
        assert update.status is TrackingStatus.INITIALIZING
        np.testing.assert_allclose(update.world_from_camera[:3, :3], pose[:3, :3], atol=0.01)
    poses = _final_poses(updates)
    way = poses[-1, :3, 3] - poses[5, :3, 3]
    true_way = drive[-1][:3, 3] - drive[0][:3, 3]
    cosine = way @ true_way / (np.linalg.norm(way) * np.linalg.norm(true_way))
    assert cosine > np.cos(np.radians(3))


def test_scale_prior_off_ignores_the_depth() -> None:
    config = OdometryConfig(scale_prior=False)
    with_depth = _track(_frames(6), config)[-1].world_from_camera
    without = _track([_without_depth(frame) for frame in _frames(6)], config)[-1].world_from_camera
    np.testing.assert_array_equal(with_depth, without)


def test_depth_that_comes_late_turns_the_path_metric() -> None:
    frames = [_without_depth(frame) for frame in _frames(6)] + _frames(22)[6:]
    poses = _final_poses(_track(frames))
    true = np.stack([_pose(k) for k in range(22)])
    assert _path_m(poses[12:]) == pytest.approx(_path_m(true[12:]), rel=0.05)


def test_depth_that_goes_away_leaves_the_scale() -> None:
    frames = _frames(10) + [_without_depth(frame) for frame in _frames(25)[10:]]
    assert _end_error_m(_track(frames), frames) < 0.04 * STEP_M * 24


def test_all_nan_depth_is_no_depth() -> None:
    nothing = np.full((160, 320), np.nan, dtype=np.float32)
    blind = _track([replace(frame, depth_m=nothing) for frame in _frames(6)])
    none = _track([_without_depth(frame) for frame in _frames(6)])
    np.testing.assert_array_equal(blind[-1].world_from_camera, none[-1].world_from_camera)


def test_a_camera_that_stands_still_stays() -> None:
    still = [replace(_frame(0), index=k, stamp_ns=k * PERIOD_NS) for k in range(6)]
    for frames in (still, [_without_depth(frame) for frame in still]):
        for update in _track(frames):
            np.testing.assert_allclose(update.world_from_camera, np.eye(4), atol=2e-3)


def test_a_repeated_image_in_a_drive_does_not_move_the_camera() -> None:
    frames = _frames(12)
    repeated = replace(frames[9], index=10, stamp_ns=10 * PERIOD_NS)
    updates = _track([*frames[:10], repeated])
    moved = np.linalg.inv(updates[9].world_from_camera) @ updates[10].world_from_camera
    assert np.linalg.norm(moved[:3, 3]) < 0.1 * STEP_M


def test_a_blank_image_costs_that_image_alone() -> None:
    frames = _frames(16)
    frames[8] = replace(frames[8], image=np.zeros_like(frames[8].image), depth_m=None)
    updates = _track(frames)
    assert updates[8].status is TrackingStatus.DEGRADED
    assert np.linalg.norm(updates[8].world_from_camera[:3, 3] - updates[7].world_from_camera[:3, 3]) > 0
    assert updates[-1].status is TrackingStatus.TRACKING
    assert _end_error_m(updates, frames) < 0.04 * STEP_M * 15


def test_a_long_black_out_starts_a_new_map_and_goes_on() -> None:
    frames = _frames(24)
    dark = [replace(f, image=np.zeros_like(f.image), depth_m=None) for f in frames[8:16]]
    updates = _track([*frames[:8], *dark, *frames[16:]])
    assert all(update.status is TrackingStatus.DEGRADED for update in updates[8:16])
    assert updates[-1].status is TrackingStatus.TRACKING
    step = np.linalg.inv(updates[-2].world_from_camera) @ updates[-1].world_from_camera
    assert np.linalg.norm(step[:3, 3]) == pytest.approx(STEP_M, rel=0.1)


def test_without_prior_a_new_map_takes_over_about_the_scale() -> None:
    frames = [_without_depth(frame) for frame in _frames(28)]
    frames[8:15] = [replace(f, image=np.zeros_like(f.image)) for f in frames[8:15]]
    updates = _track(frames)
    poses = _final_poses(updates)
    assert updates[-1].status is TrackingStatus.TRACKING
    assert _path_m(poses[-8:]) == pytest.approx(_path_m(poses[:8]), rel=0.4)


@pytest.mark.parametrize("seed", [0, 1])
def test_noise_images_never_raise(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frames = []
    for k in range(12):
        image = rng.integers(0, 256, (160, 320, 3), dtype=np.uint8)
        depth_m = np.exp(rng.normal(0, 8, (160, 320))).astype(np.float32)
        depth_m[rng.random(depth_m.shape) < 0.5] = rng.choice([np.nan, np.inf, -1.0, 0.0])
        frames.append(Frame(k, k * PERIOD_NS, image, CAMERA, depth_m))
    for update in _track(frames):
        assert np.isfinite(update.world_from_camera).all()
        np.testing.assert_allclose(
            update.world_from_camera[:3, :3] @ update.world_from_camera[:3, :3].T, np.eye(3), atol=1e-9
        )


def test_a_frame_that_left_the_window_is_final() -> None:
    config = OdometryConfig(window_size=5)
    seen: dict[int, list[int]] = {}
    for k, update in enumerate(_track(_frames(14), config)):
        assert update.window[-1].frame_index == update.frame_index
        np.testing.assert_array_equal(update.window[-1].world_from_camera, update.world_from_camera)
        indices = [tracked.frame_index for tracked in update.window]
        assert indices == sorted(indices)
        assert len(indices) <= config.window_size
        for index in indices:
            seen.setdefault(index, []).append(k)
    for calls in seen.values():
        assert calls == list(range(calls[0], calls[-1] + 1))
    assert sorted(seen) == list(range(14))


def test_two_runs_give_the_same_numbers() -> None:
    first, second = (_final_poses(_track(_frames(12))) for _ in range(2))
    np.testing.assert_allclose(first, second, atol=1e-6)


def test_reset_starts_a_new_world() -> None:
    odometry = Odometry(OdometryConfig())
    for frame in _frames(5):
        odometry.track(frame)
    odometry.reset()
    update = odometry.track(_frame(0))
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
    return replace(frame, stamp_ns=_frame(4).stamp_ns)


@pytest.mark.parametrize("how", ["gray", "float", "size", "camera", "depth", "stamp"])
def test_a_frame_that_cannot_be_is_refused_and_changes_nothing(how: str) -> None:
    odometry, untouched = Odometry(OdometryConfig()), Odometry(OdometryConfig())
    for frame in _frames(5):
        odometry.track(frame)
        untouched.track(frame)
    with pytest.raises(FrameError, match="frame 5"):
        odometry.track(_broken(_frame(5), how))
    expected = untouched.track(_frame(5)).world_from_camera
    np.testing.assert_array_equal(odometry.track(_frame(5)).world_from_camera, expected)


@pytest.mark.parametrize(
    "wrong",
    [
        {"window_size": 2},
        {"edge_radius": 8},
        {"image_area_px": 10},
        {"matcher": "crystal_ball"},
        {"independent_share": 0.0},
        {"flat_depth_m": float("nan")},
    ],
)
def test_a_config_that_cannot_work_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(DroidBridgeError, match=next(iter(wrong))):
        OdometryConfig(**wrong)  # type: ignore[arg-type]
