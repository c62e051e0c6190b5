from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.simulated import StreetWorld, camera_pose, render, sample_view
from metric3d_ros.datasets.simulated.camera_path import is_inside_any
from metric3d_ros.datasets.simulated.raycast import GROUND, cast
from metric3d_ros.errors import CameraError

CAMERA = PinholeCamera(width_px=320, height_px=120, fx=190.0, fy=190.0, cx=158.3, cy=57.6)


@pytest.fixture(scope="module")
def world() -> StreetWorld:
    return StreetWorld.generate(seed=11, length_m=60.0)


def _view(world: StreetWorld, number: int) -> NDArray[np.float64]:
    return sample_view(np.random.default_rng(number), world, CAMERA)


def _points(camera: PinholeCamera, pose: NDArray[np.float64], depth_m: NDArray[np.float32]) -> NDArray[np.float64]:
    in_camera = camera.rays().astype(np.float64) * depth_m[..., None]
    return in_camera @ pose[:3, :3].T + pose[:3, 3]


def test_a_world_is_the_same_every_time(world: StreetWorld) -> None:
    again = StreetWorld.generate(seed=11, length_m=60.0)
    pose = _view(world, 0)
    for one, other in zip(render(world, CAMERA, pose, 3), render(again, CAMERA, pose, 3), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("number", range(4))
def test_seen_points_lie_on_the_surface_they_belong_to(world: StreetWorld, number: int) -> None:
    pose = _view(world, number)
    _, depth_m = render(world, CAMERA, pose)
    hits = cast(world.patches, world.atlas, CAMERA, pose)
    points = _points(CAMERA, pose, depth_m)
    ground = hits.patch == GROUND
    near = ground & (depth_m < 60.0)
    assert near.sum() > 500
    assert np.abs(points[near][:, 2]).max() < 2e-3
    on_patch = (hits.patch >= 0) & (depth_m < 60.0)
    patch = hits.patch[on_patch]
    from_plane = np.einsum(
        "ij,ij->i", world.patches.plane_normals[patch], points[on_patch] - world.patches.origin[patch]
    )
    assert np.abs(from_plane).max() < 2e-3
    patches = world.patches
    from_origin = points[on_patch] - patches.origin[patch]
    a, b = (np.einsum("ij,ij->i", dual[patch], from_origin) for dual in patches.duals)
    beyond_b_m = np.maximum(-b, b - 1.0) * np.linalg.norm(patches.edge_v, axis=1)[patch]
    left, right = patches.inset_left[patch] * b, 1.0 - patches.inset_right[patch] * b
    beyond_a_m = np.maximum(left - a, a - right) * np.linalg.norm(patches.edge_u, axis=1)[patch]
    assert beyond_a_m.max() < 5e-3 and beyond_b_m.max() < 5e-3


def test_two_views_of_a_point_agree_in_place_and_colour(world: StreetWorld) -> None:
    pose = _view(world, 2)
    moved = pose.copy()
    moved[:3, 3] += pose[:3, :3] @ [0.25, -0.03, 0.4]
    rgb, depth_m = render(world, CAMERA, pose)
    other_rgb, other_depth_m = render(world, CAMERA, moved)
    seen = np.isfinite(depth_m) & (depth_m < 40.0)
    points_in_other = (_points(CAMERA, pose, depth_m)[seen] - moved[:3, 3]) @ moved[:3, :3]
    u = CAMERA.fx * points_in_other[:, 0] / points_in_other[:, 2] + CAMERA.cx
    v = CAMERA.fy * points_in_other[:, 1] / points_in_other[:, 2] + CAMERA.cy
    column, row = np.rint(u).astype(int), np.rint(v).astype(int)
    inside = (column >= 0) & (column < CAMERA.width_px) & (row >= 0) & (row < CAMERA.height_px)
    expected = points_in_other[inside, 2]
    found = other_depth_m[row[inside], column[inside]]
    agrees = np.abs(found / expected - 1.0) < 0.05
    assert agrees.mean() > 0.8
    one = rgb[seen][inside][agrees].astype(float).mean(axis=1)
    other = other_rgb[row[inside], column[inside]][agrees].astype(float).mean(axis=1)
    assert np.corrcoef(one, other)[0, 1] > 0.85


def test_another_focal_length_sees_the_same_world_along_the_same_rays(world: StreetWorld) -> None:
    twice = replace(
        CAMERA,
        width_px=2 * CAMERA.width_px,
        height_px=2 * CAMERA.height_px,
        fx=2 * CAMERA.fx,
        fy=2 * CAMERA.fy,
        cx=2 * CAMERA.cx,
        cy=2 * CAMERA.cy,
    )
    pose = _view(world, 3)
    _, depth_m = render(world, CAMERA, pose)
    _, twice_depth_m = render(world, twice, pose)
    same_rays = twice_depth_m[::2, ::2]
    both = np.isfinite(depth_m) & np.isfinite(same_rays)
    assert (np.isfinite(depth_m) == np.isfinite(same_rays)).mean() > 0.999
    assert np.isclose(depth_m[both], same_rays[both], rtol=1e-5).mean() > 0.999


@settings(max_examples=15, deadline=None)
@given(
    pitch=st.floats(-0.1, 0.1),
    roll=st.floats(-0.1, 0.1),
    heading=st.floats(-3.0, 3.0),
    height=st.floats(0.8, 3.0),
)
def test_depth_is_never_infinite_and_the_sky_has_none(
    world: StreetWorld, pitch: float, roll: float, heading: float, height: float
) -> None:
    (x, y) = world.line.points[200]
    rgb, depth_m = render(world, CAMERA, camera_pose(x, y, height, heading, pitch, roll))
    assert rgb.shape == (120, 320, 3)
    assert not np.isinf(depth_m).any()
    assert (depth_m[np.isfinite(depth_m)] > 0).all()
    up = camera_pose(x, y, height, heading, np.radians(80.0))
    assert np.isnan(render(world, CAMERA, up)[1]).mean() > 0.5


def test_a_level_camera_sees_the_road_at_the_depth_geometry_gives(world: StreetWorld) -> None:
    (x, y), heading = world.line.points[200], world.line.headings[200]
    _, depth_m = render(world, CAMERA, camera_pose(x, y, 1.65, heading))
    row = CAMERA.height_px - 1
    assert depth_m[row, 158] == pytest.approx(1.65 * CAMERA.fy / (row - CAMERA.cy), rel=1e-5)


def test_the_road_has_texture_at_every_distance(world: StreetWorld) -> None:
    (x, y), heading = world.line.points[200], world.line.headings[200]
    rgb, _ = render(world, CAMERA, camera_pose(x, y, 1.65, heading))
    gray = rgb.astype(float).mean(axis=2)
    for rows in (slice(110, 120), slice(90, 100), slice(75, 82)):
        assert gray[rows, 130:190].std() > 1.5


def test_sampled_views_keep_out_of_everything(world: StreetWorld) -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        pose = sample_view(rng, world, CAMERA, (1.2, 2.2))
        assert 1.2 <= pose[2, 3] <= 2.2
        assert not is_inside_any(world.obstacles, tuple(pose[:3, 3]), 0.5)
        np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)


def test_a_distorted_camera_or_a_buried_one_is_refused(world: StreetWorld) -> None:
    with pytest.raises(CameraError, match="distortion"):
        render(world, replace(CAMERA, distortion_model="plumb_bob", distortion=(0.1,)), np.eye(4))
    with pytest.raises(CameraError, match="above the ground"):
        render(world, CAMERA, np.eye(4))
