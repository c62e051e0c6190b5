"""Frames to ROS messages and back, in the message types of the ``rosbags`` library."""

from __future__ import annotations

from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.typesys import Stores, get_typestore

from metric3d_ros import bag_topics
from metric3d_ros.camera import PinholeCamera
from metric3d_ros.compressed_image import decode_compressed_rgb
from metric3d_ros.errors import ImageError
from metric3d_ros.image_encoding import RawImage, decode_depth_m, decode_rgb
from metric3d_ros.quaternion import quaternion_from_rotation, rotation_from_quaternion

TYPESTORE = get_typestore(Stores.ROS2_JAZZY)

IMAGE_TYPE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE_TYPE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO_TYPE = "sensor_msgs/msg/CameraInfo"
ODOMETRY_TYPE = "nav_msgs/msg/Odometry"
TF_TYPE = "tf2_msgs/msg/TFMessage"

_COMPRESSION = {
    "png": (".png", [cv2.IMWRITE_PNG_COMPRESSION, 3]),
    "jpeg": (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 95]),
}

# REP 103: a negative first entry marks a covariance as unknown.
_UNKNOWN_COVARIANCE = np.concatenate([[-1.0], np.zeros(35)])


def _make(message_type: str, **fields: Any) -> Any:
    return TYPESTORE.types[message_type](**fields)


def header(stamp_ns: int, frame_id: str) -> Any:
    """``std_msgs/Header`` of a time in nanoseconds."""
    seconds, nanoseconds = divmod(stamp_ns, 10**9)
    stamp = _make("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)
    return _make("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)


def image_message(stamp_ns: int, pixels: NDArray[Any], encoding: str) -> Any:
    """``sensor_msgs/Image`` of (height, width[, channels]) pixels that already have ``encoding``."""
    contiguous = np.ascontiguousarray(pixels)
    return _make(
        IMAGE_TYPE,
        header=header(stamp_ns, bag_topics.OPTICAL_FRAME),
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=contiguous.strides[0],
        data=contiguous.reshape(-1).view(np.uint8),
    )


def compressed_image_message(
    stamp_ns: int, pixels: NDArray[np.uint8], encoding: str, image_format: Literal["png", "jpeg"]
) -> Any:
    """``sensor_msgs/CompressedImage``, as image_transport writes it, of pixels that are ``mono8`` or ``rgb8``."""
    bgr = pixels if encoding == "mono8" else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    suffix, options = _COMPRESSION[image_format]
    stored_as = encoding if encoding == "mono8" else "bgr8"
    return _make(
        COMPRESSED_IMAGE_TYPE,
        header=header(stamp_ns, bag_topics.OPTICAL_FRAME),
        format=f"{encoding}; {image_format} compressed {stored_as}",
        data=np.asarray(cv2.imencode(suffix, bgr, options)[1], dtype=np.uint8).reshape(-1),
    )


def camera_info_message(stamp_ns: int, camera: PinholeCamera) -> Any:
    """``sensor_msgs/CameraInfo`` of a camera: K and P from its intrinsics, R the identity, D as it has."""
    intrinsics = camera.matrix()
    whole_image = _make(
        "sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
    )
    return _make(
        CAMERA_INFO_TYPE,
        header=header(stamp_ns, bag_topics.OPTICAL_FRAME),
        height=camera.height_px,
        width=camera.width_px,
        distortion_model=camera.distortion_model or "plumb_bob",
        d=np.array(camera.distortion, dtype=np.float64),
        k=intrinsics.reshape(-1),
        r=np.eye(3).reshape(-1),
        p=np.column_stack([intrinsics, np.zeros(3)]).reshape(-1),
        binning_x=0,
        binning_y=0,
        roi=whole_image,
    )


def odometry_message(stamp_ns: int, odom_from_link: NDArray[np.float64]) -> Any:
    """``nav_msgs/Odometry`` of a pose (4, 4) of ``camera_link`` in ``odom``; the twist is marked unknown."""
    zero = _make("geometry_msgs/msg/Vector3", x=0.0, y=0.0, z=0.0)
    pose = _make(
        "geometry_msgs/msg/Pose",
        position=_make("geometry_msgs/msg/Point", **_xyz(odom_from_link[:3, 3])),
        orientation=_quaternion(odom_from_link),
    )
    return _make(
        ODOMETRY_TYPE,
        header=header(stamp_ns, bag_topics.ODOM_FRAME),
        child_frame_id=bag_topics.CAMERA_FRAME,
        pose=_make("geometry_msgs/msg/PoseWithCovariance", pose=pose, covariance=np.zeros(36)),
        twist=_make(
            "geometry_msgs/msg/TwistWithCovariance",
            twist=_make("geometry_msgs/msg/Twist", linear=zero, angular=zero),
            covariance=_UNKNOWN_COVARIANCE,
        ),
    )


def true_transform_message(stamp_ns: int, odom_from_link: NDArray[np.float64]) -> Any:
    """``/tf``: odom -> the true ``camera_link``, under a name of its own beside the one that SLAM publishes."""
    transform = _transform(stamp_ns, bag_topics.ODOM_FRAME, bag_topics.TRUTH_FRAME, odom_from_link)
    return _make(TF_TYPE, transforms=[transform])


def static_transforms_message(stamp_ns: int, camera_height_m: float) -> Any:
    """``/tf_static``: base_link -> camera_link (straight above it) -> camera_optical_frame (REP 103)."""
    base_from_camera = np.eye(4)
    base_from_camera[2, 3] = camera_height_m
    return _make(
        TF_TYPE,
        transforms=[
            _transform(stamp_ns, bag_topics.BASE_FRAME, bag_topics.CAMERA_FRAME, base_from_camera),
            _transform(stamp_ns, bag_topics.CAMERA_FRAME, bag_topics.OPTICAL_FRAME, bag_topics.LINK_FROM_OPTICAL),
        ],
    )


def rgb_of_message(message: Any, topic: str) -> NDArray[np.uint8]:
    """The RGB image (height, width, 3) of an ``Image`` or ``CompressedImage``.

    Raises
    ------
    ImageError
        If it does not decode; the topic and stamp are named.
    """
    try:
        if hasattr(message, "format"):
            return decode_compressed_rgb(message.data, message.format)
        return decode_rgb(RawImage.of_message(message))
    except ImageError as error:
        raise ImageError(f"on {topic} at {stamp_ns_of(message)} ns: {error}") from error


def depth_of_message(message: Any, topic: str) -> NDArray[np.float32]:
    """The depth (height, width) in metres, NaN for none, of an ``Image``.

    Raises
    ------
    ImageError
        If it does not decode; the topic and stamp are named.
    """
    try:
        return decode_depth_m(RawImage.of_message(message))
    except ImageError as error:
        raise ImageError(f"on {topic} at {stamp_ns_of(message)} ns: {error}") from error


def camera_of_message(message: Any, *, rectified: bool) -> PinholeCamera:
    """The camera a ``CameraInfo`` describes: P for rectified images (K where P is unset), K and D for raw ones.

    Raises
    ------
    CameraError
        If no camera can have these values.
    """
    # ROS 1 spells these fields with capitals.
    k, p, d = (getattr(message, name if hasattr(message, name) else name.upper()) for name in "kpd")
    if rectified and np.any(p):
        return PinholeCamera.from_matrix(np.reshape(p, (3, 4)), message.width, message.height)
    return PinholeCamera.from_matrix(
        np.reshape(k, (3, 3)), message.width, message.height, message.distortion_model, d
    )


def pose_of_message(message: Any) -> NDArray[np.float64]:
    """The pose (4, 4) of an ``Odometry``: its child frame in its frame."""
    pose = message.pose.pose
    position, orientation = pose.position, pose.orientation
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_from_quaternion(
        np.array([orientation.x, orientation.y, orientation.z, orientation.w])
    )
    matrix[:3, 3] = position.x, position.y, position.z
    return matrix


def stamp_ns_of(message: Any) -> int:
    """The stamp of a message with a header, in nanoseconds."""
    return int(message.header.stamp.sec) * 10**9 + int(message.header.stamp.nanosec)


def _xyz(vector: NDArray[np.float64]) -> dict[str, float]:
    return {axis: float(value) for axis, value in zip("xyz", vector, strict=True)}


def _quaternion(transform: NDArray[np.float64]) -> Any:
    x, y, z, w = quaternion_from_rotation(transform[:3, :3])
    return _make("geometry_msgs/msg/Quaternion", x=float(x), y=float(y), z=float(z), w=float(w))


def _transform(stamp_ns: int, parent: str, child: str, parent_from_child: NDArray[np.float64]) -> Any:
    return _make(
        "geometry_msgs/msg/TransformStamped",
        header=header(stamp_ns, parent),
        child_frame_id=child,
        transform=_make(
            "geometry_msgs/msg/Transform",
            translation=_make("geometry_msgs/msg/Vector3", **_xyz(parent_from_child[:3, 3])),
            rotation=_quaternion(parent_from_child),
        ),
    )
