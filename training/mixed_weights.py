"""Between what a run began with and what it became: the two networks' weights, averaged.

A network trained on becomes better at what it is trained with and may lose some of what it could elsewhere. The
mean of its weights and of those it began with keeps most of both (Wortsman et al., "Robust fine-tuning of
zero-shot models", CVPR 2022): W = (1 - a) W_trained + a W_start. Convolutions are averaged as they are exported,
with their batch normalisations folded in.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from metric3d_ros.atomic_file import atomic_file
from training.errors import TrainingError


def mix_with_start(exported: Path, start: Path, start_share: float, out: Path) -> None:
    """Write an exported network with its convolutions moved towards those of another of the same architecture.

    Parameters
    ----------
    exported : a file, which stays as it is.
    start : may be of another input size.
    start_share : from 0 (as ``exported``) to 1 (the weights of ``start``).
    out : written whole or not at all, may be ``exported``; its metadata says ``start_share``.

    Raises
    ------
    TrainingError
        If the share lies outside, or the networks differ in architecture.
    """
    if not 0 <= start_share <= 1:
        raise TrainingError(f"the start's share is {start_share:g}; give one from 0 to 1.")
    model = onnx.load(exported)
    trained, begun = _convolution_tensors(model), _convolution_tensors(onnx.load(start))
    if [tensor.dims for tensor in trained] != [tensor.dims for tensor in begun]:
        raise TrainingError(f"{start} is of another architecture than {exported}; mix a run with its own start.")
    for ours, theirs in zip(trained, begun, strict=True):
        mixed = (1 - start_share) * _values(ours) + start_share * _values(theirs)
        ours.CopyFrom(onnx.numpy_helper.from_array(mixed.astype(np.float32), ours.name))
    properties = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, {**properties, "start_share": f"{start_share:g}"})
    with atomic_file(out) as file:
        file.write(model.SerializeToString())


def _convolution_tensors(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    """Weights and shifts in the order of the graph."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    return [stored[name] for node in model.graph.node if node.op_type == "Conv" for name in node.input[1:]]


def _values(tensor: onnx.TensorProto) -> NDArray[np.float64]:
    return np.asarray(onnx.numpy_helper.to_array(tensor), dtype=np.float64)
