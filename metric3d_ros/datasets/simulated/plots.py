"""What a piece of land beside the street holds: a house, a town building, a yard, a garden, a wood, a field."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from metric3d_ros.datasets.simulated.buildings import build_block, build_garage, build_house
from metric3d_ros.datasets.simulated.furniture import put_fence, put_poster_board, put_wall
from metric3d_ros.datasets.simulated.street_plan import Plot, StreetPlan
from metric3d_ros.datasets.simulated.surfaces import SurfaceBuilder
from metric3d_ros.datasets.simulated.vegetation import plant_bush, plant_conifer, plant_hedge, plant_tree
from metric3d_ros.datasets.simulated.vehicles import SHAPES, park_car

_HEADROOM_M = 2.9


def _house_plot(rng: np.random.Generator, builder: SurfaceBuilder, plan: StreetPlan, plot: Plot) -> None:
    setback = rng.uniform(2.5, 8.0)
    gap = rng.uniform(1.0, 3.5)
    width = max(6.0, plot.width_m - 2 * gap - (3.5 if rng.random() < 0.5 else 0.0))
    depth = rng.uniform(8.0, 12.0)
    if not plan.claim(plot, (gap, setback), (gap + width, setback + depth)):
        _green_plot(rng, builder, plan, plot)
        return
    with builder.placed(*plot.in_world(gap, setback), plot.heading_rad, upright=True):
        build_house(rng, builder, width, depth)
    rest = gap + width
    if plot.width_m - rest > 3.3 and plan.claim(plot, (rest + 0.2, setback + 1), (rest + 3.2, setback + 7)):
        plan.pave(plot, (rest, 0.0), (rest + 3.4, setback + 1), "paving")
        with builder.placed(*plot.in_world(rest + 0.2, setback + 1), plot.heading_rad, upright=True):
            build_garage(rng, builder)
    path = rng.uniform(gap, gap + width - 1.5)
    plan.pave(plot, (path, 0.0), (path + 1.3, setback), "paving")
    _boundary(rng, builder, plan, plot, 0.0, min(path - 0.3, rest - 0.5))
    _boundary(rng, builder, plan, plot, path + 1.6, rest - 0.3)
    for _ in range(int(rng.integers(0, 4))):
        _try_bush(rng, builder, plan, plot, rng.uniform(0.5, plot.width_m - 0.5), rng.uniform(0.8, setback))
    if rng.random() < 0.5:
        _try_tree(rng, builder, plan, plot, rng.uniform(1.0, plot.width_m - 1.0), rng.uniform(1.5, setback))
    for _ in range(int(rng.integers(2, 5))):
        away = setback + depth + rng.uniform(2.5, 10.0)
        _try_tree(rng, builder, plan, plot, rng.uniform(0.0, plot.width_m), away)


def _block_plot(rng: np.random.Generator, builder: SurfaceBuilder, plan: StreetPlan, plot: Plot) -> None:
    setback = float(rng.choice([0.25, 0.25, 0.4, 3.0]))
    depth = rng.uniform(10.0, 14.0)
    if not plan.claim(plot, (0.05, setback), (plot.width_m - 0.05, setback + depth), margin_m=0.1):
        _yard_plot(rng, builder, plan, plot)
        return
    plan.pave(plot, (0.0, -0.3), (plot.width_m, setback + 0.5), "paving")
    with builder.placed(*plot.in_world(0.0, setback), plot.heading_rad, upright=True):
        build_block(rng, builder, plot.width_m - 0.02, depth)


def _yard_plot(rng: np.random.Generator, builder: SurfaceBuilder, plan: StreetPlan, plot: Plot) -> None:
    plan.pave(plot, (0.0, -0.2), (plot.width_m, 14.0), str(rng.choice(["paving", "asphalt", "gravel"])))
    _boundary(rng, builder, plan, plot, 0.0, plot.width_m)
    if rng.random() < 0.5 and plan.claim(plot, (3.0, 1.0), (6.5, 1.5)):
        with builder.placed(*plot.in_world(5.0, 1.2), plot.heading_rad + rng.uniform(-0.6, 0.6)):
            put_poster_board(rng, builder)
    for along in np.arange(2.0, plot.width_m - 3.0, 3.2):
        if rng.random() < 0.5 and plan.claim(plot, (along - 1.1, 5.0), (along + 1.1, 10.0)):
            with builder.placed(*plot.in_world(along, 7.5), plot.heading_rad + math.pi / 2):
                park_car(rng, builder, SHAPES[int(rng.integers(len(SHAPES)))])
    _tree_cluster(rng, builder, plan, plot, 3, 12.0, 20.0)


def _garden_plot(rng: np.random.Generator, builder: SurfaceBuilder, plan: StreetPlan, plot: Plot) -> None:
    _boundary(rng, builder, plan, plot, 0.0, plot.width_m)
    for _ in range(int(rng.integers(2, 6))):
        _try_bush(rng, builder, plan, plot, rng.uniform(0.5, plot.width_m - 0.5), rng.uniform(1.2, 8.0))
    _tree_cluster(rng, builder, plan, plot, int(rng.integers(4, 8)), 3.0, 16.0)


def _green_plot(rng: np.random.Generator, builder: SurfaceBuilder, plan: StreetPlan, plot: Plot) -> None:
    along = rng.uniform(1.0, 4.0)
    while along < plot.width_m:
        _try_tree(rng, builder, plan, plot, along, rng.uniform(1.2, 2.5))
        along += rng.uniform(6.0, 11.0)
    for _ in range(int(rng.integers(0, 4))):
        _try_bush(rng, builder, plan, plot, rng.uniform(0.0, plot.width_m), rng.uniform(2.0, 12.0))
    _tree_cluster(rng, builder, plan, plot, 6, 7.0, 22.0)


def _field_plot(rng: np.random.Generator, builder: SurfaceBuilder, plan: StreetPlan, plot: Plot) -> None:
    plan.pave(plot, (0.0, 2.0), (plot.width_m, 45.0), str(rng.choice(["meadow", "meadow", "soil", "grass"])))
    if rng.random() < 0.4:
        _boundary(rng, builder, plan, plot, 0.0, plot.width_m)
    for _ in range(int(rng.integers(0, 4))):
        _try_bush(rng, builder, plan, plot, rng.uniform(0.0, plot.width_m), rng.uniform(0.8, 10.0))
    if rng.random() < 0.5:
        _try_tree(rng, builder, plan, plot, rng.uniform(0.0, plot.width_m), rng.uniform(1.0, 3.0))
    _tree_cluster(rng, builder, plan, plot, 2, 14.0, 40.0)


def _wood_plot(rng: np.random.Generator, builder: SurfaceBuilder, plan: StreetPlan, plot: Plot) -> None:
    plan.pave(plot, (0.0, 2.5), (plot.width_m, 30.0), "soil")
    for along in np.arange(0.8, plot.width_m, 2.2):
        _try_bush(rng, builder, plan, plot, along, rng.uniform(1.5, 4.0))
    for along in np.arange(0.5, plot.width_m, rng.uniform(3.5, 5.0)):
        away = rng.uniform(3.0, 6.0)
        if rng.random() < 0.3:
            _try_conifer(rng, builder, plan, plot, along, away + 2.0)
        else:
            _try_tree(rng, builder, plan, plot, along, away)
    for along in np.arange(0.0, plot.width_m, 6.0):
        _try_conifer(rng, builder, plan, plot, along, rng.uniform(8.0, 13.0))


def _verge_plot(rng: np.random.Generator, builder: SurfaceBuilder, plan: StreetPlan, plot: Plot) -> None:
    choice = rng.random()
    if choice < 0.3:
        _boundary(rng, builder, plan, plot, 0.0, plot.width_m)
    elif choice < 0.65:
        _try_bush(rng, builder, plan, plot, 0.5 * plot.width_m, rng.uniform(1.2, 3.0))
    if rng.random() < 0.35:
        _try_tree(rng, builder, plan, plot, 0.5 * plot.width_m, rng.uniform(2.0, 6.0))
    if rng.random() < 0.5:
        _tree_cluster(rng, builder, plan, plot, 2, 8.0, 22.0)


PlotFiller = Callable[[np.random.Generator, SurfaceBuilder, StreetPlan, Plot], None]

PLOTS: dict[str, PlotFiller] = {
    "house": _house_plot,
    "block": _block_plot,
    "yard": _yard_plot,
    "garden": _garden_plot,
    "green": _green_plot,
    "field": _field_plot,
    "wood": _wood_plot,
    "verge": _verge_plot,
}


def _boundary(
    rng: np.random.Generator,
    builder: SurfaceBuilder,
    plan: StreetPlan,
    plot: Plot,
    from_m: float,
    to_m: float,
) -> None:
    """A hedge, fence or wall along the pavement, or nothing."""
    length_m = to_m - from_m
    if length_m < 1.0 or rng.random() < 0.15:
        return
    if not plan.claim(plot, (from_m, 0.3), (to_m, 1.3), margin_m=0.05, exclusive=False):
        return
    kind = rng.random()
    with builder.placed(*plot.in_world(from_m, 0.8), plot.heading_rad):
        if kind < 0.45:
            plant_hedge(rng, builder, length_m, rng.uniform(0.9, 2.3))
        elif kind < 0.75:
            put_fence(rng, builder, length_m)
        else:
            put_wall(rng, builder, length_m)


def _tree_cluster(
    rng: np.random.Generator,
    builder: SurfaceBuilder,
    plan: StreetPlan,
    plot: Plot,
    count: int,
    from_m: float,
    to_m: float,
) -> None:
    for _ in range(count):
        along, away = rng.uniform(0.0, plot.width_m), rng.uniform(from_m, to_m)
        (_try_conifer if rng.random() < 0.2 else _try_tree)(rng, builder, plan, plot, along, away)


def _try_tree(
    rng: np.random.Generator,
    builder: SurfaceBuilder,
    plan: StreetPlan,
    plot: Plot,
    along_m: float,
    away_m: float,
) -> None:
    low, high = (along_m - 0.5, away_m - 0.5), (along_m + 0.5, away_m + 0.5)
    if not plan.claim(plot, low, high, margin_m=0.3):
        return
    height_m = rng.uniform(5.0, 15.0)
    near_road = away_m < 6.0
    crown_from_m = max(3.0, height_m * rng.uniform(0.2, 0.38)) if near_road else height_m * rng.uniform(0.08, 0.3)
    with builder.placed(*plot.in_world(along_m, away_m), rng.uniform(0, 2 * math.pi)):
        plant_tree(rng, builder, height_m, crown_from_m, _HEADROOM_M if near_road else 0.3)


def _try_conifer(
    rng: np.random.Generator,
    builder: SurfaceBuilder,
    plan: StreetPlan,
    plot: Plot,
    along_m: float,
    away_m: float,
) -> None:
    if plan.claim(plot, (along_m - 1.5, away_m - 1.5), (along_m + 1.5, away_m + 1.5), margin_m=1.0):
        with builder.placed(*plot.in_world(along_m, away_m), rng.uniform(0, 2 * math.pi)):
            plant_conifer(rng, builder, rng.uniform(6.0, 15.0))


def _try_bush(
    rng: np.random.Generator,
    builder: SurfaceBuilder,
    plan: StreetPlan,
    plot: Plot,
    along_m: float,
    away_m: float,
) -> None:
    radius_m = rng.uniform(0.5, 1.3)
    low, high = (along_m - radius_m, away_m - radius_m), (along_m + radius_m, away_m + radius_m)
    if plan.claim(plot, low, high, margin_m=0.3):
        with builder.placed(*plot.in_world(along_m, away_m), rng.uniform(0, 2 * math.pi)):
            plant_bush(rng, builder, radius_m)
