"""Metric depth as a prior on inverse depth, in relative units, with one scale state per frame.

The depth map of frame k gives cell c a log inverse depth ``p_kc = -log(depth)``. The map's own inverse depth d and
the frame's log-scale state s_k (log of map depth over prior depth) should satisfy

    r_kc = p_kc - (log d_kc + s_k),     r_k = m_k - s_k,

with information a_kc = c_kc / (sigma_k^2 + scatter_kc^2) under Cauchy's loss for the cells, and 1 / tau^2 under
Huber's for the scale. sigma_k is the error of one reading relative to its own image, measured when the frame
comes in as its misfit to the depths the map already has; scatter is that of the readings in the cell, c the
network's own confidence where it gives one, and tau how much the scale of whole images differs from one to the
next. m_k is what the scale process expects of this frame (``scale_process``), so that an error that lasts is not
taken for a change of the scale. With the state, the noise of single images moves s_k instead of the path; only
what many images agree on moves the map. A prior whose shape or scale is not what the map expects is left out.

The residual is in log depth because noise in depth is relative: the same residual in inverse depth, weighted by
the reading, pulls the scale down by half the square of the noise and more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from droid_bridge.bundle_adjustment import DepthTerms

_NEAREST_M, _FARTHEST_M = 1e-3, 1e5  # what no camera sees is no reading
_SUREST_CELL_SIGMA = 0.03  # no cell's depth in the map counts as surer, relative
_READINGS_PER_CELL = 16  # a median needs no more, and a dense map at full size costs more to sort than to solve


@dataclass(frozen=True)
class ScalePriorOptions:
    """How far the prior is trusted.

    Attributes
    ----------
    cell_sigma : relative error of one cell's depth within its image, until the map can tell.
    min_cell_sigma, max_cell_sigma : bounds of the measured error; a prior beyond the larger is left out.
    frame_sigma : relative error of the scale of one whole image, while nothing else fixes the map's.
    held_frame_sigma, held_independent_share : the same as without ``held`` where held poses carry the scale. The
        scale process then decides how it moves; a prior that is wrong for a whole turn would otherwise pull on
        the map and on the filter at once.
    cauchy_sigmas : residual at which a cell counts half, in sigmas.
    huber_sigmas : scale deviation from which a frame pulls with constant force, in sigmas.
    min_valid_share : share of cells that must have a reading.
    min_common_cells : cells the map must know to measure the error of a prior.
    scale_memory : expect of each frame what the scale process has learnt of the prior, and follow that; otherwise
        every frame is expected to be metric.
    gates : leave out priors whose shape or scale is not what the map expects.
    max_surprise_sigmas : deviation of a frame's scale from what is expected beyond which it is left out.
    independent_patches : patches of one image whose errors are independent, where its scale is measured.
    parallax_yield : how fast a cell's prior yields to what its parallax tells: at 1 it counts half where both are
        equally sure, at 0 it never yields.
    independent_share : share of the cells whose errors are independent. A depth network errs by whole objects and
        surfaces, a handful to an image, so thousands of cells say no more of the scene's shape than a few would;
        taken for independent they bend the path to the network's idea of it.
    """

    cell_sigma: float = 0.1
    min_cell_sigma: float = 0.03
    max_cell_sigma: float = 0.5
    frame_sigma: float = 0.05
    held_frame_sigma: float = 0.3
    held_independent_share: float = 2e-5
    cauchy_sigmas: float = 2.0
    huber_sigmas: float = 2.0
    min_valid_share: float = 0.05
    min_common_cells: int = 100
    scale_memory: bool = True
    gates: bool = True
    max_surprise_sigmas: float = 6.0
    independent_patches: int = 25
    parallax_yield: float = 1.0
    independent_share: float = 0.002


@dataclass(frozen=True)
class CellPrior:
    """The depth prior of one frame on its grid.

    Attributes
    ----------
    log_inverse_depth : (cells,) log of 1/m; 0 where there is no reading.
    variance : (cells,) squared relative scatter of the readings in each cell; infinite where there is none.
    sigma : relative error of one cell within its image.
    confidence : (cells,) 0 to 1, the network's own; None counts every cell alike.
    expected_log_scale : log (map depth / prior depth) that is expected of this frame.
    """

    log_inverse_depth: Tensor
    variance: Tensor
    sigma: float
    confidence: Tensor | None = None
    expected_log_scale: float = 0.0

    @property
    def valid(self) -> Tensor:
        """Cells (cells,) that have a reading and any confidence."""
        read = torch.isfinite(self.variance)
        return read if self.confidence is None else read & (self.confidence > 0)

    @property
    def information(self) -> Tensor:
        """Information (cells,) of the log inverse depth; 0 where there is no reading."""
        information = 1 / (self.variance + self.sigma**2)
        return information if self.confidence is None else information * self.confidence

    def rescaled(self, log_factor: float) -> CellPrior:
        """The same prior beside a map that became larger by ``exp(log_factor)``."""
        return replace(self, expected_log_scale=self.expected_log_scale + log_factor)


@dataclass(frozen=True)
class KnownDepth:
    """What the map knows of the depths of a frame.

    Attributes
    ----------
    inverse_depth : (cells,) 1/m; it may be NaN where nothing is known.
    variance : (cells,) squared relative error of it; infinite where nothing is known.
    """

    inverse_depth: Tensor
    variance: Tensor

    def median(self, otherwise: float) -> float:
        """Median inverse depth of all cells that have one, or another value where none has."""
        known = self.inverse_depth[torch.isfinite(self.inverse_depth)]
        return float(known.median()) if known.numel() else otherwise


def pool_depth(
    depth_m: NDArray[np.float32], columns: int, rows: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Median and scatter of the readings in each cell.

    Parameters
    ----------
    depth_m : (height, width) metres, any density; what is no number, below 1 mm or beyond 100 km is no reading.
    columns, rows : size of the grid that covers the image.

    Returns
    -------
    median log depth and relative scatter (half the range from the 16th to the 84th percentile), both
    (rows * columns,) float32, NaN without a reading.
    """
    height, width = depth_m.shape
    with np.errstate(invalid="ignore"):
        valid = (depth_m > _NEAREST_M) & (depth_m < _FARTHEST_M)
    surplus = np.count_nonzero(valid) / (rows * columns * _READINGS_PER_CELL)
    stride = max(1, int(np.sqrt(surplus)))
    offset = stride // 2
    y, x = np.nonzero(valid[offset::stride, offset::stride])
    y, x = y * stride + offset, x * stride + offset
    cell = ((y * rows) // height) * columns + (x * columns) // width
    log_depth = np.log(depth_m[y, x].astype(np.float64))

    order = np.lexsort((log_depth, cell))
    ordered = log_depth[order]
    count = np.bincount(cell, minlength=rows * columns)
    first = np.cumsum(count) - count
    filled = count > 0

    def at_rank(share: float, round_to_rank: np.ufunc) -> NDArray[np.float32]:
        value = np.full(rows * columns, np.nan, dtype=np.float32)
        value[filled] = ordered[first[filled] + round_to_rank(share * (count[filled] - 1)).astype(np.int64)]
        return value

    # Of two readings, as a laser leaves in a cell of the road, the farther would be too far everywhere.
    median = 0.5 * (at_rank(0.5, np.floor) + at_rank(0.5, np.ceil))
    return median, 0.5 * (at_rank(0.84, np.rint) - at_rank(0.16, np.rint))


def cell_prior(
    depth_m: NDArray[np.float32] | None,
    columns: int,
    rows: int,
    options: ScalePriorOptions,
    device: torch.device,
    confidence: NDArray[np.float32] | None = None,
) -> CellPrior | None:
    """The prior of a depth map with its confidence (height, width), or None where too few cells have a reading."""
    if depth_m is None:
        return None
    log_depth, scatter = pool_depth(depth_m, columns, rows)
    valid = np.isfinite(log_depth)
    if valid.mean() < options.min_valid_share:
        return None
    return CellPrior(
        torch.from_numpy(np.where(valid, -log_depth, 0).astype(np.float32)).to(device),
        torch.from_numpy(np.where(valid, scatter**2, np.inf).astype(np.float32)).to(device),
        options.cell_sigma,
        None if confidence is None else torch.from_numpy(_pooled_confidence(confidence, columns, rows)).to(device),
    )


def _pooled_confidence(confidence: NDArray[np.float32], columns: int, rows: int) -> NDArray[np.float32]:
    """Mean confidence (cells,) from 0 to 1; what is not a number is no confidence."""
    clean = np.nan_to_num(confidence, nan=0.0, posinf=1.0, neginf=0.0).clip(0, 1).astype(np.float32)
    return np.asarray(cv2.resize(clean, (columns, rows), interpolation=cv2.INTER_AREA), dtype=np.float32).ravel()


@dataclass(frozen=True)
class PriorFit:
    """How a prior compares with depths that the map already has.

    Attributes
    ----------
    log_scale : median log of (map depth / prior depth), each cell counted by its confidence and by how well both
        are known.
    error : median absolute deviation from it, relative.
    cells : how many cells were compared.
    """

    log_scale: float
    error: float
    cells: int

    @property
    def sigma(self) -> float:
        """The standard deviation that a normal error of this median absolute deviation has."""
        return 1.4826 * self.error


def fit_prior(prior: CellPrior, known: KnownDepth) -> PriorFit | None:
    """Compare a prior with the depths of the map; None without a common cell.

    What matches hardly tell apart from infinity errs to one side, and a median moves with it the more, the wider
    the prior's own noise spreads the rest. Near the camera both are at their best, the map and a network's metres.
    """
    common = prior.valid & torch.isfinite(known.variance)
    cells = int(common.sum())
    if cells == 0:
        return None
    offset = prior.log_inverse_depth[common] - torch.log(known.inverse_depth[common])
    counts = 1 / (_SUREST_CELL_SIGMA**2 + known.variance[common])
    if prior.confidence is not None:
        counts = counts * prior.confidence[common]
    log_scale = _weighted_median(offset, counts)
    return PriorFit(float(log_scale), float(_weighted_median((offset - log_scale).abs(), counts)), cells)


def _weighted_median(values: Tensor, weights: Tensor) -> Tensor:
    """The value (scalar) with half of the weight on either side."""
    ordered, order = values.sort()
    reached = weights[order].cumsum(0)
    return ordered[int(torch.searchsorted(reached, 0.5 * reached[-1]))]


def trusted(prior: CellPrior, fit: PriorFit | None, options: ScalePriorOptions) -> CellPrior:
    """The prior with the error that its fit to the map shows."""
    if fit is None or fit.cells < options.min_common_cells:
        return prior
    return replace(prior, sigma=min(max(fit.sigma, options.min_cell_sigma), options.max_cell_sigma))


def prior_terms(
    priors: Sequence[CellPrior | None],
    inverse_depth: Tensor,
    log_scale: Tensor,
    options: ScalePriorOptions,
    flow_independent_share: float = 1.0,
    scale_is_held: bool = False,
) -> DepthTerms:
    """Linearise the priors of a window.

    Parameters
    ----------
    priors : one for each frame, or None.
    inverse_depth : (frames, cells) where to linearise, 1/m.
    log_scale : (frames,) scale states.
    options : how far the priors are trusted.
    flow_independent_share : share of the cells whose flow errs independently.
    scale_is_held : whether held poses carry the scale.
    """
    follows_process = scale_is_held and options.scale_memory
    frame_sigma = options.held_frame_sigma if follows_process else options.frame_sigma
    independent_share = options.held_independent_share if follows_process else options.independent_share
    information = torch.zeros_like(inverse_depth)
    residual = torch.zeros_like(inverse_depth)
    scale_information = torch.zeros_like(log_scale)
    scale_residual = torch.zeros_like(log_scale)
    for k, prior in enumerate(priors):
        if prior is None:
            continue
        misfit = prior.log_inverse_depth - torch.log(inverse_depth[k]) - log_scale[k].to(inverse_depth.dtype)
        cell_information = prior.information
        normalised = misfit * misfit * cell_information / options.cauchy_sigmas**2
        residual[k] = misfit
        information[k] = independent_share * cell_information / (1 + normalised)
        scale_residual[k] = prior.expected_log_scale - log_scale[k]
        deviation = abs(float(scale_residual[k])) / (options.huber_sigmas * frame_sigma)
        scale_information[k] = 1 / (frame_sigma**2 * max(1.0, deviation))
    # Both are sums over cells that err together, each by its own share of independent ones.
    yields = options.parallax_yield * independent_share / flow_independent_share
    return DepthTerms(information, residual, scale_information, scale_residual, yields)
