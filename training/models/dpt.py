"""The first half of Metric3D v2's decoder: tokens to feature maps at three sizes, fused into one map at 1/4.

Source: Ranftl et al. 2021, "Vision Transformers for Dense Prediction" (DPT), as Metric3D v2 (Hu et al. 2024) uses
it. Names are those of the official checkpoints.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.models.vit import REGISTERS, PatchTokens


class FeaturePyramid(NamedTuple):
    """Feature maps of the tokens; ``at_14`` and ``at_14_deep`` are both at 1/14 of the image."""

    at_4: Tensor
    at_7: Tensor
    at_14: Tensor
    at_14_deep: Tensor


class Readout(nn.Module):
    """Patch tokens that have heard of the class token and the registers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project_patch = nn.Linear(width, width)
        self.project_learn = nn.Linear((1 + REGISTERS) * width, width, bias=False)

    def forward(self, tokens: Tensor, rows: int, columns: int) -> Tensor:
        """A map (B, width, rows, columns) of tokens (B, 1 + REGISTERS + rows * columns, width)."""
        special, patches = tokens[:, : 1 + REGISTERS], tokens[:, 1 + REGISTERS :]
        read = self.project_patch(patches) + self.project_learn(special.flatten(1)).unsqueeze(1)
        batch, _, width = read.shape
        return functional.gelu(read).transpose(1, 2).reshape(batch, width, rows, columns)


class ReadMap(nn.Module):
    """A readout, and the layer that brings its map to its size."""

    def __init__(self, width: int, sample: nn.Module) -> None:
        super().__init__()
        self.readoper = Readout(width)
        self.sample = sample

    def forward(self, tokens: Tensor, rows: int, columns: int) -> Tensor:
        """A map of tokens, upsampled."""
        sampled: Tensor = self.sample(self.readoper(tokens, rows, columns))
        return sampled


class QuarterSizeSample(nn.Sequential):
    """From 1/14 to 1/4 by nearest neighbour, then a pointwise convolution.

    The convolution runs before the copies are made, which gives the same map twelve times cheaper.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(nn.Conv2d(in_channels, out_channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """The map at 1/4."""
        return functional.interpolate(self[0](x), scale_factor=3.5, mode="nearest")


class TokenToFeature(nn.Module):
    """Four levels of tokens to a pyramid."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.read_3 = ReadMap(width, nn.Identity())
        self.read_2 = ReadMap(width, nn.Identity())
        self.read_1 = ReadMap(width, nn.ConvTranspose2d(width, width // 2, 2, 2))
        self.read_0 = ReadMap(width, QuarterSizeSample(width, width // 4))

    def forward(self, tokens: PatchTokens) -> FeaturePyramid:
        """The pyramid of a batch of tokens."""
        levels, rows, columns = tokens
        return FeaturePyramid(
            at_4=self.read_0(levels[0], rows, columns),
            at_7=self.read_1(levels[1], rows, columns),
            at_14=self.read_2(levels[2], rows, columns),
            at_14_deep=self.read_3(levels[3], rows, columns),
        )


class ConvBlock(nn.Module):
    """Two convolutions beside a shortcut that carries the *rectified* input.

    The official block rectifies its input in place, so its shortcut, and whoever reads that input later, sees
    relu(x): with relu(x) only inside the branch, depth is off by tens of metres.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, rectified: Tensor) -> Tensor:
        """Features of the same shape, from features that are already rectified."""
        joined: Tensor = rectified + self.conv2(functional.relu(self.conv1(rectified)))
        return joined


class FuseBlock(nn.Module):
    """Joins a finer map to the coarser path, and takes the path to the next size."""

    def __init__(self, channels: int, out_channels: int, scale: float, with_branch: bool) -> None:
        super().__init__()
        self.scale = scale
        self.way_trunk = ConvBlock(channels)
        if with_branch:
            self.way_branch = ConvBlock(channels)
        self.out_conv = nn.Conv2d(channels, out_channels, 1)

    def forward(self, path: Tensor, rectified_branch: Tensor | None = None) -> Tensor:
        """The path at ``scale`` times its size."""
        if rectified_branch is not None:
            path = path + self.way_branch(rectified_branch)
        path = self.way_trunk(functional.relu(path))
        if self.scale != 1:
            path = functional.interpolate(path, scale_factor=self.scale, mode="bilinear", align_corners=True)
        fused: Tensor = self.out_conv(path)
        return fused


class DptFusion(nn.Module):
    """The pyramid into one map at 1/4: ``width // 4`` features, then depth confidence and normal confidence."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.upconv_3 = FuseBlock(width, width, scale=1, with_branch=False)
        self.upconv_2 = FuseBlock(width, width // 2, scale=2, with_branch=True)
        self.upconv_1 = FuseBlock(width // 2, width // 4 + 2, scale=1.75, with_branch=True)

    def forward(self, pyramid: FeaturePyramid) -> Tensor:
        """The map (B, width // 4 + 2, H / 4, W / 4) of a pyramid whose ``at_7`` and ``at_14`` are rectified."""
        path = self.upconv_3(pyramid.at_14_deep)
        path = self.upconv_2(path, pyramid.at_14)
        fused: Tensor = self.upconv_1(path, pyramid.at_7)
        return fused


def rectify_fused_levels(pyramid: FeaturePyramid) -> FeaturePyramid:
    """The pyramid as the fusion leaves it behind: the two maps it joins are rectified for later readers too."""
    return pyramid._replace(at_7=torch.relu(pyramid.at_7), at_14=torch.relu(pyramid.at_14))
