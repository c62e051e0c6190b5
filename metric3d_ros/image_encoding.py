"""Raw image bytes, as ROS messages carry them, to arrays and back; knows no ROS.

The encodings are those of ``sensor_msgs/image_encodings``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from metric3d_ros.errors import ImageError


@dataclass(frozen=True)
class _Layout:
    dtype: str
    channels: int
    to_rgb: int | None = None


_COLOUR_LAYOUTS = {
    "rgb8": _Layout("u1", 3),
    "bgr8": _Layout("u1", 3, cv2.COLOR_BGR2RGB),
    "rgba8": _Layout("u1", 4, cv2.COLOR_RGBA2RGB),
    "bgra8": _Layout("u1", 4, cv2.COLOR_BGRA2RGB),
    "mono8": _Layout("u1", 1, cv2.COLOR_GRAY2RGB),
    "8UC1": _Layout("u1", 1, cv2.COLOR_GRAY2RGB),
    "8UC3": _Layout("u1", 3, cv2.COLOR_BGR2RGB),
}
_DEPTH_LAYOUTS = {"32FC1": _Layout("f4", 1), "16UC1": _Layout("u2", 1)}
_MILLIMETRES_PER_METRE = 1000.0


@dataclass(frozen=True)
class RawImage:
    """The fields of a ``sensor_msgs/Image`` that describe its pixels; ``data`` is any bytes-like object."""

    width_px: int
    height_px: int
    encoding: str
    step_bytes: int
    is_big_endian: bool
    data: Any

    @classmethod
    def of_message(cls, message: Any) -> RawImage:
        """The pixels of a ``sensor_msgs/Image``, whichever library made the message."""
        return cls(
            width_px=message.width,
            height_px=message.height,
            encoding=message.encoding,
            step_bytes=message.step,
            is_big_endian=bool(message.is_bigendian),
            data=message.data,
        )


def decode_rgb(raw: RawImage) -> NDArray[np.uint8]:
    """The image as uint8 RGB (height, width, 3).

    Raises
    ------
    ImageError
        If the encoding is not one of rgb8, bgr8, rgba8, bgra8, mono8, 8UC1, 8UC3, or the data is too short.
    """
    layout = _layout_of(raw, _COLOUR_LAYOUTS, "image")
    pixels = _pixels(raw, layout)
    if layout.to_rgb is None:
        return np.ascontiguousarray(pixels)
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), layout.to_rgb), dtype=np.uint8)


def decode_depth_m(raw: RawImage) -> NDArray[np.float32]:
    """The depth image in metres, float32 (height, width), NaN where there is no reading (REP 118).

    Raises
    ------
    ImageError
        If the encoding is neither 32FC1 (metres) nor 16UC1 (millimetres, 0 = none), or the data is too short.
    """
    layout = _layout_of(raw, _DEPTH_LAYOUTS, "depth image")
    values = _pixels(raw, layout)[..., 0]
    if raw.encoding == "16UC1":
        depth_m = values.astype(np.float32) / np.float32(_MILLIMETRES_PER_METRE)
        depth_m[values == 0] = np.nan
        return depth_m
    depth_m = values.astype(np.float32)
    depth_m[~(np.isfinite(depth_m) & (depth_m > 0))] = np.nan
    return depth_m


def _layout_of(raw: RawImage, layouts: dict[str, _Layout], what: str) -> _Layout:
    layout = layouts.get(raw.encoding)
    if layout is None:
        raise ImageError(
            f"{what} encoding {raw.encoding!r} is not supported; publish one of {', '.join(layouts)}."
        )
    return layout


def _pixels(raw: RawImage, layout: _Layout) -> NDArray[Any]:
    dtype = np.dtype(layout.dtype).newbyteorder(">" if raw.is_big_endian else "<")
    row_bytes = raw.width_px * layout.channels * dtype.itemsize
    if raw.width_px <= 0 or raw.height_px <= 0 or raw.step_bytes < row_bytes:
        raise ImageError(
            f"image says {raw.width_px}x{raw.height_px} px {raw.encoding} with a step of {raw.step_bytes} bytes; "
            f"a row needs {row_bytes} bytes: fix the publisher."
        )
    data = np.frombuffer(raw.data, dtype=np.uint8)
    if data.size < raw.step_bytes * raw.height_px:
        raise ImageError(
            f"image of {raw.width_px}x{raw.height_px} px {raw.encoding} carries {data.size} bytes of "
            f"{raw.step_bytes * raw.height_px}; it was truncated on its way."
        )
    rows = data[: raw.step_bytes * raw.height_px].reshape(raw.height_px, raw.step_bytes)
    pixels = np.ascontiguousarray(rows[:, :row_bytes]).view(dtype)
    return pixels.reshape(raw.height_px, raw.width_px, layout.channels)
