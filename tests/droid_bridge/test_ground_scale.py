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
from metric3d_ros.camera_height import find_ground

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
    """Ground that is right 7 m ahead and a degree too steep: by itself 7 % too low, along the way not."""
    pivot_m, slope_rad = 7.0, math.radians(1.0)
    steeper = ground_seen(HEIGHT_M * math.cos(slope_rad) - pivot_m * math.sin(slope_rad), slope_rad)
    itself = find_ground(1 / steeper, CAMERA, ALIKE)
    assert itself is not None
    assert math.log(itself.height_m / HEIGHT_M) < -0.07
    along = GroundScale(HEIGHT_M).log_scale(steeper, ALIKE, CAMERA, along_the_ground(0.0), 6)
    assert along == pytest.approx(0, abs=0.02)


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
