"""Pausing with Ctrl-Z: SIGTSTP holds playing instead of stopping the process, and lets it go on again."""

from __future__ import annotations

import logging
import signal
from collections.abc import Mapping
from types import FrameType

from metric3d_ros.ros.signal_switch import SignalHandler, SignalSwitch

log = logging.getLogger(__name__)


class PauseSwitch(SignalSwitch):
    """Whether playing is paused; a context manager that listens to signals.

    SIGTSTP (Ctrl-Z) pauses and, sent again, goes on; SIGCONT goes on. Outside the main thread, which alone can
    take signals, and where a system has no such signals, it stays off.
    """

    def handlers(self) -> Mapping[signal.Signals, SignalHandler]:
        """SIGTSTP and SIGCONT, where the system has them."""
        if not hasattr(signal, "SIGTSTP"):
            return {}
        return {signal.SIGTSTP: self._on_stop, signal.SIGCONT: self._on_continue}

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        self.is_on = not self.is_on
        log.info("paused: Ctrl-Z again, or SIGCONT, goes on." if self.is_on else "playing on.")

    def _on_continue(self, number: int, frame: FrameType | None) -> None:
        if self.is_on:
            self.is_on = False
            log.info("playing on.")
