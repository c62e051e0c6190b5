"""Ctrl-C, and the like, as something to look at between two steps, not an exception in the middle of one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Any


class InterruptSwitch:
    """Whether SIGINT (Ctrl-C) has come; a context manager that listens for it.

    Python's own handler raises KeyboardInterrupt wherever the program is, and where rclpy is turning a message
    into a Python object there, a RuntimeError comes out instead. The second Ctrl-C raises all the same: whoever
    waits for an end that takes too long has it at once. Outside the main thread, which alone can take signals, it
    stays off.

    Parameters
    ----------
    signals : what is listened for; SIGINT alone unless told otherwise.
    """

    def __init__(self, signals: Sequence[signal.Signals] = (signal.SIGINT,)) -> None:
        self.is_on = False
        self._signals = signals
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> InterruptSwitch:
        if threading.current_thread() is threading.main_thread():
            for number in self._signals:
                self._before[number] = signal.signal(number, self._on_interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def raise_if_on(self) -> None:
        """Raise KeyboardInterrupt, if it has come, here."""
        if self.is_on:
            raise KeyboardInterrupt

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        self.raise_if_on()
        self.is_on = True
