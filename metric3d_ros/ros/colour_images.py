"""Image and CompressedImage messages to RGB: through cv_bridge where it works, else by our own decoder.

Both give the same pixels. What arrives is checked by our decoder first, as cv_bridge trusts size and step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

from metric3d_ros.compressed_image import decode_compressed_rgb
from metric3d_ros.errors import ImageError
from metric3d_ros.image_encoding import RawImage, decode_rgb, require_decodable

OWN_DECODER = "metric3d_ros"
CV_BRIDGE = "cv_bridge"
# Of OpenCV's own type names cv_bridge does not know the colours.
_WITHOUT_COLOURS = ("8UC1", "8UC3")


def _load_cv_bridge() -> Callable[[Image], NDArray[np.uint8]] | None:
    # Built for another NumPy it fails to import with whatever NumPy raises then (vision_opencv issue 535).
    try:
        from cv_bridge import CvBridge, CvBridgeError
    except Exception:
        return None
    bridge = CvBridge()

    def decode(message: Image) -> NDArray[np.uint8]:
        try:
            return np.asarray(bridge.imgmsg_to_cv2(message, desired_encoding="rgb8"), dtype=np.uint8)
        except CvBridgeError as error:
            raise ImageError(f"cv_bridge refuses encoding {message.encoding!r}: {error}") from error

    return decode


_cv_bridge = _load_cv_bridge()


def image_decoder() -> str:
    """What decodes raw images here: cv_bridge or our own decoder."""
    return OWN_DECODER if _cv_bridge is None else CV_BRIDGE


def rgb_from_message(message: Any) -> NDArray[np.uint8]:
    """The image of an Image or CompressedImage as uint8 RGB (height, width, 3).

    Raises
    ------
    ImageError
        If it cannot be decoded.
    """
    if isinstance(message, CompressedImage):
        return decode_compressed_rgb(message.data, message.format)
    raw = RawImage.of_message(message)
    if _cv_bridge is None or message.encoding in _WITHOUT_COLOURS:
        return decode_rgb(raw)
    require_decodable(raw)
    return _cv_bridge(message)
