"""A GPU and a TensorRT for machines without: same calls, memory on the host, networks run by ONNX Runtime.

What these doubles offer is held against the real thing elsewhere: the driver's methods against ``CudaDriver`` and
TensorRT's names against the record in tests/data, so that they cannot drift into an interface of their own.
"""

from __future__ import annotations

import ctypes
import enum
import json
import types
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto

from metric3d_ros.errors import EngineError

MAGIC = b"FAKEPLAN"


class FakeDriver:
    """Work is done when its stream is waited for, not before; memory that was not given back is in ``memory``."""

    device_name = "Fake GPU"
    compute_capability = "8.7"

    def __init__(self, memory_bytes: int = 1 << 30, can_record: bool = True) -> None:
        self.memory: dict[int, ctypes.Array] = {}
        self.streams: dict[int, list[Callable[[], None]]] = {}
        self.graphs: dict[int, list[Callable[[], None]]] = {}
        self.launches = 0
        self._memory_bytes = memory_bytes
        self._can_record = can_record
        self._handles = 0

    def make_current(self) -> None:
        pass

    def memory_bytes(self) -> tuple[int, int]:
        return sum(map(len, self.memory.values())), self._memory_bytes

    def allocate(self, size_bytes: int) -> int:
        if sum(map(len, self.memory.values())) + size_bytes > self._memory_bytes:
            raise EngineError("CUDA's cuMemAlloc_v2 failed with CUDA_ERROR_OUT_OF_MEMORY; check the GPU.")
        block = (ctypes.c_uint8 * size_bytes)()
        self.memory[ctypes.addressof(block)] = block
        return ctypes.addressof(block)

    def free(self, address: int) -> None:
        del self.memory[address]

    def allocate_pinned(self, size_bytes: int) -> int:
        return self.allocate(size_bytes)

    def free_pinned(self, address: int) -> None:
        self.free(address)

    def create_stream(self) -> int:
        self._handles += 1
        self.streams[self._handles] = []
        return self._handles

    def destroy_stream(self, stream: int) -> None:
        del self.streams[stream]

    def copy_to_device(self, device_address: int, host_address: int, size_bytes: int, stream: int) -> None:
        self.enqueue(stream, lambda: ctypes.memmove(device_address, host_address, size_bytes))

    def copy_to_host(self, host_address: int, device_address: int, size_bytes: int, stream: int) -> None:
        self.enqueue(stream, lambda: ctypes.memmove(host_address, device_address, size_bytes))

    def synchronize(self, stream: int) -> None:
        work, self.streams[stream] = self.streams[stream], []
        for step in work:
            step()

    def record_graph(self, stream: int, enqueue: Callable[[], None]) -> int:
        if not self._can_record:
            raise EngineError(
                "CUDA's cuStreamEndCapture failed with CUDA_ERROR_STREAM_CAPTURE_INVALIDATED; check."
            )
        assert not self.streams[stream], "work was waiting when the recording began"
        enqueue()
        self._handles += 1
        self.graphs[self._handles], self.streams[stream] = self.streams[stream], []
        return self._handles

    def launch_graph(self, graph: int, stream: int) -> None:
        self.launches += 1
        self.streams[stream] += self.graphs[graph]

    def destroy_graph(self, graph: int) -> None:
        del self.graphs[graph]

    def enqueue(self, stream: int, step: Callable[[], None]) -> None:
        self.streams[stream].append(step)


def fake_tensorrt(driver: FakeDriver, version: str = "10.7.0", spoil: Callable | None = None) -> types.ModuleType:
    """A ``tensorrt`` module of that version; ``spoil`` changes each output map, as a bad engine would."""
    major = int(version.partition(".")[0])
    has_strong_typing, has_half_flag = major >= 9, major < 11
    trt = types.ModuleType("tensorrt")
    trt.__version__ = version
    trt.builds = []

    class ILogger:
        INTERNAL_ERROR, ERROR, WARNING, INFO = range(4)

        def __init__(self) -> None:
            pass

    flags = {"STRONGLY_TYPED": 1} if has_strong_typing else {}
    builder_flags = {"TF32": 0, "PREFER_PRECISION_CONSTRAINTS": 1} | ({"FP16": 2} if has_half_flag else {})
    trt.ILogger = ILogger
    trt.NetworkDefinitionCreationFlag = enum.IntEnum(
        "NetworkDefinitionCreationFlag", {"EXPLICIT_BATCH": 0} | flags
    )
    trt.BuilderFlag = enum.IntEnum("BuilderFlag", builder_flags)
    trt.DataType = enum.Enum("DataType", "FLOAT HALF INT32")
    trt.LayerType = enum.Enum("LayerType", "CONSTANT OTHER")
    trt.TensorIOMode = enum.Enum("TensorIOMode", "INPUT OUTPUT")
    kinds = {TensorProto.FLOAT: trt.DataType.FLOAT, TensorProto.FLOAT16: trt.DataType.HALF}

    class ITensor:
        def __init__(self, dtype: enum.Enum, shape: tuple[int, ...] = ()) -> None:
            self.dtype = dtype
            self.shape = shape

    class ILayer:
        def __init__(self, kind: enum.Enum, dtype: enum.Enum) -> None:
            self.type = kind
            self.num_outputs = 1
            self.precision = None
            self._dtype = dtype
            self.asked_type = None

        def get_output(self, index: int) -> ITensor:
            return ITensor(self._dtype)

        def set_output_type(self, index: int, dtype: enum.Enum) -> None:
            self.asked_type = dtype

    class INetworkDefinition:
        def __init__(self, flags: int) -> None:
            self.flags = flags
            self.onnx = b""
            self.layers: list[ILayer] = []
            self.inputs: list[ITensor] = []

        def get_input(self, index: int) -> ITensor:
            return self.inputs[index]

        @property
        def num_layers(self) -> int:
            return len(self.layers)

        def get_layer(self, index: int) -> ILayer:
            return self.layers[index]

    class ParserError:
        def __init__(self, text: str) -> None:
            self._text = text

        def desc(self) -> str:
            return self._text

    class OnnxParser:
        def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
            self._network = network
            self._errors: list[ParserError] = []

        @property
        def num_errors(self) -> int:
            return len(self._errors)

        def get_error(self, index: int) -> ParserError:
            return self._errors[index]

        def parse_from_file(self, model: str) -> bool:
            parsed = onnx.shape_inference.infer_shapes(onnx.load(model))
            types_of = {value.name: value.type.tensor_type.elem_type for value in parsed.graph.value_info}
            types_of |= {value.name: value.type.tensor_type.elem_type for value in parsed.graph.output}
            for node in parsed.graph.node:
                if node.op_type == "LayerNormalization":
                    self._errors.append(ParserError("No importer registered for op: LayerNormalization"))
                dtype = kinds.get(types_of.get(node.output[0], 0), trt.DataType.INT32)
                self._network.layers.append(ILayer(trt.LayerType.OTHER, dtype))
            self._network.parser = weakref.ref(self)
            for value in parsed.graph.input:
                lengths = [axis.dim_value if axis.dim_value else -1 for axis in value.type.tensor_type.shape.dim]
                self._network.inputs.append(ITensor(trt.DataType.FLOAT, tuple(lengths)))
            self._network.onnx = Path(model).read_bytes()
            return not self._errors

    class IHostMemory(bytes):
        pass

    class ITimingCache:
        def __init__(self, timings: bytes) -> None:
            self.timings = timings

        def serialize(self) -> IHostMemory:
            return IHostMemory(self.timings + b".")

    class IOptimizationProfile:
        def set_shape(self, input: str, min: tuple, opt: tuple, max: tuple) -> None:
            assert min == opt == max
            self.shape = max

    class IBuilderConfig:
        def __init__(self) -> None:
            self.flags: set[enum.IntEnum] = {trt.BuilderFlag.TF32}
            self.profile = self.cache = None

        def set_flag(self, flag: enum.IntEnum) -> None:
            self.flags.add(flag)

        def clear_flag(self, flag: enum.IntEnum) -> None:
            self.flags.discard(flag)

        def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache | None:
            return None if serialized_timing_cache == b"bad" else ITimingCache(serialized_timing_cache)

        def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
            self.cache = cache
            return True

        def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
            self.profile = profile
            return 0

    class Builder:
        def __init__(self, logger: ILogger) -> None:
            self._logger = logger

        def create_network(self, flags: int = 0) -> INetworkDefinition:
            return INetworkDefinition(flags)

        def create_builder_config(self) -> IBuilderConfig:
            return IBuilderConfig()

        def create_optimization_profile(self) -> IOptimizationProfile:
            return IOptimizationProfile()

        def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> IHostMemory:
            assert network.parser() is not None, "the parser owns the weights and is gone before the build"
            trt.builds.append((network, config))
            fixed = network.get_input(0).shape
            shape = config.profile.shape if -1 in fixed else fixed
            header = {"version": version, "shape": shape, "capability": driver.compute_capability}
            return IHostMemory(MAGIC + json.dumps(header).encode() + b"\n" + network.onnx)

    class IExecutionContext:
        def __init__(self, session: onnxruntime.InferenceSession, shape: tuple) -> None:
            self._session = session
            self._shape = shape
            self._addresses: dict[str, int] = {}

        def set_input_shape(self, name: str, shape: tuple) -> bool:
            return tuple(shape) == self._shape and name == self._session.get_inputs()[0].name

        def get_tensor_shape(self, name: str) -> tuple:
            source = self._session.get_inputs()[0]
            lengths = dict(zip(source.shape, self._shape, strict=True))
            tensors = (*self._session.get_inputs(), *self._session.get_outputs())
            shapes = {value.name: value.shape for value in tensors}
            return tuple(lengths[length] if isinstance(length, str) else length for length in shapes[name])

        def set_tensor_address(self, name: str, memory: int) -> bool:
            self._addresses[name] = memory
            return True

        def execute_async_v3(self, stream_handle: int) -> bool:
            driver.enqueue(stream_handle, self._execute)
            return True

        def _execute(self) -> None:
            feeds = {
                source.name: _array_at(
                    self._addresses[source.name], self.get_tensor_shape(source.name), _numpy_type(source.type)
                ).copy()
                for source in self._session.get_inputs()
            }
            names = [value.name for value in self._session.get_outputs()]
            for name, output in zip(names, self._session.run(names, feeds), strict=True):
                target = _array_at(self._addresses[name], output.shape, output.dtype)
                target[...] = output if spoil is None else spoil(output)

    class ICudaEngine:
        def __init__(self, session: onnxruntime.InferenceSession, shape: tuple) -> None:
            self._session = session
            self._shape = shape
            self._tensors = [*session.get_inputs(), *session.get_outputs()]
            self._inputs = {value.name for value in session.get_inputs()}

        @property
        def num_io_tensors(self) -> int:
            return len(self._tensors)

        def get_tensor_name(self, index: int) -> str:
            return self._tensors[index].name

        def get_tensor_mode(self, name: str) -> enum.Enum:
            return trt.TensorIOMode.INPUT if name in self._inputs else trt.TensorIOMode.OUTPUT

        def get_tensor_dtype(self, name: str) -> enum.Enum:
            kind = next(tensor.type for tensor in self._tensors if tensor.name == name)
            return trt.DataType.HALF if kind == "tensor(float16)" else trt.DataType.FLOAT

        def create_execution_context(self) -> IExecutionContext:
            return IExecutionContext(self._session, self._shape)

    class Runtime:
        def __init__(self, logger: ILogger) -> None:
            self._logger = logger

        def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
            head, _, network = serialized_engine.removeprefix(MAGIC).partition(b"\n")
            try:
                header = json.loads(head)
            except ValueError:
                self._logger.log(ILogger.ERROR, "Magic tag does not match")
                return None
            if (header["version"], header["capability"]) != (version, driver.compute_capability):
                self._logger.log(ILogger.ERROR, "Version tag does not match")
                return None
            try:
                session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
            except Exception as error:
                self._logger.log(ILogger.ERROR, str(error))
                return None
            return ICudaEngine(session, tuple(header["shape"]))

    classes = (ITensor, ILayer, INetworkDefinition, ParserError, OnnxParser, ITimingCache, IOptimizationProfile)
    for kind in (*classes, IBuilderConfig, Builder, IExecutionContext, ICudaEngine, Runtime):
        setattr(trt, kind.__name__, kind)
    return trt


def _array_at(address: int, shape: tuple, dtype: np.dtype) -> np.ndarray:
    size_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_uint8 * size_bytes).from_address(address), dtype=dtype).reshape(shape)


def _numpy_type(kind: str) -> np.dtype:
    return np.dtype(np.float16 if kind == "tensor(float16)" else np.float32)
