"""Rooms: flats, offices, corridors and halls, of walls with doors and windows, a ceiling and furniture.

Worlds to train on only. Doors are 2 m high, sills 0.9 m, ceilings from 2.3 m; what a metre is read from indoors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from metric3d_ros.datasets.simulated.furniture import put_person
from metric3d_ros.datasets.simulated.layout import plant_background
from metric3d_ros.datasets.simulated.lighting import Lighting
from metric3d_ros.datasets.simulated.room_furniture import (
    Piece,
    any_colour,
    put_bed,
    put_boxes,
    put_chair,
    put_desk,
    put_kitchen,
    put_low_table,
    put_plant,
    put_shelf,
    put_sofa,
    put_table,
    put_wardrobe,
)
from metric3d_ros.datasets.simulated.room_walls import (
    FLOOR_M,
    WALL_M,
    Opening,
    Room,
    Wall,
    build_wall,
    dress_wall,
    pierced,
)
from metric3d_ros.datasets.simulated.street_plan import StreetPlan
from metric3d_ros.datasets.simulated.surfaces import SurfaceBuilder
from metric3d_ros.datasets.simulated.weather import any_weather

ROOM_SETTINGS = ("flat", "flat", "office", "corridor", "hall")
_DOOR_FREE_M = 0.9
_EAVES_M = 0.4
_TRIES = 4
# The sun falls into few rooms; along the foot of a thin wall the shadow map lets it through where it should not.
_SUNNY_SHARE = 0.3

_AT_WALLS: dict[str, tuple[Piece, ...]] = {
    "flat": (put_bed, put_sofa, put_wardrobe, put_shelf, put_shelf, put_kitchen, put_desk, put_chair, put_plant),
    "office": (put_desk, put_desk, put_shelf, put_wardrobe, put_plant, put_boxes, put_chair),
    "corridor": (put_chair, put_plant, put_boxes, put_shelf),
    "hall": (put_shelf, put_wardrobe, put_chair, put_plant, put_boxes, put_sofa),
}
_FREE: dict[str, tuple[Piece, ...]] = {
    "flat": (put_table, put_low_table, put_chair, put_sofa),
    "office": (put_desk, put_table, put_chair),
    "corridor": (put_boxes,),
    "hall": (put_table, put_chair, put_shelf, put_sofa, put_boxes),
}


def room_light(rng: np.random.Generator) -> Lighting:
    """Daylight through windows against lamps of any colour, more of it from one side than from the other."""
    light = any_weather(rng)
    lamp = rng.uniform(0.4, 1.8) * np.array([rng.uniform(0.9, 1.3), 1.0, rng.uniform(0.6, 1.1)])
    azimuth = rng.uniform(0, 2 * math.pi)
    sun = light.sun_rgb * np.float32(rng.random() < _SUNNY_SHARE)
    side = rng.uniform(0.1, 0.4) * np.array([math.cos(azimuth), math.sin(azimuth), 0.0])
    return replace(
        light,
        sun_rgb=sun,
        ambient_rgb=lamp.astype(np.float32),
        side_light=side.astype(np.float32),
        mean_level=float(rng.uniform(0.35, 0.6)),
        exposure_strength=float(rng.uniform(0.7, 1.0)),
    )


def furnish_rooms(rng: np.random.Generator, builder: SurfaceBuilder, plan: StreetPlan, setting: str) -> None:
    """One to three rooms in a row, doors between them, windows outwards, and furniture in each."""
    middle = plan.line.points[len(plan.line.points) // 2]
    rooms = _rooms_in_a_row(rng, setting, (float(middle[0]), float(middle[1])))
    tint = any_colour(rng, 0.5, 1.1)
    floor = str(rng.choice(["parquet", "floor_tiles", "carpet", "wood", "concrete"]))
    material = str(rng.choice(["plaster", "wallpaper", "paint", "brick"], p=[0.45, 0.3, 0.2, 0.05]))
    for number, room in enumerate(rooms):
        builder.room((*room.low, FLOOR_M), (*room.high, FLOOR_M + room.height_m))
        _lay_floor_and_ceiling(rng, builder, room, floor)
        walls = pierced(rng, setting, room, is_first=number == 0, is_last=number == len(rooms) - 1)
        for wall in walls:
            build_wall(builder, wall, room.height_m, material, tint)
            dress_wall(rng, builder, wall, room.height_m)
        _furnish(rng, builder, room, walls, setting)
        _shade(rng, builder, room)
    plant_background(rng, builder, plan)


def _rooms_in_a_row(rng: np.random.Generator, setting: str, corner: tuple[float, float]) -> list[Room]:
    """Rooms one behind the other along x, a wall's thickness apart, centred alike in y."""
    width_m, depth_m, height_m = {
        "flat": ((2.6, 6.0), (2.8, 5.5), (2.35, 2.9)),
        "office": ((4.0, 11.0), (3.5, 8.0), (2.5, 3.2)),
        "corridor": ((8.0, 25.0), (1.3, 2.6), (2.3, 3.0)),
        "hall": ((8.0, 20.0), (6.0, 14.0), (3.0, 6.0)),
    }[setting]
    high_m, x = rng.uniform(*height_m), corner[0]
    rooms = []
    for _ in range(int(rng.integers(1, 4)) if setting in ("flat", "office") else 1):
        long_m, wide_m = rng.uniform(*width_m), rng.uniform(*depth_m)
        rooms.append(Room((x, corner[1] - wide_m / 2), (x + long_m, corner[1] + wide_m / 2), high_m))
        x += long_m + 2 * WALL_M
    return rooms


def _lay_floor_and_ceiling(rng: np.random.Generator, builder: SurfaceBuilder, room: Room, floor: str) -> None:
    (x0, y0), (x1, y1) = (
        (room.low[0] - WALL_M, room.low[1] - WALL_M),
        (room.high[0] + WALL_M, room.high[1] + WALL_M),
    )
    tile_m = (1.2, 1.2) if floor != "parquet" else (1.6, 1.6)
    builder.patch(
        (x0, y0, FLOOR_M), (x1 - x0, 0, 0), (0, y1 - y0, 0), floor, tile_m, any_colour(rng, 0.4), gloss=0.0
    )
    z = FLOOR_M + room.height_m
    # Little light reaches a face that looks down; real ceilings are lit by the lamps and the floor.
    white = rng.uniform(1.2, 2.6) * np.ones(3)
    material = "floor_tiles" if rng.random() < 0.15 else "paint"
    builder.patch((x0, y1, z), (x1 - x0, 0, 0), (0, y0 - y1, 0), material, (1.2, 1.2), white, casts_shadow=True)
    # The shadow map is too coarse to keep the sun out of the corner between wall and ceiling.
    builder.patch(
        (x0 - _EAVES_M, y0 - _EAVES_M, z + _EAVES_M),
        (x1 - x0 + 2 * _EAVES_M, 0, 0),
        (0, y1 - y0 + 2 * _EAVES_M, 0),
        "paint",
    )
    spacing_m = rng.uniform(1.6, 3.5)
    for x in np.arange(x0 + 0.5 * spacing_m, x1 - 0.4, spacing_m):
        for y in np.arange(y0 + 0.5 * spacing_m, y1 - 0.4, spacing_m):
            builder.patch(
                (x - 0.3, y + 0.15, z - 0.02),
                (0.6, 0, 0),
                (0, -0.3, 0),
                "paint",
                tint=white * rng.uniform(1.0, 4.0),
            )


def _furnish(
    rng: np.random.Generator, builder: SurfaceBuilder, room: Room, walls: Sequence[Wall], setting: str
) -> None:
    """Pieces along the walls, then in the open, none in another or before a door."""
    area_m2 = (room.high[0] - room.low[0]) * (room.high[1] - room.low[1])
    taken = [_before_door(wall, opening) for wall in walls for opening in wall.openings if opening.low_m == 0]
    for _ in range(int(rng.uniform(0.1, 0.45) * area_m2) + 1):
        wall = walls[int(rng.integers(len(walls)))]
        put = _AT_WALLS[setting][int(rng.integers(len(_AT_WALLS[setting])))]
        for _try in range(_TRIES):
            x, y = wall.inside(rng.uniform(0.3, max(0.31, wall.length_m - 0.3)), 0.06)
            if _put_piece(rng, builder, room, taken, put, (x, y, wall.heading_rad)):
                break
    for _ in range(int(rng.uniform(0.0, 0.15) * area_m2)):
        put = _FREE[setting][int(rng.integers(len(_FREE[setting])))]
        x, y = (rng.uniform(room.low[axis] + 0.3, room.high[axis] - 0.3) for axis in range(2))
        _put_piece(rng, builder, room, taken, put, (x, y, rng.uniform(0, 2 * math.pi)))
    if rng.random() < 0.2:
        x, y = (rng.uniform(room.low[axis] + 0.3, room.high[axis] - 0.3) for axis in range(2))
        with builder.placed(x, y, rng.uniform(0, 2 * math.pi)):
            put_person(rng, builder)


Rectangle = tuple[float, float, float, float]


def _put_piece(
    rng: np.random.Generator,
    builder: SurfaceBuilder,
    room: Room,
    taken: list[Rectangle],
    put: Piece,
    place: tuple[float, float, float],
) -> bool:
    """One piece with its back at a place and heading (x, y, rad), if it fits there; else nothing."""
    x, y, heading = place
    trial = SurfaceBuilder(builder.texture_index)
    state = rng.bit_generator.state
    width_m, depth_m = put(rng, trial, FLOOR_M)
    cosine, sine = math.cos(heading), math.sin(heading)
    corners = [
        (x + a * cosine - b * sine, y + a * sine + b * cosine)
        for a in (-width_m / 2, width_m / 2)
        for b in (0.0, depth_m)
    ]
    xs, ys = zip(*corners, strict=True)
    box = (min(xs), min(ys), max(xs), max(ys))
    fits = box[0] > room.low[0] and box[1] > room.low[1] and box[2] < room.high[0] and box[3] < room.high[1]
    if not fits or any(_overlap(box, other) for other in taken):
        return False
    taken.append(box)
    rng.bit_generator.state = state
    with builder.placed(x, y, heading):
        put(rng, builder, FLOOR_M)
        builder.obstacle((-width_m / 2, 0.0, 0.0), (width_m / 2, depth_m, 1.0))
    return True


def _overlap(one: Rectangle, other: Rectangle) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _before_door(wall: Wall, opening: Opening) -> Rectangle:
    near = wall.inside(opening.left_m, 0.0)
    far = wall.inside(opening.left_m + opening.width_m, _DOOR_FREE_M)
    return min(near[0], far[0]), min(near[1], far[1]), max(near[0], far[0]), max(near[1], far[1])


def _shade(rng: np.random.Generator, builder: SurfaceBuilder, room: Room) -> None:
    """Corners that the lamps reach less."""
    for _ in range(int(rng.integers(0, 4))):
        x, y = (rng.uniform(room.low[axis], room.high[axis]) for axis in range(2))
        half_m = rng.uniform(0.5, 2.0)
        builder.ceiling((x - half_m, y - half_m), (x + half_m, y + half_m), rng.uniform(0.1, 0.6))
