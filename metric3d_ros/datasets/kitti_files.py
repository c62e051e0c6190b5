"""The text files of KITTI: calibration, times and poses."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.errors import DatasetError

Row = TypeVar("Row", bound=np.generic)

_DATE = re.compile(r"(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?")


GRAY_CAMERAS = (0, 1)
"""The cameras without colour, in both KITTI odometry and KITTI raw."""


def read_lines(path: Path) -> list[str]:
    """Lines of a text file without trailing blank ones.

    Raises
    ------
    DatasetError
        If the file is missing or not text.
    """
    try:
        return path.read_text(encoding="utf-8").rstrip().splitlines()
    except FileNotFoundError as error:
        raise DatasetError(f"{path} is missing; KITTI keeps it there.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read as text: {error}.") from error


def read_calibration(path: Path) -> dict[str, NDArray[np.float64]]:
    """Read ``key: numbers`` lines into float64 vectors; lines that are not numbers (dates) are left out."""
    calibration = {}
    for line in read_lines(path):
        key, _, values = line.partition(":")
        try:
            calibration[key.strip()] = np.array([float(value) for value in values.split()], dtype=np.float64)
        except ValueError:
            continue
    return calibration


def calibration_matrix(
    calibration: Mapping[str, NDArray[np.float64]], key: str, shape: tuple[int, int], path: Path
) -> NDArray[np.float64]:
    """One matrix of a calibration file, with ``path`` said in the error.

    Raises
    ------
    DatasetError
        If the key is missing or has another count of numbers than ``shape``, or one that is not finite.
    """
    if key not in calibration:
        raise DatasetError(f"{path} has no {key}; it has {', '.join(calibration) or 'no matrix at all'}.")
    values = calibration[key]
    if values.size != shape[0] * shape[1] or not np.isfinite(values).all():
        raise DatasetError(f"{key} in {path} must be {shape[0] * shape[1]} finite numbers; it has {values.size}.")
    return values.reshape(shape)


def camera_from_rectified(projection: NDArray[np.float64]) -> NDArray[np.float64]:
    """The 4x4 step from rectified camera 0 to the camera of ``projection`` (3x4, P = K [I | t])."""
    step = np.eye(4)
    step[:3, 3] = np.linalg.solve(projection[:, :3], projection[:, 3])
    return step


def read_poses(path: Path) -> NDArray[np.float64]:
    """Read a KITTI pose file (12 numbers a row, 3x4 row-major) into (rows, 4, 4) float64.

    Raises
    ------
    DatasetError
        If a row does not have 12 finite numbers; the row is named.
    """
    lines = read_lines(path)
    poses = np.tile(np.eye(4), (len(lines), 1, 1))
    for row, line in enumerate(lines):
        try:
            values = np.array([float(value) for value in line.split()])
        except ValueError:
            values = np.empty(0)
        if values.size != 12 or not np.isfinite(values).all():
            raise DatasetError(f"row {row + 1} of {path} is not 12 finite numbers: {line[:60]!r}.")
        poses[row, :3, :] = values.reshape(3, 4)
    return poses


def parse_stamp_ns(text: str) -> int:
    """Nanoseconds, exactly, of a time in seconds or of ``YYYY-MM-DD HH:MM:SS.fffffffff`` taken as UTC.

    Raises
    ------
    ValueError
        If it is neither, or is negative.
    """
    text = text.strip()
    if date := _DATE.fullmatch(text):
        moment = datetime.fromisoformat(date[1]).replace(tzinfo=timezone.utc)
        return int(moment.timestamp()) * 10**9 + int((date[2] or "").ljust(9, "0"))
    try:
        seconds = Decimal(text)
    except InvalidOperation as error:
        raise ValueError(f"{text!r} is neither seconds nor a date") from error
    if not seconds.is_finite() or seconds < 0:
        raise ValueError(f"{text!r} is not a time from 0 on")
    return int((seconds * 10**9).to_integral_value())


def read_stamps_ns(path: Path) -> NDArray[np.int64]:
    """Read a file with one time a row, in seconds or as dates, into (rows,) nanoseconds.

    Raises
    ------
    DatasetError
        If a row is not a time; the row is named.
    """
    stamps_ns = []
    for row, line in enumerate(read_lines(path)):
        try:
            stamps_ns.append(parse_stamp_ns(line))
        except ValueError as error:
            raise DatasetError(f"row {row + 1} of {path} is not a time: {error}.") from error
    return np.array(stamps_ns, dtype=np.int64)


def rows_of_frames(rows: NDArray[Row], numbers: Sequence[int], path: Path, what: str) -> NDArray[Row]:
    """The rows that belong to frames with these numbers (row 0 is frame 0).

    Raises
    ------
    DatasetError
        If the file ends before the last frame.
    """
    if numbers[-1] >= len(rows):
        raise DatasetError(
            f"{path} has {len(rows)} {what}, but the images go on to frame {numbers[-1]}; "
            "take both from the same download."
        )
    selected: NDArray[Row] = rows[np.asarray(numbers)]
    return selected
