"""Signals as something that is on or off, for as long as somebody listens."""

from __future__ import annotations

import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import FrameType, TracebackType
from typing import Any, TypeVar

SignalHandler = Callable[[int, FrameType | None], None]
_Switch = TypeVar("_Switch", bound="SignalSwitch")


class SignalSwitch(ABC):
    """A context manager that takes signals over and gives them back to who had them.

    Outside the main thread, which alone can take signals, it stays off.
    """

    def __init__(self) -> None:
        self.is_on = False
        self._before: dict[signal.Signals, Any] = {}

    @property
    def listens(self) -> bool:
        """Whether its signals come here now."""
        return bool(self._before)

    @abstractmethod
    def handlers(self) -> Mapping[signal.Signals, SignalHandler]:
        """Which signals it listens to, and what each does."""

    def __enter__(self: _Switch) -> _Switch:
        if threading.current_thread() is threading.main_thread():
            for number, handler in self.handlers().items():
                self._before[number] = signal.signal(number, handler)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
