"""Ground planes that are known exactly, and what stands on them."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.camera_height import KnownCameraHeight, find_ground
from metric3d_ros.datasets.simulated.drive import SimulatedDrive
from metric3d_ros.errors import CameraError

CAMERA = PinholeCamera(310, 94, 180.0, 180.0, 152.0, 43.0)


def ground_seen(height_m: float, pitch_rad: float = 0.0, roll_rad: float = 0.0) -> np.ndarray:
    """Depth of flat ground; a camera with positive pitch looks up."""
    down = np.array([math.sin(roll_rad), math.cos(roll_rad) * math.cos(pitch_rad), -math.sin(pitch_rad)])
    down /= np.linalg.norm(down)
    inverse_depth = CAMERA.rays() @ down / height_m
    below_horizon = np.where(inverse_depth > 1e-6, inverse_depth, np.nan)
    return (1 / below_horizon).astype(np.float32)


@given(
    height_m=st.floats(0.1, 5),
    pitch_rad=st.floats(-0.2, 0.05),
    roll_rad=st.floats(-0.05, 0.05),
)
def test_height_and_direction_of_any_ground(height_m, pitch_rad, roll_rad):
    ground = find_ground(ground_seen(height_m, pitch_rad, roll_rad), CAMERA)
    assert ground is not None
    assert ground.height_m == pytest.approx(height_m, rel=1e-4)
    assert ground.normal_in_camera[0] == pytest.approx(math.sin(roll_rad), abs=2e-3)
    assert ground.support == pytest.approx(1)


@given(seed=st.integers(0, 1000), height_m=st.floats(0.3, 3))
def test_noise_a_car_and_missing_pixels_cost_little(seed, height_m):
    rng = np.random.default_rng(seed)
    depth_m = ground_seen(height_m) * (1 + 0.02 * rng.standard_normal(CAMERA.rays().shape[:2]))
    depth_m[:70, 120:170] = np.minimum(depth_m[:70, 120:170], 4 * height_m)
    depth_m[rng.random(depth_m.shape) < 0.1] = np.nan
    ground = find_ground(depth_m.astype(np.float32), CAMERA)
    assert ground is not None
    assert ground.height_m == pytest.approx(height_m, rel=0.02)


@pytest.mark.parametrize(
    "depth_m",
    [
        np.full((94, 310), 6.0, np.float32),
        np.full((94, 310), np.nan, np.float32),
        np.zeros((94, 310), np.float32),
        np.random.default_rng(0).uniform(1, 60, (94, 310)).astype(np.float32),
        ground_seen(1.6, pitch_rad=-0.5),
    ],
    ids=["wall", "nothing", "zero", "random", "steep"],
)
def test_what_is_no_ground(depth_m):
    assert find_ground(depth_m, CAMERA) is None


def test_camera_that_sees_no_ground():
    upwards = PinholeCamera(310, 94, 180.0, 180.0, 152.0, 200.0)
    assert find_ground(ground_seen(1.6), upwards) is None


def test_what_lies_beside_the_lane_or_is_known_badly_costs_nothing():
    depth_m, sigma = ground_seen(1.6), np.full((94, 310), 0.03, np.float32)
    aside = np.abs(CAMERA.rays()[..., 0]) > 1.05 * CAMERA.rays()[..., 1]
    depth_m[aside] *= 0.9
    ground = find_ground(depth_m, CAMERA)
    assert ground is not None
    assert ground.height_m == pytest.approx(1.6, rel=1e-4)
    depth_m[80:] *= 0.8
    sigma[80:] = 10
    ground = find_ground(depth_m, CAMERA, sigma)
    assert ground is not None
    assert ground.height_m == pytest.approx(1.6, rel=1e-3)
    sigma[70:] = np.inf
    assert find_ground(depth_m, CAMERA, sigma) is None


@given(pitch_rad=st.floats(-0.2, 0.05))
def test_the_ground_runs_along_the_way_that_is_told(pitch_rad):
    forward = np.array([0.0, math.sin(pitch_rad), math.cos(pitch_rad)])
    ground = find_ground(ground_seen(1.6, pitch_rad), CAMERA, along=forward)
    assert ground is not None
    assert ground.height_m == pytest.approx(1.6, rel=1e-4)
    ground = find_ground(ground_seen(1.6, pitch_rad + 0.01), CAMERA, along=forward)
    assert ground is not None
    assert ground.normal_in_camera @ forward == pytest.approx(0, abs=1e-9)


def test_where_the_slope_is_known_the_height_is_known_better():
    """Rows that are too near or too far together look like another slope."""
    rng = np.random.default_rng(5)
    told, found = [], []
    for _ in range(40):
        by_row = cv2.GaussianBlur(rng.standard_normal((94, 1)), (0, 0), 12)
        depth_m = (ground_seen(1.6) * (1 + 0.02 * by_row / by_row.std())).astype(np.float32)
        for heights, along in ((told, np.array([0.0, 0.0, 1.0])), (found, None)):
            ground = find_ground(depth_m, CAMERA, along=along)
            assert ground is not None
            heights.append(ground.height_m)
    assert np.std(told) < 0.6 * np.std(found)


def test_simulated_street_is_seen_from_the_height_of_its_camera():
    drive = SimulatedDrive(seed=1_000_001, length_m=40.0, camera=CAMERA, camera_height_m=1.4)
    frame = drive[10]
    ground = find_ground(frame.depth_m, frame.camera)
    assert ground is not None
    assert ground.height_m == pytest.approx(1.4, rel=0.02)


def test_scale_follows_the_median_of_the_readings():
    known = KnownCameraHeight(1.65)
    assert known.factor == 1.0
    assert known.read(ground_seen(1.5), CAMERA) == pytest.approx(1.1, rel=1e-4)
    for height_m in (1.5, 1.5, 3.0, 0.2, 1.5):
        known.read(ground_seen(height_m), CAMERA)
    assert known.factor == pytest.approx(1.1, rel=1e-4)
    known.read(np.full((94, 310), np.nan, np.float32), CAMERA)
    assert known.factor == pytest.approx(1.1, rel=1e-4)
    for _ in range(25):
        known.read(ground_seen(2.0), CAMERA)
    assert known.factor == pytest.approx(1.65 / 2, rel=1e-4)


def test_a_height_that_cannot_be_is_told_once(caplog):
    known = KnownCameraHeight(1.65)
    for _ in range(3):
        assert known.read(ground_seen(0.4), CAMERA) == 1.0
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "the ground is seen 0.40 m below the camera, but its height is given as 1.65 m"
    ]


@pytest.mark.parametrize("height_m", [0.0, -1.0, math.nan, math.inf])
def test_a_height_must_be_above_the_ground(height_m):
    with pytest.raises(CameraError, match="is not above the ground"):
        KnownCameraHeight(height_m)
