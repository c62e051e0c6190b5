"""What depth networks and cameras do to a drive through the corridor, and what it may cost."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from corridor import PERIOD_NS, STEP_M, final_poses, frames_of, path_m, pose, tracked, without_depth
from numpy.typing import NDArray

from droid_bridge.depth_sources import DepthNoise
from droid_bridge.odometry import Odometry, OdometryConfig, TrackingStatus
from metric3d_ros.datasets.frame import Frame

COUNT = 44
TRUE_PATH = np.stack([np.linalg.inv(pose(0)) @ pose(k) for k in range(COUNT)])


def _noisy(pixel: float, frame: float, seed: int = 0) -> list[Frame]:
    noise = DepthNoise(pixel, frame, seed)
    return [_with_depth(f, noise.applied(_depth_of(f), f.index)) for f in frames_of(COUNT)]


def _depth_of(frame: Frame) -> NDArray[np.float32]:
    assert frame.depth_m is not None
    return frame.depth_m


def _with_depth(frame: Frame, depth_m: NDArray[np.float32]) -> Frame:
    return replace(frame, depth_m=depth_m)


def _scale(poses: NDArray[np.float64], first: int = 0, last: int = COUNT - 1) -> float:
    """Length of a chord over the true one; the jitter of single poses lengthens a path, not a chord."""
    chord, true_chord = poses[last] - poses[first], TRUE_PATH[last] - TRUE_PATH[first]
    return float(np.linalg.norm(chord[:3, 3]) / np.linalg.norm(true_chord[:3, 3]))


@pytest.mark.parametrize(("pixel", "frame", "tolerance"), [(0.10, 0.03, 0.03), (0.20, 0.06, 0.07)])
def test_noise_of_networks_costs_little(pixel: float, frame: float, tolerance: float) -> None:
    poses = final_poses(tracked(_noisy(pixel, frame)))
    assert _scale(poses) == pytest.approx(1.0, abs=tolerance)
    assert np.linalg.norm((poses - TRUE_PATH)[:, :3, 3], axis=1).max() < tolerance * path_m(TRUE_PATH)


def test_five_frames_three_times_too_deep_change_nothing() -> None:
    frames = _noisy(0.05, 0.02)
    for k in range(20, 25):
        frames[k] = _with_depth(frames[k], 3 * _depth_of(frames[k]))
    undisturbed, disturbed = final_poses(tracked(_noisy(0.05, 0.02))), final_poses(tracked(frames))
    assert _scale(disturbed, 19, 30) == pytest.approx(_scale(undisturbed, 19, 30), abs=0.01)
    assert np.linalg.norm((disturbed - undisturbed)[:, :3, 3], axis=1).max() < 0.01 * path_m(TRUE_PATH)


def test_a_frame_of_nan_is_a_frame_without_depth() -> None:
    frames = frames_of(COUNT)
    frames[20] = _with_depth(frames[20], np.full_like(_depth_of(frames[20]), np.nan))
    updates = tracked(frames)
    assert all(update.status is TrackingStatus.TRACKING for update in updates)
    assert _scale(final_poses(updates)) == pytest.approx(1.0, abs=0.02)


def test_depth_for_every_third_frame_is_enough() -> None:
    frames = [f if f.index % 3 == 0 else without_depth(f) for f in _noisy(0.10, 0.03)]
    assert _scale(final_poses(tracked(frames))) == pytest.approx(1.0, abs=0.04)


def test_depth_that_comes_300_ms_late_still_gives_metres() -> None:
    late = 300_000_000 // PERIOD_NS
    frames = frames_of(COUNT)
    odometry = Odometry()
    updates, of_use = [], 0
    for k, frame in enumerate(frames):
        updates.append(odometry.track(without_depth(frame)))
        if k >= late:
            of_use += odometry.add_depth(frames[k - late].stamp_ns, _depth_of(frames[k - late]))
    assert of_use > 3
    assert updates[0].status is TrackingStatus.INITIALIZING
    assert all(update.has_metric_scale for update in updates[late + 1 :])
    poses = final_poses(updates)
    assert _scale(poses, 12) == pytest.approx(1.0, abs=0.03)
    assert not odometry.add_depth(12345, _depth_of(frames[0]))


def test_what_the_network_is_not_sure_of_does_not_count() -> None:
    frames = []
    for frame in frames_of(COUNT):
        wrong = _depth_of(frame).copy()
        wrong[:, 80:] *= 1.6
        confidence = np.ones_like(wrong)
        confidence[:, 80:] = 0.0
        frames.append(replace(frame, depth_m=wrong, depth_confidence=confidence))
    assert _scale(final_poses(tracked(frames))) == pytest.approx(1.0, abs=0.03)


def test_a_second_of_darkness_is_noticed_and_the_drive_goes_on_in_metres() -> None:
    frames = _noisy(0.05, 0.02)
    dark = range(16, 26)
    for k in dark:
        frames[k] = without_depth(replace(frames[k], image=np.zeros_like(frames[k].image)))
    updates = tracked(frames)
    assert all(updates[k].status is TrackingStatus.DEGRADED for k in dark)
    assert all(update.status is TrackingStatus.TRACKING for update in updates[dark.stop + 2 :])
    poses = final_poses(updates)
    assert len(poses) == COUNT
    assert _scale(poses, dark.stop + 2) == pytest.approx(1.0, abs=0.04)
    assert np.linalg.norm(poses[dark.stop, :3, 3] - poses[dark.start, :3, 3]) == pytest.approx(
        len(dark) * STEP_M, rel=0.15
    )


def test_a_blurred_frame_does_not_lose_the_way() -> None:
    frames = _noisy(0.05, 0.02)
    for k in (20, 21):
        frames[k] = replace(frames[k], image=np.asarray(cv2.GaussianBlur(frames[k].image, (0, 0), 12), np.uint8))
    updates = tracked(frames)
    assert updates[-1].status is TrackingStatus.TRACKING
    assert _scale(final_poses(updates)) == pytest.approx(1.0, abs=0.03)


HEIGHT_M = 1.4  # of the corridor's camera above its floor
KNOWS_HEIGHT = OdometryConfig(scale_prior=False, camera_height_m=HEIGHT_M)


def test_a_told_height_gives_metres_from_the_first_pose_on_without_any_depth() -> None:
    updates = tracked([without_depth(f) for f in frames_of(COUNT)], KNOWS_HEIGHT)
    waiting = [update for update in updates if update.waits_for_scale]
    assert 0 < len(waiting) < 25
    assert all(update.status is TrackingStatus.INITIALIZING for update in waiting)
    poses = final_poses(updates[len(waiting) :])
    assert len(poses) == COUNT, "the first update in metres holds all earlier poses"
    assert _scale(poses) == pytest.approx(1.0, abs=0.04)
    assert updates[-1].camera_height_m == pytest.approx(HEIGHT_M, rel=0.02)


def test_a_told_height_mends_a_prior_that_is_a_quarter_too_deep() -> None:
    deeper = [_with_depth(f, 1.25 * _depth_of(f)) for f in _noisy(0.10, 0.03)]
    half = COUNT // 2
    misled, mended = (
        final_poses(tracked(deeper, OdometryConfig(camera_height_m=height_m))) for height_m in (None, HEIGHT_M)
    )
    assert _scale(misled, half) == pytest.approx(1.25, abs=0.06)
    assert _scale(mended, half) == pytest.approx(1.0, abs=0.06)


def test_a_height_that_is_not_told_is_found() -> None:
    last = tracked(_noisy(0.10, 0.03), OdometryConfig(keeps_height=True))[-1]
    assert last.camera_height_m == pytest.approx(HEIGHT_M, rel=0.05)


def test_a_told_height_that_depth_contradicts_is_told_once_and_changes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    centimetres = OdometryConfig(camera_height_m=100 * HEIGHT_M)
    poses = final_poses(tracked(frames_of(COUNT), centimetres))
    assert _scale(poses) == pytest.approx(1.0, abs=0.02)
    told = [record.getMessage() for record in caplog.records if "as far below the camera" in record.getMessage()]
    assert len(told) == 1
    assert "0.01 times" in told[0]


def test_after_a_loss_the_ground_gives_the_new_map_its_metres() -> None:
    frames = [without_depth(f) for f in frames_of(COUNT)]
    for k in range(20, 27):
        frames[k] = replace(frames[k], image=np.zeros_like(frames[k].image))
    updates = tracked(frames, KNOWS_HEIGHT)
    assert any(update.status is TrackingStatus.DEGRADED for update in updates)
    assert not updates[-1].waits_for_scale
    assert updates[-1].camera_height_m == pytest.approx(HEIGHT_M, rel=0.02)
    step = np.linalg.inv(updates[-6].world_from_camera) @ updates[-1].world_from_camera
    assert np.linalg.norm(step[:3, 3]) == pytest.approx(5 * STEP_M, rel=0.08)
