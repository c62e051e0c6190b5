"""Metric depth as a prior on inverse depth, in relative units, with one scale state per frame.

The depth map of frame k gives cell c a log inverse depth ``p_kc = -log(depth)``. The map's own inverse depth d and
the frame's log-scale state s_k (log of map depth over prior depth) should satisfy

    r_kc = p_kc - (log d_kc + s_k),     r_k = 0 - s_k,

with information a_kc = 1 / (sigma_k^2 + scatter_kc^2) under Cauchy's loss for the cells, and 1 / tau^2 under
Huber's for the scale. sigma_k is the error of one reading relative to its own image, measured when the frame
comes in as its misfit to the depths the map already has; scatter is that of the readings in the cell, and tau how
much the scale of whole images differs from one to the next. With the state, the noise of single images moves s_k
instead of the path; only what many images agree on moves the map. A prior that fits nothing is left out.

The residual is in log depth because noise in depth is relative: the same residual in inverse depth, weighted by
the reading, pulls the scale down by half the square of the noise and more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from droid_bridge.bundle_adjustment import DepthTerms

_READINGS_PER_CELL = 16  # a median needs no more, and a dense map at full size costs more to sort than to solve


@dataclass(frozen=True)
class ScalePriorOptions:
    """How far the prior is trusted.

    Attributes
    ----------
    cell_sigma : relative error of one cell's depth within its image, until the map can tell.
    min_cell_sigma, max_cell_sigma : bounds of the measured error; a prior beyond the larger is left out.
    frame_sigma : relative error of the scale of one whole image.
    cauchy_sigmas : residual at which a cell counts half, in sigmas.
    huber_sigmas : scale deviation from which a frame pulls with constant force, in sigmas.
    min_valid_share : share of cells that must have a reading.
    min_common_cells : cells the map must know to measure the error of a prior.
    independent_share : share of the cells whose errors are independent. A depth network errs by whole objects and
        surfaces, a handful to an image, so thousands of cells say no more of the scene's shape than a few would;
        taken for independent they bend the path to the network's idea of it.
    """

    cell_sigma: float = 0.1
    min_cell_sigma: float = 0.03
    max_cell_sigma: float = 0.5
    frame_sigma: float = 0.05
    cauchy_sigmas: float = 2.0
    huber_sigmas: float = 2.0
    min_valid_share: float = 0.05
    min_common_cells: int = 100
    independent_share: float = 0.002


@dataclass(frozen=True)
class CellPrior:
    """The depth prior of one frame on its grid.

    Attributes
    ----------
    log_inverse_depth : (cells,) log of 1/m; 0 where there is no reading.
    variance : (cells,) squared relative scatter of the readings in each cell; infinite where there is none.
    sigma : relative error of one cell within its image.
    """

    log_inverse_depth: Tensor
    variance: Tensor
    sigma: float

    @property
    def valid(self) -> Tensor:
        """Cells (cells,) that have a reading."""
        return torch.isfinite(self.variance)

    @property
    def information(self) -> Tensor:
        """Information (cells,) of the log inverse depth; 0 where there is no reading."""
        return 1 / (self.variance + self.sigma**2)


def pool_depth(
    depth_m: NDArray[np.float32], columns: int, rows: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Median and scatter of the readings in each cell.

    Parameters
    ----------
    depth_m : (height, width) metres, any density; what is not finite and positive is no reading.
    columns, rows : size of the grid that covers the image.

    Returns
    -------
    median log depth and relative scatter (half the range from the 16th to the 84th percentile), both
    (rows * columns,) float32, NaN without a reading.
    """
    height, width = depth_m.shape
    with np.errstate(invalid="ignore"):
        valid = np.isfinite(depth_m) & (depth_m > 0)
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

    def quantile(share: float) -> NDArray[np.float32]:
        value = np.full(rows * columns, np.nan, dtype=np.float32)
        position = first[filled] + np.floor(share * (count[filled] - 1) + 0.5).astype(np.int64)
        value[filled] = ordered[position]
        return value

    return quantile(0.5), 0.5 * (quantile(0.84) - quantile(0.16))


def cell_prior(
    depth_m: NDArray[np.float32] | None,
    columns: int,
    rows: int,
    options: ScalePriorOptions,
    device: torch.device,
) -> CellPrior | None:
    """The prior of a depth map, or None where too few cells have a reading."""
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
    )


@dataclass(frozen=True)
class PriorFit:
    """How a prior compares with depths that the map already has.

    Attributes
    ----------
    log_scale : median log of (map depth / prior depth).
    error : median absolute deviation from it, relative.
    cells : how many cells were compared.
    """

    log_scale: float
    error: float
    cells: int


def fit_prior(prior: CellPrior, inverse_depth: Tensor, known: Tensor) -> PriorFit | None:
    """Compare a prior with inverse depths (cells,) where ``known`` (cells,); None without a common cell."""
    common = prior.valid & known
    cells = int(common.sum())
    if cells == 0:
        return None
    offset = prior.log_inverse_depth[common] - torch.log(inverse_depth[common])
    log_scale = offset.median()
    return PriorFit(float(log_scale), float((offset - log_scale).abs().median()), cells)


def trusted(prior: CellPrior, fit: PriorFit | None, options: ScalePriorOptions) -> CellPrior | None:
    """The prior with the error that its fit to the map shows, or None where that is beyond use."""
    if fit is None or fit.cells < options.min_common_cells:
        return prior
    sigma = 1.4826 * fit.error  # a normal error's sigma over its median absolute deviation
    if sigma > options.max_cell_sigma:
        return None
    return replace(prior, sigma=max(sigma, options.min_cell_sigma))


def prior_terms(
    priors: Sequence[CellPrior | None],
    inverse_depth: Tensor,
    log_scale: Tensor,
    options: ScalePriorOptions,
) -> DepthTerms:
    """Linearise the priors of a window.

    Parameters
    ----------
    priors : one for each frame, or None.
    inverse_depth : (frames, cells) where to linearise, 1/m.
    log_scale : (frames,) scale states.
    options : how far the priors are trusted.
    """
    information = torch.zeros_like(inverse_depth)
    residual = torch.zeros_like(inverse_depth)
    scale_information = torch.zeros_like(log_scale)
    for k, prior in enumerate(priors):
        if prior is None:
            continue
        misfit = prior.log_inverse_depth - torch.log(inverse_depth[k]) - log_scale[k].to(inverse_depth.dtype)
        cell_information = prior.information
        normalised = misfit * misfit * cell_information / options.cauchy_sigmas**2
        residual[k] = misfit
        information[k] = options.independent_share * cell_information / (1 + normalised)
        deviation = abs(float(log_scale[k])) / (options.huber_sigmas * options.frame_sigma)
        scale_information[k] = 1 / (options.frame_sigma**2 * max(1.0, deviation))
    return DepthTerms(information, residual, scale_information, -log_scale)
