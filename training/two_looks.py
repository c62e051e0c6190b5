"""nano as the depth node meets it: one graph that looks twice at an image, parted at a row it is told.

What rises high over the horizon misleads a network that drawn streets have taught about the ground below
(docs/nano.md). So everything from ``first_row`` down is read in a look that has padding over that row, and what is
over it in an overview of the whole image, smaller, which costs half as much. Below, where both have read, the
answer is a mean of the two, which errs less than either. Both looks have the same weights, and an exported file
holds them once.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from metric3d_ros.letterbox import PADDING_RGB
from training.errors import TrainingError
from training.models.nano import Nano, bounded_depth
from training.trained_network import STRIDE_NANO

# Of the input's sides, each rounded to what the network can run at: 256x768 of 352x1056.
OVERVIEW_SCALE = 8 / 11
MEAN_STRIDE_PX = 4
# What the lower look counts below, and the rows over which it comes in: it knows least beside its padding.
LOWER_SHARE = 0.7
LOWER_RAMP_PX = 32
# Of the sum of weights: less than one sure pixel tells nothing.
SMALLEST_WEIGHT = 1.0


class TwoLooks(nn.Module):
    """Depth and confidence of an image and of the row that parts it; (1, 1, height, width) each.

    A smaller image, and what misleads, read the same things at another scale. So the overview is scaled to say of
    all that both looks see, in the mean of log depth by the confidence of both, what the lower look says. From
    ``first_row`` on log depth and confidence are their weighted mean.

    Parameters
    ----------
    network : takes images of any size that is a multiple of its stride.
    height_px, width_px : of the input.

    Raises
    ------
    TrainingError
        If there is no smaller size of the same shape, nearly, that the network can run at.
    """

    padding: Tensor
    rows: Tensor

    def __init__(self, network: Nano, height_px: int, width_px: int) -> None:
        super().__init__()
        self.network = network
        self.overview_px = overview_size_px(height_px, width_px)
        self.size_px = (height_px, width_px)
        self.register_buffer("padding", torch.tensor(PADDING_RGB, dtype=torch.float32).view(1, 3, 1, 1))
        self.register_buffer("rows", torch.arange(height_px, dtype=torch.float32).view(1, 1, height_px, 1))

    def forward(self, image: Tensor, first_row: Tensor) -> tuple[Tensor, Tensor]:
        """Canonical depth, strictly positive and finite, and confidence in [0, 1].

        Parameters
        ----------
        image : (1, 3, height, width) raw RGB, 0..255, letterboxed.
        first_row : (1,) a whole number; what lies over this row is hidden from the lower look. 0 hides nothing.
        """
        rows_down = self.rows - first_row + 1
        is_below = rows_down.clamp(0, 1)
        below, below_confidence = self._look(self.padding + is_below * (image - self.padding))
        over, over_confidence = self._overview(image)
        over = over + _mean_difference(below, over, is_below * below_confidence * over_confidence)
        lower = LOWER_SHARE * (rows_down / LOWER_RAMP_PX).clamp(0, 1)
        log_depth = lower * below + (1 - lower) * over
        return bounded_depth(log_depth), lower * below_confidence + (1 - lower) * over_confidence

    def _look(self, image: Tensor) -> tuple[Tensor, Tensor]:
        log_depth, confidence_logit = self.network(image)
        return log_depth, torch.sigmoid(confidence_logit)

    def _overview(self, image: Tensor) -> tuple[Tensor, Tensor]:
        smaller = functional.interpolate(image, size=self.overview_px, mode="bilinear", align_corners=False)
        log_depth, confidence = (
            functional.interpolate(part, size=self.size_px, mode="bilinear", align_corners=False)
            for part in self._look(smaller)
        )
        # Canonical depth is in the pixels of the input: of a smaller one, as much larger.
        return log_depth + math.log(self.overview_px[0] / self.size_px[0]), confidence


def _mean_difference(log_depth: Tensor, other: Tensor, weight: Tensor) -> Tensor:
    """By how much one map lies above another in the weighted mean, which a few pixels of each cell tell."""
    few = (..., slice(None, None, MEAN_STRIDE_PX), slice(None, None, MEAN_STRIDE_PX))
    weight = weight[few]
    return (weight * (log_depth[few] - other[few])).sum() / weight.sum().clamp(min=SMALLEST_WEIGHT)


def overview_size_px(height_px: int, width_px: int) -> tuple[int, int]:
    """Height and width of the overview of an input; raises as ``TwoLooks``."""
    sides = [max(1, round(side * OVERVIEW_SCALE / STRIDE_NANO)) * STRIDE_NANO for side in (height_px, width_px)]
    overview_px = (sides[0], sides[1])
    stretch = (sides[0] / height_px) / (sides[1] / width_px)
    if not 0.9 < stretch < 1.1 or overview_px == (height_px, width_px):
        raise TrainingError(
            f"an overview of {height_px}x{width_px} px would be {sides[0]}x{sides[1]}, which is no smaller or of "
            "another shape; take a larger size, such as 352x1056, or look once."
        )
    return overview_px
