"""The sun's shadows: for every ground cell, how high the thing stands that takes the sun from it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.datasets.simulated.atlas import Atlas
from metric3d_ros.datasets.simulated.ground import GroundGrid
from metric3d_ros.datasets.simulated.lookup import look_up
from metric3d_ros.datasets.simulated.raster import Forms, draw, texels_per_m
from metric3d_ros.datasets.simulated.surfaces import Patches

_BIAS_M = 0.12


def shadow_heights(
    patches: Patches, atlas: Atlas, grid: GroundGrid, sun_direction: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Largest occluder height (rows, columns) in metres along the sun ray through each ground cell.

    ``sun_direction`` points towards the sun. A point p is in shadow when the map, read where its ray meets
    the ground, is higher than p.
    """
    heights = np.zeros((grid.rows, grid.columns), dtype=np.float32)
    owner = np.full((grid.rows, grid.columns), -1, dtype=np.int32)
    along_ray = sun_direction / sun_direction[2]
    corners = patches.corners
    cells = grid.cells(corners[..., :2] - corners[..., 2:] * along_ray[:2])
    low = np.clip(np.ceil(cells.min(axis=1)), 0, [grid.columns, grid.rows]).astype(np.int32)
    high = np.clip(np.floor(cells.max(axis=1)) + 1, 0, [grid.columns, grid.rows]).astype(np.int32)
    normals = patches.plane_normals
    facing = normals @ along_ray
    chosen = np.flatnonzero(patches.casts_shadow & (np.abs(facing) > 1e-3)).astype(np.int32)
    ground_from_cells = np.array([[grid.cell_m, 0, grid.x0], [0, grid.cell_m, grid.y0], [0, 0, 0]])
    height = -(normals[chosen] / facing[chosen, None]) @ ground_from_cells
    height[:, 2] += np.einsum("ij,ij->i", normals[chosen], patches.origin[chosen]) / facing[chosen]
    forms = Forms(
        patch=chosen,
        key=height,
        weight=np.broadcast_to(np.array([0.0, 0.0, 1.0]), height.shape),
        a=_coordinate(patches.duals[0][chosen], patches.origin[chosen], height, along_ray, ground_from_cells),
        b=_coordinate(patches.duals[1][chosen], patches.origin[chosen], height, along_ray, ground_from_cells),
        footprint=(texels_per_m(patches, atlas)[chosen] * np.float32(grid.cell_m)).astype(np.float32),
        nearest=corners[chosen, :, 2].max(axis=1),
        left=low[chosen, 0], top=low[chosen, 1], right=high[chosen, 0], bottom=high[chosen, 1],
    )  # fmt: skip
    x = np.arange(grid.columns, dtype=np.float32)
    y = np.arange(grid.rows, dtype=np.float32)
    draw(forms, patches, atlas, x, y, heights, owner)
    return heights


def sunlit_share(
    heights: NDArray[np.float32],
    grid: GroundGrid,
    sun_direction: NDArray[np.float64],
    points: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Share of the sun (n,) that reaches world points (3, n), bilinear between neighbouring shadow rays."""
    slope_x, slope_y = (sun_direction[:2] / sun_direction[2]).astype(np.float32)
    per_m = np.float32(1.0 / grid.cell_m)
    x, y, z = points
    column = (x - z * slope_x - np.float32(grid.x0)) * per_m
    row = (y - z * slope_y - np.float32(grid.y0)) * per_m
    base_column, base_row = np.floor(column), np.floor(row)
    share_x, share_y = column - base_column, row - base_row
    lit = np.zeros_like(x)
    threshold = z + np.float32(_BIAS_M)
    for step_x, step_y in ((0, 0), (1, 0), (0, 1), (1, 1)):
        height = look_up(
            heights, base_column + np.float32(step_x), base_row + np.float32(step_y), nearest=True, outside=0.0
        )
        weight = (share_x if step_x else 1 - share_x) * (share_y if step_y else 1 - share_y)
        lit += weight * (height <= threshold)
    return np.asarray(lit)


def _coordinate(
    dual: NDArray[np.float64],
    origin: NDArray[np.float64],
    height: NDArray[np.float64],
    along_ray: NDArray[np.float64],
    ground_from_cells: NDArray[np.float64],
) -> NDArray[np.float64]:
    form = dual @ ground_from_cells + (dual @ along_ray)[:, None] * height
    form[:, 2] -= np.einsum("ij,ij->i", dual, origin)
    return np.asarray(form)
