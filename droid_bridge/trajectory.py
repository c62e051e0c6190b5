"""Trajectories: the poses of one camera in its world, and the KITTI and TUM files that hold them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from droid_bridge.errors import TrajectoryError
from metric3d_ros.atomic_file import replaced_when_done
from metric3d_ros.quaternion import quaternion_from_rotation, rotation_from_quaternion

# Rotations in files are rounded (KITTI gives seven digits), so only what rounding cannot explain is refused.
ROTATION_TOLERANCE = 1e-2
KITTI_COLUMNS = (12, 13)
TUM_COLUMNS = (8,)
# A smaller number would print a three-digit exponent and so break the fixed width of a row.
SMALLEST_PRINTED = 1e-99


@dataclass(frozen=True)
class Trajectory:
    """The poses of one camera, in order.

    Attributes
    ----------
    world_from_camera : float64 (poses, 4, 4), optical camera frame to the world, metres.
    frame_indices : int64 (poses,), strictly increasing frame numbers; or None when the row is the frame.
    stamps_ns : int64 (poses,), strictly increasing capture times in nanoseconds; or None.

    Raises
    ------
    TrajectoryError
        If there is no pose, a shape does not fit, a number is not finite, a rotation is not one, or the
        frame numbers or stamps do not increase.
    """

    world_from_camera: NDArray[np.float64]
    frame_indices: NDArray[np.int64] | None = None
    stamps_ns: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        poses = np.asarray(self.world_from_camera, dtype=np.float64)
        if poses.ndim != 3 or poses.shape[1:] != (4, 4) or len(poses) == 0:
            raise TrajectoryError(f"trajectory poses have shape {poses.shape}; give (poses, 4, 4), at least one.")
        object.__setattr__(self, "world_from_camera", poses)
        _check_poses(poses, "trajectory pose")
        for name in ("frame_indices", "stamps_ns"):
            values = getattr(self, name)
            if values is None:
                continue
            values = np.asarray(values, dtype=np.int64)
            object.__setattr__(self, name, values)
            if values.shape != (len(poses),):
                raise TrajectoryError(
                    f"{name} has shape {values.shape} for {len(poses)} poses; give one per pose."
                )
            backwards = np.flatnonzero(np.diff(values) <= 0)
            if backwards.size:
                row = int(backwards[0]) + 1
                raise TrajectoryError(
                    f"{name} goes from {values[row - 1]} to {values[row]} at pose {row + 1}; "
                    "sort the poses and keep each once."
                )

    def __len__(self) -> int:
        return len(self.world_from_camera)

    @property
    def positions_m(self) -> NDArray[np.float64]:
        """Camera centres in the world, float64 (poses, 3), metres."""
        return self.world_from_camera[:, :3, 3]

    def path_distance_m(self) -> NDArray[np.float64]:
        """Metres travelled from the first pose to each pose, float64 (poses,)."""
        steps_m = np.linalg.norm(np.diff(self.positions_m, axis=0), axis=1)
        return np.concatenate([[0.0], np.cumsum(steps_m)])


def read_trajectory(path: str | Path) -> Trajectory:
    """Read a KITTI (12 or 13 numbers a row) or TUM (8 numbers a row) file, told apart by its first row.

    Raises
    ------
    TrajectoryError
        If the file is missing, empty, or a row is malformed; the message names the row.
    """
    rows = _read_rows(Path(path))
    columns = len(rows[0][1])
    if columns in TUM_COLUMNS:
        return _parse_tum(Path(path), rows)
    return _parse_kitti(Path(path), rows)


def read_kitti(path: str | Path) -> Trajectory:
    """Read a KITTI odometry file: 12 numbers a row (3x4 world_from_camera), or 13 with a frame number in front.

    Raises
    ------
    TrajectoryError
        If the file is missing, empty, or a row is malformed; the message names the row.
    """
    return _parse_kitti(Path(path), _read_rows(Path(path)))


def read_tum(path: str | Path) -> Trajectory:
    """Read a TUM file: ``stamp_s tx ty tz qx qy qz qw`` a row, ``#`` comments. Stamps keep their nanoseconds.

    Raises
    ------
    TrajectoryError
        If the file is missing, empty, or a row is malformed; the message names the row.
    """
    return _parse_tum(Path(path), _read_rows(Path(path)))


def write_kitti(trajectory: Trajectory, path: str | Path) -> None:
    """Write a KITTI odometry file, with frame numbers in front when the trajectory has them; all or nothing.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    indices: list[int | None] = [None] * len(trajectory)
    if trajectory.frame_indices is not None:
        indices = [int(index) for index in trajectory.frame_indices]
    rows = [kitti_row(i, pose) for i, pose in zip(indices, trajectory.world_from_camera, strict=True)]
    with replaced_when_done(path) as temporary:
        temporary.write_text("".join(rows), encoding="ascii")


def write_tum(trajectory: Trajectory, path: str | Path) -> None:
    """Write a TUM file; all or nothing.

    Raises
    ------
    TrajectoryError
        If the trajectory has no stamps.
    OutputError
        If the file cannot be written.
    """
    if trajectory.stamps_ns is None:
        raise TrajectoryError(f"a TUM file needs stamps and this trajectory has none; write {path} as KITTI.")
    stamps_and_poses = zip(trajectory.stamps_ns, trajectory.world_from_camera, strict=True)
    rows = [tum_row(int(stamp), pose) for stamp, pose in stamps_and_poses]
    with replaced_when_done(path) as temporary:
        temporary.write_text("".join(rows), encoding="ascii")


def kitti_row(frame_index: int | None, world_from_camera: NDArray[np.float64]) -> str:
    """One line of a KITTI file; every line has the same number of bytes."""
    index = "" if frame_index is None else f"{frame_index:08d} "
    return index + _fixed_width(world_from_camera[:3].ravel()) + "\n"


def tum_row(stamp_ns: int, world_from_camera: NDArray[np.float64]) -> str:
    """One line of a TUM file; every line has the same number of bytes."""
    seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
    quaternion = quaternion_from_rotation(world_from_camera[:3, :3])
    return f"{seconds:010d}.{nanoseconds:09d} {_fixed_width([*world_from_camera[:3, 3], *quaternion])}\n"


def _read_rows(path: Path) -> list[tuple[int, list[str]]]:
    """Line number and tokens of each line that holds numbers."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise TrajectoryError(f"trajectory {path} is not a text file; give a KITTI or TUM text file.") from error
    except OSError as error:
        raise TrajectoryError(f"trajectory {path} cannot be read: {error.strerror}; check the path.") from error
    lines = ((number, line.split()) for number, line in enumerate(text.splitlines(), start=1))
    rows = [(number, tokens) for number, tokens in lines if tokens and not tokens[0].startswith("#")]
    if not rows:
        raise TrajectoryError(f"trajectory {path} is empty; give a KITTI or TUM file with at least one pose.")
    return rows


def _numbers(path: Path, rows: list[tuple[int, list[str]]], allowed: tuple[int, ...]) -> NDArray[np.float64]:
    """All rows as float64, every one as wide as the first."""
    columns = len(rows[0][1]) if len(rows[0][1]) in allowed else allowed[0]
    table = np.empty((len(rows), columns), dtype=np.float64)
    for i, (number, tokens) in enumerate(rows):
        if len(tokens) != columns:
            expected = " or ".join(map(str, allowed)) if i == 0 else f"{columns}, as the rows before it"
            raise TrajectoryError(f"row {number} of {path} has {len(tokens)} numbers; it needs {expected}.")
        try:
            table[i] = [float(token) for token in tokens]
        except ValueError as error:
            raise TrajectoryError(f"row {number} of {path} holds something that is no number: {error}.") from error
        if not np.isfinite(table[i]).all():
            raise TrajectoryError(
                f"row {number} of {path} holds NaN or infinity; leave out frames without a pose "
                "and number the others (13 numbers a row, or TUM stamps)."
            )
    return table


def _parse_kitti(path: Path, rows: list[tuple[int, list[str]]]) -> Trajectory:
    table = _numbers(path, rows, KITTI_COLUMNS)
    indices = None
    if table.shape[1] == 13:
        indices = table[:, 0].astype(np.int64)
        for (number, tokens), index, value in zip(rows, indices, table[:, 0], strict=True):
            if index != value or index < 0:
                raise TrajectoryError(
                    f"row {number} of {path} starts with {tokens[0]}; 13 numbers start with a frame number from 0."
                )
        table = table[:, 1:]
    poses = np.tile(np.eye(4), (len(table), 1, 1))
    poses[:, :3] = table.reshape(-1, 3, 4)
    return _placed(path, rows, poses, indices, None)


def _parse_tum(path: Path, rows: list[tuple[int, list[str]]]) -> Trajectory:
    table = _numbers(path, rows, TUM_COLUMNS)
    for (number, _), quaternion in zip(rows, table[:, 4:], strict=True):
        length = float(np.linalg.norm(quaternion))
        if abs(length - 1.0) > ROTATION_TOLERANCE:
            raise TrajectoryError(
                f"row {number} of {path} has a quaternion of length {length:.4g}; it must be 1 (qx qy qz qw)."
            )
    poses = np.tile(np.eye(4), (len(table), 1, 1))
    poses[:, :3, :3] = rotation_from_quaternion(table[:, 4:])
    poses[:, :3, 3] = table[:, 1:4]
    try:
        # A float64 second of this century resolves 240 ns; the decimal keeps the nanosecond.
        stamps_ns = np.array([round(Decimal(tokens[0]) * 10**9) for _, tokens in rows], dtype=np.int64)
    except (InvalidOperation, OverflowError) as error:
        raise TrajectoryError(f"{path} has a stamp beyond 64-bit nanoseconds; give seconds.") from error
    return _placed(path, rows, poses, None, stamps_ns)


def _placed(
    path: Path,
    rows: list[tuple[int, list[str]]],
    poses: NDArray[np.float64],
    indices: NDArray[np.int64] | None,
    stamps_ns: NDArray[np.int64] | None,
) -> Trajectory:
    """The trajectory, its complaints naming the file and the row."""
    _check_poses(poses, f"{path}, row", [number for number, _ in rows])
    try:
        return Trajectory(poses, frame_indices=indices, stamps_ns=stamps_ns)
    except TrajectoryError as error:
        raise TrajectoryError(f"{path}: {error}") from error


def _check_poses(poses: NDArray[np.float64], thing: str, numbers: list[int] | None = None) -> None:
    rotations = poses[:, :3, :3]
    finite = np.isfinite(poses.reshape(-1, 16)).all(axis=1)
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(rotations @ rotations.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
        rigid = finite & (error <= ROTATION_TOLERANCE) & (np.linalg.det(rotations) > 0)
    for row in np.flatnonzero(~rigid)[:1]:
        number = numbers[row] if numbers else row + 1
        fault = "has a rotation that is not rigid" if np.isfinite(poses[row]).all() else "holds NaN or infinity"
        raise TrajectoryError(f"{thing} {number} {fault}; poses must be finite world_from_camera transforms.")


def _fixed_width(values: NDArray[np.float64] | list[float]) -> str:
    return " ".join(f"{0.0 if abs(value) < SMALLEST_PRINTED else value:+.12e}" for value in values)
