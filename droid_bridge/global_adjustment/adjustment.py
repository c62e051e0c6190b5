"""The global adjustment: which keyframes are matched to which, and the steps until nothing moves.

All keyframes start where the pose graph has them, each with the depths that the front end left. Matched are
neighbours along the way, the two ends of each loop, and keyframes that stand where another stood on an earlier
visit. What comes out is rigid in one unit, and its scale along the way is that of the matches alone: no depth
prior bends it. Which unit that is, the pose graph decides afterwards, with the priors' readings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from droid_bridge.errors import DroidBridgeError
from droid_bridge.global_adjustment.lens import Lens
from droid_bridge.global_adjustment.matches import KeyframeMatches
from droid_bridge.global_adjustment.system import (
    MAX_INVERSE_DEPTH,
    MIN_INVERSE_DEPTH,
    DriveEstimate,
    Weighing,
    depth_step,
    pose_step,
    total_cost,
)
from droid_bridge.keyframe_archive import ArchivedKeyframe
from droid_bridge.lie import (
    se3_from_parts,
    se3_inverse,
    se3_orthonormalised,
    sim3_from_parts,
    sim3_rotation,
    sim3_scale,
)
from droid_bridge.matching.matcher import CELL_PX, Matcher
from droid_bridge.projection import CellGrid
from metric3d_ros.camera import PinholeCamera

_MAX_DEPTH_SIGMA = 0.5  # relative; what is less sure says nothing of a keyframe's unit
_CONVERGED_COST = 1e-3
MIN_KEYFRAMES = 3
_WIDTHS = (4.0, 2.0)  # of the loss in the first steps, so that what is far off still pulls
_DAMPING = 1e-9
_DEPTH_STEPS = 2


@dataclass(frozen=True)
class GlobalAdjustmentOptions:
    """How the keyframes of a drive are adjusted together.

    Attributes
    ----------
    iterations : steps at most.
    gaps : each keyframe is matched to the ones so many before it. The front end has the first two; a longer one
        carries the size of the map past what lies between.
    revisit_distance_m, revisit_turn_rad, revisit_travel_m : keyframes no farther apart and turned against each
        other, with at least this way between them, see the same place.
    corrects_lens : estimate what rectification left of the radial distortion.
    radial_sigma : how large that may be, the first radial term.
    min_lens_gain : share of the cost that a lens has to explain; one that explains less is taken as ideal.
    min_matched_share : cells that two neighbours must have in common to say how one stands to the other.
    weighing : what a match counts.
    """

    iterations: int = 8
    gaps: tuple[int, ...] = (1, 2, 3, 5)
    revisit_distance_m: float = 3.0
    revisit_turn_rad: float = 0.35
    revisit_travel_m: float = 30.0
    corrects_lens: bool = True
    radial_sigma: float = 0.01
    min_lens_gain: float = 0.005
    min_matched_share: float = 0.05
    weighing: Weighing = field(default_factory=Weighing)

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise DroidBridgeError(f"global adjustment iterations is {self.iterations}; it must be at least 1.")
        if 1 not in self.gaps or min(self.gaps) < 1:
            raise DroidBridgeError(f"global adjustment gaps is {self.gaps}; it must hold 1 and nothing below.")


@dataclass(frozen=True)
class GlobalAdjustment:
    """What the adjustment says.

    Attributes
    ----------
    camera_from_world : float64 (nodes, 4, 4) similarities: rigid but for the unit that each keyframe's own depths
        are in, which is the front end's there. The world is that of the poses it began with.
    inverse_depth : float32 (nodes, cells), of each keyframe in the unit of its own depths.
    lens : of the camera.
    is_tied : bool (nodes - 1,) whether a keyframe and the next one see enough in common.
    cost_before, cost_after : of all matches.
    """

    camera_from_world: NDArray[np.float64]
    inverse_depth: NDArray[np.float32]
    lens: Lens
    is_tied: NDArray[np.bool_]
    cost_before: float
    cost_after: float


def adjust_globally(
    keyframes: Sequence[ArchivedKeyframe],
    camera_from_world: NDArray[np.float64],
    loops: Iterable[tuple[int, int]],
    gray_of: Callable[[int], NDArray[np.uint8]],
    working_camera: PinholeCamera,
    matcher: Matcher[Any],
    options: GlobalAdjustmentOptions,
    folder: Path | None = None,
) -> GlobalAdjustment:
    """Adjust the keyframes of a drive.

    Parameters
    ----------
    keyframes : in order, at least ``MIN_KEYFRAMES``.
    camera_from_world : float64 (nodes, 4, 4) similarities, where the pose graph has them.
    loops : (old, new) keyframe numbers.
    gray_of : the working image of a keyframe number.
    working_camera : of the images.
    matcher : finds the cells of one keyframe in another.
    options : how.
    folder : where the matches are kept meanwhile; None takes the system's temporary folder.
    """
    grid = CellGrid.of_camera(
        working_camera.resized(working_camera.width_px // CELL_PX, working_camera.height_px // CELL_PX),
        torch.device("cpu"),
    )
    start = _start(keyframes, torch.from_numpy(camera_from_world))
    pairs = _pairs(keyframes, start.camera_from_world, loops, options)
    with KeyframeMatches(pairs, len(keyframes), grid.rays.shape[1], folder) as matches:
        matches.find(
            matcher,
            lambda node: gray_of(keyframes[node].number),
            start.camera_from_world,
            start.inverse_depth,
            grid,
        )
        cost_before = total_cost(start, matches, grid, options.weighing)
        estimate, cost_after = _with_a_lens_that_pays(start, cost_before, matches, grid, options)
        is_tied = np.array(
            [matches.matched_share(k, k + 1) >= options.min_matched_share for k in range(len(keyframes) - 1)]
        )
    unit_before = sim3_scale(torch.from_numpy(camera_from_world))
    unit = _own_units(keyframes, estimate, unit_before)
    inverse_depth = (estimate.inverse_depth / unit[:, None].float()).numpy()
    similarity = _in_own_units(estimate, unit, unit_before).numpy()
    return GlobalAdjustment(similarity, inverse_depth, estimate.lens, is_tied, cost_before, cost_after)


def _start(keyframes: Sequence[ArchivedKeyframe], similarity: Tensor) -> DriveEstimate:
    """Rigid poses and depths in the unit of the similarities' world."""
    scale = sim3_scale(similarity)
    rigid = se3_from_parts(sim3_rotation(similarity), similarity[:, :3, 3] / scale[:, None])
    depths = torch.stack([torch.from_numpy(k.inverse_depth.astype(np.float32).ravel()) for k in keyframes])
    inverse_depth = (depths * scale[:, None].float()).clamp(MIN_INVERSE_DEPTH, MAX_INVERSE_DEPTH)
    return DriveEstimate(se3_orthonormalised(rigid), inverse_depth, Lens())


def _pairs(
    keyframes: Sequence[ArchivedKeyframe],
    camera_from_world: Tensor,
    loops: Iterable[tuple[int, int]],
    options: GlobalAdjustmentOptions,
) -> list[tuple[int, int]]:
    """Nodes (earlier, later) to match, in order."""
    nodes = len(keyframes)
    pairs = {(k - gap, k) for gap in options.gaps for k in range(gap, nodes)}
    node = {keyframe.number: k for k, keyframe in enumerate(keyframes)}
    closed = {(node[old], node[new]) for old, new in loops}
    if closed:
        pairs |= closed | _revisits(keyframes, camera_from_world, options)
    return sorted(pairs)


def _revisits(
    keyframes: Sequence[ArchivedKeyframe], camera_from_world: Tensor, options: GlobalAdjustmentOptions
) -> set[tuple[int, int]]:
    """For each keyframe the nearest one of an earlier visit that looks the same way."""
    world_from_camera = se3_inverse(camera_from_world)
    centres = world_from_camera[:, :3, 3].numpy()
    travelled_m = np.array([keyframe.travelled_m for keyframe in keyframes])
    near = cKDTree(centres).query_ball_point(centres, options.revisit_distance_m)
    found = set()
    for later, others in enumerate(near):
        earlier = np.array([k for k in others if travelled_m[later] - travelled_m[k] > options.revisit_travel_m])
        if not earlier.size:
            continue
        ahead = world_from_camera[earlier, :3, 2] @ world_from_camera[later, :3, 2]
        earlier = earlier[(ahead > math.cos(options.revisit_turn_rad)).numpy()]
        if earlier.size:
            distances = np.linalg.norm(centres[earlier] - centres[later], axis=1)
            found.add((int(earlier[distances.argmin()]), later))
    return found


def _with_a_lens_that_pays(
    start: DriveEstimate,
    start_cost: float,
    matches: KeyframeMatches,
    grid: CellGrid,
    options: GlobalAdjustmentOptions,
) -> tuple[DriveEstimate, float]:
    """The adjusted drive and its cost, with a bent lens only where that explains ``min_lens_gain`` of the cost.

    Biased matches look a little like a lens on any drive, and a lens that is not there bends the path.
    """
    ideal, ideal_cost = _settled(start, start_cost, matches, grid, options, radial_sigma=None)
    if not options.corrects_lens:
        return ideal, ideal_cost
    bent, bent_cost = _settled(start, start_cost, matches, grid, options, options.radial_sigma)
    pays = ideal_cost - bent_cost > options.min_lens_gain * ideal_cost
    return (bent, bent_cost) if pays else (ideal, ideal_cost)


def _settled(
    estimate: DriveEstimate,
    cost: float,
    matches: KeyframeMatches,
    grid: CellGrid,
    options: GlobalAdjustmentOptions,
    radial_sigma: float | None,
) -> tuple[DriveEstimate, float]:
    """The best estimate on the way to where the cost no longer falls, and its cost at the loss's own width."""
    own = options.weighing
    best, least = estimate, cost
    for iteration in range(options.iterations):
        width = _WIDTHS[iteration] if iteration < len(_WIDTHS) else 1.0
        weighing = replace(own, cauchy_cells=width * own.cauchy_cells)
        estimate = pose_step(estimate, matches, grid, weighing, radial_sigma, _DAMPING)
        for _ in range(_DEPTH_STEPS):
            estimate = depth_step(estimate, matches, grid, weighing)
        cost = total_cost(estimate, matches, grid, own)
        gained = least - cost
        if gained > 0:
            best, least = estimate, cost
        if iteration >= len(_WIDTHS) and abs(gained) < _CONVERGED_COST * cost:
            break
    return best, least


def _own_units(keyframes: Sequence[ArchivedKeyframe], estimate: DriveEstimate, unit_before: Tensor) -> Tensor:
    """Units (nodes,) of the keyframes' own depths per unit of the adjusted ones."""
    log_unit = np.array([_log_unit(*pair) for pair in zip(keyframes, estimate.inverse_depth, strict=True)])
    known = np.flatnonzero(np.isfinite(log_unit))
    if known.size:
        log_unit = np.interp(np.arange(len(log_unit)), known, log_unit[known])
    else:
        log_unit = unit_before.log().numpy()
    return torch.from_numpy(np.exp(log_unit))


def _in_own_units(estimate: DriveEstimate, own_unit: Tensor, unit_before: Tensor) -> Tensor:
    """Similarities (nodes, 4, 4) into the unit of each keyframe's own depths; on average it stays as before."""
    grown = torch.exp((own_unit / unit_before).log().median())
    unit = own_unit / grown
    rigid = estimate.camera_from_world
    return sim3_from_parts(unit, rigid[:, :3, :3], unit[:, None] * grown * rigid[:, :3, 3])


def _log_unit(keyframe: ArchivedKeyframe, inverse_depth: Tensor) -> float:
    """Log of a keyframe's own unit per unit of the world; NaN where no depth is sure."""
    own = torch.from_numpy(keyframe.inverse_depth.astype(np.float32).ravel())
    sigma = torch.from_numpy(keyframe.inverse_depth_sigma.astype(np.float32).ravel())
    sure = (sigma < _MAX_DEPTH_SIGMA) & (own > 0)
    return float((inverse_depth[sure].log() - own[sure].log()).median()) if bool(sure.any()) else math.nan
