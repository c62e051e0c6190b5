"""Trees, bushes, hedges and woods: trunks and cards of leaves, as real-time graphics builds them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.datasets.simulated.surfaces import SurfaceBuilder, cross

_ROW_PIECE_M = 12.0
_TREE_LEAVES = ("leaves_a", "leaves_b")


def plant_tree(
    rng: np.random.Generator,
    builder: SurfaceBuilder,
    height_m: float,
    crown_from_m: float,
    headroom_m: float = 0.0,
) -> None:
    """A broad-leaved tree at the builder's place, its crown starting at ``crown_from_m``.

    No leaf hangs lower than ``headroom_m``, so that a crown may reach over a road.
    """
    radius_m = height_m * rng.uniform(0.24, 0.4)
    trunk_m = 0.03 * height_m + rng.uniform(0.0, 0.1)
    crown_centre = np.array([0.0, 0.0, 0.5 * (height_m + crown_from_m)])
    half_height_m = 0.5 * (height_m - crown_from_m)
    builder.prism(0, 0, 0.0, crown_from_m + half_height_m, 0.5 * trunk_m + 0.06, "bark", (1.0, 1.5), taper=0.4)
    leaves = str(rng.choice(_TREE_LEAVES))
    tint = rng.uniform(0.75, 1.2) * np.array([rng.uniform(0.9, 1.15), 1.0, 1.0])
    boughs = _spread_directions(rng, int(rng.integers(3, 7))) * rng.uniform(0.25, 0.5, (1, 3))
    for direction in _spread_directions(rng, int(np.clip(6.0 * radius_m + 6.0, 12, 30))):
        bough = boughs[int(rng.integers(len(boughs)))]
        at = bough + rng.uniform(0.3, 0.6) * direction
        half_size_m = min(radius_m, 2.2) * rng.uniform(0.6, 1.05)
        at = crown_centre + at * [radius_m, radius_m, half_height_m]
        at[2] = max(at[2], headroom_m + 1.42 * half_size_m)
        _leaf_card(rng, builder, at, at - crown_centre, half_size_m, leaves, tint)
    half = 0.5 * trunk_m + 0.06
    builder.obstacle((-half, -half, 0.0), (half, half, crown_from_m))
    if crown_from_m < 2.6:
        builder.obstacle((-radius_m, -radius_m, crown_from_m - 0.6), (radius_m, radius_m, height_m))


def plant_conifer(rng: np.random.Generator, builder: SurfaceBuilder, height_m: float) -> None:
    """A spruce: rings of needle cards that get narrower upwards."""
    radius_m = height_m * rng.uniform(0.16, 0.22)
    builder.prism(0, 0, 0.0, 0.8 * height_m, 0.16, "bark", (1.0, 1.5), taper=0.8, sides=5)
    tint = np.full(3, rng.uniform(0.7, 1.2))
    for ring in range(5):
        share = ring / 5.0
        width = radius_m * (1.0 - 0.8 * share)
        for turn in range(3):
            angle = 2 * math.pi * (turn + 0.5 * (ring % 2)) / 3 + rng.uniform(-0.3, 0.3)
            direction = np.array([math.cos(angle), math.sin(angle), 0.35])
            at = np.array(
                [0.45 * width * direction[0], 0.45 * width * direction[1], height_m * (0.2 + 0.72 * share)]
            )
            _leaf_card(rng, builder, at, direction, 1.05 * width + 0.3, "needles", tint)
    builder.obstacle((-radius_m, -radius_m, 0.0), (radius_m, radius_m, height_m))


def plant_bush(rng: np.random.Generator, builder: SurfaceBuilder, radius_m: float) -> None:
    """A round bush standing on the ground."""
    tint = np.full(3, rng.uniform(0.7, 1.3)) * [rng.uniform(0.85, 1.3), 1.0, 1.0]
    for direction in _spread_directions(rng, 7):
        upward = np.array([direction[0], direction[1], abs(direction[2])])
        at = np.array([0, 0, 0.6 * radius_m]) + upward * radius_m * [0.5, 0.5, 0.45]
        _leaf_card(rng, builder, at, upward, 0.8 * radius_m, "bush", tint)
    builder.obstacle((-radius_m, -radius_m, 0.0), (radius_m, radius_m, 1.7 * radius_m))


def plant_hedge(rng: np.random.Generator, builder: SurfaceBuilder, length_m: float, height_m: float) -> None:
    """A clipped hedge along x, from the builder's place on, with loose twigs along its top."""
    depth_m = rng.uniform(0.7, 1.2)
    tint = np.full(3, rng.uniform(0.8, 1.25))
    builder.box((0, -0.5 * depth_m, 0), (length_m, 0.5 * depth_m, height_m), "hedge", (2.2, 2.2), tint)
    for x in np.arange(0.4, length_m, 1.1):
        direction = np.array([rng.uniform(-0.3, 0.3), rng.choice([-1.0, 1.0]), 1.0])
        at = np.array([x, rng.uniform(-0.3, 0.3), height_m - 0.1])
        _leaf_card(rng, builder, at, direction, rng.uniform(0.45, 0.75), "bush", tint)
    builder.obstacle((0, -0.5 * depth_m, 0), (length_m, 0.5 * depth_m, height_m))


def plant_wood_edge(rng: np.random.Generator, builder: SurfaceBuilder, length_m: float, height_m: float) -> None:
    """A far row of trees along x, seen from either side."""
    start = -0.5 * length_m
    # On rolling ground a long row would hang over the dips.
    pieces = 1 if builder.terrain.is_level else math.ceil(length_m / _ROW_PIECE_M)
    tile_width_m = float(rng.uniform(1.4, 2.2)) * height_m
    tint = np.full(3, rng.uniform(0.7, 1.2))
    for piece in range(pieces):
        builder.patch(
            (start + piece * length_m / pieces, 0.0, -0.3),
            (length_m / pieces, 0.0, 0.0),
            (0.0, 0.0, height_m),
            "tree_row",
            # Above the top of a second tile there would be sky.
            tile_m=(tile_width_m, None),
            tint=tint,
            insets=(0.1, 0.1) if pieces == 1 else (0.0, 0.0),
            normal=(0.0, 0.0, 1.0),
            cut_out=True,
            two_sided=True,
            casts_shadow=False,
        )


def _leaf_card(
    rng: np.random.Generator,
    builder: SurfaceBuilder,
    centre: NDArray[np.float64],
    outward: NDArray[np.float64],
    half_size_m: float,
    texture: str,
    tint: NDArray[np.float64],
) -> None:
    """A square of leaves facing roughly outward, shaded as part of a round crown."""
    outward = outward / (math.hypot(*outward) + 1e-9)
    facing = outward + rng.normal(0.0, 0.35, 3)
    level = math.hypot(facing[0], facing[1])
    aside = np.array([-facing[1], facing[0], 0.0]) / level if level > 0.1 else np.array([1.0, 0.0, 0.0])
    upward = cross(facing / math.hypot(*facing), aside)
    upward /= math.hypot(*upward)
    spin = rng.uniform(0, 2 * math.pi)
    edge_u = 2 * half_size_m * (math.cos(spin) * aside + math.sin(spin) * upward)
    edge_v = 2 * half_size_m * (math.cos(spin) * upward - math.sin(spin) * aside)
    builder.patch(
        centre - 0.5 * (edge_u + edge_v),
        edge_u,
        edge_v,
        texture,
        tint=tint * rng.uniform(0.85, 1.15),
        normal=outward + np.array([0.0, 0.0, 0.35]),
        cut_out=True,
        two_sided=True,
    )


def _spread_directions(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Unit vectors (count, 3) spread over the sphere (a Fibonacci lattice, turned at random)."""
    index = np.arange(count) + 0.5
    z = 1.0 - 2.0 * index / count
    angle = math.pi * (1.0 + math.sqrt(5.0)) * index + rng.uniform(0, 2 * math.pi)
    radius = np.sqrt(1.0 - z * z)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=1)
