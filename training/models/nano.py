"""`nano`: the small depth network, one image in, canonical depth and confidence out, made for two CPU cores.

A strided convolutional encoder to 1/32, a context block that lets every cell see its row, its column and the
whole image (that is how a horizon is found), and a U-Net decoder back to 1/4. Full resolution is reached by
bilinear upsampling plus a sub-pixel residual, so edges stay sharp without a convolution at full size; a further
decoder step to 1/2 may correct both, since what is left of the error lies at edges.

Batch normalisation only (it folds into the convolutions on export) and no operator beyond ONNX opset 16.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

IMAGENET_MEAN_RGB = (123.675, 116.28, 103.53)
IMAGENET_STD_RGB = (58.395, 57.12, 57.375)

# Canonical units. With f * s between about 60 and 1500 px this holds every depth from 0.5 m to 400 m.
MIN_CANONICAL_DEPTH = 0.3
MAX_CANONICAL_DEPTH = 6000.0
# Where an untrained network starts: 20 m seen with 500 px.
INITIAL_LOG_DEPTH = math.log(40.0)

OUTPUT_STRIDE = 4
FINE_STRIDE = 2


def conv_bn_relu(in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation and ReLU with padding that keeps the size (divided by ``stride``)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class Residual(nn.Module):
    """Two 3x3 convolutions around a shortcut (He et al. 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv_bn_relu(channels, channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Features of the same shape."""
        return functional.relu(x + self.second(self.first(x)))


class StripContext(nn.Module):
    """Adds to every cell what its row, its column and the whole map hold (strip pooling, Hou et al. 2020)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.row = nn.Sequential(nn.Conv2d(channels, channels, (3, 1), padding=(1, 0)), nn.ReLU(inplace=True))
        self.column = nn.Sequential(nn.Conv2d(channels, channels, (1, 3), padding=(0, 1)), nn.ReLU(inplace=True))
        self.whole = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.ReLU(inplace=True))
        self.merge = nn.Sequential(nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Features of the same shape."""
        rows = self.row(x.mean(dim=3, keepdim=True))
        columns = self.column(x.mean(dim=2, keepdim=True))
        whole = self.whole(x.mean(dim=(2, 3), keepdim=True))
        return functional.relu(x + self.merge(rows + columns + whole))


class UpBlock(nn.Module):
    """One decoder step: up by two, joined with the encoder's features of that size."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        self.reduce = conv_bn_relu(in_channels, out_channels, kernel=1)
        self.skip = conv_bn_relu(skip_channels, out_channels, kernel=1)
        self.fuse = nn.Sequential(
            conv_bn_relu(out_channels, out_channels), conv_bn_relu(out_channels, out_channels)
        )

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Features of the skip's size."""
        up = functional.interpolate(self.reduce(x), scale_factor=2.0, mode="bilinear", align_corners=False)
        fused: Tensor = self.fuse(up + self.skip(skip))
        return fused


class FineStep(nn.Module):
    """A decoder step to 1/2 of the input that corrects log depth and confidence pixel by pixel.

    It starts silent: a network that gets it later answers as before until it has learnt something.
    """

    def __init__(self, in_channels: int, skip_channels: int, channels: int) -> None:
        super().__init__()
        self.up = UpBlock(in_channels, skip_channels, channels)
        self.head = nn.Conv2d(channels, 2 * FINE_STRIDE**2, 3, 1, 1)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Corrections (batch, 2, height, width) from features at 1/4 and the encoder's at 1/2."""
        return functional.pixel_shuffle(self.head(self.up(x, skip)), FINE_STRIDE)


class Nano(nn.Module):
    """The network `nano`.

    Parameters
    ----------
    widths : channels at 1/2, 1/4, 1/8, 1/16 and 1/32 of the input.
    depths : residual blocks at 1/4, 1/8, 1/16 and 1/32.
    decoder_widths : channels at 1/16, 1/8 and 1/4 on the way back, and at 1/2 where there are four.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        widths: tuple[int, int, int, int, int] = (16, 32, 64, 128, 192),
        depths: tuple[int, int, int, int] = (1, 2, 3, 2),
        decoder_widths: tuple[int, ...] = (96, 64, 48),
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN_RGB).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD_RGB).view(1, 3, 1, 1))
        # Three colours and two pixel coordinates.
        self.stem = conv_bn_relu(5, widths[0], stride=2)
        self.stages = nn.ModuleList(
            nn.Sequential(conv_bn_relu(before, after, stride=2), *(Residual(after) for _ in range(depth)))
            for before, after, depth in zip(widths[:-1], widths[1:], depths, strict=True)
        )
        self.context = nn.Sequential(StripContext(widths[4]), Residual(widths[4]), StripContext(widths[4]))
        coarse_widths = decoder_widths[:3]
        up_inputs = (widths[4], *coarse_widths[:-1])
        skips = (widths[3], widths[2], widths[1])
        self.ups = nn.ModuleList(
            UpBlock(before, skip, after)
            for before, skip, after in zip(up_inputs, skips, coarse_widths, strict=True)
        )
        # Per 1/4 cell: one log depth, one confidence logit, and 4x4 sub-pixel residuals of each.
        self.head = nn.Conv2d(decoder_widths[2], 2 + 2 * OUTPUT_STRIDE**2, 3, 1, 1)
        self.fine = FineStep(coarse_widths[2], widths[0], decoder_widths[3]) if len(decoder_widths) > 3 else None
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, Residual):
                # Residual branches start silent, which lets a deep stack train with a large first step.
                norm = module.second[1]
                assert isinstance(norm, nn.BatchNorm2d)
                nn.init.zeros_(norm.weight)
        nn.init.normal_(self.head.weight, std=0.01)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Log canonical depth and confidence logit.

        Parameters
        ----------
        image : (batch, 3, height, width) raw RGB, 0..255, letterboxed; height and width multiples of 32.

        Returns
        -------
        log_depth, confidence_logit : (batch, 1, height, width) each, float32.
        """
        height_px, width_px = image.shape[-2:]
        x = torch.cat([(image - self.mean) / self.std, pixel_grid(image, height_px, width_px)], dim=1)
        skips = [self.stem(x)]
        for stage in self.stages:
            skips.append(stage(skips[-1]))
        x = self.context(skips[-1])
        for up, skip in zip(self.ups, skips[-2:0:-1], strict=True):
            x = up(x, skip)
        coarse = self.head(x).float()
        full = functional.interpolate(
            coarse[:, :2], scale_factor=float(OUTPUT_STRIDE), mode="bilinear", align_corners=False
        ) + functional.pixel_shuffle(coarse[:, 2:], OUTPUT_STRIDE)
        if self.fine is not None:
            full = full + self.fine(x, skips[0]).float()
        return full[:, :1] + INITIAL_LOG_DEPTH, full[:, 1:]


class NanoForExport(nn.Module):
    """The network as the depth node meets it: canonical depth and confidence, both bounded."""

    def __init__(self, network: Nano) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Canonical depth, strictly positive and finite, and confidence in [0, 1]; (1, 1, height, width) each."""
        log_depth, confidence_logit = self.network(image)
        return bounded_depth(log_depth), torch.sigmoid(confidence_logit)


def bounded_depth(log_depth: Tensor) -> Tensor:
    """Canonical depth within what any image can hold, strictly positive and finite."""
    return log_depth.clamp(math.log(MIN_CANONICAL_DEPTH), math.log(MAX_CANONICAL_DEPTH)).exp()


def pixel_grid(image: Tensor, height_px: int, width_px: int) -> Tensor:
    """Pixel coordinates (batch, 2, height, width) about the image centre, in hundreds of pixels.

    Pixels, not fractions of the image: canonical depth of a ground point is 1000 h / (v - horizon) with v in
    pixels, whatever the size of the input.
    """
    x = (torch.arange(width_px, dtype=image.dtype, device=image.device) - (width_px - 1) / 2) / 100
    y = (torch.arange(height_px, dtype=image.dtype, device=image.device) - (height_px - 1) / 2) / 100
    # Two constant maps would be stored in an exported file: 3 MB at 352x1056.
    nothing = 0 * image[:, :1]
    return torch.cat([x + nothing, y[:, None] + nothing], dim=1)
