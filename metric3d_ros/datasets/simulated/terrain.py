"""How high the ground lies: level, or rolling along one direction of the plane.

A rolling ground is a sheet bent along one direction only, so that it is made of long planar strips which the
renderer draws like any other patch. A street that turns on it climbs, falls and leans to either side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.datasets.simulated.centre_line import CentreLine

# Main roads climb 6 %, steep lanes up to 12 %; crests and dips of streets are rounder than 250 m of radius.
MAX_SLOPE = 0.10
MAX_CURVATURE_PER_M = 1.0 / 250.0
_NEAR_M = 150.0
_FAR_M = 900.0
_FAR_STRIP_M = 60.0

Strip = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class Terrain:
    """Ground height over the world's plane.

    Attributes
    ----------
    direction : float64 (2,), unit, along which the height changes.
    knots_m : float64 (n,), increasing, places along ``direction``; level beyond the outer ones.
    heights_m : float64 (n,), ground height at the knots, never below 0; linear between them.
    """

    direction: NDArray[np.float64]
    knots_m: NDArray[np.float64]
    heights_m: NDArray[np.float64]

    @classmethod
    def level(cls) -> Terrain:
        """The plane z = 0."""
        return cls(np.array([1.0, 0.0]), np.array([0.0, 1.0]), np.zeros(2))

    @property
    def is_level(self) -> bool:
        """Whether the ground is the plane z = 0."""
        return not self.heights_m.any()

    def height_m(self, x: NDArray[np.floating] | float, y: NDArray[np.floating] | float) -> NDArray[np.float64]:
        """Ground height at world points, of their shape."""
        if self.is_level:
            return np.zeros(np.shape(x))
        along = np.asarray(x) * self.direction[0] + np.asarray(y) * self.direction[1]
        return np.asarray(np.interp(along, self.knots_m, self.heights_m))

    def tilt_rad(
        self,
        x: NDArray[np.floating] | float,
        y: NDArray[np.floating] | float,
        heading_rad: NDArray[np.floating] | float,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Climb ahead and lean to the right (radians) of a vehicle standing somewhere on a heading.

        Measured over the vehicle: 1.4 m to the front and back, 0.8 m to either side.
        """
        cosine, sine = np.cos(heading_rad), np.sin(heading_rad)
        ahead = self.height_m(x + 1.4 * cosine, y + 1.4 * sine) - self.height_m(x - 1.4 * cosine, y - 1.4 * sine)
        left = self.height_m(x - 0.8 * sine, y + 0.8 * cosine) - self.height_m(x + 0.8 * sine, y - 0.8 * cosine)
        return np.arctan(ahead / 2.8), np.arctan(left / 1.6)

    def strips(self, middle: NDArray[np.float64]) -> list[Strip]:
        """The planar pieces as (origin, edge_u, edge_v), each (3,), facing up, centred on a ground point (2,)."""
        across = np.array([-self.direction[1], self.direction[0]])
        start = (middle @ across - _FAR_M) * across
        pieces: list[Strip] = []
        for low, high, from_m, to_m in zip(
            self.knots_m[:-1], self.knots_m[1:], self.heights_m[:-1], self.heights_m[1:], strict=True
        ):
            origin = np.append(start + low * self.direction, from_m)
            edge_u = np.append((high - low) * self.direction, to_m - from_m)
            pieces.append((origin, edge_u, np.append(2 * _FAR_M * across, 0.0)))
        return pieces


def rolling_terrain(rng: np.random.Generator, line: CentreLine) -> Terrain:
    """A random rolling ground for a street: hills of 90 to 500 m, up to ``MAX_SLOPE`` steep.

    The height changes mostly along the way the street sets out, at up to 50 degrees from it.
    """
    bearing = line.headings[0] + rng.uniform(-0.9, 0.9)
    direction = np.array([math.cos(bearing), math.sin(bearing)])
    along = line.points @ direction
    knots_m = _knots(rng, float(along.min()), float(along.max()))
    heights_m = np.zeros_like(knots_m)
    steepest = MAX_SLOPE * rng.uniform(0.1, 1.0)
    for _ in range(2):
        wave_per_m = 2 * math.pi / math.exp(rng.uniform(math.log(90.0), math.log(500.0)))
        amplitude_m = 0.5 * min(steepest / wave_per_m, MAX_CURVATURE_PER_M / wave_per_m**2)
        heights_m += amplitude_m * np.sin(wave_per_m * knots_m + rng.uniform(0, 2 * math.pi))
    return Terrain(direction, knots_m, heights_m - heights_m.min())


def _knots(rng: np.random.Generator, low_m: float, high_m: float) -> NDArray[np.float64]:
    """Places of uneven spacing, so that no edge of a strip tells a distance."""
    near = low_m - _NEAR_M + np.cumsum(rng.uniform(2.5, 5.5, int((high_m - low_m + 2 * _NEAR_M) / 4.0)))
    far = np.arange(_FAR_STRIP_M, _FAR_M, _FAR_STRIP_M)
    return np.concatenate([near[0] - far[::-1], near, near[-1] + far])
