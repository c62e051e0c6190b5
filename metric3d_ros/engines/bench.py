"""How fast engines run a network here, and how far their depth is from ONNX Runtime's on the CPU."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.engines.agreement import compare, street_run
from metric3d_ros.engines.choice import ENGINES, EngineRequest, open_engine
from metric3d_ros.engines.engine import DepthEngine, NetworkOutput
from metric3d_ros.engines.tensorrt_api import FP16, FP32
from metric3d_ros.errors import Metric3dError

REFERENCE = "onnxruntime_cpu"
WARM_UP_RUNS = 3
COMPILING = ("tensorrt", "onnxruntime_tensorrt")


@dataclass(frozen=True)
class BenchRow:
    """One engine's figures, or why it has none.

    Attributes
    ----------
    name : the engine, as ``engine:=`` takes it.
    precision : ``fp32`` or ``fp16`` for engines that compile, ``file`` for those that run the file's own types.
    identity : the engine in a few words; empty if it does not run here.
    open_s : time to open it, a build included.
    median_ms, p90_ms : of one image, in and out of host memory.
    cpu_ms : median CPU time of all threads for it, which other programs on the machine change least.
    relative_error : the 99th percentile of its depth's relative error against ONNX Runtime on the CPU.
    fallen_out : why it does not run here; empty if it does.
    """

    name: str
    precision: str
    identity: str = ""
    open_s: float = 0.0
    median_ms: float = 0.0
    p90_ms: float = 0.0
    cpu_ms: float = 0.0
    relative_error: float = 0.0
    fallen_out: str = ""


def bench(
    request: EngineRequest, names: Sequence[str], precisions: Sequence[str], runs: int
) -> Iterator[BenchRow]:
    """The figures of each engine in turn; ``precisions`` are for the engines that compile.

    Raises
    ------
    EngineError
        If not even ONNX Runtime on the CPU runs the network.
    """
    engine = open_engine(request, REFERENCE)
    reference = engine.run(*street_run(engine.model))
    for name in names:
        for precision in precisions if name in COMPILING else ("file",):
            asked = replace(request, precision=precision if precision in (FP16, FP32) else FP32)
            yield _row(asked, BenchRow(name, precision), reference, runs)


def _row(request: EngineRequest, row: BenchRow, reference: NetworkOutput, runs: int) -> BenchRow:
    started_s = time.perf_counter()
    try:
        engine = ENGINES[row.name](request)
        open_s = time.perf_counter() - started_s
        laps_ms = _laps_ms(engine, runs)
    except Metric3dError as error:
        return replace(row, fallen_out=str(error))
    return replace(
        row,
        identity=engine.identity,
        open_s=open_s,
        median_ms=float(np.median(laps_ms[:, 0])),
        p90_ms=float(np.percentile(laps_ms[:, 0], 90)),
        cpu_ms=float(np.median(laps_ms[:, 1])),
        relative_error=compare(engine.run(*street_run(engine.model)), reference).relative_error,
    )


def _laps_ms(engine: DepthEngine, runs: int) -> NDArray[np.float64]:
    """Wall clock and CPU time of each run (runs, 2), after the first few."""
    street = street_run(engine.model)
    laps = []
    for _ in range(WARM_UP_RUNS + runs):
        before_s = (time.perf_counter(), time.process_time())
        engine.run(*street)
        laps.append((time.perf_counter() - before_s[0], time.process_time() - before_s[1]))
    return 1e3 * np.array(laps[WARM_UP_RUNS:])
