"""DroidNet against the published implementation: same seeded weights, same images, same numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from seeded_droid_net import seeded_net

from droid_bridge.matching.droid_net.correlation import Correlation, OnDemandCorrelation, StoredCorrelation
from droid_bridge.matching.droid_net.network import DroidNet, normalised, own_coords
from droid_bridge.matching.droid_net.update import EdgeUpdate, FrameUpdate, upsampled

GOLDEN_FOLDER = Path(__file__).resolve().parents[2].parent / "shared" / "golden" / "droid"
GOLDEN = GOLDEN_FOLDER / "golden_net.npz"
pytestmark = [
    pytest.mark.golden,
    pytest.mark.skipif(not GOLDEN.exists(), reason=f"no golden data at {GOLDEN}"),
]

ATOL = 2e-4
CORRELATION_ATOL = 2e-3
ROWS, COLUMNS = 12, 40
SOURCE, TARGET = torch.tensor([0, 1]), torch.tensor([1, 0])


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in np.load(GOLDEN).items()}


@pytest.fixture(scope="module")
def net() -> DroidNet:
    return seeded_net()


@pytest.fixture(scope="module")
def images(golden: dict[str, torch.Tensor]) -> torch.Tensor:
    cpu = torch.device("cpu")
    rgb = [np.asarray(bgr.flip(0).permute(1, 2, 0), dtype=np.uint8) for bgr in golden["img"][0]]
    return torch.cat([normalised(image, cpu) for image in rgb])


@pytest.fixture(scope="module")
def encoded(net: DroidNet, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    with torch.inference_mode():
        return net.encode(images)


def _noise(seed: int) -> torch.Tensor:
    return torch.randn(1, 2, ROWS, COLUMNS, 2, generator=torch.Generator().manual_seed(seed))[0].permute(
        0, 3, 1, 2
    )


@pytest.fixture(scope="module")
def coords() -> torch.Tensor:
    return own_coords(ROWS, COLUMNS, torch.device("cpu")) + 4 * _noise(2)


@pytest.fixture(scope="module")
def stepped(
    net: DroidNet, encoded: tuple[torch.Tensor, ...], coords: torch.Tensor
) -> tuple[EdgeUpdate, FrameUpdate]:
    features, hidden, context = encoded
    target = coords + _noise(3)
    motion = torch.cat([coords - own_coords(ROWS, COLUMNS, coords.device), target - coords], dim=1)
    with torch.inference_mode():
        correlation = StoredCorrelation(features[SOURCE], features[TARGET]).lookup(coords)
        edges = net.update(hidden[SOURCE], context[SOURCE], correlation, motion)
        return edges, net.update.agg(edges.hidden, SOURCE)


def _assert_close(found: torch.Tensor, expected: torch.Tensor, atol: float = ATOL) -> None:
    torch.testing.assert_close(found, expected, atol=atol, rtol=0)


def _channels_first(edges: torch.Tensor) -> torch.Tensor:
    return edges[0].permute(0, 3, 1, 2)


def test_parameters_have_the_published_names_and_shapes(net: DroidNet) -> None:
    listed = (GOLDEN_FOLDER / "state_dict_droid.txt").read_text(encoding="utf-8").splitlines()
    ours = {f"{name} {tuple(value.shape)}" for name, value in net.state_dict().items()}
    assert ours == set(listed)
    assert sum(parameter.numel() for parameter in net.parameters()) == 4_002_565


def test_features(encoded: tuple[torch.Tensor, ...], golden: dict[str, torch.Tensor]) -> None:
    _assert_close(encoded[0], golden["fmaps"][0])


def test_context(net: DroidNet, images: torch.Tensor, golden: dict[str, torch.Tensor]) -> None:
    with torch.inference_mode():
        _assert_close(net.cnet(images[:1]), golden["cnet0"])


@pytest.mark.parametrize("kind", [StoredCorrelation, OnDemandCorrelation])
def test_correlation(
    kind: type[StoredCorrelation] | type[OnDemandCorrelation],
    encoded: tuple[torch.Tensor, ...],
    coords: torch.Tensor,
    golden: dict[str, torch.Tensor],
) -> None:
    correlation: Correlation = kind(encoded[0][SOURCE], encoded[0][TARGET])
    _assert_close(correlation.lookup(coords)[:, ::4], golden["corr"][0], CORRELATION_ATOL)


def test_one_step_of_the_edges(stepped: tuple[EdgeUpdate, FrameUpdate], golden: dict[str, torch.Tensor]) -> None:
    edges, _ = stepped
    _assert_close(edges.hidden, golden["net1"][0])
    _assert_close(edges.delta, _channels_first(golden["delta"]))
    _assert_close(edges.weight, _channels_first(golden["weight"]))


def test_damping_and_upsampling_of_the_frames(
    stepped: tuple[EdgeUpdate, FrameUpdate], golden: dict[str, torch.Tensor]
) -> None:
    _, frames = stepped
    _assert_close(frames.damping, golden["eta"][0])
    _assert_close(frames.upsampling_mask[:, ::32], golden["upmask_ch32"][0])
    depths = 0.5 + torch.rand(1, 2, ROWS, COLUMNS, generator=torch.Generator().manual_seed(4))[0]
    _assert_close(upsampled(depths, frames.upsampling_mask)[:1], golden["up"][0])


def test_the_step_of_the_motion_filter(
    net: DroidNet, encoded: tuple[torch.Tensor, ...], golden: dict[str, torch.Tensor]
) -> None:
    features, hidden, context = encoded
    at_rest = own_coords(ROWS, COLUMNS, features.device)[None]
    with torch.inference_mode():
        correlation = StoredCorrelation(features[:1], features[1:]).lookup(at_rest)
        step = net.update(hidden[:1], context[:1], correlation, torch.zeros(1, 4, ROWS, COLUMNS))
    _assert_close(step.delta, _channels_first(golden["delta_mf"]))
    _assert_close(step.weight, _channels_first(golden["weight_mf"]))
