"""The decoder of Metric3D v1: upward blocks, an hourglass at a quarter of the size, depth bins, and a residual.

Source: Yin et al. 2023, "Metric3D: Towards Zero-shot Metric 3D Prediction from A Single Image"; the bins follow
AdaBins (Bhat et al. 2021). Names are those of the official checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.models.prediction import CanonicalPrediction

MIN_BIN_DEPTH = 0.3
MAX_BIN_DEPTH = 150.0
BINS = 512
FEATURES = 256
RESIDUAL_WEIGHT = 0.1
UPSAMPLING = 4


def convolution(in_channels: int, out_channels: int, kernel: int) -> nn.Module:
    """A convolution that keeps the size; 3x3 ones reflect the border."""
    if kernel == 1:
        return nn.Conv2d(in_channels, out_channels, 1)
    return nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(in_channels, out_channels, kernel))


class SingleBlock(nn.Module):
    """A convolution and ELU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.conv = convolution(in_channels, out_channels, kernel)

    def forward(self, x: Tensor) -> Tensor:
        """Features of the same size."""
        return functional.elu(self.conv(x))


class DoubleBlock(SingleBlock):
    """A convolution and ELU, then a pointwise convolution and ELU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__(in_channels, out_channels, kernel)
        self.conv_2 = nn.Conv2d(out_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Features of the same size."""
        return functional.elu(self.conv_2(super().forward(x)))


class UpwardPath(nn.Module):
    """Encoder features at 1/4 to 1/32 into one map at 1/4.

    Parameters
    ----------
    encoder_channels : of the features at 1/4, 1/8, 1/16, 1/32.
    channels : of the path at 1/4, 1/8 and 1/16.
    """

    def __init__(self, encoder_channels: Sequence[int], channels: Sequence[int]) -> None:
        super().__init__()
        at_4, at_8, at_16 = channels
        self.upconv_3_0 = SingleBlock(encoder_channels[3], at_16, kernel=1)
        self.upconv_3_1 = DoubleBlock(at_16 + encoder_channels[2], at_16, kernel=1)
        self.upconv_2_0 = SingleBlock(at_16, at_8, kernel=3)
        self.upconv_2_1 = DoubleBlock(at_8 + encoder_channels[1], at_8, kernel=3)
        self.upconv_1_0 = SingleBlock(at_8, at_4, kernel=3)
        self.upconv_1_1 = DoubleBlock(at_4 + encoder_channels[0], at_4, kernel=3)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The map at 1/4 for features at 1/4, 1/8, 1/16, 1/32."""
        x = self.upconv_3_1(_joined(self.upconv_3_0(features[3]), features[2]))
        x = self.upconv_2_1(_joined(self.upconv_2_0(x), features[1]))
        joined: Tensor = self.upconv_1_1(_joined(self.upconv_1_0(x), features[0]))
        return joined


def _joined(coarse: Tensor, skip: Tensor) -> Tensor:
    return torch.cat([functional.interpolate(coarse, scale_factor=2.0, mode="nearest"), skip], dim=1)


class ConvBnRelu(nn.Module):
    """A 3x3 convolution without bias, batch normalisation and ReLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Features at 1 / ``stride`` of the size."""
        return functional.relu(self.bn(self.conv(x)))


class Hourglass(nn.Module):
    """Three halvings and back with additive skips, then the features and the confidence of every cell."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.conv0 = ConvBnRelu(in_channels, 128)
        self.conv_0 = _halving(128, 64)
        self.conv_1 = _halving(64, 32)
        self.conv_2 = _halving(32, 16)
        self.deconv_2 = _doubling(16, 32)
        self.prob = nn.Conv2d(128, FEATURES + 1, 1)
        self.deconv_1 = _doubling(32, 64)
        self.deconv_0 = _doubling(64, 128)

    def forward(self, x: Tensor) -> Tensor:
        """(B, FEATURES + 1, H, W) for (B, C, H, W); the last channel is the confidence."""
        whole = self.conv0(x)
        half = self.conv_0(whole)
        quarter = self.conv_1(half)
        eighth = self.conv_2(quarter)
        quarter = quarter + self.deconv_2(eighth)
        half = half + self.deconv_1(quarter)
        features: Tensor = self.prob(whole + self.deconv_0(half))
        return features


def _halving(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(ConvBnRelu(in_channels, out_channels, stride=2), ConvBnRelu(out_channels, out_channels))


def _doubling(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(in_channels, out_channels, 3, stride=2, padding=1, output_padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )


class HourglassDecoder(nn.Module):
    """Encoder features to canonical depth and confidence at the size of the image.

    Parameters
    ----------
    encoder_channels : of the features at 1/4, 1/8, 1/16, 1/32.
    channels : of the upward path at 1/4, 1/8 and 1/16.
    """

    def __init__(self, encoder_channels: Sequence[int], channels: Sequence[int]) -> None:
        super().__init__()
        self.decoder_mono = UpwardPath(encoder_channels, channels)
        self.conv_out_2 = Hourglass(channels[0])
        self.depth_regressor_2 = nn.Sequential(
            nn.Conv2d(FEATURES, BINS, 3, padding=1), nn.BatchNorm2d(BINS), nn.ReLU(), nn.Conv2d(BINS, BINS, 1)
        )
        self.conv_up_2 = nn.Sequential(
            nn.Conv2d(FEATURES + 3, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding=1),
            nn.Upsample(scale_factor=UPSAMPLING, mode="nearest"),
            nn.Conv2d(16, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 1, 1),
        )

    def forward(self, features: Sequence[Tensor]) -> CanonicalPrediction:
        """Depth, which is not bounded and may be negative, and raw confidence."""
        cells = self.conv_out_2(self.decoder_mono(features))
        cell_features, cell_confidence = cells[:, :FEATURES], cells[:, FEATURES:]
        cell_depth = expected_depth(self.depth_regressor_2(cell_features))
        positioned = torch.cat([cell_depth, _pixel_indices(cell_depth), cell_features], dim=1)
        return CanonicalPrediction(
            depth=_upsampled(cell_depth) + RESIDUAL_WEIGHT * self.conv_up_2(positioned),
            confidence=_upsampled(cell_confidence),
        )


def expected_depth(logits: Tensor) -> Tensor:
    """The mean (B, 1, H, W) of the depth bins, spaced evenly in log depth, under logits (B, BINS, H, W)."""
    log_depths = torch.linspace(math.log(MIN_BIN_DEPTH), math.log(MAX_BIN_DEPTH), BINS, device=logits.device)
    bins = log_depths.exp().to(logits.dtype).view(1, BINS, 1, 1)
    return (logits.softmax(dim=1) * bins).sum(dim=1, keepdim=True)


def _pixel_indices(like: Tensor) -> Tensor:
    """Column and row of every cell, (B, 2, H, W), not normalised: that is what the weights were trained with."""
    batch, _, height, width = like.shape
    columns = torch.arange(width, device=like.device, dtype=like.dtype).view(1, 1, 1, width)
    rows = torch.arange(height, device=like.device, dtype=like.dtype).view(1, 1, height, 1)
    shape = (batch, 1, height, width)
    return torch.cat([columns.expand(shape), rows.expand(shape)], dim=1)


def _upsampled(cells: Tensor) -> Tensor:
    return functional.interpolate(cells, scale_factor=float(UPSAMPLING), mode="nearest")
