"""sensor_msgs to arrays and cameras, and back."""

from __future__ import annotations

import array
import sys
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from std_msgs.msg import Header

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.image_encoding import RawImage, decode_confidence, decode_depth_m

NANOSECONDS_PER_SECOND = 1_000_000_000


def stamp_ns_of(header: Header) -> int:
    """The header's stamp in nanoseconds."""
    return int(header.stamp.sec) * NANOSECONDS_PER_SECOND + int(header.stamp.nanosec)


def time_from_ns(stamp_ns: int) -> Time:
    """A stamp in nanoseconds as a message."""
    seconds, nanoseconds = divmod(stamp_ns, NANOSECONDS_PER_SECOND)
    return Time(sec=seconds, nanosec=nanoseconds)


def depth_m_from_message(message: Image) -> NDArray[np.float32]:
    """The depth image in metres, float32 (height, width), NaN without reading; raises ImageError."""
    return decode_depth_m(RawImage.of_message(message))


def confidence_from_message(message: Image) -> NDArray[np.float32]:
    """The confidence of a depth image, float32 (height, width) from 0 to 1; raises ImageError."""
    return decode_confidence(RawImage.of_message(message))


def depth_message(depth_m: NDArray[np.float32], header: Header) -> Image:
    """A 32FC1 image of metres along the optical axis (REP 118) with the header it is given."""
    return image_message(depth_m.astype(np.float32, copy=False), "32FC1", header)


def image_message(pixels: NDArray[Any], encoding: str, header: Header) -> Image:
    """An image of (height, width[, channels]) pixels that already have ``encoding``."""
    rows = np.ascontiguousarray(pixels)
    return Image(
        header=header,
        height=rows.shape[0],
        width=rows.shape[1],
        encoding=encoding,
        is_bigendian=int(sys.byteorder == "big"),
        step=rows.strides[0],
        data=byte_array(rows),
    )


def byte_array(values: NDArray[Any]) -> array.array[int]:
    """The bytes of an array as messages take them without a copy of their own (rclpy issue 763)."""
    data = array.array("B")
    data.frombytes(np.ascontiguousarray(values).view(np.uint8).data)
    return data


def point_cloud_message(points_m: NDArray[np.floating], colours: NDArray[np.uint8], header: Header) -> PointCloud2:
    """A cloud of x, y, z and packed ``rgb``, as RViz reads it.

    Parameters
    ----------
    points_m : (n, 3), or (height, width, 3) for an organised cloud; NaN where there is no point.
    colours : uint8 of the same shape, RGB.
    header : with the frame that the points are in.
    """
    *heights, width_px = points_m.shape[:-1]
    packed = np.zeros((*heights, width_px), dtype=[("x", "f4"), ("y", "f4"), ("z", "f4"), ("rgb", "u4")])
    for axis, name in enumerate("xyz"):
        packed[name] = points_m[..., axis]
    red, green, blue = (colours[..., channel].astype(np.uint32) for channel in range(3))
    packed["rgb"] = red << 16 | green << 8 | blue
    return PointCloud2(
        header=header,
        height=heights[0] if heights else 1,
        width=width_px,
        fields=[
            PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
            for index, name in enumerate(packed.dtype.names or ())
        ],
        is_bigendian=sys.byteorder == "big",
        point_step=packed.itemsize,
        row_step=packed.itemsize * width_px,
        data=byte_array(packed),
        is_dense=bool(np.isfinite(points_m).all()),
    )


def camera_info_message(camera: PinholeCamera, header: Header) -> CameraInfo:
    """The camera_info of a rectified image: K and P from its camera, no distortion, no binning, no region."""
    intrinsics = camera.matrix()
    return CameraInfo(
        header=header,
        height=camera.height_px,
        width=camera.width_px,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=intrinsics.reshape(-1),
        r=np.eye(3).reshape(-1),
        p=np.column_stack([intrinsics, np.zeros(3)]).reshape(-1),
    )
