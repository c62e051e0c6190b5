"""Coloured point clouds: out of a depth map, and into a PLY file that any viewer opens and back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from metric3d_ros.atomic_file import atomic_file
from metric3d_ros.camera import PinholeCamera
from metric3d_ros.errors import DatasetError, OutputError

MEDIAN_WINDOW_PX = 5
_NUMPY_TYPES = {"float": "<f4", "uchar": "u1"}
_PLY_HEADER = re.compile(
    rb"ply\nformat binary_little_endian 1\.0\nelement vertex (?P<count>\d+)\n"
    rb"(?P<fields>(?:property (?:float|uchar) \w+\n)+)end_header\n"
)


def write_ply(
    path: Path,
    points_m: NDArray[np.floating],
    colours: NDArray[np.uint8],
    normals: NDArray[np.floating] | None = None,
) -> None:
    """Write a binary little-endian PLY file atomically.

    Parameters
    ----------
    path : the file, in a folder that exists.
    points_m : (n, 3) metres, written as float32.
    colours : (n, 3) uint8, RGB.
    normals : (n, 3) unit vectors in the frame of the points, written as float32; or None.

    Raises
    ------
    OutputError
        If the arrays do not belong together, or the file cannot be written.
    """
    with atomic_file(path) as file:
        write_ply_to(file, points_m, colours, normals)


def write_ply_to(
    file: BinaryIO,
    points_m: NDArray[np.floating],
    colours: NDArray[np.uint8],
    normals: NDArray[np.floating] | None = None,
) -> None:
    """Write the PLY of ``write_ply`` to a file that is already open."""
    columns = _columns("x y z", "float", points_m, len(points_m))
    if normals is not None:
        columns += _columns("nx ny nz", "float", normals, len(points_m))
    columns += _columns("red green blue", "uchar", colours, len(points_m))
    vertices = np.empty(len(points_m), dtype=[(name, _NUMPY_TYPES[kind]) for name, kind, _ in columns])
    for name, _, values in columns:
        vertices[name] = values
    properties = "".join(f"property {kind} {name}\n" for name, kind, _ in columns)
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(vertices)}\n{properties}end_header\n"
    file.write(header.encode("ascii"))
    file.write(vertices.tobytes())


def read_ply(path: Path) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Points (n, 3) in metres and colours (n, 3) of a file that `write_ply` wrote, with normals or without.

    Raises
    ------
    DatasetError
        If the file cannot be read, or is a PLY of another layout.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"point cloud {path} cannot be read: {error.strerror}; check the path.") from error
    header = _PLY_HEADER.match(content)
    fields = [] if header is None else [line.split()[1:] for line in header["fields"].decode("ascii").splitlines()]
    if header is None or not {*"xyz", "red", "green", "blue"} <= {name for _, name in fields}:
        raise DatasetError(f"point cloud {path} is no PLY as this project writes it; give map.ply of a run.")
    layout = np.dtype([(name, _NUMPY_TYPES[kind]) for kind, name in fields])
    count, body = int(header["count"]), content[header.end() :]
    if len(body) != count * layout.itemsize:
        raise DatasetError(f"point cloud {path} has {len(body)} bytes for {count} points; write it again.")
    vertices = np.frombuffer(body, dtype=layout)
    points_m = np.stack([vertices[name] for name in "xyz"], axis=1)
    colours = np.stack([vertices[name] for name in ("red", "green", "blue")], axis=1)
    return points_m.astype(np.float32), colours.astype(np.uint8)


def _columns(
    names: str, kind: str, values: NDArray[np.generic], points: int
) -> list[tuple[str, str, NDArray[np.generic]]]:
    if values.shape != (points, 3):
        raise OutputError(f"{names} of a point cloud has shape {values.shape}; it must be ({points}, 3).")
    return [(name, kind, values[:, index]) for index, name in enumerate(names.split())]


def back_project(depth_m: NDArray[np.float32], camera: PinholeCamera) -> NDArray[np.float32]:
    """Points (height, width, 3) in metres in the camera frame (x right, y down, z forward), NaN where no depth."""
    points: NDArray[np.float32] = camera.rays() * depth_m[..., None]
    return points


def median_filtered(depth_m: NDArray[np.float32]) -> NDArray[np.float32]:
    """Depth after a 5x5 median, which takes away the points that hang between an edge's two sides.

    The reference smooths its point clouds this way. A pixel without a reading stays without one and counts as
    infinitely far to its neighbours, so a reading with hardly any around it goes too.
    """
    filled = np.where(np.isfinite(depth_m), depth_m, np.float32(np.inf))
    smooth = np.asarray(cv2.medianBlur(filled, MEDIAN_WINDOW_PX), dtype=np.float32)
    return np.where(np.isfinite(depth_m) & np.isfinite(smooth), smooth, np.float32(np.nan))
