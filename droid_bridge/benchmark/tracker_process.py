"""The tracker in a process of its own: it ends when we end, and its memory is its own."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# Every library that would otherwise take all cores for each of several jobs.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_MEGABYTE = 1e6
_RSS_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes
    ----------
    failure : how it failed, such as ``ended with status 2``; empty where it did not.
    wall_s : how long it ran.
    peak_memory_mb : its largest resident set, and that of what it waited for, 10^6 bytes.
    """

    failure: str
    wall_s: float
    peak_memory_mb: float


def run_process(command: Sequence[str], log: Path, threads: int) -> Ended:
    """Run a command to its end, all it says in ``log``; on Linux it is killed when this process dies."""
    environment = os.environ | dict.fromkeys(_THREAD_VARIABLES, str(threads))
    started_s = time.monotonic()
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
            # Otherwise a killed benchmark's trackers go on beside those of the one that takes over.
            preexec_fn=_die_with_parent if _LIBC is not None else None,  # noqa: PLW1509
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
    process.returncode = os.waitstatus_to_exitcode(status)
    return Ended(
        failure=_failure(process.returncode),
        wall_s=time.monotonic() - started_s,
        peak_memory_mb=usage.ru_maxrss * _RSS_UNIT_BYTES / _MEGABYTE,
    )


def _die_with_parent() -> None:
    # Between fork and exec: nothing may be imported or allocated that another thread could hold.
    assert _LIBC is not None
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _failure(returncode: int) -> str:
    if returncode == 0:
        return ""
    if returncode > 0:
        return f"ended with status {returncode}"
    return f"was ended by {signal.Signals(-returncode).name}"
