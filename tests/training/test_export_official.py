"""Official networks as ONNX files: what torch gives, in a graph TensorRT 8.5 can read, described and atomic."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from small_networks import small_v1, small_v2

from training import onnx_file
from training.errors import TrainingError
from training.export import export_official, main
from training.models.nano import Nano, NanoForExport
from training.models.raw_image import RawImageNetwork
from training.onnx_file import run_onnx, weights_file, weights_sha256, write_onnx
from training.seeded_weights import seeded_weights

# onnx-tensorrt's own table of its 8.5 release; the file says where it is from.
TENSORRT = json.loads((Path(__file__).parents[1] / "data" / "tensorrt_8_5_operators.json").read_text())
TENSORRT_MAX_RANK = 8
NETWORKS = {
    "v1": (small_v1, (64, 96)),
    "v2": (small_v2, (56, 84)),
    "v2 gated": (lambda: small_v2(gated=True), (56, 84)),
}


@pytest.fixture(scope="module", params=NETWORKS)
def exported(request, tmp_path_factory):
    make, size_px = NETWORKS[request.param]
    out = tmp_path_factory.mktemp("exported") / "network.onnx"
    network = make()
    difference = export_official("some_network", network, "seed 0, untrained", *size_px, out)
    return network, size_px, out, difference


@pytest.fixture(scope="module")
def nano_file(tmp_path_factory):
    network = Nano((8, 16, 24, 32, 48), (1, 1, 1, 1), (32, 24, 16))
    network.load_state_dict(seeded_weights(network.state_dict()))
    out = tmp_path_factory.mktemp("exported") / "nano.onnx"
    write_onnx(NanoForExport(network).eval(), ("depth", "confidence"), (64, 96), {}, out)
    return out


def assert_tensorrt_reads(model: onnx.ModelProto) -> None:
    """Operators, attributes and ranks that the parser of TensorRT 8.5 knows."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        assert not node.domain
        assert node.op_type in TENSORRT["supported"], node.name
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type in TENSORRT["constant_axes"]:
            axes = node.input[3:4] if node.op_type == "Slice" else node.input[1:2]
            assert all(name in constants for name in axes), node.name
        if node.op_type == "Resize":
            for key, known in TENSORRT["resize"].items():
                assert key not in attributes or attributes[key].decode() in known, node.name
            assert node.input[2] in constants or node.input[3] in constants, node.name
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    for value in [*inferred.value_info, *inferred.output]:
        shape = value.type.tensor_type.shape.dim
        assert len(shape) <= TENSORRT_MAX_RANK, value.name
        assert all(side.dim_value > 0 for side in shape), value.name


def test_onnx_runtime_gives_what_torch_gives_for_a_raw_image(exported) -> None:
    network, size_px, out, difference = exported
    assert difference < 1e-4
    image = np.random.default_rng(1).integers(0, 256, (1, 3, *size_px)).astype(np.float32)
    found = run_onnx(out, image)
    mean = torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1)
    std = torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1)
    with torch.inference_mode():
        expected = network((torch.from_numpy(image) - mean) / std)
    np.testing.assert_allclose(found["depth"], expected.depth, rtol=1e-4)
    np.testing.assert_allclose(found["confidence"], expected.confidence, atol=1e-4)
    if expected.normal_kappa is None:
        assert list(found) == ["depth", "confidence"]
    else:
        assert list(found) == ["depth", "confidence", "normals"]
        np.testing.assert_allclose(found["normals"], expected.normal_kappa[:, :3], atol=1e-4)


def test_tensorrt_8_5_can_read_it(exported) -> None:
    model = onnx.load(exported[2])
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 16)]
    assert_tensorrt_reads(model)


def test_tensorrt_8_5_can_read_nano(nano_file) -> None:
    model = onnx.load(nano_file)
    onnx.checker.check_model(model, full_check=True)
    assert_tensorrt_reads(model)


def test_an_operator_tensorrt_does_not_read_is_seen(exported) -> None:
    model = onnx.load(exported[2])
    model.graph.node[3].op_type = "LayerNormalization"
    with pytest.raises(AssertionError, match=model.graph.node[3].name):
        assert_tensorrt_reads(model)


def test_the_graph_is_static_and_holds_one_upsampling(exported) -> None:
    network, size_px, out, _ = exported
    graph = onnx.load(out).graph
    operators = {node.op_type for node in graph.node}
    assert not operators & {"Shape", "Constant", "ConstantOfShape", "Range", "Cast", "LayerNormalization"}
    assert len({node.name for node in graph.node}) == len(graph.node)
    sides = [[side.dim_value for side in value.type.tensor_type.shape.dim] for value in graph.output]
    assert [side[-2:] for side in sides] == [list(size_px)] * len(sides)
    if len(sides) == 3:
        assert sum("/upsampling/Softmax" in node.name for node in graph.node) == 1
        # The trained grid of positions is gone; the one for this size is a constant.
        assert not any(1370 in tensor.dims or 37 in tensor.dims for tensor in graph.initializer)
        assert not any(
            numpy_helper.to_array(tensor).shape == network.encoder.pos_embed.shape for tensor in graph.initializer
        )


def test_it_says_what_it_is(exported) -> None:
    network, size_px, out, _ = exported
    properties = {entry.key: entry.value for entry in onnx.load(out).metadata_props}
    assert properties == {
        "model": "some_network",
        "input_height_px": str(size_px[0]),
        "input_width_px": str(size_px[1]),
        "canonical_focal_px": "1000",
        "min_confidence": "-inf",
        "weights_source": "seed 0, untrained",
        "weights_sha256": weights_sha256(network.state_dict()),
    }
    assert [path.name for path in out.parent.iterdir()] == ["network.onnx"]


def test_weights_are_told_apart() -> None:
    one, other = small_v1().state_dict(), small_v1().state_dict()
    assert weights_sha256(one) == weights_sha256(other)
    next(iter(other.values())).view(-1)[0] += 1e-6
    assert weights_sha256(one) != weights_sha256(other)


def test_a_large_network_keeps_its_weights_beside_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(onnx_file, "MAX_BYTES_IN_ONE_FILE", 1000)
    out = tmp_path / "large.onnx"
    export_official("some_network", small_v1(), "seed 0", 64, 96, out)
    assert {path.name for path in tmp_path.iterdir()} == {"large.onnx", "large.onnx.data"}
    assert out.stat().st_size < weights_file(out).stat().st_size
    image = np.zeros((1, 3, 64, 96), dtype=np.float32)
    with torch.inference_mode():
        expected = RawImageNetwork(small_v1(), (64, 96))(torch.from_numpy(image))[0]
    np.testing.assert_allclose(run_onnx(out, image)["depth"], expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("make", "size_px", "multiple"), [(small_v1, (64, 100), 32), (small_v2, (56, 70), 28), (small_v1, (0, 64), 32)]
)
def test_a_size_it_cannot_run(make, size_px, multiple, tmp_path) -> None:
    with pytest.raises(TrainingError, match=f"size is {size_px[0]}x{size_px[1]}; .* multiples of {multiple}"):
        export_official("some_network", make(), "seed 0", *size_px, tmp_path / "no.onnx")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_file_before(tmp_path, monkeypatch) -> None:
    def full_disk(*_arguments: object, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    out = tmp_path / "network.onnx"
    out.write_bytes(b"before")
    monkeypatch.setattr(onnx_file.onnx, "save", full_disk)
    with pytest.raises(TrainingError, match=r"cannot write .*network.onnx: No space left on device"):
        export_official("some_network", small_v1(), "seed 0", 64, 96, out)
    assert out.read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["network.onnx"]


def test_nodes_are_in_the_order_of_the_forward_pass(exported) -> None:
    network, size_px, out, _ = exported
    used: list[torch.Size] = []
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda module, *_: used.append(module.weight.shape))
    with torch.inference_mode():
        network(torch.zeros(1, 3, *size_px))
    for module in network.modules():
        module._forward_hooks.clear()
    graph = onnx.load(out).graph
    shapes = {tensor.name: torch.Size(tensor.dims) for tensor in graph.initializer}
    assert [shapes[node.input[1]] for node in graph.node if node.op_type == "Conv"] == used


def test_a_network_onnx_runtime_disagrees_with_is_not_written(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(onnx_file, "MAX_RELATIVE_DIFFERENCE", 0.0)
    with pytest.raises(TrainingError, match=r"differs from torch by .* was not written"):
        export_official("some_network", small_v1(), "seed 0", 64, 96, tmp_path / "network.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["convnext_tiny", "--seeded", "0", "--size", "60x128"], "multiples of 32"),
        (["vit_small", "--checkpoint", "none.pth"], "no checkpoint at none.pth"),
    ],
)
def test_what_cannot_be_exported_is_one_sentence(arguments, said, tmp_path, capsys) -> None:
    assert main([*arguments, "--out", str(tmp_path / "no.onnx")]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_of_another_network_names_the_keys(tmp_path, capsys) -> None:
    checkpoint = tmp_path / "other.pth"
    torch.save({"model_state_dict": small_v1().state_dict()}, checkpoint)
    assert main(["convnext_tiny", "--checkpoint", str(checkpoint), "--out", str(tmp_path / "no.onnx")]) == 2
    assert "depth_model.encoder." in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["other.pth"]
