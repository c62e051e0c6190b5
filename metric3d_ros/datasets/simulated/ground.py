"""Maps of the ground plane: where the road runs, what covers the rest, and how high the shadows reach."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from metric3d_ros.datasets.simulated.centre_line import CentreLine
from metric3d_ros.datasets.simulated.lookup import look_up

ROAD_CELL_M = 0.5
FINE_CELL_M = 0.125
OFF_ROAD_M = 1000.0
_LARGEST_MAP_CELLS = 36_000_000


@dataclass(frozen=True)
class GroundGrid:
    """A raster of the ground: cell (row, column) is centred on ``x0 + column * cell_m, y0 + row * cell_m``."""

    x0: float
    y0: float
    cell_m: float
    columns: int
    rows: int

    def cells(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Column and row (n, 2) of ground points (n, 2 or 3), not rounded."""
        return (np.asarray(points)[..., :2] - [self.x0, self.y0]) / self.cell_m

    def refined(self, cell_m: float) -> GroundGrid:
        """The same area in other cells."""
        scale = self.cell_m / cell_m
        return GroundGrid(self.x0, self.y0, cell_m, math.ceil(self.columns * scale), math.ceil(self.rows * scale))

    def sample(
        self,
        layer: NDArray[Any],
        x: NDArray[np.float32],
        y: NDArray[np.float32],
        outside: float,
        nearest: bool = False,
    ) -> NDArray[Any]:
        """Values (n,) or (n, channels) of a map (rows, columns[, channels]) at ground points."""
        per_m = np.float32(1.0 / self.cell_m)
        column, row = (x - np.float32(self.x0)) * per_m, (y - np.float32(self.y0)) * per_m
        return look_up(layer, column, row, nearest, outside)


def grid_around(line: CentreLine, margin_m: float) -> GroundGrid:
    """A coarse grid that reaches ``margin_m`` beyond the line."""
    low = line.points.min(axis=0) - margin_m
    high = line.points.max(axis=0) + margin_m
    columns, rows = (np.ceil((high - low) / ROAD_CELL_M) + 1).astype(int)
    return GroundGrid(float(low[0]), float(low[1]), ROAD_CELL_M, int(columns), int(rows))


def fine_cell_m(grid: GroundGrid) -> float:
    """The cell size of shadow and cover maps: fine, unless the world is too large for that."""
    area = grid.columns * grid.rows * grid.cell_m**2
    return max(FINE_CELL_M, math.sqrt(area / _LARGEST_MAP_CELLS))


def road_map(line: CentreLine, grid: GroundGrid, period_m: float) -> NDArray[np.float32]:
    """Left offset from the line, and cosine and sine of the station's phase: float32 (rows, columns, 3).

    The phase turns once per ``period_m``, so that it has no seam where a loop closes.
    """
    nearest = _nearest_samples(line, grid)
    columns, rows = np.meshgrid(np.arange(grid.columns), np.arange(grid.rows))
    points = np.stack([grid.x0 + columns * grid.cell_m, grid.y0 + rows * grid.cell_m], axis=-1)
    for _ in range(2):
        along, _ = _in_road_frame(line, points, nearest)
        nearest = nearest + np.clip(np.rint(along / line.step_m), -8, 8).astype(np.int64)
        nearest = nearest % len(line.points) if line.closed else np.clip(nearest, 0, len(line.points) - 1)
    along, left = _in_road_frame(line, points, nearest)
    distance = np.hypot(along, left)
    beyond_the_end = np.abs(along) > 2.0
    left = np.where(beyond_the_end, np.copysign(distance, left), left)
    phase = 2 * math.pi * (nearest * line.step_m + along) / period_m
    return np.stack([left, np.cos(phase), np.sin(phase)], axis=-1).astype(np.float32)


def _nearest_samples(line: CentreLine, grid: GroundGrid) -> NDArray[np.int64]:
    cells = np.rint(grid.cells(line.points)).astype(int)
    free = np.full((grid.rows, grid.columns), 255, dtype=np.uint8)
    free[cells[:, 1], cells[:, 0]] = 0
    _, labels = cv2.distanceTransformWithLabels(free, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    sample_of_label = np.zeros(labels.max() + 1, dtype=np.int64)
    sample_of_label[labels[cells[:, 1], cells[:, 0]]] = np.arange(len(line.points))
    return np.asarray(sample_of_label[labels])


def _in_road_frame(
    line: CentreLine, points: NDArray[np.float64], nearest: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    away = points - line.points[nearest]
    cosine, sine = np.cos(line.headings)[nearest], np.sin(line.headings)[nearest]
    return away[..., 0] * cosine + away[..., 1] * sine, away[..., 1] * cosine - away[..., 0] * sine
