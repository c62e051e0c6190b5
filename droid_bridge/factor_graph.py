"""The sliding window: its frames, the matches between them, and their estimate.

The older half of the poses is held. They fix where the world is, and their distances carry the scale on where no
prior gives one. A frame that leaves is final; its matches leave with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Generic

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from droid_bridge.bundle_adjustment import (
    Estimate,
    FlowFactors,
    SolverOptions,
    informed_step,
)
from droid_bridge.ground_scale import GroundScale
from droid_bridge.lie import se3_inverse, se3_orthonormalised
from droid_bridge.matching.matcher import FeaturesT, Match
from droid_bridge.pose_covariance import PoseInformation
from droid_bridge.pose_fit import fit_pose
from droid_bridge.projection import CellGrid, reproject_coords
from droid_bridge.scale_prior import CellPrior, KnownDepth, ScalePriorOptions, prior_terms


@dataclass(frozen=True)
class WindowFrame(Generic[FeaturesT]):
    """What stays the same of a frame in the window.

    Attributes
    ----------
    frame_index, stamp_ns : of the frame.
    features : what the matcher keeps of its image.
    prior : its metric depth; None where it has none, or none to trust.
    gray : uint8 (height, width), the working image.
    rgb : uint8 (rows, columns, 3), the colour of each cell.
    """

    frame_index: int
    stamp_ns: int
    features: FeaturesT
    prior: CellPrior | None
    gray: NDArray[np.uint8]
    rgb: NDArray[np.uint8]


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
        self.log_growth = 0.0  # of the map since its start, by ``rescale``
        self.information: PoseInformation | None = None  # of the poses that the last adjustment moved
        device = grid.rays.device
        # What the matches knew of each depth in the last adjustment, (frames, cells), cells erring one by one.
        self._depth_information = torch.zeros(0, grid.rays.shape[1], dtype=grid.rays.dtype, device=device)
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
        unseen = torch.zeros_like(self.estimate.inverse_depth[-1:])
        self._depth_information = torch.cat([self._depth_information, unseen])

    def set_depth(self, position: int, inverse_depth: Tensor, log_scale: float, prior: CellPrior | None) -> None:
        """Replace the inverse depths (cells,), the scale state and the prior of a frame."""
        self.frames[position] = replace(self.frames[position], prior=prior)
        depths, scales = self.estimate.inverse_depth.clone(), self.estimate.log_scale.clone()
        depths[position], scales[position] = inverse_depth, log_scale
        self.estimate = replace(self.estimate, inverse_depth=depths, log_scale=scales)

    def connect(self, source: int, target: int, match: Match) -> None:
        """Keep where the cells of one frame (by position in the window) were found in another."""
        coords, weight = self._as_tensors(match)
        key = (self.frames[source].frame_index, self.frames[target].frame_index)
        self._matches[key] = (coords, weight * self._independent_share)

    def _as_tensors(self, match: Match) -> tuple[Tensor, Tensor]:
        """Coordinates and weights, both (2, cells)."""
        device, dtype = self.grid.rays.device, self.grid.rays.dtype
        coords = torch.from_numpy(match.coords).to(device, dtype).permute(2, 0, 1).flatten(1)
        return coords, torch.from_numpy(match.weight).to(device, dtype).permute(2, 0, 1).flatten(1)

    def factors(self) -> FlowFactors:
        """All matches of the window."""
        position = {frame.frame_index: k for k, frame in enumerate(self.frames)}
        chosen = [(position[i], position[j], match) for (i, j), match in self._matches.items()]
        device = self.grid.rays.device
        return FlowFactors(
            torch.tensor([i for i, _, _ in chosen], device=device),
            torch.tensor([j for _, j, _ in chosen], device=device),
            torch.stack([match[0] for _, _, match in chosen]),
            torch.stack([match[1] for _, _, match in chosen]),
        )

    @property
    def inlier_width_cells(self) -> float:
        """Residual up to which a match agrees with the geometry."""
        return 4 * (self._solver.cauchy_scale_cells or 1.0)

    def pose_against(
        self, source: int, match: Match, start: Tensor, iterations: int, widen: float
    ) -> tuple[Tensor, Tensor, PoseInformation]:
        """The pose of a frame outside the window that fits a match of one inside.

        Parameters
        ----------
        source : position of the frame whose pose and depths are trusted.
        match : its cells in the frame outside.
        start : (4, 4) camera_from_world to begin at.
        iterations : Gauss-Newton steps at each width of the loss.
        widen : factor on the width of the loss in the first half of the steps.

        Returns
        -------
        (4, 4) camera_from_world; (cells,) distances in cells between where cells were found and where they should
        be, NaN without a match; and what is known of the pose.
        """
        source_pose = self.estimate.camera_from_world[source]
        relative = (start @ se3_inverse(source_pose)).cpu().numpy()
        scale = self._solver.cauchy_scale_cells or 1.0
        for width in (widen * scale, scale):
            fit = fit_pose(
                relative,
                _as_float64(self.grid.rays),
                _as_float64(self.estimate.inverse_depth[source]),
                match.coords.reshape(-1, 2).T.astype(np.float64),
                match.weight.reshape(-1, 2).T.astype(np.float64),
                self.grid.camera,
                width,
                iterations,
                self._solver.min_depth_ratio,
            )
            relative = fit.target_from_source
        pose = se3_orthonormalised(torch.from_numpy(relative).to(start) @ source_pose)
        return pose, self.residual_norms(match, source, pose), fit.information(self._independent_share)

    def residual_norms(self, match: Match, source: int, target_pose: Tensor) -> Tensor:
        """Distances (cells,) in cells of a frame's matches from where a target at a pose (4, 4) has them."""
        target_from_source = target_pose @ se3_inverse(self.estimate.camera_from_world[source])
        depths = self.estimate.inverse_depth[source]
        coords, depth_ratio = reproject_coords(target_from_source[None], depths[None], self.grid)
        found, weight = self._as_tensors(match)
        norms = torch.linalg.vector_norm(found - coords[0], dim=0)
        usable = (weight.amax(dim=0) > 0) & (depth_ratio[0] > self._solver.min_depth_ratio)
        return torch.where(usable, norms, torch.nan)

    def known_depth(self, position: int) -> KnownDepth:
        """The depths of a frame as the matches know them; until there are any, as its prior does."""
        prior = self.frames[position].prior
        if prior is not None and not bool(self._depth_information[position].any()):
            return KnownDepth(self.estimate.inverse_depth[position], 1 / prior.information)
        return KnownDepth(self.estimate.inverse_depth[position], 1 / self._depth_information[position])

    def ground_log_scale(self, position: int, by_ground: GroundScale) -> float:
        """What the ground before a frame, as the matches alone know it, says of the map's scale; NaN without."""
        camera, information = self.grid.camera, self._depth_information[position]
        inverse_depth, sigma = (
            values.cpu().numpy().astype(np.float32).reshape(camera.height_px, camera.width_px)
            for values in (self.estimate.inverse_depth[position], information.rsqrt())
        )
        poses = self.estimate.camera_from_world.cpu().numpy()
        return by_ground.log_scale(inverse_depth, sigma, camera, poses, position)

    def inverse_depth_sigma(self, position: int) -> Tensor:
        """Relative errors (cells,) of a frame's inverse depths with the poses as they are; infinite if unseen."""
        information = self._depth_information[position].clone()
        prior = self.frames[position].prior
        if prior is not None:
            information += prior.information
        return information.rsqrt()

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
                self._independent_share,
                scale_is_held=self.held_poses > 1,
            )
            self.estimate, self.information, of_depths = informed_step(
                self.estimate, factors, terms, self.grid, free, self._solver, self._independent_share
            )
            self._depth_information = of_depths / self._independent_share

    @property
    def held_poses(self) -> int:
        """How many of the oldest poses do not move: half of the window, so that the scale is carried by more than
        one distance, but one alone while there are three, which still have to find theirs.
        """
        return len(self.frames) // 2 if len(self.frames) > 3 else 1

    def rescale(self, factor: float, centre: Tensor) -> None:
        """Make the map larger by a factor, about a point (3,) of the world."""
        self.log_growth += math.log(factor)
        world_from_camera = se3_inverse(self.estimate.camera_from_world)
        centres = world_from_camera[:, :3, 3]
        world_from_camera[:, :3, 3] = centre + factor * (centres - centre)
        self.estimate = Estimate(
            se3_inverse(world_from_camera),
            self.estimate.inverse_depth / factor,
            self.estimate.log_scale + math.log(factor),
        )
        self.frames = [
            replace(frame, prior=None if frame.prior is None else frame.prior.rescaled(math.log(factor)))
            for frame in self.frames
        ]

    def drop_oldest(self) -> None:
        """Let the oldest frame go."""
        self._forget(0)

    def _forget(self, position: int) -> None:
        gone = self.frames.pop(position).frame_index
        self._matches = {key: match for key, match in self._matches.items() if gone not in key}
        keep = [k for k in range(len(self.frames) + 1) if k != position]
        old = self.estimate
        self.estimate = Estimate(old.camera_from_world[keep], old.inverse_depth[keep], old.log_scale[keep])
        self._depth_information = self._depth_information[keep]


def _as_float64(values: Tensor) -> NDArray[np.float64]:
    return values.cpu().numpy().astype(np.float64)
