from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.surface_normals import normals_from_depth

CAMERA = PinholeCamera(40, 30, 50.0, 52.0, 19.0, 15.2)


def plane_depth(normal: np.ndarray, distance_m: float) -> np.ndarray:
    """Depth of the plane n . P = -distance, whose normal points to the camera."""
    return (-distance_m / (CAMERA.rays().astype(np.float64) @ normal)).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(
    tilt_deg=st.floats(0, 50),
    turn_deg=st.floats(0, 360),
    distance_m=st.floats(1, 30),
    step_px=st.integers(1, 3),
)
def test_a_plane_has_its_normal_everywhere(
    tilt_deg: float, turn_deg: float, distance_m: float, step_px: int
) -> None:
    tilt, turn = math.radians(tilt_deg), math.radians(turn_deg)
    normal = np.array([math.sin(tilt) * math.cos(turn), math.sin(tilt) * math.sin(turn), -math.cos(tilt)])
    depth_m = plane_depth(normal, distance_m)
    found = normals_from_depth(depth_m, CAMERA, step_px)
    assert found.dtype == np.float32
    angle_deg = np.degrees(np.arccos(np.clip(found.astype(np.float64) @ normal, -1, 1)))
    assert angle_deg.max() < 0.5


def test_the_floor_points_up() -> None:
    up = np.array([0.0, -1.0, 0.0])
    depth_m = plane_depth(up, 1.6)
    depth_m[depth_m <= 0] = np.nan
    depth_m[:17] = np.nan
    np.testing.assert_allclose(
        normals_from_depth(depth_m, CAMERA)[20:], np.broadcast_to(up, (10, 40, 3)), atol=1e-3
    )


def test_no_reading_has_no_normal_and_spoils_no_other() -> None:
    depth_m = plane_depth(np.array([0.0, 0.0, -1.0]), 4.0)
    depth_m[10, 10] = np.nan
    found = normals_from_depth(depth_m, CAMERA)
    assert np.isnan(found[10, 10]).all()
    known = np.isfinite(found).all(axis=-1)
    np.testing.assert_allclose(found[known], np.broadcast_to([0, 0, -1], (known.sum(), 3)), atol=1e-4)
    # Only the pixels that have the hole in both windows go without.
    assert known.sum() >= depth_m.size - 1 - 4


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (2, 2)])
def test_small_maps_do_not_fail(shape: tuple[int, int]) -> None:
    camera = PinholeCamera(shape[1], shape[0], 50, 50, 0, 0)
    assert normals_from_depth(np.ones(shape, np.float32), camera).shape == (*shape, 3)
