"""The seeded weights of the parity data: variance-preserving, from each parameter's name alone."""

from __future__ import annotations

import math
import zlib

import torch

from droid_bridge.matching.droid_net.network import DroidNet


def seeded_state_dict() -> dict[str, torch.Tensor]:
    """Parameters of DroidNet drawn from the checksum of their names."""
    return {name: _drawn(name, parameter.shape) for name, parameter in DroidNet().state_dict().items()}


def seeded_net() -> DroidNet:
    """DroidNet with ``seeded_state_dict``, ready to run."""
    net = DroidNet()
    net.load_state_dict(seeded_state_dict())
    return net.eval()


def _drawn(name: str, shape: torch.Size) -> torch.Tensor:
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
    return drawn / math.sqrt(shape[1:].numel()) if len(shape) > 1 else 0.01 * drawn
