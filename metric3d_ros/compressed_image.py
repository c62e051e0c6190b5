"""Compressed images, as ``sensor_msgs/CompressedImage`` carries them, to arrays; knows no ROS."""

from __future__ import annotations

import io
import warnings
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from metric3d_ros.datasets.image_files import is_complete
from metric3d_ros.errors import ImageError
from metric3d_ros.image_encoding import demosaic, is_bayer, scaled_to_8_bits

# A few hundred bytes can claim a picture that no memory holds.
MOST_PIXELS = 100_000_000
_TO_RGB = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}


def decode_compressed_rgb(data: Any, image_format: str) -> NDArray[np.uint8]:
    """The image as uint8 RGB (height, width, 3).

    Parameters
    ----------
    data : a JPEG, PNG or WebP file as any bytes-like object.
    image_format : the message's format: ``jpeg``, or image_transport's ``bayer_rggb8; png compressed``, whose
        first word is the encoding before compression; only Bayer patterns need it, the file says all else.

    Raises
    ------
    ImageError
        If the data is no such file, is cut short, or claims a size no camera has.
    """
    encoded = bytes(data)
    if "compressedDepth" in image_format:
        raise ImageError(
            f"compressed image says {image_format!r}, which is depth; subscribe to the colour image's topic."
        )
    if not is_complete(encoded):
        raise ImageError(
            f"compressed image ({image_format!r}, {len(encoded)} bytes) is cut short or no JPEG, PNG or WebP; "
            "publish image_transport's compressed topic."
        )
    _require_decodable_size(encoded, image_format)
    return _to_rgb(_decode(encoded, image_format), image_format)


def _require_decodable_size(encoded: bytes, image_format: str) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PillowImage.DecompressionBombWarning)
            width_px, height_px = PillowImage.open(io.BytesIO(encoded)).size
    except PillowImage.DecompressionBombError:
        width_px, height_px = MOST_PIXELS, 2
    except (OSError, ValueError, SyntaxError) as error:
        raise _damaged(image_format) from error
    if width_px * height_px > MOST_PIXELS:
        raise ImageError(
            f"compressed image ({image_format!r}, {len(encoded)} bytes) claims more than {MOST_PIXELS} pixels; "
            "publish a smaller image."
        )


def _decode(encoded: bytes, image_format: str) -> NDArray[Any]:
    # Unchanged: camera_info describes the pixels as they are stored, not turned as EXIF would have them.
    try:
        pixels = cv2.imdecode(np.frombuffer(encoded, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise _damaged(image_format) from error
    if pixels is None or pixels.dtype not in (np.uint8, np.uint16):
        raise _damaged(image_format)
    return np.asarray(pixels)


def _to_rgb(pixels: NDArray[Any], image_format: str) -> NDArray[np.uint8]:
    encoding = image_format.partition(";")[0].strip()
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if channels == 1 and is_bayer(encoding):
        return demosaic(pixels.reshape(pixels.shape[:2]), encoding)
    if channels not in _TO_RGB:
        raise ImageError(f"compressed image has {channels} channels; publish 1, 3 or 4.")
    return scaled_to_8_bits(np.asarray(cv2.cvtColor(pixels, _TO_RGB[channels])))


def _damaged(image_format: str) -> ImageError:
    return ImageError(f"compressed image ({image_format!r}) does not decode; it was damaged on its way.")
