"""Spins nodes in a pool of threads, and waits for a thread instead of asking for it over and over."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event
from typing import Any

from rclpy.executors import (
    ConditionReachedException,
    ExternalShutdownException,
    MultiThreadedExecutor,
    ShutdownException,
    TimeoutException,
)

# How long a spin yields to a thread that is about to begin what it was given.
_YIELD_S = 5e-4
_LONGEST_WAIT_S = 0.1


class PatientExecutor(MultiThreadedExecutor):  # type: ignore[misc]
    """A MultiThreadedExecutor that gives each callback to its pool once.

    rclpy's own hands a callback in again, thousands of times, until a thread has begun it, and holds Python's lock
    while it does: with every thread at work, or just waking, the spinning costs more than the callbacks (on two
    cores the SLAM node answered at half its speed).
    """

    def __init__(self, num_threads: int, **options: Any) -> None:
        super().__init__(num_threads, **options)
        self._handed_in: set[int] = set()

    def spin_until(self, is_over: Callable[[], bool]) -> None:
        """Spin until a condition holds or the context is shut down.

        The condition is looked at whenever the executor wakes: after a callback, a signal or ``wake``.
        """
        while self._context.ok() and not is_over():
            self._spin_once_impl(None, is_over)

    def _spin_once_impl(self, timeout_sec: Any = None, wait_condition: Callable[[], bool] = lambda: False) -> None:
        try:
            handler, _, _ = self.wait_for_ready_callbacks(timeout_sec, None, wait_condition)
        except (ExternalShutdownException, ShutdownException, TimeoutException, ConditionReachedException):
            return
        if id(handler) in self._handed_in:
            time.sleep(_YIELD_S)
        else:
            self._hand_in(handler)
        self._raise_what_callbacks_raised()

    def _hand_in(self, handler: Any) -> None:
        """Give a callback to the pool, and wait until a thread begins it."""
        self._futures.append(handler)
        self._handed_in.add(id(handler))
        begun = Event()
        self._executor.submit(self._run, handler, begun)
        while not begun.wait(_LONGEST_WAIT_S) and self._context.ok():
            pass

    def _run(self, handler: Any, begun: Event) -> None:
        begun.set()
        try:
            handler()
        finally:
            # One that awaits something has returned without being done, and may be handed in again.
            self._handed_in.discard(id(handler))

    def _raise_what_callbacks_raised(self) -> None:
        for handler in [handler for handler in self._futures if handler.done()]:
            self._futures.remove(handler)
            handler.result()
