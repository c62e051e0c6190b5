"""What screens the land beside a street: wire fences, banners on them, hoardings, high walls, and boards on posts.

Wire is drawn as a veil: a pixel sees the mean of the threads and of what stands behind, at the threads' depth.
"""

from __future__ import annotations

import math
import string

import cv2
import numpy as np
from numpy.typing import NDArray

from metric3d_ros.datasets.simulated.atlas import Texture
from metric3d_ros.datasets.simulated.cut_outs import drawn
from metric3d_ros.datasets.simulated.street_plan import StreetPlan
from metric3d_ros.datasets.simulated.surfaces import Patches, SurfaceBuilder

WIRE = "wire"
_WIRE_TILE_M = 0.4
_WRITINGS = ("writing_0", "writing_1", "writing_2", "writing_3")
_LETTERS = string.ascii_letters + string.digits
_STEEL = (0.4, 0.42, 0.42)


def screen_textures(rng: np.random.Generator) -> dict[str, Texture]:
    """Wire and boards with writing."""
    return {WIRE: _wire(rng), **{name: _writing(rng) for name in _WRITINGS}}


def is_see_through(patches: Patches, texture_index: dict[str, int]) -> NDArray[np.bool_]:
    """Which patches (n,) are of wire."""
    return np.asarray(patches.texture == texture_index.get(WIRE, -1))


def put_screens(rng: np.random.Generator, builder: SurfaceBuilder, plan: StreetPlan) -> None:
    """Screens along the outer edge of either pavement, or of both, or of none, and boards beside the road."""
    for side in (0, 1):
        if rng.random() < 0.5:
            _screen_side(rng, builder, plan, side)
    if rng.random() < 0.7:
        _put_boards(rng, builder, plan)


def _screen_side(rng: np.random.Generator, builder: SurfaceBuilder, plan: StreetPlan, side: int) -> None:
    """Stretches of 6 to 40 m, straight from one point of the pavement's edge to another, with gaps between."""
    station = rng.uniform(-30.0, 20.0)
    while station < plan.line.length_m - 6.0:
        length_m = rng.uniform(6.0, 40.0)
        if station > 0.0:
            plot = plan.plot(station, min(length_m, plan.line.length_m - station), side)
            # A chord across a bend would leave the pavement's edge.
            if plot.bend_rad < 0.12 and plot.width_m > 3.0:
                with builder.placed(*plot.in_world(0.0, rng.uniform(0.1, 0.6)), plot.heading_rad):
                    _put_screen(rng, builder, plot.width_m)
        station += length_m + rng.uniform(0.0, 40.0)


def _put_screen(rng: np.random.Generator, builder: SurfaceBuilder, length_m: float) -> None:
    kind = rng.random()
    if kind < 0.6:
        put_wire_fence(rng, builder, length_m)
    elif kind < 0.85:
        put_hoarding(rng, builder, length_m)
    else:
        _put_high_wall(rng, builder, length_m)


def put_wire_fence(rng: np.random.Generator, builder: SurfaceBuilder, length_m: float) -> None:
    """A fence of wire along x, 1 to 2.4 m high, between posts; banners hang on one in three."""
    height_m = rng.uniform(1.0, 2.4)
    tint = rng.uniform(0.3, 2.2) * np.array([rng.uniform(0.6, 1.1), 1.0, rng.uniform(0.6, 1.1)])
    builder.patch(
        (0, 0, 0.05), (length_m, 0, 0), (0, 0, height_m - 0.05), WIRE, (_WIRE_TILE_M, _WIRE_TILE_M), tint,
        two_sided=True, casts_shadow=False,
    )  # fmt: skip
    spacing_m, post_m = rng.uniform(2.0, 3.2), rng.uniform(0.02, 0.05)
    for x in np.arange(0.0, length_m + 0.1, spacing_m):
        builder.prism(x, 0.0, 0.0, height_m + 0.06, post_m, "paint", (0.5, 1.0), 0.4 * tint, sides=4)
    if rng.random() < 0.35:
        _hang_banners(rng, builder, length_m, height_m)
    builder.obstacle((0, -0.1, 0), (length_m, 0.1, height_m))


def _hang_banners(rng: np.random.Generator, builder: SurfaceBuilder, length_m: float, height_m: float) -> None:
    x = rng.uniform(0.0, 4.0)
    while x < length_m - 1.0:
        width_m = min(rng.uniform(1.5, 8.0), length_m - x)
        low_m = rng.uniform(0.1, 0.45) * height_m
        _board(rng, builder, (x, 0.0, low_m), width_m, rng.uniform(0.5, 0.98) * height_m - low_m + 0.1)
        x += width_m + rng.uniform(0.0, 8.0)


def put_hoarding(rng: np.random.Generator, builder: SurfaceBuilder, length_m: float) -> None:
    """Boards around a building site along x, 1.8 to 2.6 m high, some with posters."""
    height_m = rng.uniform(1.8, 2.6)
    material = str(rng.choice(["wood", "paint", "paint", "concrete"]))
    tint = np.full(3, rng.uniform(0.5, 1.5)) if material != "paint" else rng.uniform(0.03, 0.9, 3)
    builder.box((0, -0.04, 0), (length_m, 0.04, height_m), material, (2.5, 2.5), tint)
    for x in np.arange(rng.uniform(0.5, 4.0), length_m - 2.6, rng.uniform(3.0, 9.0)):
        if rng.random() < 0.5:
            _board(rng, builder, (x, -0.06, rng.uniform(0.4, 0.9)), rng.uniform(0.6, 2.5), rng.uniform(0.6, 1.2))
    builder.obstacle((0, -0.1, 0), (length_m, 0.1, height_m))


def _put_high_wall(rng: np.random.Generator, builder: SurfaceBuilder, length_m: float) -> None:
    """A wall against noise or the hill behind it, 1.8 to 4 m high."""
    height_m = rng.uniform(1.8, 4.0)
    material = str(rng.choice(["stone", "concrete", "brick", "wood", "plaster"]))
    builder.box((0, -0.1, 0), (length_m, 0.1, height_m), material, (2.4, 2.4), np.full(3, rng.uniform(0.6, 1.2)))
    builder.obstacle((0, -0.1, 0), (length_m, 0.1, height_m))


def _put_boards(rng: np.random.Generator, builder: SurfaceBuilder, plan: StreetPlan) -> None:
    for station in np.arange(rng.uniform(4.0, 30.0), plan.line.length_m, rng.uniform(10.0, 40.0)):
        side = int(rng.integers(2))
        out_m = plan.profile.kerb_at_m(side) + plan.profile.kerb_m + rng.uniform(0.5, 3.5)
        place = plan.beside(station, out_m, side)
        turn = (math.pi if side == 0 else 0.0) + rng.normal(0.0, 0.2)
        with builder.placed(place.x, place.y, place.heading_rad + turn):
            put_board(rng, builder)


def put_board(rng: np.random.Generator, builder: SurfaceBuilder) -> None:
    """A board with writing on one or two posts, facing -x: place names, directions, advertisements."""
    width_m = math.exp(rng.uniform(math.log(0.5), math.log(3.2)))
    height_m = width_m * rng.uniform(0.3, 1.0)
    low_m = rng.uniform(0.5, 2.4)
    for y in (0.0,) if width_m < 1.0 else (-0.38 * width_m, 0.38 * width_m):
        builder.prism(0.05, y, 0.0, low_m + height_m, rng.uniform(0.03, 0.06), "paint", (1, 1), _STEEL, sides=5)
    face = str(rng.choice(_WRITINGS))
    builder.patch((0.0, 0.5 * width_m, low_m), (0, -width_m, 0), (0, 0, height_m), face, gloss=0.05)
    builder.patch(
        (0.02, -0.5 * width_m, low_m), (0, width_m, 0), (0, 0, height_m), "paint", (1, 1), (0.3, 0.3, 0.3)
    )
    builder.obstacle((-0.1, -0.5 * width_m, 0), (0.2, 0.5 * width_m, low_m + height_m))


def _board(
    rng: np.random.Generator,
    builder: SurfaceBuilder,
    low: tuple[float, float, float],
    width_m: float,
    height_m: float,
) -> None:
    """Writing on cloth or board in the plane of x and z, before and behind whatever stands at y."""
    x, y, z = low
    face = str(rng.choice(_WRITINGS))
    for offset_m in (-0.02, 0.02):
        builder.patch(
            (x, y + offset_m, z), (width_m, 0, 0), (0, 0, height_m), face, tint=rng.uniform(0.5, 1.1, 3),
            two_sided=True,
        )  # fmt: skip


def _wire(rng: np.random.Generator) -> Texture:
    """Bars or mesh: threads 3 to 9 mm wide, 4 to 6 cm apart upright and 4 to 20 cm apart across."""
    size = 128
    at_m = (np.arange(size) + 0.5) * _WIRE_TILE_M / size
    upright_m, across_m = _WIRE_TILE_M / int(rng.integers(7, 11)), _WIRE_TILE_M / int(rng.choice([2, 2, 4, 10]))
    thread_m = rng.uniform(0.003, 0.009)
    threads = (at_m % upright_m < thread_m)[None, :] | (at_m % across_m < thread_m)[:, None]
    rgb = np.full((size, size, 3), 0.2, dtype=np.float32)
    # Air is not quite clear, so that a wire thinner than a texel still leaves its share.
    return drawn(rgb, np.where(threads, 1.0, 0.08).astype(np.float32), _WIRE_TILE_M, repeats=True)


def _writing(rng: np.random.Generator) -> Texture:
    """One to five lines of letters that say nothing, on one colour, framed at times."""
    size = 256
    ground, ink = rng.uniform(0.02, 0.85, 3), rng.uniform(0.02, 0.85, 3)
    if abs(float(ground.mean() - ink.mean())) < 0.2:
        ink = np.full(3, 0.8 if ground.mean() < 0.4 else 0.03)
    rgb = np.empty((size, size, 3), dtype=np.float32)
    rgb[:] = ground
    if rng.random() < 0.5:
        cv2.rectangle(rgb, (7, 7), (size - 8, size - 8), tuple(float(v) for v in ink), 4)
    lines = int(rng.integers(1, 6))
    for line in range(lines):
        text = "".join(rng.choice(list(_LETTERS), int(rng.integers(4, 14))))
        scale = rng.uniform(0.6, 1.0) * size / max(24 * len(text), 40 * lines)
        baseline = int((line + 0.75) * (size - 24) / lines) + 12
        cv2.putText(
            rgb, text, (int(rng.integers(14, 40)), baseline), cv2.FONT_HERSHEY_SIMPLEX, 1.6 * scale,
            tuple(float(v) for v in ink), max(1, round(4 * scale)), cv2.LINE_AA,
        )  # fmt: skip
    return drawn(rgb, None, 1.5)
