"""Exact ground under a camera on its way, and what its depths say of the scale."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from droid_bridge.ground_scale import GroundScale, has_way_around
from metric3d_ros.camera import PinholeCamera

CAMERA = PinholeCamera(101, 30, 58.7, 57.7, 49.0, 13.4)
HEIGHT_M = 1.65
NODES = 13


def along_the_ground(pitch_rad: float, step_m: float = 1.0, unit: float = 1.0) -> NDArray[np.float64]:
    """Camera from world on a level way; a camera with positive pitch looks up."""
    camera_from_world = np.tile(np.eye(4), (NODES, 1, 1))
    camera_from_world[:, :3, :3] = cv2.Rodrigues(np.array([-pitch_rad, 0.0, 0.0]))[0]
    centres = np.stack([[0.0, 0.0, step_m * k] for k in range(NODES)])
    camera_from_world[:, :3, 3] = -np.einsum("kij,kj->ki", camera_from_world[:, :3, :3], centres)
    camera_from_world[:, :3] *= unit
    return camera_from_world


def ground_seen(height_m: float, pitch_rad: float = 0.0) -> NDArray[np.float32]:
    """Inverse depth of level ground."""
    down = np.array([0.0, math.cos(pitch_rad), -math.sin(pitch_rad)])
    return np.asarray((CAMERA.rays() @ down / height_m).clip(1e-4), dtype=np.float32)


ALIKE = np.full((CAMERA.height_px, CAMERA.width_px), 0.05, np.float32)


@given(map_height=st.floats(0.05, 20), pitch_rad=st.floats(-0.15, 0.1), unit=st.floats(0.1, 10))
def test_the_scale_of_any_map(map_height: float, pitch_rad: float, unit: float) -> None:
    """Depths are in the unit of the keyframe, which is that of its similarity."""
    way = along_the_ground(pitch_rad, step_m=map_height / unit, unit=unit)
    read = GroundScale(HEIGHT_M).log_scale(ground_seen(map_height, pitch_rad), ALIKE, CAMERA, way, 6)
    assert read == pytest.approx(math.log(map_height / HEIGHT_M), abs=1e-3)


def test_the_way_tells_the_slope_that_depths_have_wrong() -> None:
    """Depths that have the ground a degree too steep have it 5 % too low by themselves."""
    steeper = ground_seen(HEIGHT_M, math.radians(1.0))
    by_depths_alone = GroundScale(HEIGHT_M).log_scale(
        steeper, ALIKE, CAMERA, along_the_ground(math.radians(1.0)), 6
    )
    assert by_depths_alone == pytest.approx(0, abs=1e-3)
    tilted = GroundScale(HEIGHT_M).log_scale(steeper, ALIKE, CAMERA, along_the_ground(0.0), 6)
    far_m = HEIGHT_M * CAMERA.fy / (CAMERA.height_px - 1 - CAMERA.cy)
    assert 0 < abs(tilted) < math.radians(1.0) * 9, "what the plane is off by lies within the strip"
    assert far_m < 9


@pytest.mark.parametrize("step_m", [0.0, 0.05])
def test_a_camera_that_hardly_moves_has_no_way(step_m: float) -> None:
    read = GroundScale(HEIGHT_M).log_scale(ground_seen(HEIGHT_M), ALIKE, CAMERA, along_the_ground(0, step_m), 6)
    assert math.isnan(read)


def test_what_nothing_is_known_of_says_nothing() -> None:
    unknown = np.full_like(ALIKE, np.inf)
    way = along_the_ground(0.0)
    assert math.isnan(GroundScale(HEIGHT_M).log_scale(ground_seen(HEIGHT_M), unknown, CAMERA, way, 6))
    wall = np.full_like(ALIKE, 1 / 6)
    assert math.isnan(GroundScale(HEIGHT_M).log_scale(wall, ALIKE, CAMERA, way, 6))


def test_a_keyframe_has_its_way_once_six_have_followed() -> None:
    assert [has_way_around(NODES, k) for k in (0, 6, 7, 12)] == [True, True, False, False]
