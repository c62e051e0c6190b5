"""Which engine runs a network: the one asked for, or the best that works, and why the others fell out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from metric3d_ros.atomic_file import make_output_folder
from metric3d_ros.cache_folder import cache_folder
from metric3d_ros.engines.agreement import require_finite
from metric3d_ros.engines.cuda_driver import CudaDriver
from metric3d_ros.engines.engine import DepthEngine
from metric3d_ros.engines.engine_cache import onnx_sha256
from metric3d_ros.engines.onnxruntime_engine import CUDA, TENSORRT, OnnxRuntimeEngine, require_provider
from metric3d_ros.engines.tensorrt_api import FP16, FP32, PRECISIONS
from metric3d_ros.engines.tensorrt_plans import open_tensorrt_engine
from metric3d_ros.errors import EngineError, Metric3dError

AUTO = "auto"
SHOWN_SHA256 = 16
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineRequest:
    """What to run.

    Attributes
    ----------
    onnx_file : the network.
    precision : ``fp32`` or ``fp16``, for the engines that compile; the others run the file's own types.
    size_px : (height, width) for files that take any; None takes the file's, or 616x1064 where it takes any.
    threads : CPU threads for one inference; 0 takes every core.
    """

    onnx_file: Path
    precision: str = FP32
    size_px: tuple[int, int] | None = None
    threads: int = 0


def _tensorrt(request: EngineRequest) -> DepthEngine:
    return open_tensorrt_engine(request.onnx_file, request.precision, request.size_px)


def _onnxruntime_tensorrt(request: EngineRequest) -> DepthEngine:
    _require_gpu(TENSORRT)
    # ONNX Runtime keys its plans by the graph, not by the weights: each file gets a folder of its own.
    folder = cache_folder() / "engines" / f"onnxruntime_{onnx_sha256(request.onnx_file)[:SHOWN_SHA256]}"
    options = {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(make_output_folder(folder)),
        "trt_timing_cache_enable": "1",
        "trt_fp16_enable": "1" if request.precision == FP16 else "0",
    }
    return _onnxruntime_gpu(request, TENSORRT, options)


def _onnxruntime_cuda(request: EngineRequest) -> DepthEngine:
    _require_gpu(CUDA)
    return _onnxruntime_gpu(request, CUDA, {})


def _onnxruntime_cpu(request: EngineRequest) -> DepthEngine:
    return OnnxRuntimeEngine(request.onnx_file, request.threads, size_px=request.size_px)


def _require_gpu(provider: str) -> None:
    # Without a GPU, that is the reason to give, whatever else is missing.
    CudaDriver()
    require_provider(provider)


def _onnxruntime_gpu(request: EngineRequest, provider: str, options: dict[str, str]) -> DepthEngine:
    engine = OnnxRuntimeEngine(
        request.onnx_file,
        request.threads,
        provider=provider,
        provider_options=options,
        size_px=request.size_px,
    )
    require_finite(engine)
    return engine


# Best first.
ENGINES: dict[str, Callable[[EngineRequest], DepthEngine]] = {
    "tensorrt": _tensorrt,
    "onnxruntime_tensorrt": _onnxruntime_tensorrt,
    "onnxruntime_cuda": _onnxruntime_cuda,
    "onnxruntime_cpu": _onnxruntime_cpu,
}
CHOICES = (AUTO, *ENGINES)


def open_engine(request: EngineRequest, choice: str = AUTO) -> DepthEngine:
    """The engine asked for, ready to run.

    Parameters
    ----------
    request : what to run.
    choice : one of ``CHOICES``; ``auto`` takes the best that works and says in the log why the others do not.

    Raises
    ------
    EngineError
        If there is no such engine or precision, or it does not work here; with ``auto``, if none does.
    MissingDependencyError
        If the engine asked for needs a package that is not installed.
    OutputError
        If it has to be built and its cache cannot be written to.
    """
    if request.precision not in PRECISIONS:
        raise EngineError(f"precision {request.precision!r} is not known; use {' or '.join(PRECISIONS)}.")
    if choice == AUTO:
        return _best(request)
    if choice not in ENGINES:
        raise EngineError(f"engine {choice!r} is not known; choose one of {', '.join(CHOICES)}.")
    return ENGINES[choice](request)


def _best(request: EngineRequest) -> DepthEngine:
    fallen_out: dict[str, list[str]] = {}
    reason = ""
    for name, open_one in ENGINES.items():
        try:
            engine = open_one(request)
        except Metric3dError as error:
            reason = str(error)
            fallen_out.setdefault(reason, []).append(name)
            continue
        _log.info("engine %s: %s", name, engine.identity)
        for why, names in fallen_out.items():
            _log.info("  not %s: %s", ", ".join(names), why)
        return engine
    # The last one needs nothing but the file, so its reason is about the file.
    raise EngineError(reason)
