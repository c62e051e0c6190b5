"""The official networks against the reference's own outputs, with weights and images drawn from seeds.

``METRIC3D_GOLDEN`` names another folder with a manifest.json: more models, sizes and seeds, checked the same way.
"""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from training.models import build_network
from training.models.prediction import CanonicalPrediction
from training.seeded_weights import seeded_weights

DEFAULT_FOLDER = Path(__file__).resolve().parents[2].parent / "shared" / "golden" / "metric3d"
FOLDER = Path(os.environ.get("METRIC3D_GOLDEN", DEFAULT_FOLDER))
MANIFEST = FOLDER / "manifest.json"
if "METRIC3D_GOLDEN" in os.environ and not MANIFEST.is_file():
    raise FileNotFoundError(f"METRIC3D_GOLDEN is {FOLDER}, but there is no manifest.json")
# By model, so that the weights of each are drawn once.
ENTRIES = sorted(json.loads(MANIFEST.read_text()), key=lambda e: e["model"]) if MANIFEST.is_file() else []

pytestmark = [
    pytest.mark.golden,
    pytest.mark.skipif(not ENTRIES, reason=f"no golden data at {FOLDER}"),
]

DEPTH_TOLERANCE = 1e-3
CONFIDENCE_TOLERANCE = 5e-5
NORMAL_TOLERANCE = 1e-4


@functools.lru_cache(maxsize=1)
def seeded_network(name: str) -> nn.Module:
    network = build_network(name)
    with torch.no_grad():
        for key, entry in network.state_dict().items():  # one by one: the largest network has 5.5 GB of them
            entry.copy_(seeded_weights({key: entry})[key])
    return network.eval()


def seeded_image(height: int, width: int, block: int, seed: int) -> torch.Tensor:
    """Noise on blocks of one colour, already normalised, (1, 3, height, width)."""
    fine = np.random.RandomState(seed).standard_normal((1, 3, height, width))
    blocks = (1, 3, -(-height // block), -(-width // block))
    coarse = np.random.RandomState(seed + 1).standard_normal(blocks).repeat(block, 2).repeat(block, 3)
    return torch.from_numpy((0.3 * fine + 0.8 * coarse[:, :, :height, :width]).astype(np.float32))


def statistics(maps: torch.Tensor) -> NDArray[np.float64]:
    """Mean, population standard deviation, minimum and maximum of each map (channels, H, W)."""
    flat = maps.flatten(1).double().numpy()
    return np.stack([flat.mean(1), flat.std(1), flat.min(1), flat.max(1)], axis=1)


def assert_map(found: torch.Tensor, golden: dict[str, Any], name: str, stride: int, tolerance: float) -> None:
    """A map (channels, H, W) against the saved part of it, and against the statistics of all of it."""
    expected = golden[name].reshape(found.shape[0], *golden[name].shape[-2:])
    np.testing.assert_allclose(found[:, ::stride, ::stride].numpy(), expected, atol=tolerance, rtol=0)
    stats = golden[f"{name.removesuffix('_kappa')}_stats"].reshape(found.shape[0], 4)
    np.testing.assert_allclose(statistics(found), stats, atol=tolerance, rtol=0)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: Path(entry["file"]).stem)
def test_outputs(entry: dict[str, Any]) -> None:
    golden = dict(np.load(FOLDER / entry["file"]))
    image = seeded_image(entry["height"], entry["width"], entry["block"], entry["seed"])
    np.testing.assert_array_equal(image[0, :, :4, :4].numpy(), golden["input_slice"])

    with torch.inference_mode():
        prediction: CanonicalPrediction = seeded_network(entry["model"])(image)

    assert prediction.depth.shape == tuple(golden["shape"])
    stride = entry["stride"]
    assert_map(prediction.depth[0], golden, "depth", stride, DEPTH_TOLERANCE)
    assert_map(prediction.confidence[0], golden, "confidence", stride, CONFIDENCE_TOLERANCE)
    assert (prediction.normal_kappa is not None) == ("normal_kappa" in golden)
    if prediction.normal_kappa is not None:
        assert_map(prediction.normal_kappa[0], golden, "normal_kappa", stride, NORMAL_TOLERANCE)
