"""The first depths of a new frame: carried over from a keyframe, else from its prior, else one value."""

from __future__ import annotations

import torch
from torch import Tensor

from droid_bridge.matching.matcher import Match
from droid_bridge.projection import CellGrid
from droid_bridge.scale_prior import CellPrior, KnownDepth


def carried_depth(keyframe: KnownDepth, new_from_keyframe: Tensor, from_new: Match, grid: CellGrid) -> KnownDepth:
    """The depths that the cells of a new frame have where they were found in a keyframe; else NaN."""
    camera = grid.camera
    coords = torch.from_numpy(from_new.coords).to(grid.rays).reshape(-1, 2)
    column = coords[:, 0].round().clamp(0, camera.width_px - 1).long()
    row = coords[:, 1].round().clamp(0, camera.height_px - 1).long()
    found = row * camera.width_px + column
    d, variance = keyframe.inverse_depth[found], keyframe.variance[found]
    ray_x, ray_y = (coords[:, 0] - camera.cx) / camera.fx, (coords[:, 1] - camera.cy) / camera.fy
    transform = new_from_keyframe.to(d)
    depth_ratio = transform[2, 0] * ray_x + transform[2, 1] * ray_y + transform[2, 2] + transform[2, 3] * d
    matched = torch.from_numpy(from_new.weight.max(axis=-1) > 0).to(d.device).flatten() & (depth_ratio > 0.05)
    return KnownDepth(
        torch.where(matched, d / depth_ratio.clamp(min=0.05), torch.nan), torch.where(matched, variance, torch.inf)
    )


def filled(
    inverse_depth: Tensor, prior: CellPrior | None, log_scale: float, fallback_inverse_depth: float
) -> Tensor:
    """Inverse depths (cells,) with NaN taken from the prior, then from its median or one value."""
    if prior is not None:
        from_prior = torch.exp(prior.log_inverse_depth - log_scale)
        inverse_depth = torch.where(torch.isnan(inverse_depth) & prior.valid, from_prior, inverse_depth)
        fallback_inverse_depth = float(from_prior[prior.valid].median())
    return torch.nan_to_num(inverse_depth, nan=fallback_inverse_depth)
