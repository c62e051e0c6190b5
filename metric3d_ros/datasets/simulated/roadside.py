"""Land beside streets without houses, and the mouths of side roads: what the plain street does not have."""

from __future__ import annotations

import math

import numpy as np

from metric3d_ros.datasets.simulated.furniture import put_fence
from metric3d_ros.datasets.simulated.plots import PLOTS, PlotFiller
from metric3d_ros.datasets.simulated.street_plan import Plot, StreetPlan
from metric3d_ros.datasets.simulated.surfaces import SurfaceBuilder
from metric3d_ros.datasets.simulated.vegetation import plant_bush, plant_hedge, plant_tree

_CROWN_SHADE = 0.45


def _hedgerow_plot(rng: np.random.Generator, builder: SurfaceBuilder, plan: StreetPlan, plot: Plot) -> None:
    """A high hedge right at the road, with trees grown out of it, and a field behind."""
    plan.pave(plot, (0.0, 2.0), (plot.width_m, 45.0), str(rng.choice(["meadow", "soil", "grass"])))
    away = rng.uniform(0.4, 1.5)
    if not plan.claim(plot, (0.0, away), (plot.width_m, away + 1.2), margin_m=0.05, exclusive=False):
        return
    with builder.placed(*plot.in_world(0.0, away + 0.6), plot.heading_rad):
        plant_hedge(rng, builder, plot.width_m, rng.uniform(1.0, 3.5))
    for along in np.arange(rng.uniform(1.0, 8.0), plot.width_m, rng.uniform(5.0, 12.0)):
        with builder.placed(*plot.in_world(along, away + 0.6), rng.uniform(0, 2 * math.pi)):
            plant_tree(rng, builder, rng.uniform(6.0, 13.0), 3.2, 3.0)


def _thicket_plot(rng: np.random.Generator, builder: SurfaceBuilder, plan: StreetPlan, plot: Plot) -> None:
    """Undergrowth and trees of a wood that begins right at the road."""
    plan.pave(plot, (0.0, 1.5), (plot.width_m, 30.0), "soil")
    for depth_m, spacing_m in ((1.2, 1.8), (3.0, 2.6)):
        for along in np.arange(rng.uniform(0.2, 1.0), plot.width_m, spacing_m):
            away = depth_m + rng.uniform(-0.4, 0.6)
            if plan.claim(plot, (along - 0.4, away - 0.4), (along + 0.4, away + 0.4), 0.2, exclusive=False):
                with builder.placed(*plot.in_world(along, away), rng.uniform(0, 2 * math.pi)):
                    plant_bush(rng, builder, rng.uniform(0.5, 1.7))
    for row_m in (2.6, 6.0, 10.0, 15.0):
        for along in np.arange(rng.uniform(0.2, 3.0), plot.width_m, rng.uniform(3.0, 5.0)):
            away = row_m + rng.uniform(-1.0, 1.0)
            if plan.claim(plot, (along - 0.3, away - 0.3), (along + 0.3, away + 0.3), 0.3, exclusive=False):
                with builder.placed(*plot.in_world(along, away), rng.uniform(0, 2 * math.pi)):
                    plant_tree(rng, builder, rng.uniform(7.0, 17.0), rng.uniform(3.3, 5.0), 3.1)


def _open_plot(rng: np.random.Generator, builder: SurfaceBuilder, plan: StreetPlan, plot: Plot) -> None:
    """Grass or a field from the road's edge to the distance, at most a fence."""
    plan.pave(plot, (0.0, 0.0), (plot.width_m, 45.0), str(rng.choice(["meadow", "grass", "soil"])))
    if rng.random() < 0.3 and plan.claim(plot, (0.0, 2.0), (plot.width_m, 2.4), exclusive=False):
        with builder.placed(*plot.in_world(0.0, 2.2), plot.heading_rad):
            put_fence(rng, builder, plot.width_m)


def _junction_plot(rng: np.random.Generator, _builder: SurfaceBuilder, plan: StreetPlan, plot: Plot) -> None:
    """The mouth of a side road: asphalt across kerb and pavement, and on to the back."""
    half_m = 0.5 * min(plot.width_m, rng.uniform(5.5, 11.0))
    middle_m = 0.5 * plot.width_m
    inwards_m = plan.profile.front_at_m(plot.side) - plan.profile.kerb_at_m(plot.side) + 0.3
    plan.pave(plot, (middle_m - half_m, -inwards_m), (middle_m + half_m, 60.0), "side_road")
    flare_m = half_m + rng.uniform(1.0, 4.0)
    plan.pave(plot, (middle_m - flare_m, -inwards_m), (middle_m + flare_m, 0.6 - inwards_m), "side_road")
    plan.claim(plot, (middle_m - half_m, 0.3), (middle_m + half_m, 25.0), exclusive=False)


ROADSIDE_PLOTS: dict[str, PlotFiller] = {
    **PLOTS,
    "hedgerow": _hedgerow_plot,
    "thicket": _thicket_plot,
    "open": _open_plot,
    "junction": _junction_plot,
}


def plant_crowns(
    rng: np.random.Generator, builder: SurfaceBuilder, plan: StreetPlan, from_m: float, to_m: float
) -> None:
    """Big trees along both kerbs between two stations, whose crowns close over the road."""
    spacing_m = rng.uniform(5.5, 10.0)
    for side in (0, 1):
        out_m = plan.profile.kerb_at_m(side) + plan.profile.kerb_m + rng.uniform(0.4, 1.2)
        for station in np.arange(from_m + rng.uniform(0.0, spacing_m), to_m, spacing_m):
            place = plan.beside(station, out_m, side)
            with builder.placed(place.x, place.y, place.heading_rad + rng.uniform(-0.5, 0.5)):
                plant_tree(rng, builder, rng.uniform(11.0, 21.0), rng.uniform(3.6, 6.5), 3.5)
                builder.ceiling((-5.0, -5.0), (5.0, 5.0), _CROWN_SHADE)
