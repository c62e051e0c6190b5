"""The whole odometry driven by a matcher that goes on: with random weights it must run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from seeded_droid_net import seeded_net, seeded_state_dict

from droid_bridge.errors import DroidBridgeError
from droid_bridge.expected_motion import expected_coords
from droid_bridge.keyframes import KeyframeRule
from droid_bridge.matching.droid_net import droid_pth
from droid_bridge.matching.droid_net.matcher import DroidMatcher, DroidMatcherOptions
from droid_bridge.matching.matcher import FramePair, Match, PairMatch
from droid_bridge.odometry import Odometry, OdometryConfig
from droid_bridge.projection import CellGrid
from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.frame import Frame
from metric3d_ros.download import file_sha256

CAMERA = PinholeCamera(160, 80, 95.0, 95.0, 79.5, 39.5)
GRID = CellGrid.of_camera(CAMERA.resized(20, 10), torch.device("cpu"))
STEP_M = 0.4
WALL_NORMAL, WALL_DISTANCE_M = np.array([0.35, 0.5, 0.79]), 9.0
QUICK = DroidMatcherOptions(cold_updates=2, guided_updates=1, rematches=1)


def _world_from_camera(k: int) -> NDArray[np.float64]:
    pose = np.eye(4)
    pose[:3, :3] = cv2.Rodrigues(np.array([0.0, 0.01 * k, 0.0]))[0]
    pose[:3, 3] = [0.05 * k, 0.0, STEP_M * k]
    return pose


def _depth_m(k: int, camera: PinholeCamera) -> NDArray[np.float32]:
    """Depth of a slanted wall."""
    pose = _world_from_camera(k)
    along = camera.rays() @ pose[:3, :3].T @ WALL_NORMAL
    return ((WALL_DISTANCE_M - pose[:3, 3] @ WALL_NORMAL) / along).clip(0.5, 200).astype(np.float32)


def _frames(count: int) -> list[Frame]:
    """Frames of a drive whose images are noise, all but the first pixel, which counts them."""
    frames = []
    for k in range(count):
        image = np.random.default_rng(k).integers(0, 256, (80, 160, 3), dtype=np.uint8)
        image[0, 0] = k
        frames.append(Frame(k, 100_000_000 * k, image, CAMERA, _depth_m(k, CAMERA), _world_from_camera(k)))
    return frames


class PatientMatcher:
    """Knows the true motion of ``_frames``, but goes only some of the way to it at a time.

    Parameters
    ----------
    share : of the way from where it starts, the frame itself where nothing is expected.
    rematches : how often it wants to go on.
    """

    def __init__(self, share: float, rematches: int) -> None:
        self._share = share
        self.rematches = rematches
        self.pairs: list[FramePair[int]] = []

    def prepare(self, image: NDArray[np.uint8]) -> int:
        return int(image[0, 0, 0])

    def match(self, pairs: Sequence[FramePair[int]]) -> list[PairMatch]:
        self.pairs += pairs
        return [
            PairMatch(
                self._one_way(pair.first, pair.second, pair.second_from_first),
                self._one_way(pair.second, pair.first, pair.first_from_second),
            )
            for pair in pairs
        ]

    def _one_way(self, source: int, target: int, expected: NDArray[np.float32] | None) -> Match:
        relative = np.linalg.inv(_world_from_camera(target)) @ _world_from_camera(source)
        inverse_depth = torch.from_numpy(1 / _depth_m(source, GRID.camera)).reshape(1, -1)
        truth = expected_coords(torch.from_numpy(relative)[None], inverse_depth, GRID)[0]
        start = GRID.coords.T.reshape(10, 20, 2).numpy() if expected is None else expected
        inside = ((truth >= -0.4) & (truth <= [19.4, 9.4])).all(axis=-1, keepdims=True)
        weight = np.where(inside, 400.0, 0.0).repeat(2, axis=-1)
        return Match((start + self._share * (truth - start)).astype(np.float32), weight.astype(np.float32))


def _end_error_m(matcher: PatientMatcher, frames: list[Frame]) -> float:
    odometry = Odometry(OdometryConfig(), matcher)
    end = [odometry.track(frame) for frame in frames][-1].world_from_camera
    return float(np.linalg.norm((end - _world_from_camera(len(frames) - 1))[:3, 3]))


def test_going_on_in_turn_with_the_adjustment_gets_all_the_way() -> None:
    frames = _frames(8)
    at_once = _end_error_m(PatientMatcher(share=1.0, rematches=0), frames)
    never_again = _end_error_m(PatientMatcher(share=0.7, rematches=0), frames)
    in_turn = _end_error_m(PatientMatcher(share=0.7, rematches=4), frames)
    assert at_once < 0.03 * STEP_M * 7
    assert never_again > 3 * in_turn
    assert in_turn < at_once + 0.02 * STEP_M * 7


def test_every_pair_that_may_still_move_is_taken_up_again() -> None:
    matcher = PatientMatcher(share=1.0, rematches=1)
    every_frame = KeyframeRule(min_parallax_px=0.0)
    odometry = Odometry(OdometryConfig(window_size=6, edge_radius=2, keyframes=every_frame), matcher)
    *before, last = _frames(9)
    for frame in before:
        odometry.track(frame)
    matcher.pairs.clear()
    window = [pose.frame_index for pose in odometry.track(last).window]
    moving = window[len(window) // 2 :]  # the older half is held, and follows the scale alone
    again = [pair for pair in matcher.pairs if pair.goes_on]
    assert moving == [6, 7, 8]
    assert sorted((pair.first, pair.second) for pair in again) == [(k - gap, k) for k in moving for gap in (2, 1)]
    assert all(pair.second_from_first is not None and pair.first_from_second is not None for pair in again)


def test_random_weights_run_through_the_whole_odometry() -> None:
    matcher = DroidMatcher(seeded_net(), options=QUICK)
    odometry = Odometry(OdometryConfig(window_size=4), matcher)
    for frame in _frames(7):
        pose = odometry.track(frame).world_from_camera
        assert np.isfinite(pose).all()
        np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-9)
    assert 0 < matcher.remembered_edges <= 4 * 3


def test_the_config_names_the_matcher_and_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "droid.pth"
    torch.save(seeded_state_dict(), path)
    monkeypatch.setattr(droid_pth, "DROID_PTH_SHA256", file_sha256(path))
    odometry = Odometry(OdometryConfig(matcher="droid", droid_weights=path))
    assert np.isfinite(odometry.track(_frames(1)[0]).world_from_camera).all()


def test_the_learned_matcher_without_its_weights_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METRIC3D_CACHE", str(tmp_path))
    with pytest.raises(DroidBridgeError, match=r"not at .*droid.pth; run `droid-bridge weights fetch`"):
        Odometry(OdometryConfig(matcher="droid"))
