from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from seeded_droid_net import seeded_state_dict

from droid_bridge.errors import DroidBridgeError
from droid_bridge.matching.choice import create_matcher
from droid_bridge.matching.droid_net import droid_pth
from droid_bridge.matching.droid_net.weights import read_droid_net
from metric3d_ros.download import file_sha256

HEADS = [f"update.{head}.2.{kind}" for head in ("weight", "delta") for kind in ("weight", "bias")]


def _as_published() -> dict[str, torch.Tensor]:
    """The seeded weights as the training saved them: a prefix, and a third output of both heads."""
    state = seeded_state_dict()
    for name in HEADS:
        state[name] = torch.cat([state[name], torch.full_like(state[name][:1], 7.0)])
    return {f"module.{name}": value for name, value in state.items()}


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that stands for the published one: its size and checksum are the right ones."""
    path = tmp_path / "models" / "droid.pth"
    path.parent.mkdir()
    torch.save(_as_published(), path)
    monkeypatch.setattr(droid_pth, "DROID_PTH_BYTES", path.stat().st_size)
    monkeypatch.setattr(droid_pth, "DROID_PTH_SHA256", file_sha256(path))
    return path


def _saved(tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> Path:
    state = _as_published()
    change(state)
    torch.save(state, tmp_path / "own.pth")
    return tmp_path / "own.pth"


def test_published_weights_lose_their_prefix_and_their_third_head(published: Path) -> None:
    net = read_droid_net(published)
    assert not net.training
    for name, value in seeded_state_dict().items():
        torch.testing.assert_close(net.state_dict()[name], value, atol=0, rtol=0)


def test_weights_trained_anew_need_no_prefix_and_no_checksum(tmp_path: Path) -> None:
    torch.save(seeded_state_dict(), tmp_path / "own.pth")
    net = read_droid_net(tmp_path / "own.pth", is_published=False)
    name = "update.delta.2.bias"
    torch.testing.assert_close(net.state_dict()[name], seeded_state_dict()[name], atol=0, rtol=0)


def test_the_checksum_of_the_published_file_is_the_one_its_users_know() -> None:
    assert droid_pth.DROID_PTH_SHA256.startswith("46476ef64cde45a9")
    assert droid_pth.DROID_PTH_BYTES == 16_061_701


def test_a_missing_file_is_told_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(DroidBridgeError, match=r"not at .*nowhere.pth; run `droid-bridge weights.*46476ef64"):
        read_droid_net(tmp_path / "nowhere.pth")


def test_half_a_file_is_named_as_such(published: Path) -> None:
    published.write_bytes(published.read_bytes()[: published.stat().st_size // 2])
    with pytest.raises(DroidBridgeError, match=r"incomplete or another file; delete it"):
        read_droid_net(published)


def test_another_file_is_named_as_such(published: Path) -> None:
    content = bytearray(published.read_bytes())
    content[len(content) // 2] ^= 1
    published.write_bytes(content)
    with pytest.raises(DroidBridgeError, match=r"is not the droid.pth that DROID-SLAM publishes \(sha256 "):
        read_droid_net(published)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"<!DOCTYPE html><title>Quota exceeded</title>"])
def test_what_is_no_weights_file_is_named_as_such(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "own.pth"
    path.write_bytes(content)
    with pytest.raises(DroidBridgeError, match=r"own.pth cannot be read as PyTorch weights"):
        read_droid_net(path, is_published=False)


def test_a_pickle_that_would_run_code_is_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "sprung",)

    torch.save({"module.fnet.conv1.weight": Trap()}, tmp_path / "own.pth")
    with pytest.raises(DroidBridgeError, match="cannot be read as PyTorch weights"):
        read_droid_net(tmp_path / "own.pth", is_published=False)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("content", [[torch.zeros(2)], {"epoch": 3}])
def test_a_file_without_a_state_dict_is_named_as_such(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "own.pth")
    with pytest.raises(DroidBridgeError, match="holds no state dict of tensors"):
        read_droid_net(tmp_path / "own.pth", is_published=False)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("module.cnet.conv1.bias"), r"lacks cnet.conv1.bias \(1 parameters missing, 0 unknown"),
        (
            lambda s: s.update({"module.patchify": torch.zeros(1)}),
            r"has patchify \(0 parameters missing, 1 unknown",
        ),
        (
            lambda s: s.update({"module.fnet.conv2.bias": torch.zeros(64)}),
            r"fnet.conv2.bias of shape \(64,\) instead of \(128,\)",
        ),
        (
            lambda s: s.update({"module.fnet.conv2.bias": torch.full((128,), torch.nan)}),
            "values in fnet.conv2.bias that are not finite",
        ),
    ],
)
def test_another_network_is_named_as_such(
    tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], object], said: str
) -> None:
    with pytest.raises(DroidBridgeError, match=said):
        read_droid_net(_saved(tmp_path, change), is_published=False)


def test_the_matcher_takes_the_weights_from_the_cache_folder(
    published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METRIC3D_CACHE", str(published.parent.parent))
    assert create_matcher("droid").rematches > 0
    monkeypatch.setenv("METRIC3D_CACHE", str(published.parent / "empty"))
    with pytest.raises(DroidBridgeError, match="weights fetch"):
        create_matcher("droid")
    assert create_matcher("droid", weights=published).rematches > 0


def test_an_unknown_matcher_is_named_as_such() -> None:
    with pytest.raises(DroidBridgeError, match="'crystal_ball'; choose one of: optical_flow, droid"):
        create_matcher("crystal_ball")
