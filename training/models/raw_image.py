"""An official network as the depth node meets it: raw RGB in, the maps its ONNX file names out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.models.metric3d_v1 import STRIDE as STRIDE_V1
from training.models.metric3d_v2 import STRIDE as STRIDE_V2
from training.models.metric3d_v2 import Metric3dV2
from training.models.nano import IMAGENET_MEAN_RGB, IMAGENET_STD_RGB
from training.models.prediction import CanonicalPrediction
from training.models.vit import PATCH_PX


class RawImageNetwork(nn.Module):
    """Normalisation and an official network, for one image size.

    Parameters
    ----------
    network : of ``training.models.build_network``.
    size_px : height and width, multiples of ``stride_px``; the positional embedding is worked out for it.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, size_px: tuple[int, int]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN_RGB).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD_RGB).view(1, 3, 1, 1), persistent=False)
        if isinstance(network, Metric3dV2):
            network.encoder.fold_position(size_px[0] // PATCH_PX, size_px[1] // PATCH_PX)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Maps of raw RGB (B, 3, height, width), 0 to 255, in the order of ``output_names``."""
        prediction: CanonicalPrediction = self.network((image - self.mean) / self.std)
        maps = (prediction.depth, prediction.confidence)
        return maps if prediction.normal_kappa is None else (*maps, prediction.normal_kappa[:, :3])


def output_names(network: nn.Module) -> tuple[str, ...]:
    """What the maps are called in the ONNX file."""
    return ("depth", "confidence", "normals") if isinstance(network, Metric3dV2) else ("depth", "confidence")


def stride_px(network: nn.Module) -> int:
    """The sides of an image must be multiples of this for the maps to be of the image's size."""
    return STRIDE_V2 if isinstance(network, Metric3dV2) else STRIDE_V1
