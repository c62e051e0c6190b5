"""Networks of the official kinds, small enough to export in a second, with weights drawn from their names."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

from training.models.metric3d_v1 import Metric3dV1
from training.models.metric3d_v2 import Metric3dV2
from training.models.vit import VisionTransformer
from training.seeded_weights import seeded_weights

WIDTH = 32
Network = TypeVar("Network", bound=nn.Module)


def small_v1() -> Metric3dV1:
    network = Metric3dV1(widths=(8, 16, 24, 32), depths=(1, 1, 2, 1), decoder_channels=(8, 16, 24))
    return _seeded(network)


def small_v2(gated: bool = False) -> Metric3dV2:
    """Like vit_small, or like vit_giant2."""
    encoder = VisionTransformer(
        width=WIDTH, depth=4, heads=2, gated=gated, output_depths=(1, 2, 3, 4) if gated else None
    )
    return _seeded(Metric3dV2(encoder, width=WIDTH, hidden=8, iterations=2))


def _seeded(network: Network) -> Network:
    network.load_state_dict(seeded_weights(network.state_dict()))
    network.eval()
    return network
