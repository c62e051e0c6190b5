"""The sliding window: its frames, the matches between them, and their estimate.

The older half of the poses is held. They fix where the world is, and their distances carry the scale on where no
prior gives one. A frame that leaves is final; its matches leave with it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Generic

import torch
from torch import Tensor

from droid_bridge.bundle_adjustment import (
    Estimate,
    FlowFactors,
    SolverOptions,
    motion_only_step,
    step,
)
from droid_bridge.lie import se3_inverse
from droid_bridge.matching.matcher import FeaturesT, Match
from droid_bridge.projection import CellGrid, relative_poses, reproject_coords
from droid_bridge.scale_prior import CellPrior, ScalePriorOptions, prior_terms


@dataclass(frozen=True)
class WindowFrame(Generic[FeaturesT]):
    """What stays the same of a frame in the window."""

    frame_index: int
    stamp_ns: int
    features: FeaturesT
    prior: CellPrior | None


class FactorGraph(Generic[FeaturesT]):
    """Frames of the window, oldest first, with everything that ties them together."""

    def __init__(
        self, grid: CellGrid, solver: SolverOptions, prior_options: ScalePriorOptions, independent_share: float
    ) -> None:
        self.grid = grid
        self.frames: list[WindowFrame[FeaturesT]] = []
        self._solver = solver
        self._prior_options = prior_options
        self._independent_share = independent_share
        self._matches: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}
        device = grid.rays.device
        self.estimate = Estimate(
            torch.zeros(0, 4, 4, dtype=torch.float64, device=device),
            torch.zeros(0, grid.rays.shape[1], dtype=grid.rays.dtype, device=device),
            torch.zeros(0, dtype=torch.float64, device=device),
        )

    def __len__(self) -> int:
        return len(self.frames)

    def add_frame(
        self,
        frame: WindowFrame[FeaturesT],
        camera_from_world: Tensor,
        inverse_depth: Tensor,
        log_scale: float = 0.0,
    ) -> None:
        """Append a frame at a pose (4, 4) with inverse depths (cells,) 1/m."""
        old = self.estimate
        scale = old.log_scale.new_tensor([log_scale])
        self.frames.append(frame)
        self.estimate = Estimate(
            torch.cat([old.camera_from_world, camera_from_world[None]]),
            torch.cat([old.inverse_depth, inverse_depth[None]]),
            torch.cat([old.log_scale, scale]),
        )

    def set_newest_depth(self, inverse_depth: Tensor, log_scale: float, prior: CellPrior | None) -> None:
        """Replace the inverse depths (cells,), the scale state and the prior of the newest frame."""
        self.frames[-1] = replace(self.frames[-1], prior=prior)
        depths, scales = self.estimate.inverse_depth.clone(), self.estimate.log_scale.clone()
        depths[-1], scales[-1] = inverse_depth, log_scale
        self.estimate = replace(self.estimate, inverse_depth=depths, log_scale=scales)

    def restart_pair(self, second_from_first: Tensor, inverse_depth: Tensor) -> None:
        """Place the second of two frames, and the inverse depths (cells,) of the first, anew."""
        poses, depths = self.estimate.camera_from_world.clone(), self.estimate.inverse_depth.clone()
        poses[1] = second_from_first @ poses[0]
        depths[0] = inverse_depth
        self.estimate = replace(self.estimate, camera_from_world=poses, inverse_depth=depths)

    def connect(self, source: int, target: int, match: Match) -> None:
        """Keep where the cells of one frame (by position in the window) were found in another."""
        device, dtype = self.grid.rays.device, self.grid.rays.dtype
        coords = torch.from_numpy(match.coords).to(device, dtype).permute(2, 0, 1).flatten(1)
        weight = torch.from_numpy(match.weight).to(device, dtype).permute(2, 0, 1).flatten(1)
        key = (self.frames[source].frame_index, self.frames[target].frame_index)
        self._matches[key] = (coords, weight * self._independent_share)

    def factors(self, source: int | None = None) -> FlowFactors:
        """All matches of the window, or those of one source frame."""
        position = {frame.frame_index: k for k, frame in enumerate(self.frames)}
        chosen = [
            (position[i], position[j], match)
            for (i, j), match in self._matches.items()
            if source is None or position[i] == source
        ]
        device = self.grid.rays.device
        return FlowFactors(
            torch.tensor([i for i, _, _ in chosen], device=device),
            torch.tensor([j for _, j, _ in chosen], device=device),
            torch.stack([match[0] for _, _, match in chosen]),
            torch.stack([match[1] for _, _, match in chosen]),
        )

    def drop_newest(self) -> None:
        """Forget the newest frame and its matches."""
        self._forget(len(self.frames) - 1)

    def estimate_newest_pose(self, source: int, iterations: int, widen: float) -> Tensor:
        """Move the newest pose alone to fit the flow from one frame, and give the residuals.

        Parameters
        ----------
        source : position of the frame whose depths are trusted.
        iterations : Gauss-Newton steps at each width of the loss.
        widen : factor on the width of the loss in the first half of the steps.

        Returns
        -------
        (cells,) residual norms in cells, NaN without a match.
        """
        newest = len(self.frames) - 1
        both = [source, newest]
        pair = Estimate(*(unknown[both] for unknown in self._unknowns()))
        between = self._factors_between(source, newest)
        second = torch.ones_like(between.target)
        factors = replace(between, source=torch.zeros_like(second), target=second)
        scale = self._solver.cauchy_scale_cells or 1.0
        for width in (widen * scale, scale):
            options = replace(self._solver, cauchy_scale_cells=width)
            for _ in range(iterations):
                pair = motion_only_step(pair, factors, self.grid, second, options)
        poses = self.estimate.camera_from_world.clone()
        poses[newest] = pair.camera_from_world[1]
        self.estimate = replace(self.estimate, camera_from_world=poses)
        return self.residual_norms(source, newest)

    def _unknowns(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.estimate.camera_from_world, self.estimate.inverse_depth, self.estimate.log_scale

    def _factors_between(self, source: int, target: int) -> FlowFactors:
        every = self.factors(source)
        chosen = every.target == target
        return FlowFactors(every.source[chosen], every.target[chosen], every.coords[chosen], every.weight[chosen])

    def residual_norms(self, source: int, target: int) -> Tensor:
        """Distances (cells,) in cells between where a frame's cells were found and where they should be."""
        factors = self._factors_between(source, target)
        poses = relative_poses(self.estimate.camera_from_world, factors.source, factors.target)
        coords, depth_ratio = reproject_coords(poses, self.estimate.inverse_depth[factors.source], self.grid)
        norms = torch.linalg.vector_norm(factors.coords - coords, dim=1)
        usable = (factors.weight.amax(dim=1) > 0) & (depth_ratio > self._solver.min_depth_ratio)
        return torch.where(usable, norms, torch.nan)[0]

    def optimise(self, iterations: int) -> None:
        """Gauss-Newton steps on every pose but the held ones, every depth and every scale state."""
        frames = len(self.frames)
        if frames < 2:
            return
        factors = self.factors()
        free = torch.arange(self.held_poses, frames, device=self.grid.rays.device)
        for _ in range(iterations):
            terms = prior_terms(
                [frame.prior for frame in self.frames],
                self.estimate.inverse_depth,
                self.estimate.log_scale,
                self._prior_options,
            )
            self.estimate = step(self.estimate, factors, terms, self.grid, free, self._solver)

    @property
    def held_poses(self) -> int:
        """How many of the oldest poses do not move: half of the window, so that the scale is carried by more than
        one distance, but one alone while there are three, which still have to find theirs.
        """
        return len(self.frames) // 2 if len(self.frames) > 3 else 1

    def rescale(self, factor: float) -> None:
        """Make the map larger by a factor, about the centre of the oldest camera."""
        world_from_camera = se3_inverse(self.estimate.camera_from_world)
        centres = world_from_camera[:, :3, 3]
        world_from_camera[:, :3, 3] = centres[0] + factor * (centres - centres[0])
        self.estimate = replace(
            self.estimate,
            camera_from_world=se3_inverse(world_from_camera),
            inverse_depth=self.estimate.inverse_depth / factor,
        )

    def drop_oldest(self) -> None:
        """Let the oldest frame go."""
        self._forget(0)

    def _forget(self, position: int) -> None:
        gone = self.frames.pop(position).frame_index
        self._matches = {key: match for key, match in self._matches.items() if gone not in key}
        keep = [k for k in range(len(self.frames) + 1) if k != position]
        old = self.estimate
        self.estimate = Estimate(old.camera_from_world[keep], old.inverse_depth[keep], old.log_scale[keep])
