"""Ctrl-C, and the like, as something to look at between two steps, not an exception in the middle of one."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType

from metric3d_ros.ros.signal_switch import SignalHandler, SignalSwitch

_SIGNALS_AT_ONCE = 64


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

    @contextlib.contextmanager
    def waking(self, wake: Callable[[], None]) -> Iterator[None]:
        """Call ``wake`` with every signal, while the context lasts; never where it does not listen.

        A thread that waits outside Python, as in a ROS wait set, runs no handler before it comes back. ``wake`` is
        called from a thread of its own, and no more once the context is left.
        """
        if not self.listens:
            yield
            return
        read_fd, write_fd = os.pipe()
        os.set_blocking(write_fd, False)
        before_fd = signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
        thread = threading.Thread(target=_wake_with_signals, args=(read_fd, wake), name="interrupt", daemon=True)
        thread.start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(before_fd)
            os.close(write_fd)
            thread.join()
            os.close(read_fd)

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        self.raise_if_on()
        self.is_on = True


def _wake_with_signals(read_fd: int, wake: Callable[[], None]) -> None:
    """Until nobody writes to the pipe any longer."""
    while os.read(read_fd, _SIGNALS_AT_ONCE):
        wake()
