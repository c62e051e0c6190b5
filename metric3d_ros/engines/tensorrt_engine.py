"""Runs a built TensorRT plan: pinned buffers, one stream, and all work of an image in one CUDA graph.

An image goes host -> GPU -> network -> host as a single launch, and the CPU waits for it alone. Nothing here
knows how plans are made or kept; see ``tensorrt_api`` and ``engine_cache``.
"""

from __future__ import annotations

import ctypes
import logging
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.engines.cuda_driver import CudaDriver
from metric3d_ros.engines.engine import ModelInfo, NetworkOutput
from metric3d_ros.engines.network_interface import NetworkInterface
from metric3d_ros.engines.tensorrt_api import PlanTensor
from metric3d_ros.errors import EngineError

_log = logging.getLogger(__name__)


class RunnablePlan(Protocol):
    """What of ``tensorrt_api.LoadedPlan`` is used here."""

    tensors: tuple[PlanTensor, ...]

    def set_address(self, name: str, device_address: int) -> None:
        """Say where on the GPU a tensor lives."""

    def enqueue(self, stream: int) -> None:
        """Queue one inference on a CUDA stream."""


class TensorRtEngine:
    """A depth network as a TensorRT plan on this machine's GPU.

    Parameters
    ----------
    plan : the plan, loaded.
    interface : what the network's ONNX file takes and gives.
    driver : the GPU.
    identity : the engine in a few words.

    Raises
    ------
    EngineError
        If the plan's tensors are not those of the interface, or the GPU has no memory for them.
    """

    def __init__(self, plan: RunnablePlan, interface: NetworkInterface, driver: CudaDriver, identity: str) -> None:
        _require_tensors(plan.tensors, interface)
        self.interface = interface
        self._identity = identity
        self._work = _Work(plan, driver)
        weakref.finalize(self, self._work.close)

    @property
    def model(self) -> ModelInfo:
        """The network's description."""
        return self.interface.model

    @property
    def identity(self) -> str:
        """The engine in a few words."""
        return self._identity

    def run(self, network_image: NDArray[np.uint8], first_row: int = 0) -> NetworkOutput:
        """Maps of one letterboxed RGB image (input height, input width, 3), uint8."""
        return self.interface.network_output(self._work.do(self.interface.feeds(network_image, first_row)))


@dataclass(frozen=True)
class _Buffer:
    """A tensor's place on the GPU and its pinned twin on the host, with that twin as an array."""

    tensor: PlanTensor
    device_address: int
    host_address: int
    values: NDArray[Any]


class _Work:
    """Everything that is allocated for a plan, and one image's work on it."""

    def __init__(self, plan: RunnablePlan, driver: CudaDriver) -> None:
        self._plan = plan
        self._driver = driver
        self._buffers: list[_Buffer] = []
        self._stream = 0
        self._graph = 0
        try:
            self._stream = driver.create_stream()
            for tensor in plan.tensors:
                buffer = self._allocate(tensor)
                plan.set_address(tensor.name, buffer.device_address)
            self._warm_up()
            self._graph = self._record()
        except BaseException:
            self.close()
            raise

    def do(self, feeds: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[Any]]:
        """The outputs for the inputs of one image, by name."""
        # Any thread may call, and a thread has no GPU until it says so.
        self._driver.make_current()
        for buffer in self._buffers:
            if buffer.tensor.is_input:
                np.copyto(buffer.values, feeds[buffer.tensor.name], casting="same_kind")
        if self._graph:
            self._driver.launch_graph(self._graph, self._stream)
        else:
            self._enqueue()
        self._driver.synchronize(self._stream)
        return {buffer.tensor.name: buffer.values.copy() for buffer in self._buffers if not buffer.tensor.is_input}

    def close(self) -> None:
        """Give everything back; what the driver does not take back any more is gone already."""
        try:
            self._driver.make_current()
            if self._graph:
                self._driver.destroy_graph(self._graph)
            for buffer in self._buffers:
                self._driver.free(buffer.device_address)
                self._driver.free_pinned(buffer.host_address)
            if self._stream:
                self._driver.destroy_stream(self._stream)
        except EngineError as error:
            _log.debug("the GPU's memory was not given back: %s", error)
        self._graph, self._stream, self._buffers = 0, 0, []

    def _allocate(self, tensor: PlanTensor) -> _Buffer:
        device_address = self._driver.allocate(tensor.size_bytes)
        try:
            host_address = self._driver.allocate_pinned(tensor.size_bytes)
        except EngineError:
            self._driver.free(device_address)
            raise
        memory = (ctypes.c_uint8 * tensor.size_bytes).from_address(host_address)
        values = np.frombuffer(memoryview(memory), dtype=tensor.dtype).reshape(tensor.shape)
        values[...] = 0
        buffer = _Buffer(tensor, device_address, host_address, values)
        self._buffers.append(buffer)
        return buffer

    def _warm_up(self) -> None:
        # The first run after a shape is set still prepares the engine, which a graph must not record.
        self._enqueue()
        self._driver.synchronize(self._stream)

    def _record(self) -> int:
        """The graph of one image's work; 0 where it cannot be recorded, which costs time and nothing else."""
        try:
            return self._driver.record_graph(self._stream, self._enqueue)
        except EngineError as error:
            _log.info("running without a CUDA graph: %s", error)
            return 0

    def _enqueue(self) -> None:
        for buffer in self._buffers:
            if buffer.tensor.is_input:
                self._driver.copy_to_device(
                    buffer.device_address, buffer.host_address, buffer.tensor.size_bytes, self._stream
                )
        self._plan.enqueue(self._stream)
        for buffer in self._buffers:
            if not buffer.tensor.is_input:
                self._driver.copy_to_host(
                    buffer.host_address, buffer.device_address, buffer.tensor.size_bytes, self._stream
                )


def _require_tensors(tensors: Sequence[PlanTensor], interface: NetworkInterface) -> None:
    inputs = {tensor.name: tensor.shape for tensor in tensors if tensor.is_input}
    outputs = {tensor.name for tensor in tensors if not tensor.is_input}
    expected = interface.input_shapes
    if inputs != expected or not outputs.issuperset(interface.outputs):
        raise EngineError(
            f"the plan goes from {inputs} to {sorted(outputs)}, but {interface.model.name} from {expected} to "
            f"{sorted(interface.outputs)}; build it again."
        )
