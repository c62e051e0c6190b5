from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metric3d_ros.errors import ImageError
from metric3d_ros.image_encoding import (
    COLOUR_ENCODINGS,
    RawImage,
    decode_confidence,
    decode_depth_m,
    decode_rgb,
    require_decodable,
)

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


RGB16 = np.random.default_rng(1).integers(0, 65536, (5, 7, 3), dtype=np.uint16)


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize(
    ("encoding", "pixels", "expected"),
    [
        ("rgb16", RGB16, RGB16),
        ("bgr16", RGB16[..., ::-1], RGB16),
        ("rgba16", np.dstack([RGB16, RGB16[..., 0]]), RGB16),
        ("bgra16", np.dstack([RGB16[..., ::-1], RGB16[..., 0]]), RGB16),
        ("mono16", RGB16[..., 0], np.repeat(RGB16[..., :1], 3, axis=2)),
    ],
)
def test_16_bits_become_8_with_white_kept_white(encoding, pixels, expected, big_endian):
    decoded = decode_rgb(raw(pixels, encoding, padding=2, big_endian=big_endian))
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, np.round(expected / 257.0))


PATTERNS = {"rggb": ((0, 1), (1, 2)), "bggr": ((2, 1), (1, 0)), "gbrg": ((1, 2), (0, 1)), "grbg": ((1, 0), (2, 1))}


@pytest.mark.parametrize(("bits", "white"), [(8, 255), (16, 65535)])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_mosaic_of_one_colour_is_that_colour(pattern, bits, white):
    colour = np.array([0.8, 0.4, 0.2])
    (top_left, top_right), (bottom_left, bottom_right) = PATTERNS[pattern]
    cell = colour[[[top_left, top_right], [bottom_left, bottom_right]]]
    mosaic = np.round(np.tile(cell, (4, 5)) * white).astype(f"u{bits // 8}")
    decoded = decode_rgb(raw(mosaic, f"bayer_{pattern}{bits}"))
    assert decoded.shape == (8, 10, 3)
    np.testing.assert_array_equal(decoded, np.broadcast_to(np.round(colour * 255), decoded.shape))


@pytest.mark.parametrize("encoding", ["yuv422", "uyvy", "yuv422_yuy2", "yuyv"])
@pytest.mark.parametrize("yuv", [(81, 90, 240), (145, 54, 34), (41, 240, 110), (235, 128, 128), (16, 128, 128)])
def test_yuv_is_bt601_video_range(encoding, yuv):
    """The primaries of BT.601: red, green, blue, white and black."""
    y, u, v = yuv
    pair = [u, y, v, y] if encoding in ("yuv422", "uyvy") else [y, u, y, v]
    pixels = np.tile(np.array(pair, np.uint8).reshape(1, 2, 2), (3, 2, 1))
    red = 1.164 * (y - 16) + 1.596 * (v - 128)
    green = 1.164 * (y - 16) - 0.392 * (u - 128) - 0.813 * (v - 128)
    blue = 1.164 * (y - 16) + 2.017 * (u - 128)
    expected = np.clip([red, green, blue], 0, 255)
    decoded = decode_rgb(raw(pixels, encoding))
    assert decoded.shape == (3, 4, 3)
    assert np.abs(decoded - expected).max() <= 1.5


def test_yuv_of_an_odd_width_is_refused():
    with pytest.raises(ImageError, match="publish an even width"):
        decode_rgb(raw(np.zeros((2, 3, 2), np.uint8), "yuv422"))


@pytest.mark.parametrize("big_endian", [False, True])
def test_depth_in_metres_and_millimetres(big_endian):
    metres = np.array([[1.5, np.nan, -1.0], [0.0, np.inf, 40.0]], np.float32)
    expected = np.array([[1.5, np.nan, np.nan], [np.nan, np.nan, 40.0]], np.float32)
    np.testing.assert_array_equal(decode_depth_m(raw(metres, "32FC1", big_endian=big_endian)), expected)
    millimetres = np.array([[1500, 0], [1, 65535]], np.uint16)
    np.testing.assert_allclose(
        decode_depth_m(raw(millimetres, "16UC1", big_endian=big_endian)), [[1.5, np.nan], [0.001, 65.535]]
    )


def test_confidence_is_between_nothing_and_one():
    sent = np.array([[0.25, np.nan, -1.0], [1.5, np.inf, -np.inf]], np.float32)
    np.testing.assert_array_equal(decode_confidence(raw(sent, "32FC1")), [[0.25, 0, 0], [1, 1, 0]])
    with pytest.raises(ImageError, match="confidence encoding '16UC1' is not supported; publish one of 32FC1"):
        decode_confidence(raw(np.ones((2, 3), np.uint16), "16UC1"))


def test_unknown_encoding_is_named_with_what_would_do():
    with pytest.raises(ImageError, match=r"'yuv999' is not supported; publish one of rgb8"):
        decode_rgb(raw(RGB, "yuv999"))
    with pytest.raises(ImageError, match="'rgb8' is not supported; publish one of 32FC1, 16UC1"):
        decode_depth_m(raw(RGB, "rgb8"))


def test_truncated_data_is_said():
    image = raw(RGB, "rgb8")
    with pytest.raises(ImageError, match="carries 104 bytes of 105"):
        decode_rgb(RawImage(7, 5, "rgb8", 21, False, image.data[:-1]))


@given(
    st.sampled_from([*COLOUR_ENCODINGS, "16UC1", ""]),
    st.integers(0, 30),
    st.integers(0, 30),
    st.integers(0, 250),
    st.booleans(),
    st.binary(max_size=400),
)
def test_no_header_makes_it_crash(encoding, width_px, height_px, step_bytes, is_big_endian, data):
    """Any header either decodes to the size it says, or is refused in a sentence."""
    image = RawImage(width_px, height_px, encoding, step_bytes, is_big_endian, data)
    try:
        decoded = decode_rgb(image)
    except ImageError as error:
        assert str(error).endswith((".", "publisher.", "way."))
        with pytest.raises(ImageError):
            require_decodable(image)
    else:
        require_decodable(image)
        assert decoded.shape == (height_px, width_px, 3)
        assert decoded.dtype == np.uint8
