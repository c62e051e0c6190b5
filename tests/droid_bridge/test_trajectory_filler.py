from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from droid_bridge.lie import sim3_exp
from droid_bridge.odometry_update import TrackedPose
from droid_bridge.trajectory_filler import TrajectoryFiller


def pose(frame: int, x_m: float) -> TrackedPose:
    transform = np.eye(4)
    transform[0, 3] = x_m
    return TrackedPose(frame, frame * 100, transform)


def straight(frames: int) -> TrajectoryFiller:
    filler = TrajectoryFiller()
    for frame in range(frames):
        filler.record([pose(frame, float(frame))])
    return filler


def similarity(*tangent: float) -> np.ndarray:
    return sim3_exp(torch.tensor(tangent, dtype=torch.float64)).numpy()


def xs(poses: tuple[TrackedPose, ...]) -> list[float]:
    return [float(one.world_from_camera[0, 3]) for one in poses]


def test_without_corrections_it_is_the_front_end() -> None:
    filler = straight(5)
    filler.record([pose(3, 3.5), pose(4, 4.5), pose(5, 5.5)])
    assert xs(filler.corrected(())) == [0, 1, 2, 3.5, 4.5, 5.5]
    assert [one.stamp_ns for one in filler.corrected((), 4)] == [400, 500]
    assert len(filler) == 6


def test_frames_between_two_keyframes_move_in_proportion() -> None:
    corrections = ((2, similarity(0, 0, 0, 0, 0, 0, 0)), (6, similarity(4, 0, 0, 0, 0, 0, 0)))
    assert xs(straight(9).corrected(corrections)) == pytest.approx([0, 1, 2, 4, 6, 8, 10, 11, 12])


def test_a_stretched_world_stretches_the_way_and_no_camera() -> None:
    poses = straight(4).corrected(((0, similarity(0, 0, 0, 0, 0, 0, np.log(2))),))
    assert xs(poses) == pytest.approx([0, 2, 4, 6])
    for one in poses:
        np.testing.assert_allclose(one.world_from_camera[:3, :3], np.eye(3), atol=1e-12)


@given(st.integers(0, 11), st.integers(0, 100))
@settings(max_examples=40, deadline=None)
def test_the_end_of_the_path_is_the_end_of_the_whole_path(first: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    filler = TrajectoryFiller()
    for frame in range(12):
        filler.record([TrackedPose(frame, frame, similarity(*rng.normal(size=6), 0.0))])
    corrections = [(k, similarity(*(0.1 * rng.normal(size=7)))) for k in (1, 4, 9)]
    whole, end = filler.corrected(corrections), filler.corrected(corrections, first)
    assert [one.frame_index for one in end] == list(range(first, 12))
    for one, other in zip(whole[first:], end, strict=True):
        np.testing.assert_allclose(one.world_from_camera, other.world_from_camera, atol=1e-9)


def test_a_standing_camera_keeps_its_order() -> None:
    filler = TrajectoryFiller()
    filler.record([TrackedPose(k, k * 10**8, np.eye(4)) for k in range(5)])
    corrections = ((0, similarity(0, 0, 0, 0, 0, 0, 0)), (4, similarity(4, 0, 0, 0, 0, 0, 0)))
    assert xs(filler.corrected(corrections)) == pytest.approx([0, 1, 2, 3, 4], abs=1e-6)


def test_thousands_of_frames_grow_the_store() -> None:
    filler = straight(5000)
    assert xs(filler.corrected((), 4998)) == [4998, 4999]
