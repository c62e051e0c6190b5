"""The walls of rooms: what is cut out of them, and what fills that or hangs beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from metric3d_ros.datasets.simulated.room_furniture import Tint, any_colour
from metric3d_ros.datasets.simulated.surfaces import SurfaceBuilder

DOOR_M = (0.86, 2.0)
WALL_M = 0.18
# Just above the ground plane, on which people stand.
FLOOR_M = 0.02


@dataclass(frozen=True)
class Opening:
    """A door or window in a wall: from ``left_m`` along it, and from ``low_m`` to ``high_m`` above the floor."""

    left_m: float
    width_m: float
    low_m: float
    high_m: float


@dataclass(frozen=True)
class Wall:
    """A wall from a corner of its room to the next, the room on its left, and what is cut out of it."""

    start: tuple[float, float]
    end: tuple[float, float]
    openings: tuple[Opening, ...] = ()

    @property
    def length_m(self) -> float:
        """Between the corners."""
        return math.dist(self.start, self.end)

    @property
    def heading_rad(self) -> float:
        """From start to end."""
        return math.atan2(self.end[1] - self.start[1], self.end[0] - self.start[0])

    def inside(self, along_m: float, away_m: float) -> tuple[float, float]:
        """A place in the room, ``away_m`` off the wall."""
        cosine, sine = math.cos(self.heading_rad), math.sin(self.heading_rad)
        x, y = self.start
        return x + along_m * cosine - away_m * sine, y + along_m * sine + away_m * cosine


@dataclass(frozen=True)
class Room:
    """A rectangle of the ground in metres, and how high its ceiling hangs above the floor."""

    low: tuple[float, float]
    high: tuple[float, float]
    height_m: float

    def walls(self) -> list[Wall]:
        """The four walls, counter-clockwise: the one at low y first, then at high x, high y and low x."""
        (x0, y0), (x1, y1) = self.low, self.high
        corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
        return [Wall(corners[k], corners[(k + 1) % 4]) for k in range(4)]


def pierced(rng: np.random.Generator, setting: str, room: Room, is_first: bool, is_last: bool) -> list[Wall]:
    """The walls of a room with their doors and windows: doors between rooms, windows to both sides."""
    south, east, north, west = room.walls()
    middle_m = 0.5 * east.length_m
    door = Opening(middle_m - 0.5 * DOOR_M[0], DOOR_M[0], 0.0, DOOR_M[1])
    east = replace(east, openings=(door,)) if not is_last or rng.random() < 0.5 else east
    west = replace(west, openings=(door,)) if not is_first or rng.random() < 0.3 else west
    return [
        _with_windows(rng, setting, south, room.height_m),
        east,
        _with_windows(rng, setting, north, room.height_m),
        west,
    ]


def _with_windows(rng: np.random.Generator, setting: str, wall: Wall, height_m: float) -> Wall:
    """Openings side by side, as many as fit: windows, or in a corridor doors as well."""
    openings: list[Opening] = []
    if rng.random() < 0.3:
        return wall
    kind = "door" if setting == "corridor" and rng.random() < 0.7 else "window"
    along_m = rng.uniform(0.4, 1.2)
    width_m, low_m = (DOOR_M[0], 0.0) if kind == "door" else (rng.uniform(0.8, 2.2), rng.uniform(0.75, 1.05))
    high_m = DOOR_M[1] if kind == "door" else min(low_m + rng.uniform(1.0, 1.4), height_m - 0.2)
    while along_m + width_m + 0.3 < wall.length_m:
        openings.append(Opening(along_m, width_m, low_m, high_m))
        along_m += width_m + rng.uniform(0.4, 3.0)
    return replace(wall, openings=tuple(openings))


def build_wall(builder: SurfaceBuilder, wall: Wall, height_m: float, material: str, tint: Tint) -> None:
    """The wall as boxes around its openings, and the undersides of the lintels."""
    top_m, tile_m = FLOOR_M + height_m, (2.4, 2.4)
    with builder.placed(*wall.start, wall.heading_rad):
        at_m = -WALL_M
        for opening in wall.openings:
            right_m = opening.left_m + opening.width_m
            low_m, high_m = FLOOR_M + opening.low_m, FLOOR_M + opening.high_m
            builder.box((at_m, -WALL_M, 0.0), (opening.left_m, 0.0, top_m), material, tile_m, tint)
            if opening.low_m > 0:
                builder.box((opening.left_m, -WALL_M, 0.0), (right_m, 0.0, low_m), material, tile_m, tint)
                builder.box(
                    (opening.left_m - 0.03, 0.0, low_m - 0.03), (right_m + 0.03, 0.12, low_m), "wood", tint=tint
                )
            builder.box((opening.left_m, -WALL_M, high_m), (right_m, 0.0, top_m), material, tile_m, tint)
            builder.patch(
                (right_m, -WALL_M, high_m), (-opening.width_m, 0, 0), (0, WALL_M, 0), material, tile_m, 0.8 * tint
            )
            at_m = right_m
        builder.box((at_m, -WALL_M, 0.0), (wall.length_m + WALL_M, 0.0, top_m), material, tile_m, tint)


def dress_wall(rng: np.random.Generator, builder: SurfaceBuilder, wall: Wall, height_m: float) -> None:
    """Skirting, frames and bars of windows, leaves of closed doors, curtains, pictures."""
    frame = any_colour(rng, 0.5)
    with builder.placed(*wall.start, wall.heading_rad):
        for opening in wall.openings:
            _fill_opening(rng, builder, opening, frame)
        at_m = 0.0
        for opening in [*(o for o in wall.openings if o.low_m == 0), Opening(wall.length_m, 0.0, 0.0, 0.0)]:
            builder.box((at_m, 0.0, FLOOR_M), (opening.left_m, 0.015, FLOOR_M + 0.07), "paint", tint=frame)
            at_m = opening.left_m + opening.width_m
        for _ in range(int(rng.integers(0, 4))):
            side_m, left_m = rng.uniform(0.25, 0.9), rng.uniform(0.1, max(0.11, wall.length_m - 1.0))
            low_m = FLOOR_M + rng.uniform(1.2, 1.5)
            is_free = all(left_m > o.left_m + o.width_m or left_m + side_m < o.left_m for o in wall.openings)
            if is_free and low_m + side_m < FLOOR_M + height_m:
                builder.patch(
                    (left_m + side_m, 0.02, low_m),
                    (-side_m, 0, 0),
                    (0, 0, side_m * rng.uniform(0.7, 1.0)),
                    "poster",
                )


def _fill_opening(rng: np.random.Generator, builder: SurfaceBuilder, opening: Opening, frame: Tint) -> None:
    left_m, right_m = opening.left_m, opening.left_m + opening.width_m
    low_m, high_m = FLOOR_M + opening.low_m, FLOOR_M + opening.high_m
    for x in (left_m, right_m - 0.05):
        builder.box((x, -0.1, low_m), (x + 0.05, 0.02, high_m), "paint", tint=frame)
    builder.box((left_m, -0.1, high_m - 0.05), (right_m, 0.02, high_m), "paint", tint=frame)
    if opening.low_m == 0:
        if rng.random() < 0.5:
            leaf = any_colour(rng, 0.3)
            builder.box((left_m + 0.05, -0.09, low_m), (right_m - 0.05, -0.05, high_m), "wood", (1.6, 2.0), leaf)
            builder.box(
                (right_m - 0.18, -0.05, low_m + 1.03),
                (right_m - 0.07, 0.0, low_m + 1.06),
                "paint",
                tint=(0.3, 0.3, 0.3),
            )
        return
    middle_m = 0.5 * (left_m + right_m)
    builder.box((middle_m - 0.03, -0.08, low_m), (middle_m + 0.03, -0.02, high_m), "paint", tint=frame)
    builder.box((left_m, -0.08, low_m), (right_m, -0.02, low_m + 0.05), "paint", tint=frame)
    if rng.random() < 0.3:
        cloth = any_colour(rng, 0.3)
        for x in (left_m - 0.2, right_m - 0.15):
            builder.box((x, 0.13, FLOOR_M + 0.05), (x + 0.35, 0.2, high_m + 0.1), "cloth", (0.5, 0.5), cloth)
    elif rng.random() < 0.5 and opening.low_m > 0.7:
        builder.box((left_m, 0.03, FLOOR_M + 0.12), (right_m, 0.11, FLOOR_M + 0.72), "ribbed", (1.2, 1.2))
