"""What a loss compares: one image's prediction and one image's truth.

Every loss is a function of one image, and a batch's loss is the mean over its images. That makes a step the same
whether its images were seen at once, one after another or on several machines, and resumable: what a loss draws at
random comes from a generator seeded by the sample's number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training.label_kind import LabelKind

# Depth that no logarithm minds.
MIN_LABEL = 1e-6


@dataclass(frozen=True)
class Truth:
    """The labels of one image.

    Attributes
    ----------
    depth : (H, W) in the unit of the label (canonical), NaN where there is no reading.
    rays : (H, W, 3) in the camera frame with z = 1.
    label_per_metre : the label's unit; geometry is judged in metres, for the canonical camera's z is stretched.
    kind : where the depth comes from.
    normal : (3, H, W) unit normals, NaN where there is none.
    regions, planes : (H, W) integers, 0 for none.
    sky, content : (H, W) bool.
    """

    depth: Tensor
    rays: Tensor
    label_per_metre: float
    kind: LabelKind
    normal: Tensor
    regions: Tensor
    planes: Tensor
    sky: Tensor
    content: Tensor

    @property
    def labelled(self) -> Tensor:
        """(H, W) where there is a depth."""
        return torch.isfinite(self.depth)

    def points_m(self, depth: Tensor) -> Tensor:
        """Points (H, W, 3) in metres of a depth (H, W) in the label's unit."""
        return self.rays * (depth / self.label_per_metre).unsqueeze(-1)


@dataclass(frozen=True)
class Guess:
    """What a network says of one image, every refinement, the last one last.

    Attributes
    ----------
    depths : (H, W) each, in the unit of the label.
    confidences : (H, W) each, raw, trained towards 1 - abs(d - d*) / d*.
    normal_kappas : (4, H, W) each, unit normal and concentration; empty for networks without normals.
    """

    depths: Sequence[Tensor]
    confidences: Sequence[Tensor]
    normal_kappas: Sequence[Tensor] = ()

    @property
    def depth(self) -> Tensor:
        """The last depth."""
        return self.depths[-1]

    @property
    def confidence(self) -> Tensor:
        """The last confidence."""
        return self.confidences[-1]


def refinement_weights(count: int) -> list[float]:
    """gamma^(n - 1 - i) with gamma = 0.9^(15 / (n - 1)): the first of n weighs 0.9^15, the last 1."""
    if count == 1:
        return [1.0]
    gamma = 0.9 ** (15 / (count - 1))
    return [float(gamma ** (count - 1 - index)) for index in range(count)]


def mean_where(values: Tensor, chosen: Tensor) -> Tensor:
    """Mean of ``values`` where ``chosen``; 0, with a gradient of 0, where nothing is."""
    kept = torch.where(chosen, values, torch.zeros_like(values))
    return kept.sum() / chosen.sum().clamp(min=1)


def nothing(guess: Guess) -> Tensor:
    """The loss of an image that has nothing to say: 0, still part of the graph."""
    return guess.depth.sum() * 0
