"""Pausing with Ctrl-Z: SIGTSTP holds playing instead of stopping the process, and lets it go on again."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

log = logging.getLogger(__name__)


class PauseSwitch:
    """Whether playing is paused; a context manager that listens to signals.

    SIGTSTP (Ctrl-Z) pauses and, sent again, goes on; SIGCONT goes on. Outside the main thread, which alone can
    take signals, and where a system has no such signals, it stays off.
    """

    def __init__(self) -> None:
        self.is_on = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> PauseSwitch:
        if threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGTSTP"):
            for number, handler in ((signal.SIGTSTP, self._on_stop), (signal.SIGCONT, self._on_continue)):
                self._before[number] = signal.signal(number, handler)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        self.is_on = not self.is_on
        log.info("paused: Ctrl-Z again, or SIGCONT, goes on." if self.is_on else "playing on.")

    def _on_continue(self, number: int, frame: FrameType | None) -> None:
        if self.is_on:
            self.is_on = False
            log.info("playing on.")
