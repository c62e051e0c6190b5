"""Photos for the tests of ``predict`` and ``measure``: files, and the network that reads its depth off them."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

EXIF_FOLDER = 0x8769
FOCAL_LENGTH_35MM = 0xA405
ORIENTATION = 0x0112

CAMERA_YAML = """
image_width: {width}
image_height: {height}
camera_matrix: {{rows: 3, cols: 3, data: [{fx}, 0, 48, 0, {fx}, 32, 0, 0, 1]}}
distortion_model: plumb_bob
distortion_coefficients: {{rows: 1, cols: 5, data: [{k1}, 0, 0, 0, 0]}}
projection_matrix: {{rows: 3, cols: 4, data: [{fx}, 0, 48, 0, 0, {fx}, 32, 0, 0, 0, 1, 0]}}
"""


def flat_image(red: int, green: int = 255, size_px: tuple[int, int] = (96, 64)) -> np.ndarray:
    """An RGB image of one colour, which ``channel_network`` reads as depth and confidence."""
    width_px, height_px = size_px
    return np.dstack([np.full((height_px, width_px), value, np.uint8) for value in (red, green, 0)])


def write_image(path: Path, rgb: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), rgb[..., ::-1] if rgb.ndim == 3 else rgb)
    return path


def write_phone_photo(path: Path, rgb: np.ndarray, equivalent_mm: int, orientation: int = 1) -> Path:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif.get_ifd(EXIF_FOLDER)[FOCAL_LENGTH_35MM] = equivalent_mm
    Image.fromarray(rgb).save(path, exif=exif, quality=100, subsampling=0)
    return path


def write_png_header(path: Path, size_px: tuple[int, int]) -> Path:
    """A PNG file that claims a size and holds next to nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checked = kind + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size_px, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(100)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b""))
    return path


def write_camera(path: Path, size_px: tuple[int, int] = (96, 64), fx: float = 80.0, k1: float = 0.0) -> Path:
    path.write_text(CAMERA_YAML.format(width=size_px[0], height=size_px[1], fx=fx, k1=k1))
    return path


def the_one_sentence(capsys: pytest.CaptureFixture[str]) -> str:
    """What the command line refused with; fails if it said it in more than one line."""
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith(("engine ", "  not "))]
    assert len(lines) == 1, lines
    assert lines[0].startswith("metric3d: ")
    assert lines[0].endswith(".")
    return lines[0]
