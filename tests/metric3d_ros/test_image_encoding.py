from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metric3d_ros.errors import ImageError
from metric3d_ros.image_encoding import RawImage, decode_depth_m, decode_rgb

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def raw(pixels: np.ndarray, encoding: str, padding: int = 0, big_endian: bool = False) -> RawImage:
    rows = pixels.reshape(pixels.shape[0], -1)
    if big_endian:
        rows = rows.astype(rows.dtype.newbyteorder(">"))
    row_bytes = [row.tobytes() + b"\xaa" * padding for row in rows]
    return RawImage(pixels.shape[1], pixels.shape[0], encoding, len(row_bytes[0]), big_endian, b"".join(row_bytes))


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize(
    ("encoding", "pixels"),
    [
        ("rgb8", RGB),
        ("bgr8", RGB[..., ::-1]),
        ("8UC3", RGB[..., ::-1]),
        ("rgba8", np.dstack([RGB, RGB[..., 0]])),
        ("bgra8", np.dstack([RGB[..., ::-1], RGB[..., 0]])),
    ],
)
def test_colour_comes_out_as_rgb(encoding, pixels, padding):
    np.testing.assert_array_equal(decode_rgb(raw(pixels, encoding, padding)), RGB)


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_gray_is_repeated(encoding):
    decoded = decode_rgb(raw(RGB[..., 0], encoding))
    np.testing.assert_array_equal(decoded, np.repeat(RGB[..., :1], 3, axis=2))


@pytest.mark.parametrize("big_endian", [False, True])
def test_depth_in_metres_and_millimetres(big_endian):
    metres = np.array([[1.5, np.nan, -1.0], [0.0, np.inf, 40.0]], np.float32)
    expected = np.array([[1.5, np.nan, np.nan], [np.nan, np.nan, 40.0]], np.float32)
    np.testing.assert_array_equal(decode_depth_m(raw(metres, "32FC1", big_endian=big_endian)), expected)
    millimetres = np.array([[1500, 0], [1, 65535]], np.uint16)
    np.testing.assert_allclose(
        decode_depth_m(raw(millimetres, "16UC1", big_endian=big_endian)), [[1.5, np.nan], [0.001, 65.535]]
    )


def test_unknown_encoding_is_named_with_what_would_do():
    with pytest.raises(ImageError, match=r"'yuv999' is not supported; publish one of rgb8"):
        decode_rgb(raw(RGB, "yuv999"))
    with pytest.raises(ImageError, match="'rgb8' is not supported; publish one of 32FC1, 16UC1"):
        decode_depth_m(raw(RGB, "rgb8"))


def test_truncated_data_is_said():
    image = raw(RGB, "rgb8")
    with pytest.raises(ImageError, match="carries 104 bytes of 105"):
        decode_rgb(RawImage(7, 5, "rgb8", 21, False, image.data[:-1]))


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 90), st.binary(max_size=400))
def test_no_header_makes_it_crash(width_px, height_px, step_bytes, data):
    """Any header either decodes to the size it says, or is refused in a sentence."""
    try:
        decoded = decode_rgb(RawImage(width_px, height_px, "bgr8", step_bytes, False, data))
    except ImageError as error:
        assert str(error).endswith((".", "publisher.", "way."))
    else:
        assert decoded.shape == (height_px, width_px, 3)
