"""sensor_msgs to arrays and cameras, and back."""

from __future__ import annotations

import array
import sys

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.errors import CameraError
from metric3d_ros.image_encoding import RawImage, decode_depth_m, decode_rgb

NANOSECONDS_PER_SECOND = 1_000_000_000


def stamp_ns_of(header: Header) -> int:
    """The header's stamp in nanoseconds."""
    return int(header.stamp.sec) * NANOSECONDS_PER_SECOND + int(header.stamp.nanosec)


def time_from_ns(stamp_ns: int) -> Time:
    """A stamp in nanoseconds as a message."""
    seconds, nanoseconds = divmod(stamp_ns, NANOSECONDS_PER_SECOND)
    return Time(sec=seconds, nanosec=nanoseconds)


def rgb_from_message(message: Image) -> NDArray[np.uint8]:
    """The image as uint8 RGB (height, width, 3); raises ImageError where it cannot be decoded."""
    return decode_rgb(RawImage.of_message(message))


def depth_m_from_message(message: Image) -> NDArray[np.float32]:
    """The depth image in metres, float32 (height, width), NaN without reading; raises ImageError."""
    return decode_depth_m(RawImage.of_message(message))


def depth_message(depth_m: NDArray[np.float32], header: Header) -> Image:
    """A 32FC1 image of metres along the optical axis (REP 118) with the header it is given."""
    height_px, width_px = depth_m.shape
    data = array.array("B")
    data.frombytes(np.ascontiguousarray(depth_m, dtype=np.float32).tobytes())
    return Image(
        header=header,
        height=height_px,
        width=width_px,
        encoding="32FC1",
        is_bigendian=int(sys.byteorder == "big"),
        step=width_px * 4,
        data=data,
    )


def camera_from_info(info: CameraInfo, rectified: bool) -> PinholeCamera:
    """The camera of an image: P for rectified images, K for raw ones without distortion.

    An unset P (all zero, as many drivers leave it) counts as K where there is no distortion.

    Raises
    ------
    CameraError
        If the focal length is 0, or the image still has the distortion that D describes.
    """
    is_distorted = any(d != 0.0 for d in info.d)
    if rectified and any(p != 0.0 for p in info.p):
        return PinholeCamera.from_matrix(np.reshape(info.p, (3, 4)), info.width, info.height)
    if is_distorted:
        raise CameraError(
            f"camera_info says {info.distortion_model} distortion {[round(d, 4) for d in info.d]}"
            f"{' and no P' if rectified else ''}; rectify the image first (image_proc) and subscribe to that."
        )
    return PinholeCamera.from_matrix(np.reshape(info.k, (3, 3)), info.width, info.height)
