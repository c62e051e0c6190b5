"""Between what a run began with and what it became: the two networks' weights, averaged.

A network trained on becomes better at what it is trained with and may lose some of what it could elsewhere. The
mean of its weights and of those it began with keeps most of both (Wortsman et al., "Robust fine-tuning of
zero-shot models", CVPR 2022): W = (1 - a) W_trained + a W_start. Convolutions are averaged as they are exported,
with their batch normalisations folded in.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from metric3d_ros.atomic_file import atomic_file
from training.errors import TrainingError
from training.onnx_file import convolutions_of_looks, keep_equal_constants_once


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
    looks, begun = convolutions_of_looks(model.graph), onnx.load(start)
    convolutions = [node for look in looks for node in look]
    ours = _weights(model.graph, convolutions)
    theirs = _weights(begun.graph, convolutions_of_looks(begun.graph)[0]) * len(looks)
    if [weight.shape for weight in ours] != [weight.shape for weight in theirs]:
        raise TrainingError(f"{start} is of another architecture than {exported}; mix a run with its own start.")
    mixed = [(1 - start_share) * our + start_share * their for our, their in zip(ours, theirs, strict=True)]
    _set_weights(model.graph, convolutions, mixed)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, {**properties, "start_share": f"{start_share:g}"})
    with atomic_file(out) as file:
        file.write(model.SerializeToString())


def _weights(graph: onnx.GraphProto, convolutions: Sequence[onnx.NodeProto]) -> list[NDArray[np.float64]]:
    """Weights and shifts of each convolution in turn."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    return [
        np.asarray(onnx.numpy_helper.to_array(stored[name]), dtype=np.float64)
        for node in convolutions
        for name in node.input[1:]
    ]


def _set_weights(
    graph: onnx.GraphProto, convolutions: Sequence[onnx.NodeProto], weights: Sequence[NDArray[np.float64]]
) -> None:
    """Give each convolution its own, for some may have shared what was equal, then share what is equal now."""
    places = [(node, place) for node in convolutions for place in range(1, len(node.input))]
    tensors: dict[str, onnx.TensorProto] = {tensor.name: tensor for tensor in graph.initializer}
    taken: set[str] = set()
    for number, ((node, place), weight) in enumerate(zip(places, weights, strict=True)):
        if node.input[place] in taken:
            node.input[place] = f"{node.input[place]}_{number}"
        name = node.input[place]
        taken.add(name)
        tensors[name] = onnx.numpy_helper.from_array(weight.astype(np.float32), name)
    del graph.initializer[:]
    graph.initializer.extend(tensors.values())
    keep_equal_constants_once(graph)
