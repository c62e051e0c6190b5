"""Ctrl-C, and the like, as something to look at between two steps, not an exception in the middle of one."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from types import FrameType

from metric3d_ros.ros.signal_switch import SignalHandler, SignalSwitch


class InterruptSwitch(SignalSwitch):
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
        super().__init__()
        self._signals = signals

    def handlers(self) -> Mapping[signal.Signals, SignalHandler]:
        """Each signal interrupts."""
        return dict.fromkeys(self._signals, self._on_interrupt)

    def raise_if_on(self) -> None:
        """Raise KeyboardInterrupt, if it has come, here."""
        if self.is_on:
            raise KeyboardInterrupt

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        self.raise_if_on()
        self.is_on = True
