"""Raw image bytes, as ROS messages carry them, to arrays and back; knows no ROS.

The encodings are those of ``sensor_msgs/image_encodings``, and colour comes out as cv_bridge gives it: demosaiced
bilinearly, YUV as BT.601 video range, 16 bits scaled to 8 by 255 / 65535 after the colours are made.
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
    pairs_columns: bool = False


def _bayer_layouts(bits: int) -> dict[str, _Layout]:
    # OpenCV names a pattern by its second row, ROS by its first.
    codes = {
        "rggb": cv2.COLOR_BayerBG2RGB,
        "bggr": cv2.COLOR_BayerRG2RGB,
        "gbrg": cv2.COLOR_BayerGR2RGB,
        "grbg": cv2.COLOR_BayerGB2RGB,
    }
    return {f"bayer_{pattern}{bits}": _Layout(f"u{bits // 8}", 1, code) for pattern, code in codes.items()}


_UYVY = _Layout("u1", 2, cv2.COLOR_YUV2RGB_UYVY, pairs_columns=True)
_YUYV = _Layout("u1", 2, cv2.COLOR_YUV2RGB_YUY2, pairs_columns=True)
_COLOUR_LAYOUTS = {
    "rgb8": _Layout("u1", 3),
    "bgr8": _Layout("u1", 3, cv2.COLOR_BGR2RGB),
    "rgba8": _Layout("u1", 4, cv2.COLOR_RGBA2RGB),
    "bgra8": _Layout("u1", 4, cv2.COLOR_BGRA2RGB),
    "mono8": _Layout("u1", 1, cv2.COLOR_GRAY2RGB),
    "rgb16": _Layout("u2", 3),
    "bgr16": _Layout("u2", 3, cv2.COLOR_BGR2RGB),
    "rgba16": _Layout("u2", 4, cv2.COLOR_RGBA2RGB),
    "bgra16": _Layout("u2", 4, cv2.COLOR_BGRA2RGB),
    "mono16": _Layout("u2", 1, cv2.COLOR_GRAY2RGB),
    **_bayer_layouts(8),
    **_bayer_layouts(16),
    "yuv422": _UYVY,
    "uyvy": _UYVY,
    "yuv422_yuy2": _YUYV,
    "yuyv": _YUYV,
    # No colours by their name, which cv_bridge refuses; drivers publish OpenCV's order and gray under them.
    "8UC1": _Layout("u1", 1, cv2.COLOR_GRAY2RGB),
    "8UC3": _Layout("u1", 3, cv2.COLOR_BGR2RGB),
}
COLOUR_ENCODINGS = tuple(_COLOUR_LAYOUTS)
_16_TO_8_BITS = 255.0 / 65535.0
_DEPTH_LAYOUTS = {"32FC1": _Layout("f4", 1), "16UC1": _Layout("u2", 1)}
_CONFIDENCE_LAYOUTS = {"32FC1": _Layout("f4", 1)}
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
        If the encoding is not one of ``COLOUR_ENCODINGS``, or the data is too short.
    """
    layout = _layout_of(raw, _COLOUR_LAYOUTS, "image")
    return _rgb_of(_pixels(raw, layout), layout)


def require_decodable(raw: RawImage) -> None:
    """Raise the ImageError of ``decode_rgb`` where there is one, without decoding."""
    _rows(raw, _layout_of(raw, _COLOUR_LAYOUTS, "image"))


def demosaic(mosaic: NDArray[Any], encoding: str) -> NDArray[np.uint8]:
    """The colours, uint8 RGB (height, width, 3), of a Bayer mosaic (height, width) of uint8 or uint16.

    Raises
    ------
    ImageError
        If ``encoding`` is no Bayer pattern.
    """
    layout = _COLOUR_LAYOUTS.get(encoding)
    if layout is None or not is_bayer(encoding):
        raise ImageError(f"encoding {encoding!r} is no Bayer pattern; publish bayer_rggb8 or the like.")
    return _rgb_of(mosaic[..., None], layout)


def is_bayer(encoding: str) -> bool:
    """Whether an encoding's pixels have one colour each."""
    return encoding.startswith("bayer_") and encoding in _COLOUR_LAYOUTS


def scaled_to_8_bits(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Pixels of 16 bits in 8, where 65535 is 255; pixels of 8 bits as they are."""
    if pixels.dtype == np.uint8:
        return pixels
    shape = pixels.shape
    flat = np.ascontiguousarray(pixels).reshape(shape[0], -1)
    return np.asarray(cv2.convertScaleAbs(flat, alpha=_16_TO_8_BITS), dtype=np.uint8).reshape(shape)


def _rgb_of(pixels: NDArray[Any], layout: _Layout) -> NDArray[np.uint8]:
    native = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("="))
    if layout.to_rgb is not None:
        native = np.asarray(cv2.cvtColor(native, layout.to_rgb))
    return scaled_to_8_bits(native)


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


def decode_confidence(raw: RawImage) -> NDArray[np.float32]:
    """The confidence of a depth image, float32 (height, width) from 0 to 1; what is not a number is none.

    Raises
    ------
    ImageError
        If the encoding is not 32FC1, or the data is too short.
    """
    values = _pixels(raw, _layout_of(raw, _CONFIDENCE_LAYOUTS, "confidence"))[..., 0].astype(np.float32)
    return np.nan_to_num(values, nan=0.0).clip(0, 1)


def _layout_of(raw: RawImage, layouts: dict[str, _Layout], what: str) -> _Layout:
    layout = layouts.get(raw.encoding)
    if layout is None:
        raise ImageError(
            f"{what} encoding {raw.encoding!r} is not supported; publish one of {', '.join(layouts)}."
        )
    return layout


def _pixels(raw: RawImage, layout: _Layout) -> NDArray[Any]:
    dtype = np.dtype(layout.dtype).newbyteorder(">" if raw.is_big_endian else "<")
    pixels = np.ascontiguousarray(_rows(raw, layout)).view(dtype)
    return pixels.reshape(raw.height_px, raw.width_px, layout.channels)


def _rows(raw: RawImage, layout: _Layout) -> NDArray[np.uint8]:
    """The bytes of the pixels (height, bytes of a row) without padding; raises where the message lacks some."""
    row_bytes = raw.width_px * layout.channels * np.dtype(layout.dtype).itemsize
    if raw.width_px <= 0 or raw.height_px <= 0 or raw.step_bytes < row_bytes:
        raise ImageError(
            f"image says {raw.width_px}x{raw.height_px} px {raw.encoding} with a step of {raw.step_bytes} bytes; "
            f"a row needs {row_bytes} bytes: fix the publisher."
        )
    if layout.pairs_columns and raw.width_px % 2:
        raise ImageError(
            f"image of {raw.width_px}x{raw.height_px} px is {raw.encoding}, where two columns share their colour; "
            "publish an even width."
        )
    data = np.frombuffer(raw.data, dtype=np.uint8)
    if data.size < raw.step_bytes * raw.height_px:
        raise ImageError(
            f"image of {raw.width_px}x{raw.height_px} px {raw.encoding} carries {data.size} bytes of "
            f"{raw.step_bytes * raw.height_px}; it was truncated on its way."
        )
    rows = data[: raw.step_bytes * raw.height_px].reshape(raw.height_px, raw.step_bytes)
    return rows[:, :row_bytes]
