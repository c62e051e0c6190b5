"""What a running node did: images in and out, what each stage took, and why others were refused."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from metric3d_ros.engines.cuda_driver import LIBRARY, CudaDriver
from metric3d_ros.errors import EngineError

UNEXPECTED = "unexpected"
_MEMORY_FILE = Path("/proc/self/statm")


@dataclass(frozen=True)
class StageTime:
    """How long one stage took since the last report."""

    mean_ms: float
    longest_ms: float


@dataclass(frozen=True)
class RunReport:
    """What happened since the last report, and in all.

    Attributes
    ----------
    rate_in_hz, rate_out_hz : images that came and that were answered, per second since the last report.
    received, answered, dropped, refused : in all; ``refused`` by reason.
    stages : since the last report, by stage.
    last_refusal : the last sentence an image was refused with, if one was since the last report.
    cpu_percent : of one core, since the last report.
    """

    rate_in_hz: float
    rate_out_hz: float
    received: int
    answered: int
    dropped: int
    refused: dict[str, int]
    stages: dict[str, StageTime]
    last_refusal: str
    cpu_percent: float


@dataclass
class _Period:
    """What is counted from one report to the next."""

    began_s: float = field(default_factory=time.monotonic)
    cpu_s: float = field(default_factory=time.process_time)
    received: int = 0
    answered: int = 0
    last_refusal: str = ""
    times_s: dict[str, tuple[int, float, float]] = field(default_factory=dict)


class RunStatistics:
    """Counts; every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._period = _Period()
        self._received = self._answered = self._dropped = 0
        self._refused: dict[str, int] = {}

    def count_received(self) -> None:
        """An image came."""
        with self._lock:
            self._received += 1
            self._period.received += 1

    def count_answered(self) -> None:
        """An image was answered."""
        with self._lock:
            self._answered += 1
            self._period.answered += 1

    def count_dropped(self, images: int = 1) -> None:
        """Images were left out because newer ones came."""
        with self._lock:
            self._dropped += images

    def count_refused(self, reason: str, sentence: str) -> None:
        """An image was refused; ``reason`` is one of few words, ``sentence`` says what was wrong with it."""
        with self._lock:
            self._refused[reason] = self._refused.get(reason, 0) + 1
            self._period.last_refusal = sentence

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Count the time of a ``with`` block to ``stage``."""
        began_s = time.monotonic()
        try:
            yield
        finally:
            self.add_time(stage, time.monotonic() - began_s)

    def add_time(self, stage: str, seconds: float) -> None:
        """Count a time to ``stage``."""
        with self._lock:
            count, total_s, longest_s = self._period.times_s.get(stage, (0, 0.0, 0.0))
            self._period.times_s[stage] = (count + 1, total_s + seconds, max(longest_s, seconds))

    def report(self) -> RunReport:
        """What happened since the last report, and in all; begins a new period."""
        with self._lock:
            period, self._period = self._period, _Period()
            elapsed_s = max(self._period.began_s - period.began_s, 1e-9)
            return RunReport(
                rate_in_hz=period.received / elapsed_s,
                rate_out_hz=period.answered / elapsed_s,
                received=self._received,
                answered=self._answered,
                dropped=self._dropped,
                refused=dict(self._refused),
                stages={
                    stage: StageTime(1e3 * total_s / count, 1e3 * longest_s)
                    for stage, (count, total_s, longest_s) in period.times_s.items()
                },
                last_refusal=period.last_refusal,
                cpu_percent=100 * (self._period.cpu_s - period.cpu_s) / elapsed_s,
            )


class GpuMemory:
    """Reads how much of a GPU's memory is used; None where the machine has none.

    Parameters
    ----------
    device : which GPU, from 0.
    library : the driver's shared library.
    """

    def __init__(self, device: int = 0, library: str = LIBRARY) -> None:
        try:
            self._driver: CudaDriver | None = CudaDriver(library, device)
        except EngineError:
            self._driver = None

    def in_use_mb(self) -> tuple[float, float] | None:
        """What all programs together use, and all there is, in 10^6 bytes; any thread may ask."""
        if self._driver is None:
            return None
        try:
            self._driver.make_current()
            used, total = self._driver.memory_bytes()
        except EngineError:
            return None
        return used / 1e6, total / 1e6


def resident_memory_mb() -> float | None:
    """The memory this process holds, in 10^6 bytes; None where the system does not say."""
    try:
        pages = int(_MEMORY_FILE.read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
