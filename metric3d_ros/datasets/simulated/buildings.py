"""Houses and town buildings: walls with windows and doors, roofs, chimneys, garages."""

from __future__ import annotations

import numpy as np

from metric3d_ros.datasets.simulated.cut_outs import OPENING_SETS, SHOPS_FROM
from metric3d_ros.datasets.simulated.surfaces import SurfaceBuilder, Vector

_TILE_M = {"plaster": 4.0, "brick": 2.4, "concrete": 4.0, "stone": 2.0, "wood": 1.6, "ribbed": 1.2}
_FOUNDATION_M = 4.0
_PASTELS = (
    (0.95, 0.93, 0.86),
    (0.98, 0.97, 0.95),
    (0.9, 0.8, 0.6),
    (0.75, 0.72, 0.68),
    (0.9, 0.72, 0.6),
    (0.7, 0.75, 0.7),
)


def build_house(rng: np.random.Generator, builder: SurfaceBuilder, width_m: float, depth_m: float) -> float:
    """A detached house: front wall along x at y = 0, depth towards +y. Returns its height in metres."""
    storeys = int(rng.integers(1, 4))
    storey_m = rng.uniform(2.7, 3.1)
    wall_m = storeys * storey_m + rng.uniform(0.0, 0.4)
    material = str(rng.choice(["plaster", "plaster", "plaster", "brick", "wood"]))
    tint = _wall_tint(rng, material)
    _walls(rng, builder, width_m, depth_m, wall_m, storeys, material, tint)
    if rng.random() < 0.85:
        height_m = _gable_roof(rng, builder, width_m, depth_m, wall_m, material, tint)
    else:
        height_m = _flat_roof(builder, width_m, depth_m, wall_m)
    builder.obstacle((0, 0, 0), (width_m, depth_m, height_m))
    return height_m


def build_block(rng: np.random.Generator, builder: SurfaceBuilder, width_m: float, depth_m: float) -> float:
    """A town building of three to six storeys. Returns its height in metres."""
    storeys = int(rng.integers(3, 7))
    storey_m = rng.uniform(2.9, 3.4)
    wall_m = storeys * storey_m + 0.5
    material = str(rng.choice(["plaster", "plaster", "brick", "stone", "concrete"]))
    tint = _wall_tint(rng, material)
    _walls(rng, builder, width_m, depth_m, wall_m, storeys, material, tint, has_shops=rng.random() < 0.35)
    if rng.random() < 0.4:
        height_m = _gable_roof(rng, builder, width_m, depth_m, wall_m, material, tint)
    else:
        height_m = _flat_roof(builder, width_m, depth_m, wall_m)
    builder.box((0, -0.12, 0), (width_m, 0.0, 0.6), "stone", (2.0, 2.0))
    builder.box((-0.05, -0.18, wall_m - 0.35), (width_m + 0.05, 0.0, wall_m - 0.1), "plaster", (4.0, 4.0), tint)
    if rng.random() < 0.5:
        _balconies(rng, builder, width_m, storeys, storey_m)
    builder.obstacle((0, -0.2, 0), (width_m, depth_m, height_m))
    return height_m


def build_garage(rng: np.random.Generator, builder: SurfaceBuilder) -> None:
    """A single garage, door along x."""
    width_m, depth_m, height_m = 3.0, 6.0, 2.6
    tint = _wall_tint(rng, "plaster")
    _foundation(builder, width_m, depth_m)
    builder.box((0, 0, 0), (width_m, depth_m, height_m), "plaster", (4.0, 4.0), tint)
    door = rng.uniform(0.15, 0.9) * rng.uniform(0.8, 1.15, 3)
    builder.patch((0.3, -0.02, 0), (2.4, 0, 0), (0, 0, 2.1), "ribbed", (1.2, 1.2), door)
    builder.box((-0.1, -0.1, height_m), (width_m + 0.1, depth_m, height_m + 0.15), "concrete", (4.0, 4.0))
    builder.obstacle((0, 0, 0), (width_m, depth_m, height_m))


def _wall_tint(rng: np.random.Generator, material: str) -> Vector:
    if material in ("plaster", "wood"):
        pastel = np.asarray(_PASTELS[int(rng.integers(len(_PASTELS)))])
        return np.asarray(pastel * rng.uniform(0.65, 1.05))
    return np.full(3, rng.uniform(0.8, 1.2))


def _walls(
    rng: np.random.Generator,
    builder: SurfaceBuilder,
    width_m: float,
    depth_m: float,
    height_m: float,
    storeys: int,
    material: str,
    tint: Vector,
    has_shops: bool = False,
) -> None:
    _foundation(builder, width_m, depth_m)
    openings = int(rng.integers(OPENING_SETS))
    bay_m = rng.uniform(2.3, 3.4)
    corners = ((0.0, 0.0), (width_m, 0.0), (width_m, depth_m), (0.0, depth_m))
    for i, (x, y) in enumerate(corners):
        to_x, to_y = corners[(i + 1) % 4]
        length_m = abs(to_x - x) + abs(to_y - y)
        blind = i in (1, 3) and rng.random() < 0.35
        builder.patch(
            (x, y, 0.0),
            (to_x - x, to_y - y, 0.0),
            (0.0, 0.0, height_m),
            material,
            tile_m=(_TILE_M[material], _TILE_M[material]),
            tint=tint,
            openings=-1 if blind else openings + (SHOPS_FROM if has_shops and i == 0 else 0),
            bays=(max(1.0, round(length_m / bay_m)), float(storeys)),
        )


def _foundation(builder: SurfaceBuilder, width_m: float, depth_m: float) -> None:
    """What shows under a building where the ground falls away from it."""
    if not builder.terrain.is_level:
        builder.box((0, 0, -_FOUNDATION_M), (width_m, depth_m, 0.0), "concrete", (4.0, 4.0))


def _gable_roof(
    rng: np.random.Generator,
    builder: SurfaceBuilder,
    width_m: float,
    depth_m: float,
    wall_m: float,
    material: str,
    tint: Vector,
) -> float:
    tile = (2.6, 2.6)
    shade = np.full(3, rng.uniform(0.6, 1.3))
    eaves = 0.4
    if rng.random() < 0.6:
        rise = 0.5 * depth_m * rng.uniform(0.55, 0.95)
        slope = rise / (0.5 * depth_m)
        up = (0.0, 0.5 * depth_m + eaves, rise + eaves * slope)
        low = wall_m - eaves * slope
        builder.patch((-eaves, -eaves, low), (width_m + 2 * eaves, 0, 0), up, "roof", tile, shade, two_sided=True)
        builder.patch(
            (width_m + eaves, depth_m + eaves, low),
            (-width_m - 2 * eaves, 0, 0),
            (0, -up[1], up[2]),
            "roof",
            tile,
            shade,
            two_sided=True,
        )
        for x, y, run in ((0.0, depth_m, -depth_m), (width_m, 0.0, depth_m)):
            builder.patch(
                (x, y, wall_m), (0, run, 0), (0, 0, rise), material, (_TILE_M[material],) * 2, tint, (0.5, 0.5)
            )
    else:
        rise = 0.5 * width_m * rng.uniform(0.5, 0.85)
        slope = rise / (0.5 * width_m)
        up = (0.5 * width_m + eaves, 0.0, rise + eaves * slope)
        low = wall_m - eaves * slope
        builder.patch(
            (-eaves, depth_m + eaves, low), (0, -depth_m - 2 * eaves, 0), up, "roof", tile, shade, two_sided=True
        )
        builder.patch(
            (width_m + eaves, -eaves, low),
            (0, depth_m + 2 * eaves, 0),
            (-up[0], 0, up[2]),
            "roof",
            tile,
            shade,
            two_sided=True,
        )
        for y, x, run in ((0.0, 0.0, width_m), (depth_m, width_m, -width_m)):
            builder.patch(
                (x, y, wall_m), (run, 0, 0), (0, 0, rise), material, (_TILE_M[material],) * 2, tint, (0.5, 0.5)
            )
    chimney_x, chimney_y = width_m * rng.uniform(0.3, 0.7), depth_m * rng.uniform(0.35, 0.65)
    top_m = wall_m + rise + 0.6
    builder.box((chimney_x, chimney_y, wall_m), (chimney_x + 0.5, chimney_y + 0.5, top_m), "brick", (2.4, 2.4))
    return top_m


def _flat_roof(builder: SurfaceBuilder, width_m: float, depth_m: float, wall_m: float) -> float:
    builder.box((-0.1, -0.1, wall_m), (width_m + 0.1, depth_m + 0.1, wall_m + 0.25), "concrete", (4.0, 4.0))
    return wall_m + 0.25


def _balconies(
    rng: np.random.Generator, builder: SurfaceBuilder, width_m: float, storeys: int, storey_m: float
) -> None:
    x = width_m * rng.uniform(0.15, 0.6)
    length_m = min(3.0, width_m - x)
    tint = np.full(3, rng.uniform(0.3, 1.0))
    for storey in range(1, storeys):
        low = storey * storey_m - 0.15
        builder.box((x, -1.2, low), (x + length_m, 0.0, low + 1.05), "paint", (1.0, 1.0), tint)
