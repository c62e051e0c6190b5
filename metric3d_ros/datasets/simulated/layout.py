"""What stands along a street: plots of several kinds, parked cars, lamps, and the woods behind."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from metric3d_ros.datasets.simulated.centre_line import CentreLine
from metric3d_ros.datasets.simulated.furniture import put_cabinet, put_lamp, put_sign
from metric3d_ros.datasets.simulated.plots import PLOTS, PlotFiller
from metric3d_ros.datasets.simulated.street_plan import StreetPlan
from metric3d_ros.datasets.simulated.surfaces import SurfaceBuilder
from metric3d_ros.datasets.simulated.vegetation import plant_wood_edge
from metric3d_ros.datasets.simulated.vehicles import SHAPES, CarShape, park_car

SETTINGS = ("suburban", "urban", "country", "avenue")
_KINDS = {
    "suburban": ("house", "house", "house", "house", "garden", "green"),
    "urban": ("block", "block", "block", "block", "yard", "green"),
    "country": ("field", "field", "wood", "wood", "garden", "house"),
    "avenue": ("green", "green", "wood", "house", "garden", "yard"),
}
_NARROWEST_PLOT_M = 1.0
_PLOT_WIDTH_M = {"house": 20.0, "block": 16.0, "yard": 14.0, "garden": 16.0, "junction": 11.0}


def furnish(rng: np.random.Generator, builder: SurfaceBuilder, plan: StreetPlan, setting: str) -> None:
    """Fills both sides of the street, then the road's edge, then the distance."""
    for side in (0, 1):
        fill_side(rng, builder, plan, side, setting, _KINDS, PLOTS)
        park_cars(rng, builder, plan, side, rng.uniform(0.25, 0.85) if plan.profile.parking_m[side] > 0 else 0.0)
    light_street(rng, builder, plan, 60.0 if setting == "country" else 28.0)
    mend_road(rng, plan)
    plant_background(rng, builder, plan)


def put_traffic(
    rng: np.random.Generator, builder: SurfaceBuilder, plan: StreetPlan, shapes: tuple[CarShape, ...] = SHAPES
) -> None:
    """Cars standing in the lanes, a few dozen metres apart."""
    station = rng.uniform(5.0, 30.0)
    while station < plan.line.length_m - 5.0:
        sign = float(rng.choice([-1.0, 1.0]))
        place = plan.place(station, sign * (plan.profile.lane_middle_m + rng.uniform(-0.3, 0.3)))
        with builder.placed(place.x, place.y, place.heading_rad + (math.pi if sign > 0 else 0.0)):
            park_car(rng, builder, shapes[int(rng.integers(len(shapes)))])
        station += rng.uniform(9.0, 60.0)


def fill_side(
    rng: np.random.Generator,
    builder: SurfaceBuilder,
    plan: StreetPlan,
    side: int,
    setting: str,
    kinds: Mapping[str, Sequence[str]],
    plots: Mapping[str, PlotFiller],
) -> None:
    """Lines one side of the street with plots of the kinds its setting has, and now and then another's."""
    station = 0.0
    stretch_end = 0.0
    local = setting
    while station < plan.line.length_m - 3.0:
        if station >= stretch_end:
            stretch_end = station + rng.uniform(60.0, 160.0)
            local = setting if rng.random() < 0.7 else str(rng.choice(list(kinds)))
        kind = str(rng.choice(kinds[local]))
        width = _PLOT_WIDTH_M.get(kind, 20.0)
        width = min(width * rng.uniform(0.75, 1.3), plan.line.length_m - station)
        if plan.plot(station, width, side).bend_rad > 0.25:
            width, kind = min(5.0, width), "verge"
        plot = plan.plot(station, width, side)
        if plot.width_m < _NARROWEST_PLOT_M:
            # The inner side of a bend at the end of the street leaves next to nothing.
            kind = "verge"
        plots[kind](rng, builder, plan, plot)
        station += width


def park_cars(
    rng: np.random.Generator,
    builder: SurfaceBuilder,
    plan: StreetPlan,
    side: int,
    density: float,
    shapes: tuple[CarShape, ...] = SHAPES,
) -> None:
    """Cars along one kerb, ``density`` being the share of the places that are taken."""
    strip_m = plan.profile.parking_m[side]
    if strip_m <= 0.0:
        return
    station = rng.uniform(0.0, 8.0)
    while station < plan.line.length_m - 6.0:
        out_m = plan.profile.lane_m + 0.5 * strip_m + rng.uniform(0.0, 0.12)
        place = plan.beside(station + 2.5, out_m, side)
        bend = plan.plot(station, 6.0, side).bend_rad
        if rng.random() < density and bend < 0.12:
            backwards = (side == 0) != (rng.random() < 0.12)
            turn = (math.pi if backwards else 0.0) + rng.normal(0, 0.02)
            with builder.placed(place.x, place.y, place.heading_rad + turn):
                park_car(rng, builder, shapes[int(rng.integers(len(shapes)))])
        station += rng.uniform(5.6, 7.0)


def light_street(rng: np.random.Generator, builder: SurfaceBuilder, plan: StreetPlan, spacing_m: float) -> None:
    """Lamps, signs and cabinets along both kerbs."""
    station, side = rng.uniform(3.0, 15.0), int(rng.integers(2))
    while station < plan.line.length_m - 2.0:
        for kind, ahead_m in ((put_lamp, 0.0), (put_sign, 7.0), (put_cabinet, 11.0)):
            if kind is not put_lamp and rng.random() < 0.6:
                continue
            out_m = (
                plan.profile.front_at_m(side) + 0.15 if kind is put_cabinet else plan.profile.kerb_at_m(side) + 0.5
            )
            place = plan.beside(station + ahead_m, out_m, side)
            # Lamps reach over the road; signs face whoever drives on their side.
            turn = math.pi if (kind is put_lamp and side == 0) or (kind is put_sign and side == 0) else 0.0
            with builder.placed(place.x, place.y, place.heading_rad + turn):
                kind(rng, builder)
        station += spacing_m * rng.uniform(0.8, 1.2)
        side = 1 - side if rng.random() < 0.7 else side


def mend_road(rng: np.random.Generator, plan: StreetPlan) -> None:
    """Patches of newer asphalt."""
    for _ in range(int(plan.line.length_m / 18.0)):
        station = rng.uniform(0.0, plan.line.length_m - 15.0)
        reach = plan.profile.lane_m
        if rng.random() < 0.5:
            low = rng.uniform(-reach, reach - 1.0)
            plan.patch_road(station, rng.uniform(1.0, 4.0), low, low + rng.uniform(0.6, 1.8))
        elif rng.random() < 0.5:
            low = rng.uniform(-reach, reach - 0.6)
            plan.patch_road(station, rng.uniform(8.0, 14.0), low, low + rng.uniform(0.4, 1.0))
        else:
            plan.patch_road(station, rng.uniform(0.4, 0.9), -reach, reach)


def plant_background(rng: np.random.Generator, builder: SurfaceBuilder, plan: StreetPlan) -> None:
    """Woods behind the plots, across the ends and around the world."""
    line = plan.line
    for away_m, height in ((34.0, 10.0), (58.0, 13.0)):
        for station in np.arange(0.0, line.length_m, 22.0):
            for sign in (-1.0, 1.0):
                place = plan.place(station, sign * (away_m + rng.uniform(-5, 5)))
                along = [[math.cos(place.heading_rad), math.sin(place.heading_rad)]]
                ends = [place.x, place.y] + np.array([[-12], [0], [12]]) * along
                if rng.random() < 0.65 and plan.keeps_off_road(ends, 8.0):
                    with builder.placed(place.x, place.y, place.heading_rad + rng.uniform(-0.3, 0.3)):
                        plant_wood_edge(rng, builder, 24.0, height * rng.uniform(0.7, 1.3))
    _close_ends(rng, builder, line)
    middle = 0.5 * (line.points.min(axis=0) + line.points.max(axis=0))
    radius_m = float(np.linalg.norm(line.points - middle, axis=1).max()) + 130.0
    for angle in np.arange(0.0, 2 * math.pi, math.pi / 12):
        point = middle + radius_m * np.array([math.cos(angle), math.sin(angle)])
        with builder.placed(point[0], point[1], angle + math.pi / 2):
            plant_wood_edge(rng, builder, radius_m * 0.3, rng.uniform(12.0, 35.0))


def _close_ends(rng: np.random.Generator, builder: SurfaceBuilder, line: CentreLine) -> None:
    """Trees across both ends of an open street, so that no view runs out of the world."""
    if line.closed:
        return
    for end, ahead_m in ((0, -8.0), (-1, 8.0)):
        heading = line.headings[end]
        point = line.points[end] + ahead_m * np.array([math.cos(heading), math.sin(heading)])
        with builder.placed(point[0], point[1], heading + math.pi / 2):
            plant_wood_edge(rng, builder, 60.0, rng.uniform(9.0, 14.0))
