"""DROID-SLAM's encoder: an image down to features at 1/8 of its size (Teed and Deng, 2021, section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_STEM_CHANNELS = 32


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a skip, which a 1x1 convolution takes to the stride where there is one."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, has_norm: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.norm1 = _norm(out_channels, has_norm)
        self.norm2 = _norm(out_channels, has_norm)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1:
            skip = nn.Conv2d(in_channels, out_channels, 1, stride=stride)
            self.downsample = nn.Sequential(skip, _norm(out_channels, has_norm))

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, out_channels, h/stride, w/stride) of features (N, in_channels, h, w)."""
        y = torch.relu(self.norm1(self.conv1(x)))
        y = torch.relu(self.norm2(self.conv2(y)))
        return torch.relu(self.downsample(x) + y)


class Encoder(nn.Module):
    """Residual encoder to 1/8 of the image.

    Parameters
    ----------
    out_channels : channels of the features.
    has_norm : instance normalisation after each convolution; the features that are matched have it, the context
        has none.
    """

    def __init__(self, out_channels: int, has_norm: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, _STEM_CHANNELS, 7, stride=2, padding=3)
        self.norm1 = _norm(_STEM_CHANNELS, has_norm)
        self.layer1 = _stage(_STEM_CHANNELS, 32, 1, has_norm)
        self.layer2 = _stage(32, 64, 2, has_norm)
        self.layer3 = _stage(64, 128, 2, has_norm)
        self.conv2 = nn.Conv2d(128, out_channels, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Features (N, out_channels, height/8, width/8) of normalised RGB images (N, 3, height, width)."""
        x = torch.relu(self.norm1(self.conv1(images)))
        x = self.layer3(self.layer2(self.layer1(x)))
        features: Tensor = self.conv2(x)
        return features


def _stage(in_channels: int, out_channels: int, stride: int, has_norm: bool) -> nn.Sequential:
    first = ResidualBlock(in_channels, out_channels, stride, has_norm)
    return nn.Sequential(first, ResidualBlock(out_channels, out_channels, 1, has_norm))


def _norm(channels: int, has_norm: bool) -> nn.Module:
    return nn.InstanceNorm2d(channels) if has_norm else nn.Identity()
