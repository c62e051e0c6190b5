from __future__ import annotations

import numpy as np
import pytest

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.simulated_loop import SimulatedLoop
from metric3d_ros.errors import DatasetError

CAMERA = PinholeCamera(width_px=64, height_px=24, fx=37.0, fy=37.0, cx=31.5, cy=11.5)
LAP_M, OVERLAP_M = 170.0, 40.0


@pytest.fixture(scope="module")
def loop() -> SimulatedLoop:
    return SimulatedLoop(11, LAP_M, CAMERA, OVERLAP_M)


def test_the_second_visit_runs_beside_the_first_without_a_jump(loop: SimulatedLoop) -> None:
    poses, lap = loop.world_from_camera, loop.lap_frames
    again = poses[lap:]
    apart_m = np.linalg.norm(again[:, :3, 3] - poses[: len(again), :3, 3], axis=1)
    assert apart_m[0] == 0
    assert 0.3 < apart_m[-1] < 0.6
    assert np.array_equal(again[:, :3, :3], poses[: len(again), :3, :3])
    steps_m = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    assert steps_m.max() < 1.3 * np.median(steps_m)
    assert steps_m[lap:].sum() == pytest.approx(OVERLAP_M, abs=1.5)


def test_frames_are_the_same_in_any_order(loop: SimulatedLoop) -> None:
    rendered = {frame.index: frame for frame in loop.render_all(workers=1, progress=False)}
    assert sorted(rendered) == list(range(len(loop)))
    for index in (0, loop.lap_frames - 1, loop.lap_frames, -1):
        frame = loop[index]
        assert np.array_equal(frame.image, rendered[frame.index].image)
        assert np.array_equal(frame.world_from_camera, loop.world_from_camera[index])
        assert frame.stamp_ns == loop.stamps_ns[index]
    assert (np.diff(loop.stamps_ns) == loop.stamps_ns[1]).all()
    with pytest.raises(IndexError):
        loop[len(loop)]


@pytest.mark.parametrize("overlap_m", [0.0, -5.0, LAP_M, float("nan")])
def test_an_overlap_that_is_none_is_refused(overlap_m: float) -> None:
    with pytest.raises(DatasetError, match="give more than 0"):
        SimulatedLoop(11, LAP_M, CAMERA, overlap_m)
