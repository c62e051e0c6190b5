"""Odometry on real frames: the start of a drive, with the scan of its LiDAR as the prior."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from droid_bridge.odometry import Odometry, OdometryConfig
from metric3d_ros.datasets.kitti_raw import KittiRaw

ROOT = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "kitti_raw"
DRIVE = "2011_09_26_drive_0013_sync"
FRAMES = 45

pytestmark = [
    pytest.mark.kitti,
    pytest.mark.slow,
    pytest.mark.skipif(not ROOT.exists(), reason=f"no KITTI raw data at {ROOT}"),
]


def _track(scale_prior: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Final estimated and true camera centres (frames, 3)."""
    source = KittiRaw(ROOT, DRIVE, depth="lidar" if scale_prior else "none")
    odometry = Odometry(OdometryConfig(scale_prior=scale_prior))
    poses: dict[int, NDArray[np.float64]] = {}
    for index in range(FRAMES):
        update = odometry.track(source[index])
        poses.update({tracked.frame_index: tracked.world_from_camera for tracked in update.window})
    assert source.world_from_camera is not None
    true = np.linalg.inv(source.world_from_camera[0]) @ source.world_from_camera[:FRAMES]
    return np.stack([poses[index] for index in range(FRAMES)])[:, :3, 3], true[:, :3, 3]


def _path_m(centres: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(np.diff(centres, axis=0), axis=1).sum())


def test_sparse_lidar_gives_metres() -> None:
    estimate, true = _track(scale_prior=True)
    assert _path_m(estimate) == pytest.approx(_path_m(true), rel=0.025)
    assert np.linalg.norm(estimate[-1] - true[-1]) < 0.03 * _path_m(true)


def test_without_prior_the_path_has_the_right_shape() -> None:
    estimate, true = _track(scale_prior=False)
    estimate = estimate * (_path_m(true) / _path_m(estimate))
    assert np.linalg.norm(estimate - true, axis=1).max() < 0.03 * _path_m(true)
