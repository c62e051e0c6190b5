"""The official networks by name: the names, order and shapes of their weights, on no memory at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from training.errors import TrainingError
from training.models import OFFICIAL_NETWORKS, build_network

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
GOLDEN = Path(os.environ.get("METRIC3D_GOLDEN", SHARED / "golden" / "metric3d"))

# Encoder and decoder parameters as counted in the reference implementation.
PARAMETERS = {
    "convnext_tiny": (27_818_592, 3_113_042),
    "convnext_large": (196_227_264, 7_015_826),
    "vit_small": (22_058_112, 15_436_939),
    "vit_large": (304_372_736, 107_569_179),
    "vit_giant2": (1_136_486_912, 241_188_187),
}


def on_no_memory(name: str) -> torch.nn.Module:
    with torch.device("meta"):
        return build_network(name)


def test_the_official_five() -> None:
    assert list(OFFICIAL_NETWORKS) == list(PARAMETERS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_counts(name: str) -> None:
    network = on_no_memory(name)
    counts: dict[str, int] = {"encoder": 0, "decoder": 0}
    for key, parameter in network.named_parameters():
        counts[key.split(".")[1]] += parameter.numel()
    assert (counts["encoder"], counts["decoder"]) == PARAMETERS[name]


@pytest.mark.golden
@pytest.mark.parametrize("name", PARAMETERS)
def test_names_shapes_and_types_of_the_weights(name: str) -> None:
    listing = GOLDEN / f"state_dict_{name}.txt"
    if not listing.is_file():
        pytest.skip(f"no golden data at {listing}")
    expected = [tuple(line.split()) for line in listing.read_text().splitlines()]
    found = [
        (key, f"({','.join(map(str, entry.shape))})", str(entry.dtype).removeprefix("torch."))
        for key, entry in on_no_memory(name).state_dict().items()
    ]
    assert found == expected


def test_an_unknown_name_says_which_there_are() -> None:
    with pytest.raises(
        TrainingError, match=r"no official network 'vit_huge'; choose one of convnext_tiny, .*giant2"
    ):
        build_network("vit_huge")
