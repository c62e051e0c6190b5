"""The ConvNeXt encoder (Liu et al. 2022, "A ConvNet for the 2020s") with the names of the official checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

NORM_EPSILON = 1e-6
INITIAL_LAYER_SCALE = 1e-6
PATCH_STRIDE = 4


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of (B, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalised features of the same shape."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    """Depthwise 7x7, layer normalisation and a pointwise MLP, scaled by channel, around a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((channels,), INITIAL_LAYER_SCALE))
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=NORM_EPSILON)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.pwconv2 = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Features of the same shape."""
        mixed: Tensor = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        mixed = self.pwconv2(functional.gelu(self.pwconv1(mixed)))
        residual: Tensor = self.gamma * mixed
        return x + residual.permute(0, 3, 1, 2)


class ConvNext(nn.Module):
    """Image to features at 1/4, 1/8, 1/16 and 1/32.

    Parameters
    ----------
    widths : channels of the four stages.
    depths : blocks of the four stages.
    """

    def __init__(self, widths: Sequence[int], depths: Sequence[int]) -> None:
        super().__init__()
        stem = nn.Sequential(
            nn.Conv2d(3, widths[0], PATCH_STRIDE, stride=PATCH_STRIDE), ChannelNorm(widths[0], eps=NORM_EPSILON)
        )
        halvings = [
            nn.Sequential(ChannelNorm(before, eps=NORM_EPSILON), nn.Conv2d(before, after, 2, stride=2))
            for before, after in pairwise(widths)
        ]
        self.downsample_layers = nn.ModuleList([stem, *halvings])
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(width) for _ in range(depth)))
            for width, depth in zip(widths, depths, strict=True)
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """The four stages' outputs for a normalised image (B, 3, H, W), finest first."""
        features: list[Tensor] = []
        x = image
        for downsample, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = cast(Tensor, stage(downsample(x)))
            features.append(x)
        return features
