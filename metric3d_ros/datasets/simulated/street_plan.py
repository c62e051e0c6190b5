"""Where things may stand: plots along the street, free of the road and of each other."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from metric3d_ros.datasets.simulated.centre_line import CentreLine
from metric3d_ros.datasets.simulated.ground import OFF_ROAD_M, GroundGrid
from metric3d_ros.datasets.simulated.road_surface import COVERS, RoadProfile
from metric3d_ros.datasets.simulated.surfaces import Obstacle
from metric3d_ros.datasets.simulated.terrain import Terrain

_FIXED_POINT_BITS = 4


@dataclass(frozen=True)
class Plot:
    """A piece of land beside the street: x along the pavement from 0 to ``width_m``, y away from it.

    ``side`` is 0 left and 1 right of the centre line; the origin is at ground point ``x, y``.
    """

    x: float
    y: float
    heading_rad: float
    width_m: float
    side: int
    bend_rad: float

    def in_world(self, along_m: float, away_m: float) -> tuple[float, float]:
        """World ground point of a place on the plot."""
        cosine, sine = math.cos(self.heading_rad), math.sin(self.heading_rad)
        return self.x + along_m * cosine - away_m * sine, self.y + along_m * sine + away_m * cosine


@dataclass(frozen=True)
class Place:
    """A ground point of the world and the heading of the road beside it."""

    x: float
    y: float
    heading_rad: float


@dataclass(frozen=True)
class StreetPlan:
    """The road and the land around it, while a world is being laid out."""

    line: CentreLine
    profile: RoadProfile
    road_grid: GroundGrid
    road_layers: NDArray[np.float32]
    cover_grid: GroundGrid
    cover: NDArray[np.uint8]
    taken: NDArray[np.uint8]

    def place(self, station_m: float, left_m: float = 0.0) -> Place:
        """The place ``left_m`` to the left of the centre line."""
        (point,), (heading,) = self.line.at(np.array([station_m]), left_m)
        return Place(float(point[0]), float(point[1]), float(heading))

    def beside(self, station_m: float, out_m: float, side: int) -> Place:
        """The place ``out_m`` from the centre line on one side of it."""
        return self.place(station_m, out_m if side == 0 else -out_m)

    def plot(self, station_m: float, width_m: float, side: int) -> Plot:
        """The plot from ``station_m`` on, its front on the chord of the pavement's outer edge."""
        sign = 1.0 if side == 0 else -1.0
        stations = np.array([station_m, station_m + width_m])
        (start, end), headings = self.line.at(stations, sign * self.profile.front_at_m(side))
        if side == 1:
            start, end = end, start
        chord = end - start
        return Plot(
            x=float(start[0]),
            y=float(start[1]),
            heading_rad=math.atan2(chord[1], chord[0]),
            width_m=float(np.linalg.norm(chord)),
            side=side,
            bend_rad=float(abs(headings[1] - headings[0])),
        )

    def claim(
        self,
        plot: Plot,
        low: tuple[float, float],
        high: tuple[float, float],
        margin_m: float = 0.2,
        exclusive: bool = True,
    ) -> bool:
        """Takes a rectangle of a plot that lies on the plan, off the road and, if exclusive, off what is taken."""
        along = np.linspace(low[0], high[0], max(2, int((high[0] - low[0]) / 2.0) + 1))
        away = np.linspace(low[1], high[1], max(2, int((high[1] - low[1]) / 2.0) + 1))
        points = np.array([plot.in_world(x, y) for x in along for y in away])
        if not self.keeps_off_road(points, margin_m):
            return False
        corners = np.array([plot.in_world(x, y) for x, y in (low, (high[0], low[1]), high, (low[0], high[1]))])
        cells = self.road_grid.cells(corners)
        column, row = np.maximum(np.floor(cells.min(axis=0)).astype(int) - 1, 0)
        end_column, end_row = np.maximum(np.ceil(cells.max(axis=0)).astype(int) + 2, 0)
        taken = self.taken[row:end_row, column:end_column]
        if not taken.size:
            return False
        area = np.zeros_like(taken)
        cv2.fillConvexPoly(
            area, np.rint((cells - [column, row]) * 16).astype(np.int32), 1, cv2.LINE_8, _FIXED_POINT_BITS
        )
        if exclusive and bool((area & taken).any()):
            return False
        taken |= area
        return True

    def keeps_off_road(self, points: NDArray[np.float64], margin_m: float) -> bool:
        """Whether ground points (n, 2) lie beyond the pavements by a margin."""
        x, y = points.astype(np.float32).T
        left = self.road_grid.sample(self.road_layers, x, y, OFF_ROAD_M)[:, 0]
        front = np.where(left > 0, self.profile.front_at_m(0), self.profile.front_at_m(1))
        return bool((np.abs(left) >= front + margin_m).all())

    def pave(self, plot: Plot, low: tuple[float, float], high: tuple[float, float], cover: str) -> None:
        """Covers a rectangle of a plot with a ground material."""
        corners = np.array([plot.in_world(x, y) for x, y in (low, (high[0], low[1]), high, (low[0], high[1]))])
        self._fill(self.cover, self.cover_grid, corners, COVERS.index(cover))

    def patch_road(self, station_m: float, length_m: float, from_left_m: float, to_left_m: float) -> None:
        """Mends a piece of the road with newer asphalt."""
        stations = np.linspace(station_m, station_m + length_m, 8)
        one, _ = self.line.at(stations, from_left_m)
        other, _ = self.line.at(stations[::-1], to_left_m)
        self._fill(self.cover, self.cover_grid, np.vstack([one, other]), COVERS.index("asphalt_patch"))

    @staticmethod
    def _fill(layer: NDArray[np.uint8], grid: GroundGrid, corners: NDArray[np.float64], value: int) -> None:
        cells = np.rint(grid.cells(corners) * (1 << _FIXED_POINT_BITS)).astype(np.int32)
        cv2.fillPoly(layer, [cells], value, cv2.LINE_8, _FIXED_POINT_BITS)


def open_sky_share(grid: GroundGrid, obstacles: list[Obstacle], terrain: Terrain) -> NDArray[np.float32]:
    """Ambient light (rows, columns) that nearby objects leave to the ground, 1 in the open."""
    footprint = np.zeros((grid.rows, grid.columns), dtype=np.float32)
    for obstacle in obstacles:
        if obstacle.bottom_m - terrain.height_m(obstacle.x, obstacle.y) > 0.5:
            continue
        cv2.fillPoly(footprint, [_footprint(grid, obstacle)], 1.0, cv2.LINE_AA, _FIXED_POINT_BITS)
    near = cv2.GaussianBlur(footprint, (0, 0), 1.2)
    wide = cv2.GaussianBlur(footprint, (0, 0), 5.0)
    return np.asarray((1.0 - 0.45 * near - 0.3 * wide).astype(np.float32))


def overhead_share(grid: GroundGrid, ceilings: list[tuple[Obstacle, float]]) -> NDArray[np.float32]:
    """Share of the sky's light (rows, columns) that crowns and bridges take from what lies under them."""
    share = np.zeros((grid.rows, grid.columns), dtype=np.float32)
    for ceiling, taken in ceilings:
        layer = np.zeros_like(share)
        cv2.fillPoly(layer, [_footprint(grid, ceiling)], taken, cv2.LINE_AA, _FIXED_POINT_BITS)
        np.maximum(share, layer, out=share)
    return np.asarray(cv2.GaussianBlur(share, (0, 0), 2.0), dtype=np.float32)


def _footprint(grid: GroundGrid, obstacle: Obstacle) -> NDArray[np.int32]:
    """Corners (4, 2) of an upright box in cells of the grid, in OpenCV's fixed point."""
    cosine, sine = math.cos(obstacle.heading_rad), math.sin(obstacle.heading_rad)
    signs = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]])
    local = signs * [obstacle.half_length_m, obstacle.half_width_m]
    turned = local @ np.array([[cosine, sine], [-sine, cosine]])
    return np.rint((grid.cells(turned + np.array([obstacle.x, obstacle.y]))) * 16).astype(np.int32)
