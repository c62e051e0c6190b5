"""Where the last motion leads, with stamps as cameras and bags send them, and with those that they should not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from droid_bridge.expected_motion import expected_coords
from droid_bridge.lie import se3_exp, se3_inverse, se3_log
from droid_bridge.motion import MotionModel
from droid_bridge.projection import CellGrid
from metric3d_ros.camera import PinholeCamera

PERIOD_NS = 100_000_000
STEP = torch.tensor([0.1, 0.0, -0.5, 0.0, 0.02, 0.0], dtype=torch.float64)


def moving(elapsed_ns: int = PERIOD_NS) -> MotionModel:
    motion = MotionModel()
    motion.move(se3_exp(STEP), elapsed_ns)
    return motion


@pytest.mark.parametrize("periods", [1, 3])
def test_a_motion_goes_on_as_it_was(periods: int) -> None:
    predicted = moving().predicted((1 + periods) * PERIOD_NS)
    torch.testing.assert_close(se3_log(predicted), (1 + periods) * STEP, rtol=0, atol=1e-9)


def test_a_gap_in_time_is_not_driven_through() -> None:
    """A bag that was paused, or a clock that was set: the camera is not a light second away."""
    motion = moving()
    a_second = motion.predicted(PERIOD_NS + 1_000_000_000)
    torch.testing.assert_close(motion.predicted(PERIOD_NS + 10**15), a_second)


def test_a_moment_that_is_said_twice_is_no_velocity() -> None:
    motion = moving(elapsed_ns=1)
    moved = motion.predicted(1 + PERIOD_NS) @ se3_inverse(motion.camera_from_world)
    assert float(moved[:3, 3].norm()) < 100


@pytest.mark.parametrize("far_m", [1e9, 1e30])
def test_what_is_expected_is_always_a_place(far_m: float) -> None:
    grid = CellGrid.of_camera(PinholeCamera(12, 9, 8.0, 8.5, 5.4, 4.2), torch.device("cpu"))
    pose = se3_exp(torch.tensor([0.0, 0.0, 0.0, 0.5, 2.0, 0.3], dtype=torch.float64))
    pose[:3, 3] = torch.tensor([far_m, -far_m, far_m])
    depths = torch.tensor([1e-30, 1.0, 1e30]).repeat(36)
    assert np.isfinite(expected_coords(torch.stack([pose, se3_inverse(pose)]), depths.expand(2, -1), grid)).all()
