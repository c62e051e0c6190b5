from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metric3d_ros.compressed_image import decode_compressed_rgb
from metric3d_ros.errors import ImageError

RGB = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
SMOOTH = cv2.resize(RGB[:3, :4], (64, 48), interpolation=cv2.INTER_CUBIC)


def encoded(pixels: np.ndarray, suffix: str = ".png") -> bytes:
    return cv2.imencode(suffix, pixels)[1].tobytes()


def test_png_and_webp_give_their_pixels():
    for suffix in (".png", ".webp"):
        file = encoded(RGB[..., ::-1], suffix)
        expected = RGB if suffix == ".png" else cv2.imdecode(np.frombuffer(file, np.uint8), 1)[..., ::-1]
        np.testing.assert_array_equal(decode_compressed_rgb(file, "rgb8; png compressed bgr8"), expected)


def test_jpeg_gives_nearly_its_pixels():
    decoded = decode_compressed_rgb(encoded(SMOOTH[..., ::-1], ".jpg"), "jpeg")
    assert np.abs(decoded.astype(int) - SMOOTH).mean() < 4


def test_gray_alpha_and_16_bits():
    gray = RGB[..., 0]
    np.testing.assert_array_equal(decode_compressed_rgb(encoded(gray), "png"), np.repeat(gray[..., None], 3, 2))
    with_alpha = np.dstack([RGB[..., ::-1], gray])
    np.testing.assert_array_equal(decode_compressed_rgb(encoded(with_alpha), "png"), RGB)
    deep = RGB[..., ::-1].astype(np.uint16) * 257
    np.testing.assert_array_equal(decode_compressed_rgb(encoded(deep), "rgb16; png compressed"), RGB)


def test_a_compressed_mosaic_is_demosaiced():
    mosaic = np.tile(np.array([[200, 100], [100, 50]], np.uint8), (6, 8))
    decoded = decode_compressed_rgb(encoded(mosaic), "bayer_rggb8; png compressed ")
    np.testing.assert_array_equal(decoded, np.broadcast_to([200, 100, 50], decoded.shape))


def test_depth_is_refused_by_name():
    with pytest.raises(ImageError, match="which is depth"):
        decode_compressed_rgb(encoded(RGB), "16UC1; compressedDepth png")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_file_cut_short_is_refused(suffix):
    file = encoded(SMOOTH, suffix)
    with pytest.raises(ImageError, match="cut short"):
        decode_compressed_rgb(file[: len(file) // 2], "x")


def test_a_picture_that_no_memory_holds_is_refused():
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    file = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )
    with pytest.raises(ImageError, match="claims more than 100000000 pixels"):
        decode_compressed_rgb(file, "png")


@given(st.data(), st.sampled_from([".png", ".jpg"]), st.text(max_size=20))
def test_damage_is_refused_or_decodes(data, suffix, image_format):
    file = bytearray(encoded(RGB, suffix))
    for position in data.draw(st.lists(st.integers(0, len(file) - 1), max_size=8)):
        file[position] = data.draw(st.integers(0, 255))
    try:
        decoded = decode_compressed_rgb(file, image_format)
    except ImageError as error:
        assert str(error).endswith(".")
    else:
        assert decoded.dtype == np.uint8
        assert decoded.shape[2] == 3
