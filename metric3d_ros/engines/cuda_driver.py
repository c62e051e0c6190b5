"""The part of CUDA's driver that running a network needs: memory, a stream, and a graph of its work.

``libcuda.so.1`` comes with the GPU's driver, so it is there wherever a GPU works, whichever CUDA toolkit and
TensorRT are installed beside it, and the functions named here are the same from CUDA 11.4 to 13. TensorRT brings a
CUDA runtime of its own; both share the device's primary context, so addresses and streams pass between them.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Iterator
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint, c_uint64, c_ulonglong, c_void_p
from typing import Any

from metric3d_ros.errors import EngineError

LIBRARY = "libcuda.so.1"
NAME_BYTES = 256
# Values of CUdevice_attribute, CUstream_flags and CUstreamCaptureMode in cuda.h.
COMPUTE_CAPABILITY_MAJOR, COMPUTE_CAPABILITY_MINOR = 75, 76
STREAM_NON_BLOCKING = 1
CAPTURE_THREAD_LOCAL = 1

SIGNATURES: dict[str, list[Any]] = {
    "cuInit": [c_uint],
    "cuDeviceGet": [POINTER(c_int), c_int],
    "cuDeviceGetName": [c_char_p, c_int, c_int],
    "cuDeviceGetAttribute": [POINTER(c_int), c_int, c_int],
    "cuDevicePrimaryCtxRetain": [POINTER(c_void_p), c_int],
    "cuCtxSetCurrent": [c_void_p],
    "cuMemGetInfo_v2": [POINTER(c_size_t), POINTER(c_size_t)],
    "cuMemAlloc_v2": [POINTER(c_uint64), c_size_t],
    "cuMemFree_v2": [c_uint64],
    "cuMemHostAlloc": [POINTER(c_void_p), c_size_t, c_uint],
    "cuMemFreeHost": [c_void_p],
    "cuMemcpyHtoDAsync_v2": [c_uint64, c_void_p, c_size_t, c_void_p],
    "cuMemcpyDtoHAsync_v2": [c_void_p, c_uint64, c_size_t, c_void_p],
    "cuStreamCreate": [POINTER(c_void_p), c_uint],
    "cuStreamDestroy_v2": [c_void_p],
    "cuStreamSynchronize": [c_void_p],
    "cuStreamBeginCapture_v2": [c_void_p, c_int],
    "cuStreamEndCapture": [c_void_p, POINTER(c_void_p)],
    "cuGraphInstantiateWithFlags": [POINTER(c_void_p), c_void_p, c_ulonglong],
    "cuGraphLaunch": [c_void_p, c_void_p],
    "cuGraphDestroy": [c_void_p],
    "cuGraphExecDestroy": [c_void_p],
}


class CudaDriver:
    """One GPU, through its driver; addresses, streams and graphs are plain integers.

    Parameters
    ----------
    library : the driver's shared library.
    device : which GPU, from 0.

    Raises
    ------
    EngineError
        If there is no driver or no such GPU, and from every method if the driver refuses.
    """

    def __init__(self, library: str = LIBRARY, device: int = 0) -> None:
        self._functions = _load(library)
        self._call("cuInit", 0)
        handle = c_int()
        self._call("cuDeviceGet", byref(handle), device)
        self._device = handle.value
        context = c_void_p()
        self._call("cuDevicePrimaryCtxRetain", byref(context), self._device)
        self._context = context.value
        self.make_current()

    @property
    def device_name(self) -> str:
        """The GPU's name, such as ``Orin``."""
        name = ctypes.create_string_buffer(NAME_BYTES)
        self._call("cuDeviceGetName", name, NAME_BYTES, self._device)
        return name.value.decode(errors="replace")

    @property
    def compute_capability(self) -> str:
        """The GPU's architecture, such as ``8.7``."""
        major, minor = (self._attribute(key) for key in (COMPUTE_CAPABILITY_MAJOR, COMPUTE_CAPABILITY_MINOR))
        return f"{major}.{minor}"

    def make_current(self) -> None:
        """Let the calling thread use this GPU; every thread must, once."""
        self._call("cuCtxSetCurrent", self._context)

    def memory_bytes(self) -> tuple[int, int]:
        """How much of the GPU's memory all programs together use, and how much it has."""
        free, total = c_size_t(), c_size_t()
        self._call("cuMemGetInfo_v2", byref(free), byref(total))
        return total.value - free.value, total.value

    def allocate(self, size_bytes: int) -> int:
        """The address of new memory on the GPU."""
        address = c_uint64()
        self._call("cuMemAlloc_v2", byref(address), size_bytes)
        return address.value

    def free(self, address: int) -> None:
        """Give memory on the GPU back."""
        self._call("cuMemFree_v2", address)

    def allocate_pinned(self, size_bytes: int) -> int:
        """The address of new host memory that the GPU copies from and to by itself."""
        return self._new_handle("cuMemHostAlloc", size_bytes, 0)

    def free_pinned(self, address: int) -> None:
        """Give pinned host memory back."""
        self._call("cuMemFreeHost", address)

    def create_stream(self) -> int:
        """A new queue of work that waits for no other."""
        return self._new_handle("cuStreamCreate", STREAM_NON_BLOCKING)

    def destroy_stream(self, stream: int) -> None:
        """Give a stream back."""
        self._call("cuStreamDestroy_v2", stream)

    def copy_to_device(self, device_address: int, host_address: int, size_bytes: int, stream: int) -> None:
        """Queue a copy from pinned memory to the GPU."""
        self._call("cuMemcpyHtoDAsync_v2", device_address, host_address, size_bytes, stream)

    def copy_to_host(self, host_address: int, device_address: int, size_bytes: int, stream: int) -> None:
        """Queue a copy from the GPU to pinned memory."""
        self._call("cuMemcpyDtoHAsync_v2", host_address, device_address, size_bytes, stream)

    def synchronize(self, stream: int) -> None:
        """Wait until all work queued on the stream is done."""
        self._call("cuStreamSynchronize", stream)

    def record_graph(self, stream: int, enqueue: Callable[[], None]) -> int:
        """A graph of the work that ``enqueue`` queues on the stream, which is recorded and not done."""
        graph = c_void_p()
        self._call("cuStreamBeginCapture_v2", stream, CAPTURE_THREAD_LOCAL)
        try:
            enqueue()
        except BaseException:
            # The stream is of no use until its capture ends, and what broke it is the error to tell.
            with contextlib.suppress(EngineError):
                self._call("cuStreamEndCapture", stream, byref(graph))
            raise
        self._call("cuStreamEndCapture", stream, byref(graph))
        with self._graph(graph.value) as recorded:
            return self._new_handle("cuGraphInstantiateWithFlags", recorded, 0)

    def launch_graph(self, graph: int, stream: int) -> None:
        """Queue the recorded work."""
        self._call("cuGraphLaunch", graph, stream)

    def destroy_graph(self, graph: int) -> None:
        """Give a graph back."""
        self._call("cuGraphExecDestroy", graph)

    @contextlib.contextmanager
    def _graph(self, graph: int | None) -> Iterator[int | None]:
        try:
            yield graph
        finally:
            self._call("cuGraphDestroy", graph)

    def _attribute(self, key: int) -> int:
        value = c_int()
        self._call("cuDeviceGetAttribute", byref(value), key, self._device)
        return value.value

    def _new_handle(self, function: str, *arguments: Any) -> int:
        handle = c_void_p()
        self._call(function, byref(handle), *arguments)
        if handle.value is None:
            raise EngineError(f"CUDA's {function} gave nothing; update the GPU's driver.")
        return handle.value

    def _call(self, function: str, *arguments: Any) -> None:
        code = self._functions[function](*arguments)
        if code != 0:
            raise EngineError(
                f"CUDA's {function} failed with {self._error_name(code)}; "
                "check the GPU with nvidia-smi and what else uses its memory."
            )

    def _error_name(self, code: int) -> str:
        name = c_char_p()
        if self._functions["cuGetErrorName"](code, byref(name)) != 0 or name.value is None:
            return f"error {code}"
        return name.value.decode(errors="replace")


def _load(library: str) -> dict[str, Any]:
    try:
        driver = ctypes.CDLL(library)
    except OSError as error:
        raise EngineError(
            f"{library} is not there, so this machine has no working NVIDIA GPU; install its driver."
        ) from error
    signatures = {**SIGNATURES, "cuGetErrorName": [c_int, POINTER(c_char_p)]}
    functions = {}
    for name, argument_types in signatures.items():
        try:
            function = getattr(driver, name)
        except AttributeError as error:
            raise EngineError(
                f"{library} has no {name}; update the GPU's driver to CUDA 11.4 or later."
            ) from error
        function.argtypes = argument_types
        function.restype = c_int
        functions[name] = function
    return functions
