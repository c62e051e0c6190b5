"""Which nodes of which networks stay single, and what a plain conversion to half costs in metres."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from small_networks import small_v1, small_v2

from metric3d_ros.model_zoo import model_path
from training.export import export_official
from training.half_precision import with_half_precision
from training.mixed_precision import (
    ISLANDS,
    keeps_nothing_single,
    keeps_single,
    main,
    measure,
    noise_image,
    precision_error,
)
from training.onnx_file import fold_constants, run_onnx


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("single")
    export_official("small_v1", small_v1(), "seed 0", 64, 96, folder / "v1.onnx")
    export_official("small_v2", small_v2(), "seed 0", 56, 84, folder / "v2.onnx")
    fold_constants(model_path("nano"), folder / "nano.onnx")
    return {path.stem: path for path in folder.iterdir()}


def element_types(model: onnx.ModelProto) -> dict[str, int]:
    """By the node that makes the tensor."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    types = {v.name: v.type.tensor_type.elem_type for v in [*inferred.value_info, *inferred.output]}
    return {node.name: types[node.output[0]] for node in model.graph.node}


def nearer(model: onnx.ModelProto, metres: float) -> onnx.ModelProto:
    """The same network with its v2 state moved towards near objects, where its numbers are largest."""
    iterations = sum("flow_head/conv2d" in node.name for node in model.graph.node)
    bias = next(t for t in model.graph.initializer if t.name.endswith("flow_head.conv2d.bias"))
    values = numpy_helper.to_array(bias).copy()
    values[0] -= metres / 100 / iterations
    bias.CopyFrom(numpy_helper.from_array(values, bias.name))
    return model


def test_every_island_is_somewhere(files) -> None:
    """A renamed module would leave its island without a node, and that would be silent."""
    names = [node.name for path in files.values() for node in onnx.load(path).graph.node]
    for island, pattern in ISLANDS.items():
        assert any(re.search(pattern, name) for name in names), island


@pytest.mark.parametrize("network", ["v1", "v2"])
def test_sums_squares_and_exponentials_stay_single_and_matrices_go_half(files, network) -> None:
    types = element_types(with_half_precision(onnx.load(files[network]), keeps_single))
    for name, kind in types.items():
        operator = re.sub(r"_\d+$", "", name.rpartition("/")[2])
        if operator in {"Softmax", "ReduceMean", "ReduceSum", "Pow", "Sqrt", "Exp"}:
            assert kind == TensorProto.FLOAT, name
        elif operator in {"Conv", "ConvTranspose", "MatMul"} and "depth_regressor" not in name:
            assert kind == TensorProto.FLOAT16, name
    assert sum(kind == TensorProto.FLOAT16 for kind in types.values()) > 0.4 * len(types)


def test_the_state_of_v2_is_never_half(files) -> None:
    """From the bins through every refinement to the depth: no cast to half lies on the way."""
    model = with_half_precision(onnx.load(files["v2"]), keeps_single)
    producers = {output: node for node in model.graph.node for output in node.output}
    consumed = [producers["depth"]]
    state = []
    while consumed:
        node = consumed.pop()
        state.append(node)
        consumed += [
            producers[name]
            for name in node.input
            if name in producers
            and "/decoder/" in producers[name].name
            and re.search(
                r"/decoder/(Add|Clip|Concat|Mul|Slice|Sub|Div)(_\d+)?$|/upsampling/", producers[name].name
            )
        ]
    additions = [node.name for node in state if re.search(r"/decoder/Add(_\d+)?$", node.name)]
    # Two refinements and the offset of 200 m.
    assert len(set(additions)) == 3
    assert all(element_types(model)[node.name] == TensorProto.FLOAT for node in state)


@pytest.mark.parametrize("network", ["v1", "v2", "nano"])
def test_the_file_is_half_as_large_says_so_and_runs(files, network, tmp_path, capsys) -> None:
    out = tmp_path / "mixed.onnx"
    assert main([str(files[network]), "--out", str(out)]) == 0
    assert "plain half" in capsys.readouterr().out
    model, single = onnx.load(out), onnx.load(files[network])
    onnx.checker.check_model(model, full_check=True)
    # What is not halved is the norms' and the names of so small a network.
    assert out.stat().st_size < (0.75 if network == "v2" else 0.65) * files[network].stat().st_size
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert properties["precision"] == "mixed"
    assert len(properties["single_precision_sha256"]) == 64
    assert set(properties) - {"precision", "single_precision_sha256"} == {p.key for p in single.metadata_props}
    image = noise_image(*(side.dim_value for side in single.graph.input[0].type.tensor_type.shape.dim[2:]))
    found, expected = run_onnx(out, image), run_onnx(files[network], image)
    assert {name: (value.dtype, value.shape) for name, value in found.items()} == {
        name: (value.dtype, value.shape) for name, value in expected.items()
    }
    np.testing.assert_allclose(found["depth"], expected["depth"], rtol=0.02)


@pytest.mark.parametrize("network", ["v1", "v2", "nano"])
def test_errors_stay_under_a_hundredth(files, network) -> None:
    error = measure(onnx.load(files[network]), keeps_single)
    assert error.depth_p99 <= 0.01


def test_near_objects_need_the_single_state(files) -> None:
    """(depth - 200) / 100 is near -2 there, where half steps by 0.1 m: plain half is off by as much."""
    model = nearer(onnx.load(files["v2"]), metres=10)
    image = noise_image(56, 84)
    single = run_onnx(model, image)["depth"]
    near = (single > 0.5) & (single < 20)
    assert near.mean() > 0.3
    errors = {
        rule: np.percentile(
            np.abs(run_onnx(with_half_precision(model, keeps, emulated=True), image)["depth"] - single)[near], 99
        )
        for rule, keeps in (("plain", keeps_nothing_single), ("mixed", keeps_single))
    }
    assert errors["plain"] > 0.1
    assert errors["mixed"] < 0.5 * errors["plain"]


def test_the_errors_of_maps_that_are_known() -> None:
    depth = np.full((1, 1, 20, 20), 2.0, dtype=np.float32)
    normals = np.zeros((1, 3, 20, 20), dtype=np.float32)
    normals[:, 2] = -1
    tilted = normals.copy()
    tilted[:, 1], tilted[:, 2] = np.sin(np.radians(3)), -np.cos(np.radians(3))
    wrong = depth.copy()
    wrong[0, 0, 0, :7] = (*[2.2] * 6, np.nan)
    error = precision_error(
        {"depth": depth, "confidence": depth, "normals": normals},
        {"depth": wrong, "confidence": depth + 0.5, "normals": tilted},
    )
    assert error.depth_median == 0
    assert error.depth_p99 == pytest.approx(0.1, rel=1e-5)
    assert error.depth_max == np.inf
    assert error.confidence_p99 == 0.5
    assert error.normal_p99_deg == pytest.approx(3, rel=1e-3)


@pytest.mark.parametrize("content", [b"", b"no ONNX at all"])
def test_what_is_no_network_is_one_sentence(content, tmp_path, capsys) -> None:
    source = tmp_path / "bad.onnx"
    source.write_bytes(content)
    assert main([str(source), "--out", str(tmp_path / "mixed.onnx")]) == 2
    assert "export it with training.export" in capsys.readouterr().err
    assert main([str(tmp_path / "none.onnx"), "--out", str(tmp_path / "mixed.onnx")]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["bad.onnx"]


def test_a_folder_that_cannot_be_written(files, tmp_path, capsys) -> None:
    assert main([str(files["v1"]), "--out", str(tmp_path / "none" / "mixed.onnx")]) == 2
    assert "cannot write" in capsys.readouterr().err
