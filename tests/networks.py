"""Tiny, real ONNX networks: the red channel is the depth, so that what comes out can be said by hand."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

OPSET = 11
IR_VERSION = 8


def write_network(
    path: Path,
    *,
    height_px: int | str = 32,
    width_px: int | str = 64,
    inputs: tuple[str, ...] = ("image",),
    outputs: tuple[str, ...] = ("depth", "confidence", "normals"),
    half: bool = False,
    first_row_shape: list[int] | None = None,
    rank: int = 4,
    batch: int | str = 1,
    metadata: dict[str, str] | None = None,
) -> Path:
    """Depth is red, confidence green / 255, and normals (red, green, -255) / 255; sizes given by name are free.

    ``half`` computes the depth in half precision; ``rank`` 3 leaves the channel out of depth and confidence. With
    a ``first_row_shape``, (1,) for what engines take, it looks twice: depth over ``first_row`` is green instead.
    """
    depth, confidence, normals = (*outputs, None, None)[:3]
    nodes = [helper.make_node("Split", [inputs[0]], ["red", "green", "blue"], axis=1)]
    if first_row_shape is not None:
        nodes += [
            helper.make_node("Less", ["rows", "first_row"], ["is_over"]),
            helper.make_node("Where", ["is_over", "green", "red"], ["joined"]),
        ]
    nodes += _map(nodes_name="red" if first_row_shape is None else "joined", output=depth, half=half, rank=rank)
    if confidence is not None:
        nodes += [helper.make_node("Div", ["green", "white"], ["share"])]
        nodes += _map(nodes_name="share", output=confidence, half=False, rank=rank)
    if normals is not None:
        nodes += [
            helper.make_node("Mul", ["blue", "zero"], ["none"]),
            helper.make_node("Sub", ["none", "white"], ["towards"]),
            helper.make_node("Concat", ["red", "green", "towards"], ["vectors"], axis=1),
            helper.make_node("Div", ["vectors", "white"], [normals]),
        ]
    image = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, 3, height_px, width_px]) for name in inputs
    ]
    if first_row_shape is not None:
        image.append(helper.make_tensor_value_info("first_row", TensorProto.FLOAT, first_row_shape))
    shapes = {
        name: [batch, 1, height_px, width_px] if rank == 4 else [batch, height_px, width_px] for name in outputs
    }
    if normals is not None:
        shapes[normals] = [batch, 3, height_px, width_px]
    maps = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]) for name in outputs]
    constants = [
        helper.make_tensor(name, TensorProto.FLOAT, [1], [value])
        for name, value in (("white", 255.0), ("zero", 0.0))
        if any(name in node.input for node in nodes)
    ]
    if first_row_shape is not None:
        rows = [float(row) for row in range(int(height_px))]
        constants.append(helper.make_tensor("rows", TensorProto.FLOAT, [1, 1, len(rows), 1], rows))
    graph = helper.make_graph(nodes, "red_is_depth", image, maps, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, str(path))
    return path


def _map(nodes_name: str, output: str, half: bool, rank: int) -> list[onnx.NodeProto]:
    name = nodes_name
    nodes = []
    if half:
        nodes += [
            helper.make_node("Cast", [name], [f"{name}_half"], to=TensorProto.FLOAT16),
            helper.make_node("Abs", [f"{name}_half"], [f"{name}_abs"]),
            helper.make_node("Cast", [f"{name}_abs"], [f"{name}_full"], to=TensorProto.FLOAT),
        ]
        name = f"{name}_full"
    if rank == 3:
        nodes.append(helper.make_node("Squeeze", [name], [output], axes=[1]))
    else:
        nodes.append(helper.make_node("Identity", [name], [output]))
    return nodes
