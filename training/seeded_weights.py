"""Weights drawn from their names: a network that computes the same everywhere, where no checkpoint is at hand.

With seed 0 these are the weights the golden parity data was made with. A network with such weights sees nothing;
it serves parity, timing and engines.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

TOKENS = ("cls_token", "register_tokens", "pos_embed")
# Gains that keep refinement steps small and bins apart, so that depth is neither flat nor wild.
GAINS = (
    (".flow_head.conv2", 0.1),
    (".depth_regressor.2.weight", 4.0),
    (".depth_regressor_2.3.weight", 4.0),
)


def seeded_weights(state: Mapping[str, Tensor], seed: int = 0) -> dict[str, Tensor]:
    """Float32 weights (counters int64) for the names and shapes of ``state``, which may be on the meta device."""
    return {name: _draw(name, tuple(entry.shape), seed) for name, entry in state.items()}


def _draw(name: str, shape: tuple[int, ...], seed: int) -> Tensor:
    last = name.rpartition(".")[2]
    if last == "num_batches_tracked":
        return torch.zeros(shape, dtype=torch.int64)
    if last == "mask_token":
        return torch.zeros(shape)
    values = _spread(last, _normal(name, shape, seed))
    for part, gain in GAINS:
        if part in name:
            values = values * gain
    return torch.from_numpy(values.astype(np.float32))


def _normal(name: str, shape: tuple[int, ...], seed: int) -> NDArray[np.float64]:
    # One tensor known by two names is drawn once.
    known_as = name.replace(".downsample.1.", ".norm3.") if "context_feature_encoder" in name else name
    fingerprint = zlib.crc32(known_as.encode()) ^ seed
    # The golden data is defined by this generator's stream.
    generator = np.random.RandomState(fingerprint & 0xFFFFFFFF)
    values: NDArray[np.float64] = np.asarray(generator.standard_normal(shape))
    return values


def _spread(last: str, normal: NDArray[np.float64]) -> NDArray[np.float64]:  # noqa: PLR0911
    if last in TOKENS:
        return 0.2 * normal
    if last == "gamma":
        return 0.25 * (1 + 0.2 * normal)
    if last == "running_mean":
        return 0.1 * normal
    if last == "running_var":
        return 1 + 0.1 * np.abs(normal)
    if last == "bias":
        return 0.05 * normal
    if normal.ndim == 1:
        return 1 + 0.1 * normal
    spread: NDArray[np.float64] = normal / np.sqrt(np.prod(normal.shape[1:]))
    return spread
