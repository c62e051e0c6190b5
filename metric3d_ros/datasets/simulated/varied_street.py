"""Streets of many more kinds than the plain one: country lanes, woods, wide roads, bridges, crowns, traffic.

The plain street is what drives and their figures are about; the varied one is there to train on.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from metric3d_ros.datasets.simulated.centre_line import CentreLine
from metric3d_ros.datasets.simulated.furniture import put_person
from metric3d_ros.datasets.simulated.layout import (
    fill_side,
    light_street,
    mend_road,
    park_cars,
    plant_background,
    put_traffic,
)
from metric3d_ros.datasets.simulated.overhead import put_bridge, put_gantry, put_traffic_light
from metric3d_ros.datasets.simulated.road_surface import RoadProfile
from metric3d_ros.datasets.simulated.roadside import ROADSIDE_PLOTS, plant_crowns
from metric3d_ros.datasets.simulated.screens import put_screens
from metric3d_ros.datasets.simulated.street_plan import StreetPlan
from metric3d_ros.datasets.simulated.surfaces import SurfaceBuilder
from metric3d_ros.datasets.simulated.vehicles import SHAPES_ON_ANY_ROAD, put_lorry

VARIED_SETTINGS = ("suburban", "urban", "country", "avenue", "lane", "wooded", "boulevard")
_KINDS = {
    "suburban": ("house", "house", "house", "house", "garden", "green", "junction"),
    "urban": ("block", "block", "block", "block", "yard", "green", "junction"),
    "country": ("field", "field", "open", "wood", "hedgerow", "house"),
    "avenue": ("green", "green", "wood", "house", "garden", "yard", "junction"),
    "lane": ("hedgerow", "hedgerow", "open", "field", "thicket"),
    "wooded": ("thicket", "thicket", "wood", "wood", "open"),
    "boulevard": ("block", "block", "green", "yard", "open", "junction"),
}
_SLAB_M = 2.0
_WITHOUT_HOUSES = ("country", "lane", "wooded")
_CROWNS = {"avenue": 0.8, "wooded": 0.7, "suburban": 0.35, "lane": 0.35, "boulevard": 0.3, "urban": 0.25}


def varied_profile(rng: np.random.Generator, setting: str, line: CentreLine) -> RoadProfile:
    """A cross-section from a lane for one car to a road of four lanes."""
    parking = {"urban": 0.9, "suburban": 0.75, "avenue": 0.5, "boulevard": 0.5}.get(setting, 0.0)
    parking_m = rng.uniform(1.9, 2.3)
    lanes = 2 if setting == "boulevard" or (setting in ("urban", "avenue") and rng.random() < 0.2) else 1
    width_m = rng.uniform(2.0, 3.0) if setting == "lane" else rng.uniform(2.6, 3.75)
    kerbed = setting not in _WITHOUT_HOUSES or rng.random() < 0.2
    has_lines = 0.3 if setting == "lane" else 0.7
    return RoadProfile(
        lane_m=float(lanes * width_m),
        parking_m=(
            parking_m if rng.random() < parking else 0.0,
            parking_m if rng.random() < parking else 0.0,
        ),
        kerb_m=float(rng.uniform(0.1, 0.25)) if kerbed else 0.0,
        pavement_m=(
            (float(rng.uniform(1.2, 4.5)), float(rng.uniform(1.2, 4.5)))
            if kerbed
            else (float(rng.uniform(0.3, 1.5)), float(rng.uniform(0.3, 1.5)))
        ),
        dashes=float(rng.choice([0.33, 0.5, 0.66, 1.0])) if rng.random() < has_lines else 0.0,
        edge_lines=bool(rng.random() < (0.6 if setting == "country" else 0.25)),
        period_m=line.length_m / max(1, round(line.length_m / rng.uniform(6.0, 18.0))),
        lanes=lanes,
    )


def furnish_varied(rng: np.random.Generator, builder: SurfaceBuilder, plan: StreetPlan, setting: str) -> None:
    """Both sides of the street, its edge, what spans it, who walks beside it, and the distance."""
    if rng.random() < 0.35:
        _span(rng, builder, plan, put_bridge, 0.5)
    for side in (0, 1):
        fill_side(rng, builder, plan, side, setting, _KINDS, ROADSIDE_PLOTS)
        park_cars(rng, builder, plan, side, rng.uniform(0.2, 1.0), SHAPES_ON_ANY_ROAD)
    if rng.random() < _CROWNS.get(setting, 0.1):
        from_m = rng.uniform(0.0, 0.5) * plan.line.length_m
        plant_crowns(rng, builder, plan, from_m, from_m + rng.uniform(40.0, plan.line.length_m))
    if rng.random() < 0.85:
        light_street(rng, builder, plan, rng.uniform(20.0, 70.0))
    if rng.random() < (0.5 if setting == "boulevard" else 0.12):
        _span(rng, builder, plan, put_gantry, 0.8)
    if setting not in _WITHOUT_HOUSES:
        _put_signals(rng, builder, plan)
        _put_people(rng, builder, plan)
    mend_road(rng, plan)
    plant_background(rng, builder, plan)
    put_screens(rng, builder, plan)


def furnish_kerbed(rng: np.random.Generator, builder: SurfaceBuilder, plan: StreetPlan, setting: str) -> None:
    """A varied street whose pavements, where it has any, lie a step above the road."""
    furnish_varied(rng, builder, plan, setting)
    if plan.profile.kerb_m > 0:
        rise_m, cover = rng.uniform(0.08, 0.16), str(rng.choice(["paving", "paving", "asphalt"]))
        for side in (0, 1):
            _raise_pavement(builder, plan, side, rise_m, cover)


def put_varied_traffic(rng: np.random.Generator, builder: SurfaceBuilder, plan: StreetPlan) -> None:
    """Cars of any size standing in the lanes, and a few lorries and buses."""
    put_traffic(rng, builder, plan, SHAPES_ON_ANY_ROAD)
    for station in np.arange(rng.uniform(10.0, 60.0), plan.line.length_m - 10.0, rng.uniform(50.0, 120.0)):
        sign = float(rng.choice([-1.0, 1.0]))
        place = plan.place(station, sign * plan.profile.lane_middle_m)
        with builder.placed(place.x, place.y, place.heading_rad + (math.pi if sign > 0 else 0.0)):
            put_lorry(rng, builder)


def _raise_pavement(builder: SurfaceBuilder, plan: StreetPlan, side: int, rise_m: float, cover: str) -> None:
    """Slabs ``rise_m`` above the road from the kerb to the plots, and the faces of the kerb stones."""
    sign = 1.0 if side == 0 else -1.0
    stations = np.arange(0.0, plan.line.length_m, _SLAB_M)
    kerb, _ = plan.line.at(stations, sign * plan.profile.kerb_at_m(side))
    inner, _ = plan.line.at(stations, sign * (plan.profile.kerb_at_m(side) + plan.profile.kerb_m))
    front, _ = plan.line.at(stations, sign * plan.profile.front_at_m(side))
    for here, there in pairwise(range(len(stations))):
        first, last = (here, there) if side == 0 else (there, here)
        along = (*(kerb[last] - kerb[first]), 0.0)
        builder.patch((*kerb[first], 0.0), along, (0.0, 0.0, rise_m), "kerb", (2.0, 2.0))
        for low, high, texture in ((kerb, inner, "kerb"), (inner, front, cover)):
            edge = (*(low[last] - low[first]), 0.0)
            away = (*(high[first] - low[first]), 0.0)
            builder.patch((*low[first], rise_m), edge, away, texture, (2.0, 2.0), casts_shadow=False)


def _span(
    rng: np.random.Generator,
    builder: SurfaceBuilder,
    plan: StreetPlan,
    put: Callable[[np.random.Generator, SurfaceBuilder, float], None],
    beyond_m: float,
) -> None:
    """Something over the road, at a random station of the part that is driven."""
    line = plan.line
    station = rng.uniform(line.start_m + 5.0, line.end_m + 15.0)
    place = plan.place(station)
    half_gap_m = max(plan.profile.front_at_m(0), plan.profile.front_at_m(1)) + beyond_m
    with builder.placed(place.x, place.y, place.heading_rad + rng.uniform(-0.25, 0.25), upright=True):
        put(rng, builder, half_gap_m)


def _put_signals(rng: np.random.Generator, builder: SurfaceBuilder, plan: StreetPlan) -> None:
    for station in np.arange(rng.uniform(10.0, 80.0), plan.line.length_m, rng.uniform(40.0, 120.0)):
        for side in (0, 1):
            place = plan.beside(station, plan.profile.kerb_at_m(side) + 0.6, side)
            with builder.placed(place.x, place.y, place.heading_rad + (math.pi if side == 0 else 0.0)):
                put_traffic_light(rng, builder)


def _put_people(rng: np.random.Generator, builder: SurfaceBuilder, plan: StreetPlan) -> None:
    for _ in range(int(plan.line.length_m * rng.uniform(0.0, 0.15))):
        side = int(rng.integers(2))
        out_m = rng.uniform(plan.profile.kerb_at_m(side) + 0.4, plan.profile.front_at_m(side))
        place = plan.beside(rng.uniform(0.0, plan.line.length_m), out_m, side)
        with builder.placed(place.x, place.y, place.heading_rad + rng.uniform(0, 2 * math.pi)):
            put_person(rng, builder)
