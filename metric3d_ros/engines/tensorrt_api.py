"""The one file that imports TensorRT: an ONNX file to an engine plan, and a plan to something that runs.

Only calls that TensorRT 8.5 to 11 share are used (tensors by name, never by index); what one of them lacks is
asked for by ``hasattr``:

- Strong typing (from 9 on) keeps the file's own types to the letter; before, layers are asked to keep theirs.
- Half by a flag (until 10) makes a file that is all float32 half wherever TensorRT likes; 11 cannot.
- Progress (from 9 on) is told by phases; before, only that time goes by.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metric3d_ros.engines.tensorrt_log import build_progress, tensorrt_logger
from metric3d_ros.errors import EngineError, MissingDependencyError

FP16, FP32 = "fp16", "fp32"
PRECISIONS = (FP32, FP16)
FREE_LENGTH = -1
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BuildRequest:
    """What to build: an ONNX file, in ``fp32`` or ``fp16``, for one input tensor and its shape."""

    onnx_file: Path
    precision: str
    input_name: str
    input_shape: tuple[int, int, int, int]


@dataclass(frozen=True)
class BuiltPlan:
    """A serialised engine, the timings that building another can reuse, and how its types were chosen."""

    plan: bytes
    timing_cache: bytes
    typing: str


@dataclass(frozen=True)
class PlanTensor:
    """One input or output of a plan."""

    name: str
    is_input: bool
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def size_bytes(self) -> int:
        """Bytes of the whole tensor."""
        return int(np.prod(self.shape)) * self.dtype.itemsize


def tensorrt_version() -> str:
    """The version of the TensorRT that is installed.

    Raises
    ------
    MissingDependencyError
        If there is none, or it does not load.
    """
    return str(_tensorrt().__version__)


def build_plan(request: BuildRequest, timing_cache: bytes = b"") -> BuiltPlan:
    """Build an engine for this machine's GPU; this takes minutes and says so in the log.

    Raises
    ------
    EngineError
        If TensorRT cannot parse the file, cannot build it, or cannot give it that precision.
    """
    trt = _tensorrt()
    logger = tensorrt_logger(trt)
    builder = _made(trt.Builder, "a builder", logger)
    parsed = _parsed(trt, builder, logger, request)
    network, typing = parsed.network, parsed.typing
    config = _made(builder.create_builder_config, "a builder configuration")
    _set_precision(trt, config, network, typing)
    _fix_shape(builder, config, network, request)
    cache = config.create_timing_cache(timing_cache) or config.create_timing_cache(b"")
    config.set_timing_cache(cache, ignore_mismatch=False)
    with build_progress(trt, config, f"{request.onnx_file.name} {request.precision}"):
        plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError(
            f"TensorRT {trt.__version__} could not build {request.onnx_file} in {request.precision}: "
            f"{logger.last_error}; free GPU memory or try another precision."
        )
    return BuiltPlan(plan=bytes(plan), timing_cache=bytes(cache.serialize()), typing=typing)


class LoadedPlan:
    """A plan that is ready to run on this machine's GPU, its input's shape fixed.

    Attributes
    ----------
    tensors : its inputs and outputs.

    Raises
    ------
    EngineError
        If TensorRT refuses the plan: it is corrupt, of another TensorRT version or GPU, or of another shape.
    """

    def __init__(self, plan: bytes, input_name: str, input_shape: tuple[int, ...]) -> None:
        trt = _tensorrt()
        logger = tensorrt_logger(trt)
        # An engine holds its runtime by pointer only, so the runtime is kept.
        self._runtime = _made(trt.Runtime, "a runtime", logger)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise EngineError(
                f"TensorRT {trt.__version__} cannot load the plan: {logger.last_error}; build it again."
            )
        self._context = _made(self._engine.create_execution_context, "an execution context")
        if not self._context.set_input_shape(input_name, input_shape):
            raise EngineError(
                f"the plan does not take {input_name} of shape {input_shape}: {logger.last_error}; build it again."
            )
        self.tensors = tuple(self._tensors(trt))

    def set_address(self, name: str, device_address: int) -> None:
        """Say where on the GPU a tensor lives."""
        if not self._context.set_tensor_address(name, device_address):
            raise EngineError(f"the plan has no tensor {name}; build it again.")

    def enqueue(self, stream: int) -> None:
        """Queue one inference on a CUDA stream."""
        if not self._context.execute_async_v3(stream):
            raise EngineError("TensorRT could not queue the inference; see what it says above and build again.")

    def _tensors(self, trt: Any) -> Iterator[PlanTensor]:
        engine, context = self._engine, self._context
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            yield PlanTensor(
                name=name,
                is_input=engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT,
                shape=tuple(int(length) for length in context.get_tensor_shape(name)),
                dtype=_numpy_type(trt, engine.get_tensor_dtype(name), name),
            )


def _tensorrt() -> Any:
    try:
        import tensorrt
    except Exception as error:  # its own loader raises whatever the missing library made it stumble over
        raise MissingDependencyError(
            f"TensorRT is not installed or does not load ({type(error).__name__}: {_one_line(str(error))}); "
            "install it with pip install tensorrt, or through JetPack on a Jetson."
        ) from error
    return tensorrt


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _made(make: Any, what: str, *arguments: Any) -> Any:
    """What a TensorRT call makes; without a GPU some of them return nothing and some raise TypeError."""
    try:
        made = make(*arguments)
    except TypeError:
        made = None
    if made is None:
        raise EngineError(f"TensorRT could not make {what}; check the GPU with nvidia-smi.")
    return made


@dataclass(frozen=True)
class _Parsed:
    """A network, the parser that owns its weights' memory until the build is over, and how its types are chosen.

    ``typing`` is ``strong`` (the file's, to the letter), ``kept`` (the file's, asked for), ``free`` (TensorRT's).
    """

    network: Any
    parser: Any
    typing: str


def _parsed(trt: Any, builder: Any, logger: Any, request: BuildRequest) -> _Parsed:
    has_strong_typing = hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")
    network, parser = _parse(trt, builder, logger, request, strongly_typed=has_strong_typing)
    has_half = _has_half(trt, network)
    if has_half and request.precision == FP32:
        raise EngineError(
            f"{request.onnx_file} holds half precision; build it with --precision fp16, or export it in float32."
        )
    if has_half or request.precision == FP32:
        return _Parsed(network, parser, "strong" if has_strong_typing else "kept")
    if not hasattr(trt.BuilderFlag, "FP16"):
        raise EngineError(
            f"{request.onnx_file} is all float32 and TensorRT {trt.__version__} takes precisions from the file; "
            "make a mixed-precision file with training.mixed_precision and build that."
        )
    _log.warning(
        "%s is all float32, so TensorRT chooses where to use half; a mixed-precision file says where it is safe.",
        request.onnx_file.name,
    )
    return _Parsed(*_parse(trt, builder, logger, request, strongly_typed=False), "free")


def _parse(trt: Any, builder: Any, logger: Any, request: BuildRequest, *, strongly_typed: bool) -> tuple[Any, Any]:
    flags = trt.NetworkDefinitionCreationFlag
    chosen = [flags.STRONGLY_TYPED] if strongly_typed else []
    if hasattr(flags, "EXPLICIT_BATCH"):
        chosen.append(flags.EXPLICIT_BATCH)
    network = _made(builder.create_network, "a network", sum(1 << int(flag) for flag in chosen))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(request.onnx_file)):
        reasons = "; ".join(_one_line(parser.get_error(index).desc()) for index in range(parser.num_errors))
        raise EngineError(
            f"TensorRT {trt.__version__} cannot parse {request.onnx_file}: {reasons or logger.last_error}; "
            "export it with training.export (opset 16)."
        )
    return network, parser


def _has_half(trt: Any, network: Any) -> bool:
    return any(kind == trt.DataType.HALF for kind in _output_types(network))


def _output_types(network: Any) -> Iterator[Any]:
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        for output in range(layer.num_outputs):
            yield layer.get_output(output).dtype


def _set_precision(trt: Any, config: Any, network: Any, typing: str) -> None:
    if hasattr(trt.BuilderFlag, "TF32"):
        # TensorFloat32 keeps 10 bits of a float32's 23; who asks for fp32 asks for those.
        config.clear_flag(trt.BuilderFlag.TF32)
    if typing == "strong":
        return
    has_half = _has_half(trt, network)
    if typing == "free" or has_half:
        config.set_flag(trt.BuilderFlag.FP16)
    if typing == "kept" and has_half:
        config.set_flag(trt.BuilderFlag.PREFER_PRECISION_CONSTRAINTS)
        _keep_types(trt, network)


def _keep_types(trt: Any, network: Any) -> None:
    """Ask every layer that computes in float32 or half in the file to do so in the engine."""
    floats = (trt.DataType.FLOAT, trt.DataType.HALF)
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        types = [layer.get_output(output).dtype for output in range(layer.num_outputs)]
        if layer.type == trt.LayerType.CONSTANT or not types or any(kind not in floats for kind in types):
            continue
        layer.precision = types[0]
        for output, kind in enumerate(types):
            layer.set_output_type(output, kind)


def _fix_shape(builder: Any, config: Any, network: Any, request: BuildRequest) -> None:
    """Build a network of free size for the one size asked for; one of fixed size needs nothing."""
    if FREE_LENGTH not in tuple(network.get_input(0).shape):
        return
    profile = builder.create_optimization_profile()
    profile.set_shape(request.input_name, request.input_shape, request.input_shape, request.input_shape)
    config.add_optimization_profile(profile)


def _numpy_type(trt: Any, kind: Any, name: str) -> np.dtype[Any]:
    if kind == trt.DataType.FLOAT:
        return np.dtype(np.float32)
    if kind == trt.DataType.HALF:
        return np.dtype(np.float16)
    raise EngineError(f"the plan's tensor {name} is {kind}, not float32 or half; export its network again.")
