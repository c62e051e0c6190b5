"""Metric3D v1 (Yin et al. 2023): a ConvNeXt encoder and the hourglass decoder, with the official names."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from training.errors import TrainingError
from training.models.convnext import ConvNext
from training.models.hourglass import HourglassDecoder
from training.models.prediction import CanonicalPrediction

STRIDE = 32


class EncoderDecoder(nn.Module):
    """The two halves under the names the official checkpoints know them by."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def forward(self, image: Tensor) -> CanonicalPrediction:
        """Canonical depth and confidence of normalised images (B, 3, H, W)."""
        prediction: CanonicalPrediction = self.decoder(self.encoder(image))
        return prediction


class Metric3dV1(nn.Module):
    """ConvNeXt and hourglass.

    Parameters
    ----------
    widths, depths : channels and blocks of the encoder's four stages.
    decoder_channels : of the decoder's upward path at 1/4, 1/8 and 1/16.
    """

    def __init__(self, widths: Sequence[int], depths: Sequence[int], decoder_channels: Sequence[int]) -> None:
        super().__init__()
        self.depth_model = EncoderDecoder(ConvNext(widths, depths), HourglassDecoder(widths, decoder_channels))

    def forward(self, image: Tensor) -> CanonicalPrediction:
        """Canonical depth and confidence of normalised images (B, 3, H, W); H and W are multiples of ``STRIDE``.

        Raises
        ------
        TrainingError
            If H or W is not a multiple of ``STRIDE``.
        """
        if image.shape[-2] % STRIDE or image.shape[-1] % STRIDE:
            raise TrainingError(
                f"image is {image.shape[-2]}x{image.shape[-1]} px; letterbox it to multiples of {STRIDE}."
            )
        prediction: CanonicalPrediction = self.depth_model(image)
        return prediction


def convnext_tiny() -> Metric3dV1:
    """The network of ``convtiny_hourglass_v1.pth``."""
    return Metric3dV1(widths=(96, 192, 384, 768), depths=(3, 3, 9, 3), decoder_channels=(64, 128, 256))


def convnext_large() -> Metric3dV1:
    """The network of ``convlarge_hourglass_0.3_150_step750k_v1.1.pth``."""
    return Metric3dV1(widths=(192, 384, 768, 1536), depths=(3, 3, 27, 3), decoder_channels=(128, 256, 512))
