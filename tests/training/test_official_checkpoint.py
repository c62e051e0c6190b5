"""Checkpoint files: right, wrong, broken and hostile ones; small networks stand in for the official."""

from __future__ import annotations

import copyreg
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from metric3d_ros.cache_folder import CACHE_VARIABLE
from metric3d_ros.model_zoo import ZOO, zoo_model
from training import export
from training.errors import CheckpointError
from training.models import OFFICIAL_NETWORKS
from training.models.metric3d_v1 import Metric3dV1
from training.models.metric3d_v2 import Metric3dV2
from training.models.vit import VisionTransformer
from training.official_checkpoint import load_official_checkpoint, read_official_weights
from training.seeded_weights import seeded_weights

MASK_TOKEN = "depth_model.encoder.mask_token"
GIANT_NORM = ("depth_model.encoder.norm.weight", "depth_model.encoder.norm.bias")


def tiny() -> Metric3dV1:
    return Metric3dV1(widths=(4, 4, 8, 8), depths=(1, 1, 1, 1), decoder_channels=(4, 4, 8))


def large() -> Metric3dV1:
    return Metric3dV1(widths=(8, 8, 8, 8), depths=(1, 1, 2, 1), decoder_channels=(4, 4, 8))


def small() -> Metric3dV2:
    return Metric3dV2(VisionTransformer(width=16, depth=1, heads=2), width=16, hidden=8, iterations=1)


def giant() -> Metric3dV2:
    encoder = VisionTransformer(width=24, depth=4, heads=2, gated=True, output_depths=(1, 2, 3, 4))
    return Metric3dV2(encoder, width=24, hidden=8, iterations=1)


@pytest.fixture(autouse=True)
def small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    in_small = {
        "convnext_tiny": tiny,
        "convnext_large": large,
        "vit_small": small,
        "vit_giant2": giant,
    }
    for name, build in in_small.items():
        monkeypatch.setitem(OFFICIAL_NETWORKS, name, build)


def weights_of(name: str, without: tuple[str, ...] = ()) -> dict[str, Tensor]:
    weights = seeded_weights(OFFICIAL_NETWORKS[name]().state_dict(), seed=3)
    return {key: tensor for key, tensor in weights.items() if key not in without}


def saved(path: Path, content: object, **how: Any) -> Path:
    torch.save(content, path, **how)
    return path


@pytest.mark.parametrize(
    ("name", "absent"),
    [
        ("convnext_tiny", ()),
        ("vit_small", ()),
        ("vit_small", (MASK_TOKEN,)),
        ("vit_giant2", (MASK_TOKEN, *GIANT_NORM)),
    ],
)
def test_weights_reach_the_network(name: str, absent: tuple[str, ...], tmp_path: Path) -> None:
    weights = weights_of(name, without=absent)
    network = OFFICIAL_NETWORKS[name]()
    load_official_checkpoint(name, saved(tmp_path / "a.pth", {"model_state_dict": weights}), network)
    loaded = network.state_dict()
    assert all(torch.equal(loaded[key], weights[key]) for key in weights)
    assert all(not loaded[key].any() for key in absent)


@pytest.mark.parametrize("name", ["vit_small", "vit_giant2"])
def test_what_may_be_absent_is_used_by_nothing(name: str) -> None:
    """An absent weight's gradient is that of a weight that takes no part."""
    network: nn.Module = OFFICIAL_NETWORKS[name]()
    network.load_state_dict(weights_of(name))
    network(torch.zeros(1, 3, 56, 56)).depth.sum().backward()
    unused = {key for key, parameter in network.named_parameters() if parameter.grad is None}
    assert MASK_TOKEN in unused
    assert set(GIANT_NORM) <= unused if name == "vit_giant2" else not set(GIANT_NORM) & unused


@pytest.mark.parametrize("new_format", [True, False])
def test_both_file_formats_of_torch(new_format: bool, tmp_path: Path) -> None:
    path = saved(
        tmp_path / "a.pth",
        {"model_state_dict": weights_of("convnext_tiny")},
        _use_new_zipfile_serialization=new_format,
    )
    assert read_official_weights("convnext_tiny", path).keys() == weights_of("convnext_tiny").keys()


def test_a_checkpoint_of_another_network_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", {"model_state_dict": weights_of("vit_small", without=(MASK_TOKEN,))})
    with pytest.raises(CheckpointError) as refused:
        read_official_weights("convnext_tiny", path)
    message = str(refused.value)
    assert (
        "a.pth is not a checkpoint of convnext_tiny: it lacks depth_model.encoder.downsample_layers.0.0" in message
    )
    assert "it has unknown depth_model.encoder.cls_token" in message
    assert message.endswith("more; it is one of vit_small.")


def test_other_shapes_are_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", {"model_state_dict": weights_of("convnext_large")})
    with pytest.raises(CheckpointError, match=r"it has .*0\.0\.weight \(8, 3, 4, 4\) instead of \(4, 3, 4, 4\), "):
        read_official_weights("convnext_tiny", path)


@pytest.mark.parametrize(
    ("name", "absent"),
    [
        ("convnext_tiny", "depth_model.decoder.conv_out_2.prob.bias"),
        ("vit_small", "depth_model.encoder.cls_token"),
        ("vit_small", GIANT_NORM[0]),
        ("vit_giant2", "depth_model.encoder.pos_embed"),
    ],
)
def test_no_other_absence_is_accepted(name: str, absent: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", {"model_state_dict": weights_of(name, without=(absent,))})
    with pytest.raises(CheckpointError, match=rf"not a checkpoint of {name}: it lacks {absent}\.$"):
        read_official_weights(name, path)


def test_one_weight_too_many_is_named(tmp_path: Path) -> None:
    weights = {**weights_of("convnext_tiny"), "depth_model.decoder.extra": torch.zeros(1)}
    with pytest.raises(CheckpointError, match=r"it has unknown depth_model\.decoder\.extra\.$"):
        read_official_weights("convnext_tiny", saved(tmp_path / "a.pth", {"model_state_dict": weights}))


def test_names_with_another_prefix(tmp_path: Path) -> None:
    weights = {f"module.{key}": tensor for key, tensor in weights_of("convnext_tiny").items()}
    with pytest.raises(
        CheckpointError, match=r"unknown module\.depth_model.*official names begin depth_model\.\."
    ):
        read_official_weights("convnext_tiny", saved(tmp_path / "a.pth", {"model_state_dict": weights}))


@pytest.mark.parametrize(
    ("content", "holds"),
    [
        ({"network": {}, "step": 1}, "network, step"),
        ([1, 2], "list"),
        ({"model_state_dict": 3}, "model_state_dict"),
    ],
)
def test_a_file_without_model_state_dict(content: object, holds: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"holds {holds}, not weights under model_state_dict; get the off"):
        read_official_weights("convnext_tiny", saved(tmp_path / "a.pth", content))


def test_a_missing_file_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"no checkpoint at .*a\.pth; get it: metric3d models fetch vit_small"
    ):
        read_official_weights("vit_small", tmp_path / "a.pth")


@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.99])
def test_a_half_downloaded_file(kept: float, new_format: bool, tmp_path: Path) -> None:
    content = {"model_state_dict": weights_of("convnext_tiny")}
    path = saved(tmp_path / "a.pth", content, _use_new_zipfile_serialization=new_format)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if kept < 1 else int(kept)])
    with pytest.raises(
        CheckpointError, match=r"incomplete or no checkpoint \(.*get it again: metric3d models fetch"
    ):
        read_official_weights("convnext_tiny", path)


CHECKPOINTS = [model.name for model in ZOO if model.is_checkpoint]


def test_the_zoo_has_every_official_checkpoint_and_no_other() -> None:
    assert list(OFFICIAL_NETWORKS) == CHECKPOINTS


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_the_export_command_the_zoo_gives_is_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It gets as far as the missing file; ``python -m training.export`` comes first."""
    if name == "vit_large":
        monkeypatch.setitem(OFFICIAL_NETWORKS, name, small)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    assert export.main(zoo_model(name).export_command.split()[3:]) == 2
    assert f"get it: metric3d models fetch {name}.\n" in capsys.readouterr().err


def test_export_of_another_networks_checkpoint_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = saved(tmp_path / "a.pth", {"model_state_dict": weights_of("vit_small")})
    out = tmp_path / "out" / "a.onnx"
    out.parent.mkdir()
    command = ["convnext_tiny", "--checkpoint", str(checkpoint), "--size", "32x64", "--out", str(out)]
    assert export.main(command) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].endswith("it is one of vit_small.")
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><html>Sign in</html>", b"PK\x03\x04 not a zip file"])
def test_a_page_instead_of_the_file(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"get (it again|the official file): metric3d models fetch"):
        read_official_weights("convnext_tiny", path)


class RunsOnLoad:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return eval, ("1 + 1",)


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    content = {"model_state_dict": weights_of("convnext_tiny"), "scheduler": RunsOnLoad()}
    with pytest.raises(CheckpointError, match=r"not safe to read: it asks for eval; get the official"):
        read_official_weights("convnext_tiny", saved(tmp_path / "a.pth", content))


@pytest.mark.parametrize("module_name", ["mmcv.utils.config", "mmengine.config.config"])
def test_the_reference_trainers_configuration_is_read_as_a_plain_dictionary(
    module_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mmcv's pickles item by item with itself as its state, mmengine's as a call; neither is installed here."""

    class ConfigDict(dict[str, Any]):
        def __reduce_ex__(self, protocol: Any) -> Any:
            if module_name.startswith("mmcv"):
                return copyreg.__newobj__, (ConfigDict,), self, None, iter(self.items())
            return ConfigDict, (dict(self),), None, None, None

    ConfigDict.__module__, ConfigDict.__qualname__ = module_name, "ConfigDict"
    module = types.ModuleType(module_name)
    module.ConfigDict = ConfigDict
    scheduler = {"power": 0.9, "runner": ConfigDict(type="IterBasedRunner", max_iters=800_010)}
    content = {"model_state_dict": weights_of("convnext_tiny"), "max_iter": 800_010, "scheduler": scheduler}
    with monkeypatch.context() as patched:
        parents = [module_name.rsplit(".", up)[0] for up in range(1, module_name.count(".") + 1)]
        for name in parents:
            patched.setitem(sys.modules, name, types.ModuleType(name))
        patched.setitem(sys.modules, module_name, module)
        path = saved(tmp_path / "a.pth", content)
    assert module_name not in sys.modules
    assert read_official_weights("convnext_tiny", path).keys() == weights_of("convnext_tiny").keys()
