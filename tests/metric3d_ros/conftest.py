from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

HEIGHT_PX, WIDTH_PX = 32, 64


@pytest.fixture
def channel_network(tmp_path: Path) -> Path:
    """A real ONNX network whose canonical depth is the red channel and whose confidence is green / 255."""
    maps = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, HEIGHT_PX, WIDTH_PX])
        for name in ("depth", "confidence")
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, HEIGHT_PX, WIDTH_PX])
    graph = helper.make_graph(
        [
            helper.make_node("Split", ["image"], ["depth", "green", "blue"], axis=1),
            helper.make_node("Div", ["green", "white"], ["confidence"]),
        ],
        "channels",
        [image],
        maps,
        [helper.make_tensor("white", TensorProto.FLOAT, [1], [255.0])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    helper.set_model_props(model, {"model": "channels", "canonical_focal_px": "1000", "min_confidence": "0.5"})
    path = tmp_path / "channels.onnx"
    onnx.save(model, str(path))
    return path
