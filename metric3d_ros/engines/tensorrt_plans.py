"""A network's TensorRT engine: from the cache if its plan is exactly what is asked for, else built and checked."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path

from metric3d_ros.engines.agreement import require_agreement
from metric3d_ros.engines.cuda_driver import CudaDriver
from metric3d_ros.engines.engine_cache import EngineCache, EngineKey, Miss, StoredEngine, onnx_sha256
from metric3d_ros.engines.network_interface import NetworkInterface
from metric3d_ros.engines.onnxruntime_engine import OnnxRuntimeEngine, read_onnx_interface
from metric3d_ros.engines.tensorrt_api import BuildRequest, LoadedPlan, build_plan, tensorrt_version
from metric3d_ros.engines.tensorrt_engine import TensorRtEngine
from metric3d_ros.errors import EngineError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Wanted:
    """The engine that was asked for, on this machine."""

    onnx_file: Path
    interface: NetworkInterface
    key: EngineKey
    driver: CudaDriver


def open_tensorrt_engine(
    onnx_file: Path,
    precision: str,
    size_px: tuple[int, int] | None = None,
    cache: EngineCache | None = None,
    *,
    rebuild: bool = False,
) -> TensorRtEngine:
    """The TensorRT engine of an ONNX file on this machine's GPU; building one takes minutes.

    Parameters
    ----------
    onnx_file : the network.
    precision : ``fp16`` or ``fp32``.
    size_px : (height, width) for files that take any.
    cache : where plans are kept.
    rebuild : build even if the cache has it, or has it as rejected.

    Raises
    ------
    MissingDependencyError
        If TensorRT is not installed.
    EngineError
        If there is no GPU, or the engine cannot be built or is not to be trusted.
    OutputError
        If the cache cannot be written to.
    """
    cache = cache or EngineCache()
    wanted = _wanted(onnx_file, precision, size_px)
    engine = None if rebuild else _from_cache(wanted, cache)
    return engine if engine is not None else _build(wanted, cache)


def _wanted(onnx_file: Path, precision: str, size_px: tuple[int, int] | None) -> _Wanted:
    driver = CudaDriver()
    version = tensorrt_version()
    interface = read_onnx_interface(onnx_file, size_px)
    key = EngineKey(
        onnx_sha256=onnx_sha256(onnx_file),
        tensorrt_version=version,
        compute_capability=driver.compute_capability,
        precision=precision,
        height_px=interface.model.input_height_px,
        width_px=interface.model.input_width_px,
    )
    return _Wanted(onnx_file, interface, key, driver)


def _from_cache(wanted: _Wanted, cache: EngineCache) -> TensorRtEngine | None:
    """The cached engine; None, with a line in the log unless it is the first, where it has to be built."""
    found = cache.lookup(wanted.interface.model.name, wanted.key)
    if isinstance(found, Miss):
        if not found.is_first:
            _log.warning("building the engine again: %s", found.reason)
        return None
    stored, plan = found
    if stored.rejected:
        raise EngineError(f"{stored.rejected.rstrip('.')} (found at its last build; --rebuild tries again).")
    try:
        return _load(wanted, plan, stored.typing)
    except EngineError as error:
        _log.warning("building the engine again: %s", error)
        return None


def _build(wanted: _Wanted, cache: EngineCache) -> TensorRtEngine:
    cache.prepare()
    started_s = time.monotonic()
    built = build_plan(
        BuildRequest(
            onnx_file=wanted.onnx_file,
            precision=wanted.key.precision,
            input_name=wanted.interface.names.image,
            input_shape=wanted.interface.image_shape,
        ),
        cache.timings(wanted.key),
    )
    made = StoredEngine(
        key=wanted.key,
        model=wanted.interface.model.name,
        device=wanted.driver.device_name,
        typing=built.typing,
        build_s=round(time.monotonic() - started_s, 1),
    )
    cache.store_timings(wanted.key, built.timing_cache)
    engine = _load(wanted, built.plan, built.typing)
    try:
        agreement = require_agreement(engine, _reference(wanted), wanted.key.precision)
    except EngineError as error:
        cache.store(replace(made, rejected=str(error)), b"")
        raise
    path = cache.store(replace(made, relative_error=agreement.relative_error), built.plan)
    _log.info("kept %s: %.2g off ONNX Runtime at the 99th percentile of depth", path, agreement.relative_error)
    return engine


def _load(wanted: _Wanted, plan: bytes, typing: str) -> TensorRtEngine:
    loaded = LoadedPlan(plan, wanted.interface.names.image, wanted.interface.image_shape)
    identity = (
        f"tensorrt {wanted.key.tensorrt_version} {wanted.key.precision} ({typing} types) "
        f"on {wanted.driver.device_name} {wanted.onnx_file.name}"
    )
    return TensorRtEngine(loaded, wanted.interface, wanted.driver, identity)


def _reference(wanted: _Wanted) -> OnnxRuntimeEngine:
    size_px = (wanted.key.height_px, wanted.key.width_px)
    return OnnxRuntimeEngine(wanted.onnx_file, size_px=size_px)
