"""Runs a depth network's ONNX file through ONNX Runtime, on the CPU or through its CUDA and TensorRT providers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from metric3d_ros.engines.engine import ModelInfo, NetworkOutput
from metric3d_ros.engines.network_interface import NetworkInterface, read_interface
from metric3d_ros.errors import EngineError

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
ONLY_FATAL = 4
ONLY_ERRORS = 3


class OnnxRuntimeEngine:
    """A depth network loaded from an ONNX file.

    Parameters
    ----------
    path : the ONNX file, of either dialect of ``network_interface``.
    threads : CPU threads for one inference; 0 lets ONNX Runtime take every core.
    provider : the execution provider that runs the network, such as ``CUDAExecutionProvider``.
    provider_options : that provider's options.
    size_px : (height, width) for files that take any; None takes the file's, or 616x1064 where it takes any.

    Raises
    ------
    EngineError
        If the file is missing, is no depth network's ONNX, does not take that size, or the provider does not work.
    """

    def __init__(
        self,
        path: Path,
        threads: int = 0,
        *,
        provider: str = CPU,
        provider_options: dict[str, str] | None = None,
        size_px: tuple[int, int] | None = None,
    ) -> None:
        self._path = path
        self._session = _open_session(path, threads, provider, provider_options or {})
        self.interface = _interface(self._session, path, size_px)
        self._types = {
            entry.name: np.float16 if entry.type == "tensor(float16)" else np.float32
            for entry in self._session.get_inputs()
        }

    @property
    def model(self) -> ModelInfo:
        """The network's description, from the file's metadata."""
        return self.interface.model

    @property
    def identity(self) -> str:
        """The engine in a few words."""
        provider = self._session.get_providers()[0]
        return f"onnxruntime {onnxruntime.__version__} {provider} {self._path.name}"

    def run(self, network_image: NDArray[np.uint8], first_row: int = 0) -> NetworkOutput:
        """Maps of one letterboxed RGB image (input height, input width, 3), uint8."""
        names = list(self.interface.outputs)
        feeds = {
            name: values.astype(self._types[name], copy=False)
            for name, values in self.interface.feeds(network_image, first_row).items()
        }
        try:
            values = self._session.run(names, feeds)
        except Exception as error:
            raise EngineError(f"{self._path.name} failed on an image: {error}") from error
        return self.interface.network_output(dict(zip(names, values, strict=True)))


def read_onnx_interface(path: Path, size_px: tuple[int, int] | None = None) -> NetworkInterface:
    """What an ONNX file takes and gives, without keeping it loaded.

    Raises
    ------
    EngineError
        As ``OnnxRuntimeEngine``.
    """
    return _interface(_open_session(path, threads=1, provider=CPU, provider_options={}), path, size_px)


def require_provider(provider: str) -> None:
    """Check that this ONNX Runtime was built with an execution provider, which is not yet that it starts.

    Raises
    ------
    EngineError
        If it was not.
    """
    if provider not in onnxruntime.get_available_providers():
        raise EngineError(
            f"onnxruntime {onnxruntime.__version__} was built without {provider}; "
            "replace it by onnxruntime-gpu (pip uninstall onnxruntime, pip install onnxruntime-gpu)."
        )


def _open_session(path: Path, threads: int, provider: str, provider_options: dict[str, str]) -> Any:
    if not path.is_file():
        raise EngineError(f"model file {path} is not there; give a model name or the path of an ONNX file.")
    require_provider(provider)
    if provider != CPU and hasattr(onnxruntime, "preload_dlls"):
        # Finds the CUDA libraries of NVIDIA's wheels, which are on no library path.
        onnxruntime.preload_dlls()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # A provider that does not start is said once, below, in our words.
    options.log_severity_level = ONLY_ERRORS if provider == CPU else ONLY_FATAL
    # Threads that spin between images take the cores from the SLAM beside them, and from their own next image.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=_with_fallbacks(provider, provider_options)
        )
    except Exception as error:
        raise EngineError(f"{path} cannot be loaded as an ONNX network: {_first_line(error)}") from error
    if session.get_providers()[0] != provider:
        raise EngineError(
            f"onnxruntime {onnxruntime.__version__} could not start its {provider}; "
            "install the CUDA, cuDNN and TensorRT versions its release notes name."
        )
    return session


def _with_fallbacks(provider: str, provider_options: dict[str, str]) -> list[Any]:
    """The provider, then those that take the nodes it cannot."""
    order = [TENSORRT, CUDA, CPU]
    return [(provider, provider_options), *order[order.index(provider) + 1 :]]


def _interface(session: Any, path: Path, size_px: tuple[int, int] | None) -> NetworkInterface:
    return read_interface(
        inputs={entry.name: entry.shape for entry in session.get_inputs()},
        outputs=[entry.name for entry in session.get_outputs()],
        metadata=session.get_modelmeta().custom_metadata_map,
        source=str(path),
        size_px=size_px,
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
