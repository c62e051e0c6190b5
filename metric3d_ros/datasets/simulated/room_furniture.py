"""Furniture in the sizes it is sold in: tables 0.75 m high, seats 0.45 m, doors 2 m.

A piece stands with its back on y = 0, in the middle of x = 0, and faces +y; it stands at the height ``floor_m``.
Every function returns its footprint: the width along x and the depth along y, in metres.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.datasets.simulated.surfaces import SurfaceBuilder

Tint = NDArray[np.float64]
Footprint = tuple[float, float]
Piece = Callable[[np.random.Generator, SurfaceBuilder, float], Footprint]

_BOARD_M = 0.025
_DARK = np.array([0.05, 0.05, 0.06])


def any_colour(rng: np.random.Generator, low: float = 0.1, high: float = 1.1) -> Tint:
    """A gray or, at times, a colour."""
    gray = rng.uniform(low, high)
    return np.clip(gray * np.exp(rng.normal(0.0, rng.choice([0.05, 0.4]), 3)), 0.02, 1.3)


def put_table(rng: np.random.Generator, builder: SurfaceBuilder, floor_m: float) -> Footprint:
    """A table on four legs, 0.72 to 0.76 m high."""
    width_m, depth_m = rng.uniform(0.8, 2.0), rng.uniform(0.7, 1.0)
    _top_on_legs(rng, builder, floor_m, width_m, depth_m, rng.uniform(0.72, 0.76))
    return width_m, depth_m


def put_low_table(rng: np.random.Generator, builder: SurfaceBuilder, floor_m: float) -> Footprint:
    """A coffee table, 0.4 to 0.5 m high."""
    width_m, depth_m = rng.uniform(0.7, 1.3), rng.uniform(0.45, 0.7)
    _top_on_legs(rng, builder, floor_m, width_m, depth_m, rng.uniform(0.4, 0.5))
    return width_m, depth_m


def put_desk(rng: np.random.Generator, builder: SurfaceBuilder, floor_m: float) -> Footprint:
    """A desk with a screen and its keyboard on it, and a drawer unit under it."""
    width_m, depth_m, height_m = rng.uniform(1.2, 1.8), rng.uniform(0.7, 0.8), rng.uniform(0.72, 0.76)
    _top_on_legs(rng, builder, floor_m, width_m, depth_m, height_m)
    top_m = floor_m + height_m
    for x in [0.0] if rng.random() < 0.6 else [-0.3, 0.3]:
        screen_m = rng.uniform(0.5, 0.62)
        high_m = top_m + 0.12 + 0.6 * screen_m
        builder.box((x - 0.1, 0.1, top_m), (x + 0.1, 0.28, top_m + 0.02), "paint", tint=_DARK)
        builder.box((x - 0.02, 0.17, top_m), (x + 0.02, 0.2, top_m + 0.3), "paint", tint=_DARK)
        builder.box(
            (x - screen_m / 2, 0.2, top_m + 0.12), (x + screen_m / 2, 0.23, high_m), "paint", tint=_DARK, gloss=0.1
        )
    builder.box((-0.22, 0.4, top_m), (0.22, 0.54, top_m + 0.02), "paint", tint=any_colour(rng))
    builder.box((0.1, 0.1, floor_m), (0.5, depth_m - 0.1, floor_m + 0.55), "paint", tint=any_colour(rng))
    return width_m, depth_m


def put_chair(rng: np.random.Generator, builder: SurfaceBuilder, floor_m: float) -> Footprint:
    """A chair: its seat 0.43 to 0.47 m high, its back up to 0.95 m."""
    side_m, seat_m = rng.uniform(0.4, 0.46), floor_m + rng.uniform(0.43, 0.47)
    tint, material = any_colour(rng), str(rng.choice(["wood", "paint", "cloth"]))
    _legs(builder, floor_m, side_m, side_m, seat_m, 0.035, tint)
    half_m = side_m / 2
    builder.box((-half_m, 0.0, seat_m - 0.03), (half_m, side_m, seat_m), material, (0.5, 0.5), tint)
    builder.patch((-half_m, 0.0, seat_m - 0.03), (0, side_m, 0), (side_m, 0, 0), material, (0.5, 0.5), tint)
    back_m = floor_m + rng.uniform(0.8, 0.95)
    builder.box((-half_m, 0.0, seat_m + 0.1), (half_m, 0.03, back_m), material, (0.5, 0.5), tint)
    for x in (-half_m, half_m - 0.03):
        builder.box((x, 0.0, seat_m), (x + 0.03, 0.03, back_m), "paint", tint=tint)
    return side_m, side_m


def put_bed(rng: np.random.Generator, builder: SurfaceBuilder, floor_m: float) -> Footprint:
    """A bed 2 m long and 0.9 to 1.8 m wide, its head to the wall."""
    width_m, length_m, top_m = float(rng.choice([0.9, 1.4, 1.6, 1.8])), 2.0, floor_m + rng.uniform(0.45, 0.6)
    half_m, frame, cover = width_m / 2, any_colour(rng), any_colour(rng, 0.3)
    builder.box((-half_m, 0.0, floor_m + 0.08), (half_m, length_m, floor_m + 0.3), "wood", (1.6, 1.6), frame)
    builder.box((-half_m, 0.0, floor_m + 0.3), (half_m, length_m, top_m), "cloth", (0.5, 0.5), cover)
    builder.box(
        (-half_m, 0.0, floor_m), (half_m, 0.05, floor_m + rng.uniform(0.8, 1.1)), "wood", (1.6, 1.6), frame
    )
    for x in np.arange(-half_m + 0.1, half_m - 0.5, 0.75):
        builder.box((x, 0.1, top_m), (x + 0.65, 0.5, top_m + 0.12), "cloth", (0.5, 0.5), any_colour(rng, 0.6))
    return width_m, length_m


def put_sofa(rng: np.random.Generator, builder: SurfaceBuilder, floor_m: float) -> Footprint:
    """An armchair or a sofa for up to three: seat 0.42 m, back 0.8 m, arms 0.6 m."""
    width_m, depth_m = float(rng.choice([0.9, 1.5, 1.9, 2.2])), rng.uniform(0.82, 0.95)
    half_m, tint = width_m / 2, any_colour(rng)
    options = ("cloth", (0.5, 0.5), tint)
    builder.box((-half_m, 0.0, floor_m + 0.06), (half_m, depth_m, floor_m + 0.42), *options)
    builder.box((-half_m, 0.0, floor_m + 0.42), (half_m, 0.22, floor_m + rng.uniform(0.75, 0.88)), *options)
    for x in (-half_m, half_m - 0.18):
        builder.box((x, 0.22, floor_m + 0.42), (x + 0.18, depth_m, floor_m + 0.6), *options)
    return width_m, depth_m


def put_wardrobe(rng: np.random.Generator, builder: SurfaceBuilder, floor_m: float) -> Footprint:
    """A wardrobe or cupboard, 0.5 m wide a door, with handles at 1 m."""
    doors, depth_m, height_m = int(rng.integers(1, 5)), rng.uniform(0.4, 0.62), rng.uniform(1.7, 2.2)
    width_m, tint = 0.5 * doors, any_colour(rng, 0.3)
    builder.box((-width_m / 2, 0.0, floor_m), (width_m / 2, depth_m, floor_m + height_m), "wood", (1.6, 1.6), tint)
    _doors(builder, -width_m / 2, doors, 0.5, depth_m, floor_m + 0.05, floor_m + height_m - 0.02, tint)
    return width_m, depth_m


def put_shelf(rng: np.random.Generator, builder: SurfaceBuilder, floor_m: float) -> Footprint:
    """A bookshelf 0.8 m wide and 0.3 m deep, boards 0.32 to 0.38 m apart, most of them full."""
    width_m, depth_m, rise_m = 0.8, 0.3, rng.uniform(0.32, 0.38)
    shelves, tint = int(rng.integers(2, 7)), any_colour(rng, 0.3)
    half_m, top_m = width_m / 2, floor_m + shelves * rise_m
    builder.box((-half_m, 0.0, floor_m), (half_m, 0.02, top_m), "wood", (1.6, 1.6), tint)
    for x in (-half_m, half_m - _BOARD_M):
        builder.box((x, 0.0, floor_m), (x + _BOARD_M, depth_m, top_m), "wood", (1.6, 1.6), tint)
    for number in range(shelves + 1):
        z = floor_m + number * rise_m
        builder.box((-half_m, 0.0, z - _BOARD_M), (half_m, depth_m, z), "wood", (1.6, 1.6), tint)
        builder.patch(
            (half_m, 0.0, z - _BOARD_M), (-width_m, 0, 0), (0, depth_m, 0), "wood", (1.6, 1.6), 0.6 * tint
        )
        if number < shelves and rng.random() < 0.8:
            filled_m = rng.uniform(0.3, 1.0) * (width_m - 2 * _BOARD_M)
            x = -half_m + _BOARD_M
            builder.patch((x + filled_m, 0.22, z), (-filled_m, 0, 0), (0, 0, 0.3), "books", (0.32, 0.3))
            builder.patch((x + filled_m, 0.02, z), (0, 0.2, 0), (0, 0, 0.26), "paint", tint=any_colour(rng))
            builder.patch((x, 0.02, z + 0.24), (filled_m, 0, 0), (0, 0.2, 0), "paint", tint=(0.5, 0.5, 0.45))
    return width_m, depth_m


def put_kitchen(rng: np.random.Generator, builder: SurfaceBuilder, floor_m: float) -> Footprint:
    """A kitchen row: worktop at 0.9 m, wall cupboards from 1.4 to 2.1 m, perhaps a fridge of 1.8 m."""
    units, depth_m = int(rng.integers(2, 6)), 0.6
    width_m, tint, left_m = 0.6 * units, any_colour(rng, 0.3), -0.3 * units
    builder.box((left_m, 0.0, floor_m + 0.1), (-left_m, depth_m - 0.02, floor_m + 0.86), "paint", (1, 1), tint)
    _doors(builder, left_m, units, 0.6, depth_m - 0.02, floor_m + 0.12, floor_m + 0.84, tint)
    builder.box((left_m, 0.0, floor_m + 0.86), (-left_m, depth_m, floor_m + 0.9), "stone", (2, 2), any_colour(rng))
    if rng.random() < 0.7:
        low_m = floor_m + 1.4
        builder.box((left_m, 0.0, low_m), (-left_m, 0.35, low_m + 0.7), "paint", (1, 1), tint)
        builder.patch((-left_m, 0.0, low_m), (-width_m, 0, 0), (0, 0.35, 0), "paint", (1, 1), 0.6 * tint)
        _doors(builder, left_m, units, 0.6, 0.35, low_m + 0.02, low_m + 0.68, tint)
    if rng.random() < 0.5:
        builder.box(
            (-left_m, 0.0, floor_m), (0.6 - left_m, 0.65, floor_m + 1.8), "paint", (1, 1), any_colour(rng, 0.5)
        )
        return width_m + 1.2, 0.65
    return width_m, depth_m


def put_plant(rng: np.random.Generator, builder: SurfaceBuilder, floor_m: float) -> Footprint:
    """A plant in a pot."""
    pot_m, high_m = rng.uniform(0.12, 0.22), rng.uniform(0.4, 1.4)
    builder.prism(0, 0.3, floor_m, floor_m + 1.6 * pot_m, pot_m, "paint", (1, 1), any_colour(rng), sides=8)
    for u in ((0.3 + 0.3 * high_m, 0.0, 0.0), (0.0, 0.3 + 0.3 * high_m, 0.0)):
        corner = (-0.5 * u[0], 0.3 - 0.5 * u[1], floor_m + 1.4 * pot_m)
        builder.patch(corner, u, (0, 0, high_m), "bush", cut_out=True, two_sided=True)
    return 0.6, 0.6


def put_boxes(rng: np.random.Generator, builder: SurfaceBuilder, floor_m: float) -> Footprint:
    """One to three cardboard boxes on each other."""
    z, side_m = floor_m, rng.uniform(0.35, 0.6)
    for _ in range(int(rng.integers(1, 4))):
        half_m, high_m = 0.5 * side_m * rng.uniform(0.8, 1.0), rng.uniform(0.2, 0.45)
        tint = np.array([0.75, 0.55, 0.35]) * rng.uniform(0.5, 1.0)
        builder.box((-half_m, 0.02, z), (half_m, 0.02 + side_m * 0.9, z + high_m), "paint", (1, 1), tint)
        z += high_m
    return side_m, side_m


def _top_on_legs(
    rng: np.random.Generator,
    builder: SurfaceBuilder,
    floor_m: float,
    width_m: float,
    depth_m: float,
    height_m: float,
) -> None:
    tint, top_m, half_m = any_colour(rng, 0.3), floor_m + height_m, width_m / 2
    builder.box((-half_m, 0.0, top_m - 0.035), (half_m, depth_m, top_m), "wood", (1.6, 1.6), tint)
    builder.patch((-half_m, 0.0, top_m - 0.035), (0, depth_m, 0), (width_m, 0, 0), "wood", (1.6, 1.6), 0.6 * tint)
    _legs(builder, floor_m, width_m - 0.04, depth_m, top_m - 0.035, 0.05, any_colour(rng))


def _legs(
    builder: SurfaceBuilder,
    floor_m: float,
    width_m: float,
    depth_m: float,
    top_m: float,
    side_m: float,
    tint: Tint,
) -> None:
    for x in (-width_m / 2, width_m / 2 - side_m):
        for y in (0.0, depth_m - side_m):
            builder.box((x, y, floor_m), (x + side_m, y + side_m, top_m), "paint", (1, 1), tint)


def _doors(
    builder: SurfaceBuilder,
    left_m: float,
    count: int,
    each_m: float,
    front_m: float,
    low_m: float,
    high_m: float,
    tint: Tint,
) -> None:
    """Door leaves a little before a front at y = ``front_m``, each with a bar for a handle."""
    for number in range(count):
        x = left_m + number * each_m
        builder.patch(
            (x + each_m - 0.005, front_m + 0.012, low_m), (0.01 - each_m, 0, 0), (0, 0, high_m - low_m), "paint",
            (1, 1), 0.9 * tint,
        )  # fmt: skip
        middle_m = min(0.5 * (low_m + high_m), low_m + 0.95)
        builder.box(
            (x + 0.04, front_m, middle_m), (x + 0.06, front_m + 0.04, middle_m + 0.16), "paint", tint=_DARK
        )
