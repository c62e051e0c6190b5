"""Brings together what several topics say of one moment, by exact stamp.

A ROS install has message_filters for this; pip does not, and one behaviour everywhere is worth these lines.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class StampPairing:
    """Collects values by stamp until every named part of one moment is there.

    Parameters
    ----------
    parts : the names of what makes a moment complete.
    capacity : moments kept waiting; the oldest goes when one more arrives.
    """

    def __init__(self, parts: Iterable[str], capacity: int = 20) -> None:
        self._parts = frozenset(parts)
        self._capacity = capacity
        self._waiting: dict[int, dict[str, Any]] = {}
        self.dropped = 0

    def add(self, part: str, stamp_ns: int, value: Any) -> dict[str, Any] | None:
        """The complete moment this value finishes, or None; older incomplete moments are dropped and counted."""
        moment = self._waiting.setdefault(stamp_ns, {})
        moment[part] = value
        if self._parts <= moment.keys():
            self._forget_until(stamp_ns)
            return moment
        if len(self._waiting) > self._capacity:
            self._forget_until(min(self._waiting), is_drop=True)
        return None

    def missing(self, stamp_ns: int) -> frozenset[str]:
        """The parts that the moment at ``stamp_ns`` still waits for."""
        return self._parts - self._waiting.get(stamp_ns, {}).keys()

    def clear(self) -> None:
        """Forget every waiting moment, without counting them as dropped."""
        self._waiting.clear()

    def _forget_until(self, stamp_ns: int, is_drop: bool = False) -> None:
        old = [stamp for stamp in self._waiting if stamp <= stamp_ns]
        self.dropped += len(old) - (0 if is_drop else 1)
        for stamp in old:
            del self._waiting[stamp]
