from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.simulated import SimulatedDrive, StreetWorld, camera_pose, render, sample_view
from metric3d_ros.datasets.simulated.centre_line import generate_centre_line
from metric3d_ros.datasets.simulated.raycast import cast
from metric3d_ros.datasets.simulated.surfaces import SurfaceBuilder
from metric3d_ros.datasets.simulated.terrain import MAX_CURVATURE_PER_M, MAX_SLOPE, Terrain, rolling_terrain

CAMERA = PinholeCamera(width_px=320, height_px=120, fx=190.0, fy=190.0, cx=158.3, cy=57.6)
# A ramp of one in ten along x between 0 and 100 m.
RAMP = Terrain(np.array([1.0, 0.0]), np.array([0.0, 100.0]), np.array([0.0, 10.0]))
SEEDS = st.integers(0, 2**31)


def _rolling(seed: int) -> Terrain:
    rng = np.random.default_rng(seed)
    return rolling_terrain(rng, generate_centre_line(rng, 120.0, closed_loop=False))


@pytest.fixture(scope="module")
def rolling_world() -> StreetWorld:
    worlds = (StreetWorld.generate(seed, 60.0, style="varied") for seed in range(20, 30))
    return next(world for world in worlds if np.ptp(world.terrain.heights_m) > 2.0)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS)
def test_hills_are_no_steeper_and_no_sharper_than_streets_are(seed: int) -> None:
    terrain = _rolling(seed)
    assert np.linalg.norm(terrain.direction) == pytest.approx(1.0)
    assert terrain.heights_m.min() == 0.0 and not terrain.is_level
    spacing_m, rise_m = np.diff(terrain.knots_m), np.diff(terrain.heights_m)
    assert (spacing_m > 0).all()
    slope = rise_m / spacing_m
    assert np.abs(slope).max() <= MAX_SLOPE + 1e-9
    change_per_m = np.abs(np.diff(slope)) / (0.5 * (spacing_m[1:] + spacing_m[:-1]))
    assert change_per_m.max() <= MAX_CURVATURE_PER_M * 1.01


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, x=st.floats(-200, 200), y=st.floats(-200, 200))
def test_the_strips_join_face_up_and_are_the_height_that_is_promised(seed: int, x: float, y: float) -> None:
    terrain = _rolling(seed)
    strips = terrain.strips(np.zeros(2))
    for (origin, edge_u, edge_v), (following, _, _) in pairwise(strips):
        np.testing.assert_allclose(origin + edge_u, following, atol=1e-9)
        assert np.cross(edge_u, edge_v)[2] > 0
    along = float(terrain.direction @ [x, y])
    piece = int(np.searchsorted(terrain.knots_m, along)) - 1
    if 0 <= piece < len(strips):
        origin, edge_u, _ = strips[piece]
        share = (along - terrain.knots_m[piece]) / (terrain.knots_m[piece + 1] - terrain.knots_m[piece])
        assert terrain.height_m(x, y) == pytest.approx(origin[2] + share * edge_u[2], abs=1e-9)


@pytest.mark.parametrize(
    ("heading_deg", "climb", "lean"), [(0, 0.1, 0.0), (180, -0.1, 0.0), (90, 0.0, -0.1), (-90, 0.0, 0.1)]
)
def test_a_vehicle_climbs_ahead_and_leans_away_from_the_hill(heading_deg: int, climb: float, lean: float) -> None:
    found = RAMP.tilt_rad(50.0, 3.0, math.radians(heading_deg))
    np.testing.assert_allclose(np.tan(found), [climb, lean], atol=1e-12)


def test_things_bend_with_the_ground_and_buildings_stand_upright() -> None:
    builder = SurfaceBuilder({"paint": 0}, RAMP)
    with builder.placed(50.0, 0.0, 0.0):
        builder.patch((0, 0, 1.0), (10.0, 0, 0), (0, 0, 2.0), "paint")
        builder.obstacle((0, -1, 0), (10, 1, 3))
    with builder.placed(50.0, 0.0, 0.0, upright=True):
        builder.patch((0, 0, 1.0), (10.0, 0, 0), (0, 0, 2.0), "paint")
    patches = builder.build()
    np.testing.assert_allclose(patches.corners[0][:, 2], [6.0, 7.0, 9.0, 8.0])
    np.testing.assert_allclose(patches.corners[1][:, 2], [6.0, 6.0, 8.0, 8.0])
    assert (builder.obstacles[0].bottom_m, builder.obstacles[0].top_m) == (5.5, 8.5)


@pytest.mark.parametrize("number", range(3))
def test_seen_ground_is_the_terrain_and_nothing_shows_below_it(rolling_world: StreetWorld, number: int) -> None:
    world = rolling_world
    pose = sample_view(np.random.default_rng(number), world, CAMERA)
    rgb, depth_m = render(world, CAMERA, pose)
    hits = cast(world.patches, world.atlas, CAMERA, pose, ground_is_level=False)
    seen = np.isfinite(depth_m) & (depth_m < 80.0)
    points = (CAMERA.rays().astype(np.float64) * depth_m[..., None])[seen] @ pose[:3, :3].T + pose[:3, 3]
    above_m = points[:, 2] - world.terrain.height_m(points[:, 0], points[:, 1])
    on_ground = hits.patch[seen] < world.terrain_patches
    assert on_ground.sum() > 500 and (~on_ground).sum() > 500
    assert np.abs(above_m[on_ground]).max() < 5e-3
    # Between its corners a long hedge or wall is straight where the ground is round.
    assert above_m[~on_ground].min() > -0.6
    assert rgb.std() > 5.0


def test_the_borders_of_the_strips_do_not_show(rolling_world: StreetWorld) -> None:
    """An edge at known distances would tell the network what no street tells it."""
    world = rolling_world
    number = len(world.line.points) // 2
    (x, y), heading = world.line.points[number], world.line.headings[number]
    pose = camera_pose(x, y, float(world.terrain.height_m(x, y)) + 1.65, heading)
    hits = cast(world.patches, world.atlas, CAMERA, pose, ground_is_level=False)
    rgb, depth_m = render(world, CAMERA, pose)
    gray = rgb.astype(np.float64).mean(axis=2)
    below, above = hits.patch[1:], hits.patch[:-1]
    # Farther away a border may be a crest, behind which the ground is another.
    ground = (below < world.terrain_patches) & (above < world.terrain_patches) & (depth_m[:-1] < 25.0)
    step = np.abs(np.diff(gray, axis=0))
    border = ground & (np.abs(below - above) == 1)
    assert border.sum() > 100
    assert step[border].mean() < 1.5 * step[ground & (below == above)].mean() + 0.5


def test_a_drive_follows_the_hills() -> None:
    for seed in range(20, 40):
        drive = SimulatedDrive(seed=seed, length_m=150.0, camera=CAMERA, style="varied")
        heights_m = drive.world_from_camera[:, 2, 3]
        if np.ptp(heights_m) > 2.0:
            break
    poses = drive.world_from_camera
    steps = np.diff(poses[:, :3, 3], axis=0)
    climb = steps[:, 2] / np.linalg.norm(steps[:, :2], axis=1)
    looks_up = np.arcsin(poses[:-1, 2, 2])
    assert np.corrcoef(climb, looks_up)[0, 1] > 0.8
    assert np.abs(climb).max() < MAX_SLOPE + 0.02
