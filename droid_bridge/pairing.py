"""Brings together what several topics say of one moment, by exact stamp.

A ROS install has message_filters for this; pip does not, and one behaviour everywhere is worth these lines.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class StampPairing:
    """Collects values by stamp until a moment has the parts it needs.

    Parameters
    ----------
    parts : names of what every moment needs.
    optional : names of what a moment is better with. It waits for them until a moment so much younger has begun,
        or a younger one is complete; then it goes without.
    patience_ns : how much younger.
    capacity : moments kept waiting; the one that waits longest goes when one more arrives.
    counted : the part that makes a lost moment count as dropped; None counts every moment.

    Attributes
    ----------
    dropped : moments lost so far, or counted parts that came twice.
    """

    def __init__(
        self,
        parts: Iterable[str],
        optional: Iterable[str] = (),
        patience_ns: int = 0,
        capacity: int = 20,
        counted: str | None = None,
    ) -> None:
        self._needed = frozenset(parts)
        self._wanted = self._needed | frozenset(optional)
        self._patience_ns = patience_ns
        self._capacity = capacity
        self._counted = counted
        self._waiting: dict[int, dict[str, Any]] = {}
        self.dropped = 0

    def add(self, part: str, stamp_ns: int, value: Any) -> list[tuple[int, dict[str, Any]]]:
        """Take a value in; gives the moments that are due, oldest first, each as its stamp and its parts.

        Moments older than a due one that lack what they need are dropped and counted.
        """
        moment = self._waiting.setdefault(stamp_ns, {})
        self.dropped += int(part == self._counted and part in moment)
        moment[part] = value
        # A moment begins with all that it needs: a part alone, its stamp far ahead, is nothing to go by.
        newest = max((stamp for stamp in self._waiting if self._has_needed(stamp)), default=stamp_ns)
        due = [
            stamp
            for stamp, parts in self._waiting.items()
            if self._wanted <= parts.keys() or (self._has_needed(stamp) and newest - stamp >= self._patience_ns)
        ]
        released = self._released_until(max(due)) if due else []
        if len(self._waiting) > self._capacity:
            released += self._without_longest_waiting()
        return released

    def want(self, part: str, is_wanted: bool = True) -> None:
        """From now on a moment is better with a part, too, or no longer waits for it."""
        if is_wanted:
            self._wanted |= {part}
        elif part not in self._needed:
            self._wanted -= {part}

    def missing(self, stamp_ns: int) -> frozenset[str]:
        """The parts that the moment at ``stamp_ns`` still waits for."""
        return self._wanted - self._waiting.get(stamp_ns, {}).keys()

    def clear(self) -> None:
        """Forget every waiting moment, without counting them as dropped."""
        self._waiting.clear()

    def _has_needed(self, stamp_ns: int) -> bool:
        return self._needed <= self._waiting[stamp_ns].keys()

    def _without_longest_waiting(self) -> list[tuple[int, dict[str, Any]]]:
        """Make room. Not the oldest stamp goes: parts with stamps far ahead would stay for good."""
        stamp_ns = next(iter(self._waiting))
        if self._has_needed(stamp_ns):
            return self._released_until(stamp_ns)
        self._lose(self._waiting.pop(stamp_ns))
        return []

    def _lose(self, moment: dict[str, Any]) -> None:
        self.dropped += int(self._counted is None or self._counted in moment)

    def _released_until(self, stamp_ns: int) -> list[tuple[int, dict[str, Any]]]:
        """Take out every moment up to a stamp; those without what they need are lost."""
        released = []
        for stamp in sorted(stamp for stamp in self._waiting if stamp <= stamp_ns):
            moment = self._waiting.pop(stamp)
            if self._needed <= moment.keys():
                released.append((stamp, moment))
            else:
                self._lose(moment)
        return released
