"""What spans a road: bridges, sign gantries, traffic lights on arms."""

from __future__ import annotations

import numpy as np

from metric3d_ros.datasets.simulated.surfaces import SurfaceBuilder

_STEEL = (0.4, 0.42, 0.43)
_BRIDGE_SHADE = 0.75


def put_bridge(rng: np.random.Generator, builder: SurfaceBuilder, half_gap_m: float) -> None:
    """A road or railway bridge over the street, which runs along x.

    The builder's place is under the middle of the deck; ``half_gap_m`` is free on either side of it.
    """
    clear_m, thickness_m = rng.uniform(4.4, 6.0), rng.uniform(0.7, 1.8)
    half_deck_m = rng.uniform(2.5, 9.0)
    reach_m = half_gap_m + rng.uniform(14.0, 30.0)
    material = str(rng.choice(["concrete", "concrete", "stone", "brick"]))
    tint = np.full(3, rng.uniform(0.6, 1.3))
    top_m = clear_m + thickness_m
    builder.box((-half_deck_m, -reach_m, clear_m), (half_deck_m, reach_m, top_m), material, (4.0, 4.0), tint)
    builder.patch(
        (half_deck_m, -reach_m, clear_m), (-2 * half_deck_m, 0, 0), (0, 2 * reach_m, 0), material, (4.0, 4.0), tint
    )
    for sign in (-1.0, 1.0):
        near, far = sorted((sign * half_gap_m, sign * reach_m))
        builder.box((-half_deck_m, near, -2.0), (half_deck_m, far, clear_m), material, (4.0, 4.0), tint)
        builder.obstacle((-half_deck_m, near, 0.0), (half_deck_m, far, top_m))
        edge = sign * half_deck_m
        low, high = sorted((edge, edge - sign * 0.2))
        if rng.random() < 0.5:
            builder.box((low, -reach_m, top_m), (high, reach_m, top_m + 1.0), material, (4.0, 4.0), tint)
        else:
            builder.patch(
                (edge, -reach_m, top_m), (0, 2 * reach_m, 0), (0, 0, 1.1), "mesh", (0.5, 0.5), _STEEL,
                cut_out=True, two_sided=True,
            )  # fmt: skip
    builder.ceiling((-half_deck_m, -reach_m), (half_deck_m, reach_m), _BRIDGE_SHADE)


def put_gantry(rng: np.random.Generator, builder: SurfaceBuilder, half_gap_m: float) -> None:
    """A frame of steel over the street along x, with boards that face whoever comes from -x."""
    clear_m = rng.uniform(5.0, 6.0)
    for y in (-half_gap_m, half_gap_m):
        builder.prism(0.0, y, -0.5, clear_m + 0.6, 0.15, "paint", (1, 1), _STEEL, sides=5)
        builder.obstacle((-0.2, y - 0.2, 0.0), (0.2, y + 0.2, clear_m))
    builder.box((-0.15, -half_gap_m, clear_m + 0.2), (0.15, half_gap_m, clear_m + 0.6), "paint", (1, 1), _STEEL)
    for _ in range(int(rng.integers(1, 4))):
        width_m, height_m = rng.uniform(1.5, 4.0), rng.uniform(1.0, 2.4)
        left_m = rng.uniform(-half_gap_m + width_m, max(half_gap_m, width_m - half_gap_m + 0.1))
        tint = [(0.05, 0.1, 0.45), (0.03, 0.25, 0.08), (0.9, 0.9, 0.9)][int(rng.integers(3))]
        builder.patch((-0.2, left_m, clear_m), (0, -width_m, 0), (0, 0, height_m), "poster", tint=tint)
        builder.patch((-0.18, left_m - width_m, clear_m), (0, width_m, 0), (0, 0, height_m), "paint", tint=_STEEL)


def put_traffic_light(rng: np.random.Generator, builder: SurfaceBuilder) -> None:
    """A signal on a pole, facing -x; one in three has an arm that reaches over the lane towards +y."""
    pole_m = rng.uniform(2.8, 3.6)
    arm_m = rng.uniform(2.5, 5.0) if rng.random() < 0.33 else 0.0
    if arm_m:
        pole_m = rng.uniform(5.2, 6.2)
        builder.box((-0.05, 0.0, pole_m - 0.1), (0.05, arm_m, pole_m), "paint", (1, 1), _STEEL)
    builder.prism(0, 0, -0.3, pole_m, 0.07, "paint", (1, 1), _STEEL, sides=6)
    for y, low_m in ((0.0, 2.1), (arm_m, pole_m - 1.0)):
        builder.box((-0.14, y - 0.15, low_m), (0.14, y + 0.15, low_m + 0.9), "paint", (1, 1), (0.03, 0.03, 0.03))
    builder.obstacle((-0.2, -0.2, 0.0), (0.2, 0.2, 3.0))
