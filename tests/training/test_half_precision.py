"""Types, casts and rounding of a graph that is brought to half precision."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from training.errors import TrainingError
from training.half_precision import with_half_precision
from training.onnx_file import run_onnx

CHANNELS = 4


def chain(*nodes: onnx.NodeProto, constants: dict[str, np.ndarray] | None = None) -> onnx.ModelProto:
    """Nodes from ``image`` to ``depth``, both (1, CHANNELS)."""
    shape = [1, CHANNELS]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("depth", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)


def node(operator: str, inputs: str, output: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), [output], name=f"/{output}/{operator}", **attributes)


def state_of_two_steps() -> onnx.ModelProto:
    """depth = state + two steps, as a recurrent refinement has it, around a convolution's worth of half."""
    step = np.full((1, CHANNELS), 0.3, dtype=np.float32)
    return chain(
        node("Mul", "image gain", "features"),
        node("Add", "start features", "state0"),
        node("Mul", "features gain", "more"),
        node("Add", "state0 more", "state1"),
        node("Identity", "state1", "depth"),
        constants={"gain": step, "start": np.full((1, CHANNELS), -1.99, dtype=np.float32)},
    )


def protects_state(candidate: onnx.NodeProto) -> bool:
    return "/state" in candidate.name


def element_types(model: onnx.ModelProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    return {value.name: value.type.tensor_type.elem_type for value in [*inferred.value_info, *inferred.output]}


def half(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float16).astype(np.float32)


def test_a_tensor_has_the_precision_of_its_node_and_casts_stand_where_two_meet() -> None:
    model = with_half_precision(state_of_two_steps(), protects_state)
    onnx.checker.check_model(model, full_check=True)
    types = element_types(model)
    assert {name: types[name] for name in ("features", "more", "state0", "state1", "depth")} == {
        "features": TensorProto.FLOAT16,
        "more": TensorProto.FLOAT16,
        "state0": TensorProto.FLOAT,
        "state1": TensorProto.FLOAT,
        "depth": TensorProto.FLOAT,
    }
    casts = [n.input[0] for n in model.graph.node if n.op_type == "Cast"]
    # The state goes from step to step without a cast.
    assert casts == ["image", "features", "more"]


def test_a_protected_state_is_not_rounded_between_its_steps() -> None:
    image = np.linspace(0.001, 0.1, CHANNELS, dtype=np.float32)[None]
    gain = half(np.float32(0.3))
    features = half(half(image) * gain)
    expected = (np.float32(-1.99) + features) + half(features * gain)
    found = run_onnx(with_half_precision(state_of_two_steps(), protects_state, emulated=True), image)["depth"]
    np.testing.assert_array_equal(found, expected)
    # Half has steps of 0.001 there.
    plain = run_onnx(with_half_precision(state_of_two_steps(), lambda _: False, emulated=True), image)["depth"]
    assert np.abs(plain - expected).max() > 1e-4


@given(st.lists(st.floats(-100, 100, width=32), min_size=CHANNELS, max_size=CHANNELS))
def test_emulated_half_is_numpy_s_half_after_every_operator(values: list[float]) -> None:
    offset = np.float32([[0.1, -3.3, 1000.5, 7e-5]])
    model = chain(
        node("Add", "image offset", "sum"),
        node("Sigmoid", "sum", "share"),
        node("Mul", "share offset", "depth"),
        constants={"offset": offset},
    )
    image = np.float32([values])
    total = half(half(image) + half(offset))
    with np.errstate(over="ignore"):
        share = half((1 / (1 + np.exp(-total.astype(np.float64)))).astype(np.float32))
    expected = half(share * half(offset))
    found = run_onnx(with_half_precision(model, lambda _: False, emulated=True), image)["depth"]
    # One step of half, the smallest 2^-24: a sigmoid may fall on either side of the middle between two.
    one_step = 2**-10 * np.abs(expected) + 2**-23 * (1 + np.abs(offset))
    assert (np.abs(found - expected) <= one_step).all(), (found, expected)


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=CHANNELS, max_size=CHANNELS))
def test_all_protected_is_the_original(values: list[float]) -> None:
    model, image = state_of_two_steps(), np.float32([values])
    for emulated in (False, True):
        kept = with_half_precision(model, lambda _: True, emulated=emulated)
        assert not [n for n in kept.graph.node if n.op_type == "Cast"]
        np.testing.assert_array_equal(run_onnx(kept, image)["depth"], run_onnx(model, image)["depth"])


def test_a_half_output_comes_back_single() -> None:
    model = with_half_precision(state_of_two_steps(), lambda _: False)
    onnx.checker.check_model(model, full_check=True)
    found = run_onnx(model, np.ones((1, CHANNELS), dtype=np.float32))["depth"]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, -1.99 + 0.3 + 0.09, atol=2e-3)


def test_moving_operators_take_the_precision_of_what_they_move() -> None:
    model = chain(
        node("Mul", "image gain", "state"),
        node("Split", "state", "left"),
        node("Concat", "left right", "joined", axis=1),
        node("Mul", "joined gain", "depth"),
        constants={"gain": np.ones((1, CHANNELS), dtype=np.float32)},
    )
    split = model.graph.node[1]
    split.output.append("right")
    split.attribute.append(helper.make_attribute("axis", 1))
    types = element_types(with_half_precision(model, protects_state))
    assert types["left"] == types["right"] == types["joined"] == TensorProto.FLOAT


def test_the_scales_of_a_resize_stay_single() -> None:
    graph = helper.make_graph(
        [helper.make_node("Resize", ["image", "", "scales"], ["depth"], name="/Resize", mode="nearest")],
        "resize",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 2, 2])],
        [helper.make_tensor_value_info("depth", TensorProto.FLOAT, [1, 1, 4, 4])],
        [numpy_helper.from_array(np.float32([1, 1, 2, 2]), "scales")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)
    resized = with_half_precision(model, lambda _: False)
    onnx.checker.check_model(resized, full_check=True)
    onnxruntime.InferenceSession(resized.SerializeToString(), providers=["CPUExecutionProvider"])


def test_a_weight_beyond_half_is_named() -> None:
    model = chain(
        node("Mul", "image gain", "depth"), constants={"gain": np.full((1, CHANNELS), 7e4, dtype=np.float32)}
    )
    with pytest.raises(TrainingError, match="weight gain reaches 70000, more than half precision holds"):
        with_half_precision(model, lambda _: False)
    with_half_precision(model, lambda _: True)


def test_a_graph_within_the_graph_is_refused() -> None:
    nested = helper.make_graph([], "nested", [], [])
    condition = helper.make_node("If", ["image"], ["depth"], name="/If", then_branch=nested, else_branch=nested)
    with pytest.raises(TrainingError, match="/If holds a graph within the graph"):
        with_half_precision(chain(condition), lambda _: False)
