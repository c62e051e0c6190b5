"""Rooms: closed, of the sizes they say, seen from inside; furniture stands in the room and not in itself."""

from __future__ import annotations

import numpy as np
import pytest
from any_texture import AnyTexture

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.simulated import SimulatedDrive, StreetWorld, camera_pose, render, sample_view
from metric3d_ros.datasets.simulated.camera_path import is_inside_any
from metric3d_ros.datasets.simulated.raycast import cast
from metric3d_ros.datasets.simulated.room_furniture import put_chair, put_shelf, put_table
from metric3d_ros.datasets.simulated.room_walls import DOOR_M, FLOOR_M, Opening, Room, build_wall
from metric3d_ros.datasets.simulated.rooms import ROOM_SETTINGS
from metric3d_ros.datasets.simulated.surfaces import SurfaceBuilder
from metric3d_ros.errors import DatasetError

CAMERA = PinholeCamera(width_px=160, height_px=96, fx=100.0, fy=100.0, cx=79.5, cy=47.5)


@pytest.fixture(scope="module", params=sorted(set(ROOM_SETTINGS)))
def world(request: pytest.FixtureRequest) -> StreetWorld:
    return StreetWorld.generate(
        70 + sorted(set(ROOM_SETTINGS)).index(request.param), 10.0, setting=request.param, style="rooms"
    )


def test_every_kind_of_room_can_be_looked_at_from_inside(world: StreetWorld) -> None:
    rng = np.random.default_rng(0)
    spread = []
    for _ in range(6):
        pose = sample_view(rng, world, CAMERA, (0.3, 1.8))
        x, y, z = pose[:3, 3]
        assert 0.3 - 1e-9 <= z - FLOOR_M <= 1.8 + 1e-9
        assert is_inside_any(world.rooms, (x, y, z), -0.2)
        assert not is_inside_any(world.obstacles, (x, y, z), 0.2)
        rgb, depth_m = render(world, CAMERA, pose, seed=1)
        seen = depth_m[np.isfinite(depth_m)]
        assert (seen > 0).all()
        # Nothing but a window shows what lies farther than the room is long.
        assert np.median(seen) < 30.0
        spread.append(rgb.std())
    assert max(spread) > 8.0


def test_a_room_is_closed_but_for_its_openings(world: StreetWorld) -> None:
    """Looking straight up from anywhere in a room there is its ceiling, at its height."""
    for room in world.rooms:
        height_m = room.bottom_m + 0.5
        pose = camera_pose(room.x, room.y, height_m, 0.0, pitch_rad=np.pi / 2)
        hits = cast(world.patches, world.atlas, PinholeCamera(3, 3, 400.0, 400.0, 1.0, 1.0), pose)
        # A lamp hangs 2 cm under the ceiling.
        assert hits.depth_m[1, 1] == pytest.approx(room.top_m - height_m, abs=0.03)


def test_furniture_keeps_to_the_room(world: StreetWorld) -> None:
    for piece in world.obstacles:
        if piece.top_m > 1.05:
            continue
        home = [
            room
            for room in world.rooms
            if abs(piece.x - room.x) < room.half_length_m and abs(piece.y - room.y) < room.half_width_m
        ]
        assert len(home) == 1


def test_the_same_seed_gives_the_same_room() -> None:
    one, other = (StreetWorld.generate(75, 10.0, style="rooms") for _ in range(2))
    np.testing.assert_array_equal(one.patches.origin, other.patches.origin)
    np.testing.assert_array_equal(one.patches.tint, other.patches.tint)


@pytest.mark.parametrize(
    ("put", "top_m"), [(put_table, (0.72, 0.76)), (put_chair, (0.8, 0.95)), (put_shelf, (0.64, 2.3))]
)
def test_furniture_has_the_sizes_it_is_sold_in(put, top_m) -> None:
    for seed in range(10):
        builder = SurfaceBuilder(AnyTexture())
        width_m, depth_m = put(np.random.default_rng(seed), builder, 1.0)
        corners = builder.build().corners.reshape(-1, 3)
        assert corners[:, 2].min() == pytest.approx(1.0, abs=0.03)
        assert top_m[0] <= corners[:, 2].max() - 1.0 <= top_m[1]
        assert np.ptp(corners[:, 0]) == pytest.approx(width_m, abs=0.05)
        assert corners[:, 1].min() >= -1e-9
        assert corners[:, 1].max() <= depth_m + 0.05


def test_one_can_look_through_a_door_and_not_through_the_wall_beside_it() -> None:
    wall = Room((0.0, 0.0), (4.0, 3.0), 2.5).walls()[0]
    door = Opening(1.0, DOOR_M[0], 0.0, DOOR_M[1])
    builder = SurfaceBuilder(AnyTexture())
    build_wall(builder, type(wall)(wall.start, wall.end, (door,)), 2.5, "plaster", np.ones(3))
    boxes = builder.build().corners
    for x, z, is_open in ((1.4, 1.0, True), (1.4, 2.2, False), (0.5, 1.0, False), (3.0, 1.9, False)):
        # The faces towards the room lie in y = 0.
        faces = [c for c in boxes if np.allclose(c[:, 1], 0.0)]
        is_covered = any(
            c[:, 0].min() < x < c[:, 0].max() and c[:, 2].min() < z + FLOOR_M < c[:, 2].max() for c in faces
        )
        assert is_covered is not is_open


def test_rooms_are_not_driven_through() -> None:
    with pytest.raises(
        DatasetError, match="style 'rooms' has no street to drive along; use plain, varied or kerbed"
    ):
        SimulatedDrive(seed=1, length_m=10.0, style="rooms")
