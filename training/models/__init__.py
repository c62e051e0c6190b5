"""Network definitions; they exist to make ONNX files. The official networks are built by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from training.errors import TrainingError
from training.models.metric3d_v1 import convnext_large, convnext_tiny
from training.models.metric3d_v2 import vit_giant2, vit_large, vit_small

# Each builds its network untrained, with the official names in its state dict; calling it on a batch of normalised
# images (B, 3, H, W) returns a ``training.models.prediction.CanonicalPrediction``.
OFFICIAL_NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "convnext_tiny": convnext_tiny,
    "convnext_large": convnext_large,
    "vit_small": vit_small,
    "vit_large": vit_large,
    "vit_giant2": vit_giant2,
}


def build_network(name: str) -> nn.Module:
    """An official network of Metric3D, untrained.

    Raises
    ------
    TrainingError
        If no network has that name.
    """
    if name not in OFFICIAL_NETWORKS:
        known = ", ".join(OFFICIAL_NETWORKS)
        raise TrainingError(f"there is no official network {name!r}; choose one of {known}.")
    return OFFICIAL_NETWORKS[name]()
