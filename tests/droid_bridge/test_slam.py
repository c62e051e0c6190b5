from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from closed_loop import EXTRA_FRAMES, loop_frames, loop_truth

from droid_bridge.odometry import Odometry
from droid_bridge.odometry_config import OdometryConfig
from droid_bridge.slam import Slam, SlamUpdate


@pytest.fixture(scope="module")
def driven() -> tuple[list[SlamUpdate], tuple, np.ndarray]:
    with Slam() as slam:
        updates = [slam.track(frame) for frame in loop_frames()]
        return updates, slam.finish(), slam.points().points_m


def test_odometry_is_untouched_and_the_map_moves_only_at_a_loop(driven) -> None:
    updates, _, _ = driven
    odometry = Odometry(OdometryConfig())
    for update, frame in zip(updates, loop_frames()[:40], strict=False):
        np.testing.assert_array_equal(update.odometry.world_from_camera, odometry.track(frame).world_from_camera)
    first_loop = next(k for k, update in enumerate(updates) if update.loops)
    assert first_loop > len(updates) - EXTRA_FRAMES
    for update in updates[:first_loop]:
        np.testing.assert_allclose(update.map_from_odom, np.eye(4), atol=1e-9)
    moved = updates[first_loop].map_from_odom
    assert np.linalg.norm(moved - np.eye(4)) > 0.01
    np.testing.assert_allclose(moved[:3, :3] @ moved[:3, :3].T, np.eye(3), atol=1e-9)


def test_after_the_loop_the_camera_is_where_it_is_among_what_it_saw_first(driven) -> None:
    """The second visit lies beside the first in the map, as it does in truth."""
    updates, poses, _ = driven
    truth = loop_truth()
    position = {pose.frame_index: pose.world_from_camera[:3, 3] for pose in poses}
    assert sorted(position) == list(range(len(updates)))
    lap = len(updates) - EXTRA_FRAMES
    for k in range(4, EXTRA_FRAMES - 6):
        found, true = position[lap + k] - position[k], truth[lap + k][:3, 3] - truth[k][:3, 3]
        assert np.linalg.norm(found - true) < 0.15


def test_the_path_is_metric_and_better_than_before(driven) -> None:
    updates, poses, _ = driven
    truth = loop_truth()[:, :3, 3]
    after = np.linalg.norm(np.stack([p.world_from_camera[:3, 3] for p in poses]) - truth, axis=1).mean()
    before = np.linalg.norm(
        np.stack([u.odometry.world_from_camera[:3, 3] for u in updates]) - truth, axis=1
    ).mean()
    assert after < before
    assert after < 0.02 * 170


def test_the_map_holds_the_street(driven) -> None:
    _, _, points_m = driven
    assert len(points_m) > 2000
    below = points_m[:, 1]
    assert np.percentile(below, 95) == pytest.approx(1.65, abs=0.4), "y is down and the camera is 1.65 m above it"


def test_the_back_end_in_a_thread_gives_the_same_path_at_the_end(driven) -> None:
    with Slam(in_background=True) as slam:
        loops = [loop for frame in loop_frames() for loop in slam.track(frame).loops]
        poses = slam.finish()
        assert slam.loops_closed >= max(1, len(loops))
        assert len(slam.points_later(newest=5).result()) > 100
    assert len(poses) == len(loop_frames())
    assert {loop.old_frame_index for loop in loops} <= set(range(EXTRA_FRAMES + 5))
    for one, other in zip(poses, driven[1], strict=True):
        np.testing.assert_allclose(one.world_from_camera, other.world_from_camera, atol=1e-6)


def test_a_loop_that_the_last_keyframes_close_counts() -> None:
    """Nothing is tracked after them, so that no update can tell of it."""
    frames, told = loop_frames(), 0
    with Slam() as slam:
        for frame in frames:
            told += len(slam.track(frame).loops)
            assert slam.loops_closed == told
        slam.finish()
        assert slam.loops_closed > told
        slam.reset()
        assert slam.loops_closed == 0


def test_after_a_reset_the_next_frame_is_the_first() -> None:
    with Slam() as slam:
        for frame in loop_frames()[:15]:
            slam.track(frame)
        slam.reset()
        assert slam.poses() == ()
        assert len(slam.points()) == 0
        update = slam.track(loop_frames()[3])
        np.testing.assert_array_equal(update.map_from_camera, np.eye(4))


def test_a_keyframe_that_the_disk_refuses_costs_that_keyframe_and_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []
    write = Path.write_bytes

    def write_all_but_the_third(path: Path, data: bytes) -> int:
        written.append(path)
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", write_all_but_the_third)
    with Slam() as slam:
        faults = [fault for frame in loop_frames()[:40] for fault in slam.track(frame).faults]
        assert len(faults) == 1
        assert "No space left on device; make room there" in faults[0]
        assert [pose.frame_index for pose in slam.finish()] == list(range(40))
        assert slam.keyframes == len(tracked_loop_start(40)) - 1


def tracked_loop_start(frames: int) -> tuple:
    """All keyframes of a drive that ends after so many frames."""
    odometry = Odometry(OdometryConfig())
    retired = [record for frame in loop_frames()[:frames] for record in odometry.track(frame).retired]
    return (*retired, *odometry.flush())
