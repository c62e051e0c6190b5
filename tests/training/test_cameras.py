"""Training cameras keep out of the bands that evaluation uses."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from training.cameras import (
    HELD_OUT_FOCAL_BANDS_PX,
    HORIZONTAL_FOV_RANGE_DEG,
    is_held_out,
    sample_camera,
    sample_camera_height_m,
)


@given(seed=st.integers(0, 100_000))
@settings(max_examples=200, deadline=None)
def test_training_cameras_are_outside_the_held_out_bands(seed):
    camera = sample_camera(np.random.default_rng(seed))
    assert not is_held_out(camera.fx)
    assert 300 <= camera.fx <= 2000
    fov_deg = 2 * math.degrees(math.atan(camera.width_px / (2 * camera.fx)))
    assert HORIZONTAL_FOV_RANGE_DEG[0] <= fov_deg <= HORIZONTAL_FOV_RANGE_DEG[1]


@given(seed=st.integers(0, 100_000), band=st.sampled_from(HELD_OUT_FOCAL_BANDS_PX))
@settings(max_examples=50, deadline=None)
def test_evaluation_cameras_are_inside_their_band(seed, band):
    assert band[0] <= sample_camera(np.random.default_rng(seed), (band,)).fx <= band[1]


def test_kitti_is_held_out():
    assert is_held_out(707.1)
    assert is_held_out(721.5)


def test_camera_heights_are_those_of_vehicles():
    rng = np.random.default_rng(0)
    heights_m = [sample_camera_height_m(rng) for _ in range(500)]
    assert min(heights_m) >= 1.2
    assert max(heights_m) <= 2.2
    assert 1.5 < np.median(heights_m) < 1.7
