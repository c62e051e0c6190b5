"""Where the geometry expects the cells of a frame in another, for a matcher to start from."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from droid_bridge.projection import CellGrid, reproject_coords


def expected_coords(target_from_source: Tensor, inverse_depth: Tensor, grid: CellGrid) -> NDArray[np.float32]:
    """Expected coordinates (E, rows, columns, 2), all finite; cells that leave the view are held at its border."""
    coords, depth_ratio = reproject_coords(target_from_source, inverse_depth, grid)
    # What is not a number ends OpenCV's search, and the process with it.
    is_seen = (depth_ratio > 0.05) & torch.isfinite(coords).all(dim=1)
    coords = torch.where(is_seen[:, None], coords, grid.coords)
    camera = grid.camera
    reach = torch.tensor([camera.width_px, camera.height_px], device=coords.device)[:, None]
    coords = torch.minimum(torch.maximum(coords, -0.25 * reach), 1.25 * reach)
    shape = (coords.shape[0], camera.height_px, camera.width_px, 2)
    return coords.permute(0, 2, 1).reshape(shape).cpu().numpy().astype(np.float32)
