"""How alike the cells of two frames are, around where a match is looked for (Teed and Deng, 2021, section 3.1).

The correlation of source cell p with target cell q is the dot product of their features over 16; the target is
seen at four sizes, each the 2x2 mean of the last. A lookup reads 7x7 values around a coordinate on each of them,
bilinearly, with zero outside. Averaging is linear, so the mean of correlations is the correlation with the mean
feature: no volume needs to be pooled, and one that is not stored can be computed for some cells at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

LEVELS = 4
RADIUS = 3
CORRELATION_CHANNELS = LEVELS * (2 * RADIUS + 1) ** 2
_FEATURE_DIVISOR = 4.0  # of each feature, so that a half-precision product stays in range
_DEFAULT_VALUES = 8 * 2**20  # 32 MB in float32: more no longer fits caches, less is many small products


class Correlation(Protocol):
    """The correlation of the source and target frames of E edges."""

    def lookup(self, coords: Tensor) -> Tensor:
        """Correlation around coordinates.

        Parameters
        ----------
        coords : float32 (E, 2, rows, columns) column and row in the target, in cells, of every source cell.

        Returns
        -------
        (E, 196, rows, columns) float32; channel 49 l + 7 (dx + 3) + (dy + 3) is level l at offset (dx, dy).
        """


class StoredCorrelation:
    """Every value of every level is computed once and kept: quick to look up again, 49 MB an edge at 240x808.

    Parameters
    ----------
    source, target : (E, channels, rows, columns) features.
    """

    def __init__(self, source: Tensor, target: Tensor) -> None:
        cells = _cells_by_channels(source)
        self._levels = [_LevelVolume.of(cells, level) for level in _target_levels(target)]

    def lookup(self, coords: Tensor) -> Tensor:
        """Correlation (E, 196, rows, columns) around coordinates (E, 2, rows, columns)."""
        edges, _, rows, columns = coords.shape
        flat = coords.flatten(2).mT
        windows = [volume.windows(flat / 2**k) for k, volume in enumerate(self._levels)]
        return torch.cat(windows, dim=2).mT.reshape(edges, -1, rows, columns)


class OnDemandCorrelation:
    """Nothing is kept but the features; each lookup computes the values of some source cells at a time.

    Parameters
    ----------
    source, target : (E, channels, rows, columns) features.
    max_values : correlation values of one level that exist at the same time.
    """

    def __init__(self, source: Tensor, target: Tensor, max_values: int = _DEFAULT_VALUES) -> None:
        self._source = _cells_by_channels(source)
        self._targets = list(_target_levels(target))
        edges, cells = self._source.shape[:2]
        self._slice = max(1, max_values // (edges * cells))

    def lookup(self, coords: Tensor) -> Tensor:
        """Correlation (E, 196, rows, columns) around coordinates (E, 2, rows, columns)."""
        edges, _, rows, columns = coords.shape
        flat = coords.flatten(2).mT
        found = flat.new_empty(edges, rows * columns, CORRELATION_CHANNELS)
        for start in range(0, rows * columns, self._slice):
            chosen = slice(start, start + self._slice)
            windows = [
                _LevelVolume.of(self._source[:, chosen], target).windows(flat[:, chosen] / 2**k)
                for k, target in enumerate(self._targets)
            ]
            found[:, chosen] = torch.cat(windows, dim=2)
        return found.mT.reshape(edges, -1, rows, columns)


@dataclass(frozen=True)
class _LevelVolume:
    """Correlations (E, n, rows * columns) of n source cells with a target level of the given size."""

    values: Tensor
    rows: int
    columns: int

    @classmethod
    def of(cls, source: Tensor, target: Tensor) -> _LevelVolume:
        """Correlations of source cells (E, n, channels) with one level (E, channels, rows, columns)."""
        return cls(source @ (target.flatten(2) / _FEATURE_DIVISOR), *target.shape[2:])

    def windows(self, coords: Tensor) -> Tensor:
        """Values (E, n, 49) around coordinates (E, n, 2), the column being the slow index."""
        if self.rows * self.columns == 0:
            return coords.new_zeros(*coords.shape[:2], (2 * RADIUS + 1) ** 2)
        corner = coords.floor()
        steps = torch.arange(-RADIUS, RADIUS + 2, device=coords.device)
        columns = corner[..., 0, None].long() + steps
        rows = corner[..., 1, None].long() + steps
        inside = _within(columns, self.columns)[..., None] & _within(rows, self.rows)[..., None, :]
        column_index = columns.clamp(0, self.columns - 1)[..., None]
        row_index = rows.clamp(0, self.rows - 1)[..., None, :]
        index = row_index * self.columns + column_index
        read = self.values.gather(2, index.flatten(2)).reshape(index.shape)
        return _blended(torch.where(inside, read.to(coords.dtype), 0), coords - corner)


def _blended(values: Tensor, fraction: Tensor) -> Tensor:
    """Bilinear values (E, n, 49) of the corners (E, n, 8 columns, 8 rows) at a fraction (E, n, 2) of a cell."""
    right, down = fraction[..., 0, None, None], fraction[..., 1, None, None]
    between_columns = torch.lerp(values[..., :-1, :], values[..., 1:, :], right)
    return torch.lerp(between_columns[..., :-1], between_columns[..., 1:], down).flatten(2)


def _within(index: Tensor, size: int) -> Tensor:
    return (index >= 0) & (index < size)


def _cells_by_channels(features: Tensor) -> Tensor:
    return (features / _FEATURE_DIVISOR).flatten(2).mT.contiguous()


def _target_levels(target: Tensor) -> Iterator[Tensor]:
    """The target (E, channels, rows, columns) at its four sizes; one that has no cell left is empty."""
    for level in range(LEVELS):
        if level:
            rows, columns = target.shape[2] // 2, target.shape[3] // 2
            enough = rows > 0 and columns > 0
            target = functional.avg_pool2d(target, 2) if enough else target[:, :, :rows, :columns]
        yield target
