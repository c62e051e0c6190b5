"""A place for one thing that waits to be worked on: the newest replaces the one before it."""

from __future__ import annotations

from threading import Condition
from typing import Generic, TypeVar

T = TypeVar("T")


class LatestSlot(Generic[T]):
    """Hands the newest thing from the thread that puts to the thread that takes; what it replaces is counted."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._waiting: T | None = None
        self._is_closed = False
        self._replaced = 0

    @property
    def replaced(self) -> int:
        """How many things were never taken because a newer one came."""
        return self._replaced

    def put(self, thing: T) -> None:
        """Offer a thing in place of the one that waits, if one does; nothing happens once closed."""
        with self._changed:
            if self._is_closed:
                return
            if self._waiting is not None:
                self._replaced += 1
            self._waiting = thing
            self._changed.notify()

    def take(self) -> T | None:
        """The newest thing as soon as there is one; None once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is not None or self._is_closed)
            taken, self._waiting = self._waiting, None
            return None if self._is_closed else taken

    def close(self) -> None:
        """Drop what waits and let whoever takes go."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
