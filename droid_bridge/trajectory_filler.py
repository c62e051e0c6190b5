"""A pose for every frame: what the front end said of it, moved with the keyframes around it."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from droid_bridge.lie import se3_from_parts, se3_orthonormalised, sim3_exp, sim3_inverse, sim3_log, sim3_rotation
from droid_bridge.odometry_update import TrackedPose

_FIRST_CAPACITY = 1024


def moved_rigidly(correction: torch.Tensor, world_from_camera: torch.Tensor) -> torch.Tensor:
    """Poses (..., 4, 4) moved by similarities (..., 4, 4) of the world: turned and placed, never stretched."""
    rotation = sim3_rotation(correction) @ world_from_camera[..., :3, :3]
    centre = correction[..., :3, :3] @ world_from_camera[..., :3, 3:] + correction[..., :3, 3:]
    return se3_orthonormalised(se3_from_parts(rotation, centre[..., 0]))


class TrajectoryFiller:
    """The front end's latest pose of every frame, a hundred bytes each."""

    def __init__(self) -> None:
        self._count = 0
        self._indices = np.zeros(_FIRST_CAPACITY, np.int64)
        self._stamps_ns = np.zeros(_FIRST_CAPACITY, np.int64)
        self._poses = np.zeros((_FIRST_CAPACITY, 3, 4))

    def __len__(self) -> int:
        return self._count

    def record(self, poses: Sequence[TrackedPose]) -> None:
        """Note poses; new frames come after all noted ones, others are overwritten."""
        for pose in poses:
            row = int(np.searchsorted(self._indices[: self._count], pose.frame_index))
            if row == self._count:
                self._grow()
                self._count += 1
            self._indices[row], self._stamps_ns[row] = pose.frame_index, pose.stamp_ns
            self._poses[row] = pose.world_from_camera[:3]

    def corrected(
        self, corrections: Sequence[tuple[int, NDArray[np.float64]]], first_frame: int = 0
    ) -> tuple[TrackedPose, ...]:
        """Every frame's pose after the corrections of keyframes.

        Parameters
        ----------
        corrections : (frame_index, similarity (4, 4) of the front end's world at that keyframe), in order. Between
            two of them a frame gets their log-linear interpolation by the way travelled; beyond, the nearest.
        first_frame : frames before it are left out.
        """
        # The keyframe at or before the first frame wanted is where its interpolation starts.
        before = bisect.bisect_right(corrections, first_frame, key=lambda correction: correction[0]) - 1
        corrections = corrections[max(before, 0) :]
        start = min(first_frame, corrections[0][0]) if corrections else first_frame
        skip = int(np.searchsorted(self._indices[: self._count], start))
        indices, stamps_ns = self._indices[skip : self._count], self._stamps_ns[skip : self._count]
        poses = np.tile(np.eye(4), (len(indices), 1, 1))
        poses[:, :3] = self._poses[skip : self._count]
        if corrections and len(indices):
            moves = _interpolated(corrections, indices, poses[:, :3, 3], stamps_ns)
            poses = moved_rigidly(moves, torch.from_numpy(poses)).numpy()
        return tuple(
            TrackedPose(int(index), int(stamp_ns), pose)
            for index, stamp_ns, pose in zip(indices, stamps_ns, poses, strict=True)
            if index >= first_frame
        )

    def _grow(self) -> None:
        if self._count < len(self._indices):
            return
        self._indices = np.concatenate([self._indices, np.zeros_like(self._indices)])
        self._stamps_ns = np.concatenate([self._stamps_ns, np.zeros_like(self._stamps_ns)])
        self._poses = np.concatenate([self._poses, np.zeros_like(self._poses)])


def _interpolated(
    corrections: Sequence[tuple[int, NDArray[np.float64]]],
    frame_indices: NDArray[np.int64],
    positions_m: NDArray[np.float64],
    stamps_ns: NDArray[np.int64],
) -> torch.Tensor:
    """A similarity (frames, 4, 4) for each frame."""
    steps_m = np.linalg.norm(np.diff(positions_m, axis=0), axis=1)
    # The clock moves a little of it, so that frames of a standing camera still have an order.
    steps_m = steps_m + 1e-9 * np.diff(stamps_ns) * 1e-3
    way = np.concatenate([[0.0], np.cumsum(steps_m)])
    keyframe_indices = np.array([index for index, _ in corrections])
    way_at_keyframe = np.interp(keyframe_indices, frame_indices, way)
    after = np.clip(np.searchsorted(keyframe_indices, frame_indices, side="right"), 1, len(corrections))
    before = after - 1
    after = np.minimum(after, len(corrections) - 1)
    gap = way_at_keyframe[after] - way_at_keyframe[before]
    share = np.clip((way - way_at_keyframe[before]) / np.where(gap > 0, gap, 1), 0, 1)
    similarities = torch.from_numpy(np.stack([similarity for _, similarity in corrections]))
    changes = sim3_log(sim3_inverse(similarities[:-1]) @ similarities[1:])
    changes = torch.cat([changes, torch.zeros(1, 7, dtype=torch.float64)])
    return similarities[before] @ sim3_exp(torch.from_numpy(share)[:, None] * changes[before])
