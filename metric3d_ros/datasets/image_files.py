"""Image files on disk: finding them in order, and decoding them whole or not at all."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from metric3d_ros.errors import DatasetError, ImageError

KITTI_DEPTH_UNITS_PER_METRE = 256.0
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def require_inside(folder: Path, path: Path) -> Path:
    """``path`` itself, if it stays inside ``folder`` once links and ``..`` are followed.

    Raises
    ------
    DatasetError
        If it leads out of the folder.
    """
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DatasetError(
            f"{path} leads out of {folder} (to {path.resolve()}); "
            "copy the files in, or give the folder that holds them."
        )
    return path


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key under which ``frame_2`` comes before ``frame_10``."""
    parts = re.split(r"(\d+)", name)
    return [(1, int(part), part) if part.isdigit() else (0, 0, part) for part in parts]


def list_images(folder: Path) -> list[Path]:
    """All images directly in ``folder``, in natural order.

    Raises
    ------
    DatasetError
        If the folder or its images are missing, or if an image is a link that leads out of the folder.
    """
    if not folder.is_dir():
        raise DatasetError(f"no image folder at {folder}; check the path.")
    paths = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
    if not paths:
        raise DatasetError(f"no images in {folder}; looked for {', '.join('*' + s for s in IMAGE_SUFFIXES)}.")
    for path in paths:
        require_inside(folder, path)
    return sorted(paths, key=lambda path: natural_key(path.name))


def list_numbered_images(folder: Path) -> tuple[list[Path], list[int]]:
    """Images named by frame number, and those numbers, which follow each other without a gap.

    Raises
    ------
    DatasetError
        If a name is not a number, or if a frame is missing between the first and the last, which it names.
    """
    paths = list_images(folder)
    for path in paths:
        if not path.stem.isdigit():
            raise DatasetError(f"{path} is not named by its frame number; KITTI names images like 000042.png.")
    numbers = [int(path.stem) for path in paths]
    for path, number, following in zip(paths, numbers, numbers[1:], strict=False):
        if following == number:
            raise DatasetError(f"frame {path.stem} is in {folder} twice; remove one of the files.")
        if following != number + 1:
            missing = str(number + 1).zfill(len(path.stem))
            raise DatasetError(
                f"frame {missing} is missing in {folder}, which goes on to {paths[-1].stem}; "
                "restore it, or move the frames behind the gap elsewhere."
            )
    return paths, numbers


def read_rgb(path: Path, *, is_gray: bool = False) -> NDArray[np.uint8]:
    """Decode an image to uint8 (height, width, 3) RGB; a gray image repeats its channel.

    ``is_gray`` says that the camera has no colour, so that what a lossy codec leaves of it is dropped.

    Raises
    ------
    ImageError
        If the file is missing, cut short or not an image.
    """
    encoded = _read_bytes(path)
    bgr = cv2.imdecode(np.frombuffer(encoded, dtype=np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise ImageError(f"{path} does not decode as an image; replace it or leave it out.")
    if is_gray:
        bgr = cv2.cvtColor(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    return np.ascontiguousarray(bgr[..., ::-1]).astype(np.uint8, copy=False)


def read_depth_png(path: Path, units_per_metre: float = KITTI_DEPTH_UNITS_PER_METRE) -> NDArray[np.float32]:
    """Decode a depth image (uint16, 0 = none) to float32 metres with NaN for none.

    ``units_per_metre`` is 256 for KITTI's depth images and 5000 for TUM's.

    Raises
    ------
    ImageError
        If the file is missing, cut short or not a 16-bit single-channel image.
    """
    encoded = cv2.imdecode(np.frombuffer(_read_bytes(path), dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if encoded is None or encoded.dtype != np.uint16 or encoded.ndim != 2:
        raise ImageError(f"{path} is not a 16-bit single-channel depth image (metres * {units_per_metre:g}).")
    depth_m: NDArray[np.float32] = encoded.astype(np.float32) / np.float32(units_per_metre)
    depth_m[encoded == 0] = np.nan
    return depth_m


def _read_bytes(path: Path) -> bytes:
    try:
        encoded = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror or error}.") from error
    if not is_complete(encoded):
        raise ImageError(
            f"{path} is cut short or not an image ({len(encoded)} bytes); replace it or leave it out."
        )
    return encoded


def is_complete(encoded: bytes) -> bool:
    """Whether a PNG, JPEG or WebP file has its end; nothing else is complete."""
    # OpenCV decodes what is there of a truncated file and invents the rest, so the end is checked first.
    if encoded.startswith(b"\x89PNG"):
        return b"IEND" in encoded[-64:]
    if encoded.startswith(b"\xff\xd8"):
        return b"\xff\xd9" in encoded[-4096:]
    if encoded.startswith(b"RIFF"):
        return len(encoded) >= 8 + int.from_bytes(encoded[4:8], "little")
    return False
