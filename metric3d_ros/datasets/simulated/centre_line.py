"""The centre line of a street: straights and rounded turns, sampled at an even spacing along the ground.

The ground is the plane z = 0 of a z-up world; stations run along the line, offsets are positive to its left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.errors import DatasetError

SAMPLE_STEP_M = 0.25
LEAD_IN_M = 30.0
LEAD_OUT_M = 110.0
MIN_CORNER_RADIUS_M = 12.0
MIN_LOOP_M = 160.0
MIN_DRIVE_M = 5.0
_SMOOTHING_M = 2.0
_CLEARANCE_M = 48.0


@dataclass(frozen=True)
class CentreLine:
    """A sampled plane curve.

    Attributes
    ----------
    points : float64 (samples, 2), metres, ``step_m`` apart.
    headings : float64 (samples,), radians from the x axis, unwrapped.
    step_m : distance between neighbouring samples.
    closed : whether the last sample is followed by the first.
    start_m, end_m : the stretch meant to be driven; the line goes on beyond it when it is open.
    """

    points: NDArray[np.float64]
    headings: NDArray[np.float64]
    step_m: float
    closed: bool
    start_m: float
    end_m: float

    @property
    def length_m(self) -> float:
        """Length of the whole line."""
        return self.step_m * (len(self.points) - (0 if self.closed else 1))

    def at(
        self, station_m: NDArray[np.float64], offset_m: NDArray[np.float64] | float = 0.0
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Points (n, 2) and headings (n,) at stations and left offsets; stations wrap on a closed line."""
        stations = np.asarray(station_m, dtype=np.float64)
        if self.closed:
            turns = np.floor(stations / self.length_m)
            stations = stations - turns * self.length_m
        else:
            turns = np.zeros_like(stations)
        grid = self.step_m * np.arange(len(self.points) + (1 if self.closed else 0))
        points, headings = self._knots()
        x = np.interp(stations, grid, points[:, 0])
        y = np.interp(stations, grid, points[:, 1])
        heading = np.interp(stations, grid, headings)
        left = np.stack([-np.sin(heading), np.cos(heading)], axis=-1)
        total_turn = headings[-1] - headings[0]
        offset = np.broadcast_to(np.asarray(offset_m, dtype=np.float64), stations.shape)
        return np.stack([x, y], axis=-1) + offset[..., None] * left, heading + turns * total_turn

    def _knots(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if not self.closed:
            return self.points, self.headings
        full_turn = 2 * math.pi * round((self.headings[-1] - self.headings[0]) / (2 * math.pi))
        return (
            np.vstack([self.points, self.points[:1]]),
            np.append(self.headings, self.headings[0] + full_turn),
        )


def generate_centre_line(rng: np.random.Generator, length_m: float, closed_loop: bool) -> CentreLine:
    """A random street of ``length_m`` to drive, corner radii from 12 m upwards.

    Raises
    ------
    DatasetError
        If the drive is too short for its corners.
    """
    if closed_loop:
        if length_m < MIN_LOOP_M:
            raise DatasetError(
                f"a closed loop of {length_m:g} m has no room for its corners; use {MIN_LOOP_M:g} m or more."
            )
        return _closed_line(rng, length_m)
    if not length_m >= MIN_DRIVE_M:
        raise DatasetError(f"a drive of {length_m:g} m is too short; use {MIN_DRIVE_M:g} m or more.")
    return _open_line(rng, length_m)


def _open_line(rng: np.random.Generator, length_m: float) -> CentreLine:
    total_m = LEAD_IN_M + length_m + LEAD_OUT_M
    for attempt in range(60):
        # A heading that stays within 80 degrees of the first can never cross itself, so the last tries settle.
        widest_rad = math.radians(150.0 if attempt < 40 else 80.0)
        points = _straights_and_turns(rng, total_m, widest_rad)
        if _keeps_clear_of_itself(points):
            break
    points = _evenly_spaced(_smoothed(points, closed=False), SAMPLE_STEP_M, closed=False)
    points = points[: int(total_m / SAMPLE_STEP_M) + 1]
    return CentreLine(
        points=points,
        headings=_headings(points, closed=False),
        step_m=SAMPLE_STEP_M,
        closed=False,
        start_m=LEAD_IN_M,
        end_m=LEAD_IN_M + length_m,
    )


def _straights_and_turns(rng: np.random.Generator, total_m: float, widest_rad: float) -> NDArray[np.float64]:
    start_heading = rng.uniform(-math.pi, math.pi)
    step = SAMPLE_STEP_M
    turn_rad = 0.0
    curvature = [0.0] * int((LEAD_IN_M + rng.uniform(15.0, 50.0)) / step)
    wanted = int(total_m / step) + int(20 / step)
    while len(curvature) < wanted:
        radius_m = float(rng.choice([rng.uniform(12.5, 25.0), rng.uniform(25.0, 90.0)]))
        angle = math.radians(rng.uniform(55.0, 95.0) if radius_m < 25.0 else rng.uniform(12.0, 60.0))
        sign = -1.0 if turn_rad > 0 else 1.0
        if abs(turn_rad) < widest_rad / 2 and rng.random() < 0.5:
            sign = -sign
        if abs(turn_rad + sign * angle) > widest_rad:
            sign = -sign
        curvature += [sign / radius_m] * max(1, int(angle * radius_m / step))
        turn_rad += sign * angle
        curvature += [0.0] * int(rng.uniform(20.0, 90.0) / step)
    heading = start_heading + np.cumsum(np.asarray(curvature[:wanted])) * step
    deltas = step * np.stack([np.cos(heading), np.sin(heading)], axis=1)
    return np.vstack([np.zeros((1, 2)), np.cumsum(deltas, axis=0)])


def _closed_line(rng: np.random.Generator, length_m: float) -> CentreLine:
    corners = _polygon(rng)
    radii = rng.uniform(13.0, min(24.0, 13.0 + length_m / 60.0), size=len(corners))
    scale = length_m / _perimeter(corners)
    points = _rounded(corners * scale, radii)
    for _ in range(6):
        scale *= length_m / _perimeter(points)
        points = _evenly_spaced(_rounded(corners * scale, radii), SAMPLE_STEP_M, closed=True)
        points = _smoothed(points, closed=True)
    points = _evenly_spaced(points, SAMPLE_STEP_M, closed=True)
    step_m = _perimeter(points) / len(points)
    return CentreLine(
        points=points,
        headings=_headings(points, closed=True),
        step_m=step_m,
        closed=True,
        start_m=0.0,
        end_m=step_m * len(points),
    )


def _polygon(rng: np.random.Generator) -> NDArray[np.float64]:
    count = int(rng.integers(4, 6))
    angles = 2 * math.pi * (np.arange(count) + rng.uniform(-0.13, 0.13, count)) / count
    radii = rng.uniform(0.85, 1.15, count)
    polygon = np.stack([radii * np.cos(angles), 0.8 * radii * np.sin(angles)], axis=1)
    if rng.random() < 0.5:
        polygon = polygon[::-1]
    spin = rng.uniform(-math.pi, math.pi)
    rotation = np.array([[math.cos(spin), -math.sin(spin)], [math.sin(spin), math.cos(spin)]])
    return np.asarray(polygon @ rotation.T)


def _rounded(corners: NDArray[np.float64], radii_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """The closed polygon with its corners replaced by arcs, starting in the middle of a side."""
    arcs = []
    for i, corner in enumerate(corners):
        towards_last = corners[i - 1] - corner
        towards_next = corners[(i + 1) % len(corners)] - corner
        towards_last /= np.linalg.norm(towards_last)
        towards_next /= np.linalg.norm(towards_next)
        half_angle = 0.5 * math.acos(float(np.clip(towards_last @ towards_next, -1, 1)))
        reach_m = radii_m[i] / math.tan(half_angle)
        bisector = (towards_last + towards_next) / np.linalg.norm(towards_last + towards_next)
        centre = corner + bisector * radii_m[i] / math.sin(half_angle)
        from_rad = math.atan2(*(corner + towards_last * reach_m - centre)[::-1])
        turn_left = towards_last[1] * towards_next[0] - towards_last[0] * towards_next[1]
        sweep = math.copysign(math.pi - 2 * half_angle, turn_left)
        angles = from_rad + np.linspace(0.0, sweep, 24)
        arcs.append(centre + radii_m[i] * np.stack([np.cos(angles), np.sin(angles)], axis=1))
    middle = 0.5 * (arcs[-1][-1] + arcs[0][0])
    return np.asarray(np.vstack([middle[None], *arcs]))


def _perimeter(points: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(np.roll(points, -1, axis=0) - points, axis=1).sum())


def _evenly_spaced(points: NDArray[np.float64], step_m: float, closed: bool) -> NDArray[np.float64]:
    knots = np.vstack([points, points[:1]]) if closed else points
    stations = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(knots, axis=0), axis=1))])
    count = round(stations[-1] / step_m) if closed else int(stations[-1] / step_m) + 1
    wanted = np.arange(count) * (stations[-1] / count if closed else step_m)
    return np.stack([np.interp(wanted, stations, knots[:, k]) for k in range(2)], axis=1)


def _smoothed(points: NDArray[np.float64], closed: bool) -> NDArray[np.float64]:
    """Gaussian smoothing along the line, which turns the jumps in curvature into ramps."""
    reach = int(4 * _SMOOTHING_M / SAMPLE_STEP_M)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * SAMPLE_STEP_M / _SMOOTHING_M) ** 2)
    kernel /= kernel.sum()
    if closed:
        padded = np.vstack([points[-reach:], points, points[:reach]])
    else:
        first = points[0] + (points[0] - points[1]) * np.arange(reach, 0, -1)[:, None]
        last = points[-1] + (points[-1] - points[-2]) * np.arange(1, reach + 1)[:, None]
        padded = np.vstack([first, points, last])
    return np.stack([np.convolve(padded[:, k], kernel, mode="valid") for k in range(2)], axis=1)


def _headings(points: NDArray[np.float64], closed: bool) -> NDArray[np.float64]:
    around = np.vstack([points[-1:], points, points[:1]]) if closed else points
    tangent = np.gradient(around, axis=0)
    if closed:
        tangent = tangent[1:-1]
    return np.unwrap(np.arctan2(tangent[:, 1], tangent[:, 0]))


def _keeps_clear_of_itself(points: NDArray[np.float64]) -> bool:
    stride = int(4.0 / SAMPLE_STEP_M)
    sparse = points[::stride]
    distance = np.linalg.norm(sparse[:, None] - sparse[None], axis=2)
    stations = 4.0 * np.arange(len(sparse))
    apart = np.abs(stations[:, None] - stations[None]) > 2.2 * _CLEARANCE_M
    return bool((distance[apart] > _CLEARANCE_M).all())
