"""A torch network into an ONNX file that any engine from TensorRT 8.5 on can read, checked against torch.

The graph is static (batch 1, one size) and holds no shape arithmetic: what can be computed at export is constant.
Opset 16 is the last without a LayerNormalization operator, which TensorRT 8.5 and 8.6 cannot parse.
"""

from __future__ import annotations

import hashlib
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from metric3d_ros.atomic_file import make_output_folder
from metric3d_ros.engines.agreement import FIRST_ROW_SHARE
from training.errors import TrainingError

OPSET = 16
INPUT_NAME = "image"
FIRST_ROW_NAME = "first_row"
MAX_RELATIVE_DIFFERENCE = 1e-3
# Metric3D v2 has its depth as 200 - x, so single precision itself is only good to some 1e-4 m however near: the
# difference of a depth below this is measured against this.
MIN_COMPARED_DEPTH = 1.0
# A protobuf file ends at 2 GiB; a network that comes near it (vit_giant2) keeps its weights in a file beside.
MAX_BYTES_IN_ONE_FILE = 1_900_000_000


def weights_sha256(weights: Mapping[str, Tensor]) -> str:
    """Fingerprint of the weights, by name, so that a file can be traced to the run that made it."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def write_onnx(
    network: nn.Module,
    output_names: Sequence[str],
    size_px: tuple[int, int],
    metadata: Mapping[str, str],
    out: Path,
    *,
    looks_twice: bool = False,
) -> float:
    """Write a network and return the largest difference between ONNX Runtime and torch.

    Parameters
    ----------
    network : takes raw RGB (1, 3, height, width) from 0 to 255, returns one map per output name, ``depth`` first.
    size_px : height and width.
    metadata : what the file says of itself.
    looks_twice : whether it takes the row that parts its looks, (1,), as well (``training.two_looks``).

    Raises
    ------
    TrainingError
        If ONNX Runtime and torch differ by more than ``MAX_RELATIVE_DIFFERENCE``, or the file cannot be written;
        then whatever was at ``out`` before is still there.
    OutputError
        If the folder of ``out`` cannot be written to.
    """
    folder = make_output_folder(out.parent)
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=f".{out.name}.") as workshop:
            traced, finished = Path(workshop) / "traced.onnx", Path(workshop) / out.name
            input_names = (INPUT_NAME, FIRST_ROW_NAME) if looks_twice else (INPUT_NAME,)
            _trace(network, input_names, output_names, size_px, traced)
            fold_constants(traced, finished, weights_beside=_weight_bytes(network) > MAX_BYTES_IN_ONE_FILE)
            _describe(finished, metadata)
            difference = difference_to_torch(network, input_names, output_names, size_px, finished)
            if not difference <= MAX_RELATIVE_DIFFERENCE:
                raise TrainingError(
                    f"ONNX Runtime differs from torch by {difference:.2e} relative, more than "
                    f"{MAX_RELATIVE_DIFFERENCE:g}; {out} was not written: try another torch version."
                )
            _publish(finished, out)
    except OSError as error:
        raise TrainingError(
            f"cannot write {out}: {error.strerror or error}; free some space or choose another folder."
        ) from error
    return difference


def _trace(
    network: nn.Module,
    input_names: Sequence[str],
    output_names: Sequence[str],
    size_px: tuple[int, int],
    path: Path,
) -> None:
    image = np.zeros((1, 3, *size_px), dtype=np.float32)
    with warnings.catch_warnings():
        # The tracer is called legacy and warns of every size it makes a constant, which is what is wanted; the new
        # exporter cannot write opset 16.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            tuple(torch.from_numpy(values) for values in _inputs(input_names, image).values()),
            str(path),
            input_names=list(input_names),
            output_names=list(output_names),
            opset_version=OPSET,
            dynamo=False,
        )


def _weight_bytes(network: nn.Module) -> int:
    return sum(weight.numel() * weight.element_size() for weight in network.parameters())


def fold_constants(source: Path, target: Path, weights_beside: bool = False) -> None:
    """Replace everything that does not depend on the image by its value, with standard operators only.

    ONNX Runtime's basic level does it; what it declares beyond the standard operators is not used and is removed.
    With ``weights_beside`` the weights go into ``weights_file(target)``.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    if weights_beside:
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_file_name", weights_file(target).name
        )
    onnxruntime.InferenceSession(
        str(source),
        options,
        providers=["CPUExecutionProvider"],
        # They rewrite linear layers and transposes for this runtime, which hides attention from other compilers
        # and takes the layers' names from the nodes.
        disabled_optimizers=["MatMulAddFusion", "TransposeOptimizer"],
    )
    model = onnx.load(target, load_external_data=False)
    standard = [entry for entry in model.opset_import if not entry.domain]
    del model.opset_import[:]
    model.opset_import.extend(standard)
    _restore_order(model.graph, onnx.load(source, load_external_data=False).graph)
    if len(convolutions_of_looks(model.graph)) > 1:
        keep_equal_constants_once(model.graph)
    onnx.save(model, target)


def _restore_order(graph: onnx.GraphProto, traced: onnx.GraphProto) -> None:
    """Put the nodes in the order of the forward pass, which is how people and warm starts read a graph."""
    position = {output: index for index, node in enumerate(traced.node) for output in node.output}
    nodes = list(graph.node)
    if not all(node.output[0] in position for node in nodes):
        return
    nodes.sort(key=lambda node: position[node.output[0]])
    del graph.node[:]
    graph.node.extend(nodes)


def convolutions_of_looks(graph: onnx.GraphProto) -> list[list[onnx.NodeProto]]:
    """The convolutions in the order of the forward pass, of each look that the network has."""
    nodes = [node for node in graph.node if node.op_type == "Conv"]
    if all(entry.name != FIRST_ROW_NAME for entry in graph.input):
        return [nodes]
    return [nodes[: len(nodes) // 2], nodes[len(nodes) // 2 :]]


def keep_equal_constants_once(graph: onnx.GraphProto) -> None:
    """Let equal constants be one, as the weights of two looks are, and drop what is not used."""
    used = {name for node in graph.node for name in node.input}
    kept: dict[tuple[int, tuple[int, ...], bytes], onnx.TensorProto] = {}
    name_of: dict[str, str] = {}
    for tensor in (tensor for tensor in graph.initializer if tensor.name in used):
        key = (tensor.data_type, tuple(tensor.dims), onnx.numpy_helper.to_array(tensor).tobytes())
        name_of[tensor.name] = kept.setdefault(key, tensor).name
    for node in graph.node:
        node.input[:] = [name_of.get(name, name) for name in node.input]
    tensors = list(kept.values())
    del graph.initializer[:]
    graph.initializer.extend(tensors)


def weights_file(path: Path) -> Path:
    """Where the weights of an ONNX file are that is too large for one file."""
    return path.with_name(f"{path.name}.data")


def _describe(path: Path, metadata: Mapping[str, str]) -> None:
    model = onnx.load(path, load_external_data=False)
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.save(model, path)


def _publish(finished: Path, out: Path) -> None:
    if weights_file(finished).exists():
        weights_file(finished).replace(weights_file(out))
    finished.replace(out)


def difference_to_torch(
    network: nn.Module,
    input_names: Sequence[str],
    output_names: Sequence[str],
    size_px: tuple[int, int],
    path: Path,
) -> float:
    """Largest difference between ONNX Runtime and torch on noise, relative in depth and absolute in other maps."""
    image = np.random.default_rng(0).uniform(0, 255, size=(1, 3, *size_px)).astype(np.float32)
    found = run_onnx(path, image)
    with torch.inference_mode():
        outputs = network(*(torch.from_numpy(values) for values in _inputs(input_names, image).values()))
    expected = dict(zip(output_names, (output.numpy() for output in outputs), strict=True))
    depth_error = np.abs(found["depth"] - expected["depth"])
    relative = depth_error / np.maximum(np.abs(expected["depth"]), MIN_COMPARED_DEPTH)
    others = [np.abs(found[name] - expected[name]) for name in output_names if name != "depth"]
    return float(max(np.max(error) for error in (relative, *others)))


def run_onnx(
    file_or_model: Path | onnx.ModelProto, image: NDArray[np.float32], threads: int = 1
) -> dict[str, NDArray[np.float32]]:
    """Every output of a network on the CPU for raw RGB (1, 3, height, width), with every look that it has."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    source = str(file_or_model) if isinstance(file_or_model, Path) else file_or_model.SerializeToString()
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    feeds = _inputs([entry.name for entry in session.get_inputs()], image)
    return dict(zip(names, session.run(names, feeds), strict=True))


def _inputs(names: Sequence[str], image: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """What a network takes: the image and, for one that looks twice, a row through it."""
    feeds = {INPUT_NAME: image}
    if FIRST_ROW_NAME in names:
        feeds[FIRST_ROW_NAME] = np.array([round(FIRST_ROW_SHARE * image.shape[2])], dtype=np.float32)
    return feeds
