"""An ONNX graph with half precision where a rule allows it: types, casts and constants, one tensor at a time.

A converter that wraps every protected node into casts, as ONNX Runtime's does, rounds to half between two such
nodes, so that a recurrent state kept in single precision by name is still rounded at every step. Here a tensor has
the precision of the node that makes it, and a cast stands only where the two meet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from training.errors import TrainingError

# These hand values on, so they have the precision of what they are given.
MOVING_OPERATORS = frozenset(
    (
        *("Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "Pad", "Relu", "Reshape", "Resize"),
        *("Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"),
    )
)
# Their type is fixed by the operator: the scales of a Resize and its region.
SINGLE_ONLY_INPUTS = {"Resize": (1, 2)}
NESTED_OPERATORS = frozenset({"If", "Loop", "Scan"})
MAX_HALF = float(np.finfo(np.float16).max)

KeepsSingle = Callable[[onnx.NodeProto], bool]


def with_half_precision(
    model: onnx.ModelProto, keeps_single: KeepsSingle, emulated: bool = False
) -> onnx.ModelProto:
    """A copy of a graph whose nodes run in half precision, but for those that keep single.

    Inputs and outputs of the graph stay single.

    Parameters
    ----------
    keeps_single : says of a node whether it, and what it makes, stays in single precision.
    emulated : types stay single and every value that would be half is rounded to half instead. The sums inside an
        operator stay single, as in the tensor cores of a GPU. This measures half precision on a CPU, where ONNX
        Runtime would run half nodes in single and drop the casts between them, which hides most of the error.

    Raises
    ------
    TrainingError
        If the graph has subgraphs, or a weight is beyond half's range.
    """
    nested = [node.name for node in model.graph.node if node.op_type in NESTED_OPERATORS]
    if nested:
        raise TrainingError(
            f"{nested[0]} holds a graph within the graph; export the network with training.export."
        )
    rewriting = _Rewriting(_float_tensors(model), dict(_constants(model)), keeps_single, emulated)
    for node in model.graph.node:
        rewriting.add(node)
    for output in model.graph.output:
        rewriting.finish(output.name)
    return rewriting.model(model)


def _float_tensors(model: onnx.ModelProto) -> set[str]:
    inferred = onnx.shape_inference.infer_shapes(model).graph
    values = [*inferred.input, *inferred.output, *inferred.value_info]
    found = {value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    return found | {name for name, tensor in _constants(model) if tensor.data_type == TensorProto.FLOAT}


def _constants(model: onnx.ModelProto) -> list[tuple[str, onnx.TensorProto]]:
    return [(tensor.name, tensor) for tensor in model.graph.initializer]


@dataclass
class _Rewriting:
    """The graph that is being written, node by node in the order of the forward pass."""

    float_tensors: set[str]
    constants: dict[str, onnx.TensorProto]
    keeps_single: KeepsSingle
    emulated: bool
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    half: set[str] = field(default_factory=set)
    cast_tensors: dict[tuple[str, bool], str] = field(default_factory=dict)
    half_constants: dict[str, onnx.TensorProto] = field(default_factory=dict)

    def add(self, original: onnx.NodeProto) -> None:
        """Write one node, with what it needs before and after it."""
        node = onnx.NodeProto()
        node.CopyFrom(original)
        fixed = SINGLE_ONLY_INPUTS.get(node.op_type, ())
        free = [i for i, name in enumerate(node.input) if name in self.float_tensors and i not in fixed]
        runs_half = self._runs_half(node, free)
        for i in free:
            node.input[i] = self._in_precision(node.input[i], runs_half)
        self.nodes.append(node)
        if runs_half:
            self.half.update(node.output)
            if self.emulated and node.op_type not in MOVING_OPERATORS:
                self._round_outputs(node)

    def finish(self, output: str) -> None:
        """Bring an output of the graph back to single precision."""
        if output not in self.half or self.emulated:
            return
        inner = f"{output}_in_half"
        for node in self.nodes:
            node.input[:] = [inner if name == output else name for name in node.input]
            node.output[:] = [inner if name == output else name for name in node.output]
        self.nodes.append(_cast(inner, output, TensorProto.FLOAT))

    def model(self, original: onnx.ModelProto) -> onnx.ModelProto:
        """The whole model: the original's description around the new nodes, with the constants they use."""
        used = {name for node in self.nodes for name in node.input}
        constants = [t for t in (*self.constants.values(), *self.half_constants.values()) if t.name in used]
        graph = helper.make_graph(
            self.nodes, original.graph.name, original.graph.input, original.graph.output, constants
        )
        model = helper.make_model(
            graph, opset_imports=original.opset_import, ir_version=original.ir_version, producer_name="training"
        )
        model.metadata_props.extend(original.metadata_props)
        return model

    def _runs_half(self, node: onnx.NodeProto, free: list[int]) -> bool:
        if not free or self.keeps_single(node):
            return False
        if node.op_type in MOVING_OPERATORS:
            moved = [node.input[i] for i in free if node.input[i] not in self.constants]
            return all(name in self.half for name in moved)
        return True

    def _in_precision(self, name: str, wants_half: bool) -> str:
        if name in self.constants:
            return self._half_constant(name) if wants_half else name
        if wants_half == (name in self.half) or (self.emulated and not wants_half):
            return name
        key = (name, wants_half)
        if key not in self.cast_tensors:
            self.cast_tensors[key] = self._cast(name, wants_half)
        return self.cast_tensors[key]

    def _cast(self, name: str, to_half: bool) -> str:
        cast_name = f"{name}_as_{'half' if to_half else 'single'}"
        if self.emulated:
            self._round(name, cast_name)
        else:
            self.nodes.append(_cast(name, cast_name, TensorProto.FLOAT16 if to_half else TensorProto.FLOAT))
        return cast_name

    def _half_constant(self, name: str) -> str:
        half_name = f"{name}_as_half"
        if half_name not in self.half_constants:
            values = numpy_helper.to_array(self.constants[name])
            if np.abs(values).max(initial=0) > MAX_HALF:
                raise TrainingError(
                    f"weight {name} reaches {np.abs(values).max():g}, more than half precision holds "
                    f"({MAX_HALF:g}); keep its layer in single precision."
                )
            rounded = values.astype(np.float16)
            kept = rounded.astype(np.float32) if self.emulated else rounded
            self.half_constants[half_name] = numpy_helper.from_array(kept, half_name)
        return half_name

    def _round_outputs(self, node: onnx.NodeProto) -> None:
        for i, name in enumerate(node.output):
            node.output[i] = f"{name}_unrounded"
            self._round(node.output[i], name)

    def _round(self, name: str, rounded: str) -> None:
        self.nodes.append(_cast(name, f"{rounded}_bits", TensorProto.FLOAT16))
        self.nodes.append(_cast(f"{rounded}_bits", rounded, TensorProto.FLOAT))


def _cast(name: str, cast_name: str, to: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [name], [cast_name], name=f"{cast_name}/Cast", to=to)
