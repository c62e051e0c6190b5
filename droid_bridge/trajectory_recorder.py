"""Writes a trajectory while it grows, so that a killed process leaves every pose it had recorded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import compress, groupby
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from droid_bridge.errors import TrajectoryError
from droid_bridge.trajectory import Trajectory, kitti_row, read_tum, tum_row

KITTI_FILE = "trajectory_kitti.txt"
TUM_FILE = "trajectory_tum.txt"
ODOMETRY_FILE = "odometry_tum.txt"


def recorded_odometry(folder: Path) -> Trajectory | None:
    """Each pose as a recorder was first given it; None where it never was given one."""
    path = folder / ODOMETRY_FILE
    return read_tum(path) if path.stat().st_size else None


class TrajectoryRecorder:
    """Keeps ``trajectory_kitti.txt`` (12 numbers a row) and ``trajectory_tum.txt`` (with stamps) current.

    Rows have a fixed width, so poses that are refined later are overwritten in place, and what one ``record``
    call changes goes out in one write per file and run of adjoining rows. A third file, ``odometry_tum.txt``,
    keeps every pose as it was first recorded: what a robot had in its hands while it drove. All start empty.

    Raises
    ------
    TrajectoryError
        If the folder cannot be made or written.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._row_of_frame: dict[int, int] = {}
        self._stamp_of_frame: dict[int, int] = {}
        self._descriptors: list[int] = []
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for name in (KITTI_FILE, TUM_FILE, ODOMETRY_FILE):
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
                self._descriptors.append(os.open(self.folder / name, flags, 0o644))
        except OSError as error:
            self.close()
            raise TrajectoryError(
                f"cannot write trajectories to {self.folder}: {error.strerror}; "
                "choose a folder that can be written."
            ) from error

    def record(self, poses: Sequence[tuple[int, int, NDArray[np.float64]]]) -> None:
        """Write new poses and rewrite refined ones.

        Parameters
        ----------
        poses : (frame_index, stamp_ns, world_from_camera (4, 4) in metres), frame numbers increasing. Frames
            recorded before are overwritten; new ones must come after all recorded frames.

        Raises
        ------
        TrajectoryError
            If a pose is not a finite rigid transform, a new frame or stamp is not later than the recorded
            ones, a recorded frame comes with another stamp, the disk refuses, or the recorder is closed.
            Nothing is written then, unless it was the disk.
        """
        if not poses:
            return
        if not self._descriptors:
            raise TrajectoryError(f"the trajectory files in {self.folder} are closed; make a new recorder.")
        self._check(poses)
        first_new_row = len(self._row_of_frame)
        rows = self._rows_for([frame_index for frame_index, _, _ in poses])
        kitti_lines = [kitti_row(None, pose).encode("ascii") for _, _, pose in poses]
        tum_lines = [tum_row(stamp_ns, pose).encode("ascii") for _, stamp_ns, pose in poses]
        is_new = [row >= first_new_row for row in rows]
        kitti, tum, odometry = self._descriptors
        self._write(kitti, rows, kitti_lines)
        self._write(tum, rows, tum_lines)
        self._write(odometry, list(compress(rows, is_new)), list(compress(tum_lines, is_new)))
        for row, (frame_index, stamp_ns, _) in zip(rows, poses, strict=True):
            self._row_of_frame[frame_index] = row
            self._stamp_of_frame[frame_index] = stamp_ns

    def close(self) -> None:
        """Flush the files to the disk and close them; closing twice is harmless."""
        while self._descriptors:
            descriptor = self._descriptors.pop()
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def __enter__(self) -> TrajectoryRecorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check(self, poses: Sequence[tuple[int, int, NDArray[np.float64]]]) -> None:
        Trajectory(
            np.array([pose for _, _, pose in poses], dtype=np.float64),
            frame_indices=np.array([frame_index for frame_index, _, _ in poses], dtype=np.int64),
            stamps_ns=np.array([stamp_ns for _, stamp_ns, _ in poses], dtype=np.int64),
        )
        last_frame = next(reversed(self._row_of_frame), -1)
        last_stamp_ns = self._stamp_of_frame.get(last_frame, -1)
        for frame_index, stamp_ns, _ in poses:
            known_stamp_ns = self._stamp_of_frame.get(frame_index)
            if known_stamp_ns is not None and known_stamp_ns != stamp_ns:
                raise TrajectoryError(
                    f"frame {frame_index} was recorded at {known_stamp_ns} ns and now comes with {stamp_ns} ns; "
                    "a frame keeps its stamp."
                )
            if known_stamp_ns is None and (frame_index <= last_frame or stamp_ns <= last_stamp_ns):
                raise TrajectoryError(
                    f"frame {frame_index} at {stamp_ns} ns comes after frame {last_frame} at {last_stamp_ns} ns; "
                    "record new frames in order."
                )

    def _rows_for(self, frame_indices: list[int]) -> list[int]:
        next_row = len(self._row_of_frame)
        rows = []
        for frame_index in frame_indices:
            row = self._row_of_frame.get(frame_index)
            if row is None:
                row, next_row = next_row, next_row + 1
            rows.append(row)
        return rows

    def _write(self, descriptor: int, rows: list[int], lines: list[bytes]) -> None:
        for _, run in groupby(range(len(rows)), key=lambda i: rows[i] - i):
            run_rows = list(run)
            block = memoryview(b"".join(lines[i] for i in run_rows))
            offset = rows[run_rows[0]] * len(lines[0])
            while block:
                try:
                    written = os.pwrite(descriptor, block, offset)
                except OSError as error:
                    raise TrajectoryError(
                        f"cannot write trajectories to {self.folder}: {error.strerror}; make room on that disk."
                    ) from error
                block, offset = block[written:], offset + written
