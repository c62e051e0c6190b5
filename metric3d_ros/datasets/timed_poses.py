"""Poses from a sensor of its own rate and clock, at the times of a camera's images."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from metric3d_ros.errors import DatasetError
from metric3d_ros.quaternion import rotation_from_quaternion

log = logging.getLogger(__name__)

LONGEST_GAP_NS = 100_000_000
"""Between poses further apart than this (two frames at 20 Hz) nothing is interpolated: the sensor had lost it."""


@dataclass(frozen=True)
class TimedPoses:
    """Poses of one body in its world.

    Attributes
    ----------
    stamps_ns : int64 (poses,), strictly increasing, nanoseconds.
    world_from_body : float64 (poses, 4, 4), metres.

    Raises
    ------
    DatasetError
        If there is no pose, or the stamps do not increase.
    """

    stamps_ns: NDArray[np.int64]
    world_from_body: NDArray[np.float64]

    def __post_init__(self) -> None:
        if not len(self.stamps_ns) or len(self.stamps_ns) != len(self.world_from_body):
            raise DatasetError(
                f"{len(self.stamps_ns)} times for {len(self.world_from_body)} true poses; each needs its time."
            )
        backwards = np.flatnonzero(np.diff(self.stamps_ns) <= 0)
        if backwards.size:
            row = int(backwards[0])
            raise DatasetError(
                f"the true poses go back in time, from {self.stamps_ns[row]} to {self.stamps_ns[row + 1]} ns; "
                "sort them and keep each once."
            )

    def covers(self, stamps_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these times lie between two poses that are close enough to interpolate."""
        after = np.clip(np.searchsorted(self.stamps_ns, stamps_ns), 0, len(self.stamps_ns) - 1)
        exact = self.stamps_ns[after] == stamps_ns
        before = np.maximum(after - 1, 0)
        inside = (stamps_ns > self.stamps_ns[0]) & (stamps_ns < self.stamps_ns[-1])
        close = self.stamps_ns[after] - self.stamps_ns[before] <= LONGEST_GAP_NS
        return np.asarray(exact | (inside & close), dtype=np.bool_)

    def at(self, stamps_ns: NDArray[np.int64]) -> NDArray[np.float64]:
        """Poses (times, 4, 4) at covered times: straight between positions, the shortest turn between turns."""
        return np.stack([self._at(int(stamp_ns)) for stamp_ns in stamps_ns])

    def _at(self, stamp_ns: int) -> NDArray[np.float64]:
        after = int(np.searchsorted(self.stamps_ns, stamp_ns))
        if self.stamps_ns[after] == stamp_ns:
            return np.asarray(self.world_from_body[after], dtype=np.float64)
        span_ns = int(self.stamps_ns[after] - self.stamps_ns[after - 1])
        share = (stamp_ns - int(self.stamps_ns[after - 1])) / span_ns
        first, second = self.world_from_body[after - 1], self.world_from_body[after]
        pose = np.eye(4)
        turn = cv2.Rodrigues(first[:3, :3].T @ second[:3, :3])[0]
        pose[:3, :3] = first[:3, :3] @ cv2.Rodrigues(share * turn)[0]
        pose[:3, 3] = (1 - share) * first[:3, 3] + share * second[:3, 3]
        return pose


def pose_of_fields(fields: Sequence[str]) -> NDArray[np.float64] | None:
    """Pose (4, 4) of seven written numbers, position and quaternion (x, y, z, w); None where they are none."""
    try:
        values = np.array([float(field) for field in fields])
    except ValueError:
        return None
    if values.shape != (7,) or not np.isfinite(values).all() or not np.any(values[3:]):
        return None
    pose = np.eye(4)
    pose[:3, :3] = rotation_from_quaternion(values[3:])
    pose[:3, 3] = values[:3]
    return pose


def frames_with_truth(name: str, stamps_ns: NDArray[np.int64], truth: TimedPoses) -> NDArray[np.int64]:
    """Positions of the frames that have a true pose; what is left out at the ends or in gaps goes to the log.

    Raises
    ------
    DatasetError
        If there is none.
    """
    kept = np.flatnonzero(truth.covers(stamps_ns))
    if not kept.size:
        raise DatasetError(
            f"{name} has images from {stamps_ns[0]} to {stamps_ns[-1]} ns and true poses from "
            f"{truth.stamps_ns[0]} to {truth.stamps_ns[-1]} ns; take both from the same recording."
        )
    if len(kept) < len(stamps_ns):
        log.info(
            "%s: %d of %d frames have no true pose and are left out.",
            name,
            len(stamps_ns) - len(kept),
            len(stamps_ns),
        )
    return kept
