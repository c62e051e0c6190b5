from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from droid_bridge.evaluation.association import associate
from droid_bridge.evaluation.boresight import find_boresight
from droid_bridge.evaluation.drift import evaluate_drift
from droid_bridge.trajectory import Trajectory


def winding_drive(count: int = 200) -> Trajectory:
    """A metre a frame along the optical axis, to the right and back."""
    headings_rad = 0.6 * np.sin(np.arange(count) / 30)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = Rotation.from_euler("y", headings_rad[:, None]).as_matrix()
    poses[1:, :3, 3] = np.cumsum(poses[:-1, :3, 2], axis=0)
    return Trajectory(poses)


def with_camera_turned(drive: Trajectory, degrees: tuple[float, float, float]) -> Trajectory:
    """The same path by a camera that looks elsewhere, its world that of its first pose."""
    poses = drive.world_from_camera.copy()
    poses[:, :3, :3] = poses[:, :3, :3] @ Rotation.from_rotvec(degrees, degrees=True).as_matrix()
    return replace(drive, world_from_camera=np.linalg.inv(poses[0]) @ poses)


@given(st.floats(-8, 8), st.floats(-8, 8))
def test_a_turned_camera_is_found_and_costs_nothing_without_the_turn(up_deg: float, right_deg: float) -> None:
    truth = winding_drive()
    estimate = with_camera_turned(truth, (up_deg, right_deg, 0.0))
    boresight = find_boresight(truth, estimate, associate(truth, estimate))
    assert boresight is not None
    assert boresight.degrees == pytest.approx((up_deg, right_deg, 0.0), abs=1e-6)
    report = evaluate_drift(truth, estimate, lengths_m=(50.0,))
    assert report.boresight_deg == pytest.approx(boresight.degrees)
    angle_rad = np.radians(np.hypot(up_deg, right_deg))
    assert report.t_rel_percent == pytest.approx(200 * np.sin(angle_rad / 2), rel=0.1, abs=1e-6)
    assert report.t_rel_percent_after_boresight == pytest.approx(0.0, abs=1e-5)


def test_an_error_of_scale_stays() -> None:
    truth = winding_drive()
    estimate = with_camera_turned(truth, (0.3, -0.5, 0.0))
    poses = estimate.world_from_camera.copy()
    poses[:, :3, 3] *= 1.02
    report = evaluate_drift(truth, replace(estimate, world_from_camera=poses), lengths_m=(50.0,))
    assert report.t_rel_percent_after_boresight == pytest.approx(2.0, rel=0.1)


def test_a_camera_that_goes_to_and_fro_has_none() -> None:
    poses = np.tile(np.eye(4), (100, 1, 1))
    poses[:, 0, 3] = 5 * np.sin(np.arange(100) / 5)
    drive = Trajectory(poses)
    assert find_boresight(drive, drive, associate(drive, drive)) is None
    report = evaluate_drift(drive, drive, lengths_m=(10.0,))
    assert report.boresight_deg is None
    assert report.t_rel_percent_after_boresight is None


def test_a_camera_that_stands_has_none() -> None:
    still = Trajectory(np.tile(np.eye(4), (10, 1, 1)))
    assert find_boresight(still, still, associate(still, still)) is None
