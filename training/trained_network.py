"""Networks as a run sees them: raw RGB in, every refinement out, encoder and rest told apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from training.models import OFFICIAL_NETWORKS, build_network
from training.models.metric3d_v1 import STRIDE as STRIDE_V1
from training.models.metric3d_v2 import STRIDE as STRIDE_V2
from training.models.metric3d_v2 import Metric3dV2
from training.models.nano import IMAGENET_MEAN_RGB, IMAGENET_STD_RGB, Nano
from training.models.prediction import CanonicalPrediction

NETWORKS = ("nano", *OFFICIAL_NETWORKS)
STRIDE_NANO = 32


def stride_of(name: str) -> int:
    """Input sides must be multiples of this."""
    if name == "nano":
        return STRIDE_NANO
    return STRIDE_V2 if name.startswith("vit") else STRIDE_V1


def memory_format_of(name: str) -> torch.memory_format:
    """How a network's tensors lie: channels last, where most of it is convolutions, is faster on any processor."""
    return torch.contiguous_format if name.startswith("vit") else torch.channels_last


class TrainedNetwork(nn.Module):
    """A network that takes raw RGB and gives all of its refinements, whatever its kind.

    Parameters
    ----------
    network : nano or an official network.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN_RGB).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD_RGB).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> list[CanonicalPrediction]:
        """Predictions of raw RGB (B, 3, H, W), 0 to 255, the last one last."""
        if isinstance(self.network, Nano):
            log_depth, confidence_logit = self.network(image)
            return [CanonicalPrediction(log_depth.exp(), torch.sigmoid(confidence_logit))]
        normalised = (image - self.mean) / self.std
        if isinstance(self.network, Metric3dV2):
            return self.network.refinements(normalised)
        prediction: CanonicalPrediction = self.network(normalised)
        return [prediction]

    def encoder_parameters(self) -> set[int]:
        """Identities of the encoder's parameters: what a pretrained backbone brings."""
        half = getattr(getattr(self.network, "depth_model", None), "encoder", None)
        return set() if half is None else {id(parameter) for parameter in half.parameters()}


def build_trained_network(
    name: str, widths: Sequence[int] = (), depths: Sequence[int] = (), decoder_widths: Sequence[int] = ()
) -> TrainedNetwork:
    """An untrained network by the choices of a recipe."""
    if name != "nano":
        return TrainedNetwork(build_network(name))
    make_nano: Callable[..., Nano] = Nano
    return TrainedNetwork(make_nano(tuple(widths), tuple(depths), tuple(decoder_widths)))
