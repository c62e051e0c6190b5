"""Where the geometry expects the cells of a frame in another, for a matcher to start from."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from droid_bridge.projection import CellGrid, reproject_coords


def expected_coords(target_from_source: Tensor, inverse_depth: Tensor, grid: CellGrid) -> NDArray[np.float32]:
    """Expected coordinates (E, rows, columns, 2); cells that leave the view are held at its border."""
    coords, depth_ratio = reproject_coords(target_from_source, inverse_depth, grid)
    coords = torch.where((depth_ratio > 0.05)[:, None], coords, grid.coords)
    camera = grid.camera
    reach = torch.tensor([camera.width_px, camera.height_px], device=coords.device)[:, None]
    coords = torch.minimum(torch.maximum(coords, -0.25 * reach), 1.25 * reach)
    shape = (coords.shape[0], camera.height_px, camera.width_px, 2)
    return coords.permute(0, 2, 1).reshape(shape).cpu().numpy().astype(np.float32)


def median_motion_cells(coords: NDArray[np.float32] | None) -> float:
    """Median distance in cells between coordinates (rows, columns, 2) and the cells' own."""
    if coords is None:
        return 0.0
    v, u = np.mgrid[: coords.shape[0], : coords.shape[1]]
    return float(np.median(np.hypot(coords[..., 0] - u, coords[..., 1] - v)))
