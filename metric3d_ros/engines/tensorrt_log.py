"""What TensorRT says while it works, in this project's log: its last error, and how far a build is.

``trt`` is the ``tensorrt`` module throughout; ``tensorrt_api`` is what imports it.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

HEARTBEAT_S = 30.0
PERCENT = 100
NO_REASON = "it gave no reason"
_log = logging.getLogger(__name__)


@functools.cache
def tensorrt_logger(trt: Any) -> Any:
    """The logger of all TensorRT objects: ``last_error`` is for our sentences, the rest for debugging.

    TensorRT keeps the first logger of a process for all that follow, so there is one.
    """

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.last_error = NO_REASON

        def log(self, severity: Any, msg: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.last_error = " ".join(msg.split())
            _log.debug("TensorRT: %s", msg)

    return Logger()


@contextmanager
def build_progress(trt: Any, config: Any, what: str) -> Iterator[None]:
    """Say in the log that a build goes on, every half minute, and where it is if TensorRT tells."""
    started_s = time.monotonic()
    phase = _Phase()
    # TensorRT holds the monitor by pointer only: it must live until the build is over.
    monitor = _make_monitor(trt, phase) if hasattr(trt, "IProgressMonitor") else None
    if monitor is not None:
        config.progress_monitor = monitor
    done = threading.Event()
    heart = threading.Thread(target=_beat, args=(done, what, started_s, phase), daemon=True)
    version = trt.__version__
    _log.info("building the engine of %s for this GPU with TensorRT %s: minutes, but once", what, version)
    heart.start()
    try:
        yield
    finally:
        done.set()
        heart.join()
    _log.info("built the engine of %s in %.0f s", what, time.monotonic() - started_s)


def _beat(done: threading.Event, what: str, started_s: float, phase: _Phase) -> None:
    while not done.wait(HEARTBEAT_S):
        _log.info("building the engine of %s: %.0f s%s", what, time.monotonic() - started_s, phase)


class _Phase:
    """Where a build is, as TensorRT last told."""

    def __init__(self) -> None:
        self.name = ""
        self.steps = 0
        self.done = 0

    def __str__(self) -> str:
        return f", {self.name} {PERCENT * self.done // self.steps} %" if self.steps else ""


def _make_monitor(trt: Any, phase: _Phase) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if parent_phase is None:
                phase.name, phase.steps, phase.done = phase_name, num_steps, 0

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name == phase.name:
                phase.done = step + 1
            return True

        def phase_finish(self, phase_name: str) -> None:
            if phase_name == phase.name:
                phase.done = phase.steps

    return Monitor()
