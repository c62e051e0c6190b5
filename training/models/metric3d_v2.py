"""Metric3D v2 (Hu et al. 2024): a DINOv2 encoder and the RAFT-DPT decoder, with the official names and shapes."""

from __future__ import annotations

from torch import Tensor, nn

from training.models.metric3d_v1 import EncoderDecoder
from training.models.prediction import CanonicalPrediction
from training.models.raft_dpt import RaftDpt
from training.models.vit import VisionTransformer

# Two patches: at odd patch counts the maps at 1/4 are rounded down, and the output is smaller than the image.
STRIDE = 28


class Metric3dV2(nn.Module):
    """A vision transformer and RAFT-DPT.

    Parameters
    ----------
    encoder : makes the tokens.
    width : channels of a token.
    hidden : channels of the recurrent units.
    iterations : refinements.
    """

    def __init__(self, encoder: VisionTransformer, width: int, hidden: int, iterations: int) -> None:
        super().__init__()
        self.depth_model = EncoderDecoder(encoder, RaftDpt(width, hidden, iterations))

    @property
    def encoder(self) -> VisionTransformer:
        """The half that makes tokens."""
        encoder = self.depth_model.encoder
        assert isinstance(encoder, VisionTransformer)
        return encoder

    @property
    def decoder(self) -> RaftDpt:
        """The half that reads them."""
        decoder = self.depth_model.decoder
        assert isinstance(decoder, RaftDpt)
        return decoder

    def forward(self, image: Tensor) -> CanonicalPrediction:
        """Canonical depth, confidence and normals of normalised images (B, 3, H, W).

        The maps have the image's size where its sides are multiples of ``STRIDE``; else they are as large as the
        official network's.
        """
        prediction: CanonicalPrediction = self.depth_model(image)
        return prediction

    def refinements(self, image: Tensor) -> list[CanonicalPrediction]:
        """The prediction after every refinement, the last one last."""
        return self.decoder.refinements(self.encoder(image))


def vit_small() -> Metric3dV2:
    """The network of ``metric_depth_vit_small_800k.pth``."""
    return Metric3dV2(VisionTransformer(width=384, depth=12, heads=6), width=384, hidden=48, iterations=4)


def vit_large() -> Metric3dV2:
    """The network of ``metric_depth_vit_large_800k.pth``."""
    return Metric3dV2(VisionTransformer(width=1024, depth=24, heads=16), width=1024, hidden=128, iterations=8)


def vit_giant2() -> Metric3dV2:
    """The network of ``metric_depth_vit_giant2_800k.pth``."""
    encoder = VisionTransformer(width=1536, depth=40, heads=24, gated=True, output_depths=(10, 20, 30, 40))
    return Metric3dV2(encoder, width=1536, hidden=192, iterations=8)
