from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metric3d_ros.datasets.simulated.centre_line import CentreLine
from metric3d_ros.datasets.simulated.street_plan import StreetPlan
from metric3d_ros.datasets.simulated.world import _plan, road_profile

ANGLE_RAD = 0.4


@pytest.fixture(scope="module")
def plan() -> StreetPlan:
    """A straight road of 60 m that heads 0.4 rad off the x axis from (3, -2)."""
    ahead = np.array([math.cos(ANGLE_RAD), math.sin(ANGLE_RAD)])
    points = np.array([3.0, -2.0]) + np.arange(61)[:, None] * ahead
    line = CentreLine(points, np.full(61, ANGLE_RAD), step_m=1.0, closed=False, start_m=5.0, end_m=55.0)
    return _plan(line, road_profile(1, 60.0, closed_loop=False))


@given(station_m=st.floats(0, 60), out_m=st.floats(0, 20), side=st.integers(0, 1))
def test_a_place_beside_the_road_lies_square_to_it(
    plan: StreetPlan, station_m: float, out_m: float, side: int
) -> None:
    place = plan.beside(station_m, out_m, side)
    cosine, sine = math.cos(place.heading_rad), math.sin(place.heading_rad)
    assert place.heading_rad == pytest.approx(ANGLE_RAD)
    dx, dy = place.x - 3.0, place.y + 2.0
    assert dx * cosine + dy * sine == pytest.approx(station_m, abs=1e-6)
    assert dy * cosine - dx * sine == pytest.approx(out_m if side == 0 else -out_m, abs=1e-6)


def test_left_is_positive(plan: StreetPlan) -> None:
    assert plan.place(20.0, 3.0) == plan.beside(20.0, 3.0, side=0)
    assert plan.place(20.0, -3.0) == plan.beside(20.0, 3.0, side=1)
