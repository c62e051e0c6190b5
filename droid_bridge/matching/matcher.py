"""What a matcher is: two frames in, where the cells of each are seen in the other and how sure that is out.

Coordinates are in cells of the grid at 1/8 of the image: the centre of the top-left cell is (0, 0), which is pixel
(3.5, 3.5) of the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

CELL_PX = 8

FeaturesT = TypeVar("FeaturesT")


@dataclass(frozen=True)
class Match:
    """The cells of a source frame in a target frame.

    Attributes
    ----------
    coords : float32 (rows, columns, 2) column and row in the target, in cells; finite everywhere.
    weight : float32 (rows, columns, 2) information of each coordinate, 1/cell^2; 0 is no match.
    """

    coords: NDArray[np.float32]
    weight: NDArray[np.float32]

    @property
    def matched_share(self) -> float:
        """Share of the cells that have any weight."""
        return float(np.count_nonzero(self.weight.max(axis=-1)) / self.weight[..., 0].size)


@dataclass(frozen=True)
class FramePair(Generic[FeaturesT]):
    """Two frames to match both ways.

    Attributes
    ----------
    first, second : what ``Matcher.prepare`` gave for each.
    second_from_first, first_from_second : expected coordinates (rows, columns, 2) of the cells of one frame in
        the other, in cells, finite; or None where nothing is known.
    goes_on : this pair was matched before, and what is expected now comes from an adjustment to that match; a
        matcher that remembers takes the match up where it left it.
    """

    first: FeaturesT
    second: FeaturesT
    second_from_first: NDArray[np.float32] | None = None
    first_from_second: NDArray[np.float32] | None = None
    goes_on: bool = False


@dataclass(frozen=True)
class PairMatch:
    """Both directions of a matched pair: the cells of the first frame in the second, and the other way."""

    forward: Match
    backward: Match


class Matcher(Protocol[FeaturesT]):
    """Finds the cells of frames in other frames.

    All edges of a call come together, so an operator that runs on a batch (a learned one) sees them at once.

    Attributes
    ----------
    rematches : how often the matches of a frame should be taken up again between adjustments; 0 for a matcher that
        finds nothing new in the same two images.
    """

    rematches: int

    def prepare(self, image: NDArray[np.uint8]) -> FeaturesT:
        """Features of a uint8 (height, width, 3) RGB image whose sides are multiples of ``CELL_PX``."""

    def match(self, pairs: Sequence[FramePair[FeaturesT]]) -> list[PairMatch]:
        """Match every pair both ways, in the order given."""
