"""cv_bridge and our own decoder give the same pixels; compared where cv_bridge is installed."""

from __future__ import annotations

import array

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: source a ROS install or take the [ros] extra")

from sensor_msgs.msg import CompressedImage, Image

from metric3d_ros.errors import ImageError
from metric3d_ros.image_encoding import COLOUR_ENCODINGS, RawImage, decode_rgb
from metric3d_ros.ros import colour_images
from metric3d_ros.ros.colour_images import image_decoder, rgb_from_message

BYTES_OF_A_PIXEL = {"rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4, "mono": 1, "8UC1": 1, "8UC3": 3, "yuv": 2, "uyvy": 2}


def message(encoding: str, **changes) -> Image:
    kind = encoding.partition("_")[0].rstrip("0123456789") if not encoding.startswith("8UC") else encoding
    pixel = 1 if kind == "bayer" else BYTES_OF_A_PIXEL.get(kind, 2)
    pixel *= 2 if encoding.endswith("16") else 1
    data = np.random.default_rng(2).integers(0, 256, 12 * 16 * pixel, dtype=np.uint8)
    fields = {"height": 12, "width": 16, "encoding": encoding, "step": 16 * pixel} | changes
    return Image(data=array.array("B", data.tobytes()), **fields)


@pytest.mark.parametrize("encoding", COLOUR_ENCODINGS)
def test_cv_bridge_agrees(encoding):
    cv_bridge = pytest.importorskip("cv_bridge", reason="cv_bridge is not installed: it comes with a ROS install")
    if encoding in ("8UC1", "8UC3", "uyvy", "yuyv"):
        pytest.skip("older releases of cv_bridge do not take this encoding as colour")
    theirs = cv_bridge.CvBridge().imgmsg_to_cv2(message(encoding), desired_encoding="rgb8")
    np.testing.assert_array_equal(decode_rgb(RawImage.of_message(message(encoding))), theirs)


def test_the_decoder_is_named():
    try:
        import cv_bridge  # noqa: F401
    except Exception:
        assert image_decoder() == "metric3d_ros"
    else:
        assert image_decoder() == "cv_bridge"


def test_cv_bridge_is_asked_where_it_is_there_and_never_for_what_it_would_crash_on(monkeypatch):
    asked = []

    def decode(image):
        asked.append(image.encoding)
        return np.zeros((12, 16, 3), np.uint8)

    monkeypatch.setattr(colour_images, "_cv_bridge", decode)
    rgb_from_message(message("bayer_rggb8"))
    rgb_from_message(message("8UC3"))
    for broken in (message("rgb8", height=13), message("rgb8", step=3), message("rgb9")):
        with pytest.raises(ImageError):
            rgb_from_message(broken)
    assert asked == ["bayer_rggb8"]


def test_a_compressed_image():
    pixels = np.full((8, 8, 3), (10, 20, 30), np.uint8)
    file = cv2.imencode(".png", pixels)[1].tobytes()
    decoded = rgb_from_message(CompressedImage(format="png", data=array.array("B", file)))
    np.testing.assert_array_equal(decoded, pixels[..., ::-1])
