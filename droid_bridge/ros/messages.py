"""Poses to nav_msgs and geometry_msgs, in REP 103 axes.

SLAM works in the optical frame (z forward); ROS bodies are x forward, y left, z up. The odom frame is the
camera's body frame at the first image.
"""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import Pose, PoseStamped, Transform, TransformStamped, Twist
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header

from droid_bridge.pose_covariance import MotionCovariance
from metric3d_ros.bag_topics import LINK_FROM_OPTICAL, odom_from_optical

NANOSECONDS_PER_SECOND = 1e9
WORLD_FROM_FIRST_CAMERA = np.eye(4)


def pose_message(odom_from_link: NDArray[np.float64]) -> Pose:
    """A rigid transform (4, 4) as a pose."""
    pose = Pose()
    pose.position.x, pose.position.y, pose.position.z = map(float, odom_from_link[:3, 3])
    rotation = Rotation.from_matrix(odom_from_link[:3, :3]).as_quat()
    pose.orientation.x, pose.orientation.y, pose.orientation.z, pose.orientation.w = map(float, rotation)
    return pose


def odometry_message(
    header: Header, child_frame_id: str, world_from_camera: NDArray[np.float64], known: MotionCovariance
) -> Odometry:
    """A pose and the velocity that led there, with their covariances.

    Parameters
    ----------
    header : with the odom frame.
    child_frame_id : the body frame, in which the twist is.
    world_from_camera : (4, 4) the pose in optical frames, the world's being that of the first camera.
    known : its covariance, and the last step with its own.
    """
    message = Odometry(header=header, child_frame_id=child_frame_id)
    message.pose.pose = pose_message(odom_from_optical(world_from_camera, WORLD_FROM_FIRST_CAMERA))
    message.pose.covariance = _in_robot_axes(known.of_position(world_from_camera))
    if known.elapsed_ns > 0:
        before_from_now = np.linalg.inv(known.now_from_before).astype(np.float64)
        link_step = odom_from_optical(before_from_now, WORLD_FROM_FIRST_CAMERA)
        message.twist.twist = twist_message(link_step, known.elapsed_ns)
    message.twist.covariance = _in_robot_axes(known.of_velocity())
    return message


def _in_robot_axes(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """A covariance (6, 6) along optical axes as the 36 numbers of a message: x, y, z, then turns about them."""
    turn = np.kron(np.eye(2), LINK_FROM_OPTICAL[:3, :3])
    return np.asarray((turn @ covariance @ turn.T).ravel(), dtype=np.float64)


def twist_message(before_from_now: NDArray[np.float64], elapsed_ns: int) -> Twist:
    """The mean velocity of a body's step (4, 4) that took so long, in the body frame of now: m/s and rad/s."""
    elapsed_s = elapsed_ns / NANOSECONDS_PER_SECOND
    linear = before_from_now[:3, :3].T @ before_from_now[:3, 3] / elapsed_s
    angular = Rotation.from_matrix(before_from_now[:3, :3]).as_rotvec() / elapsed_s
    twist = Twist()
    twist.linear.x, twist.linear.y, twist.linear.z = map(float, linear)
    twist.angular.x, twist.angular.y, twist.angular.z = map(float, angular)
    return twist


def transform_message(odometry: Odometry) -> TransformStamped:
    """The odometry's pose as a transform of its two frames."""
    position = odometry.pose.pose.position
    transform = Transform(rotation=odometry.pose.pose.orientation)
    transform.translation.x, transform.translation.y, transform.translation.z = position.x, position.y, position.z
    return TransformStamped(header=odometry.header, child_frame_id=odometry.child_frame_id, transform=transform)


def stamped_pose_message(header: Header, odom_from_link: NDArray[np.float64]) -> PoseStamped:
    """A pose with its header, as a path holds it."""
    return PoseStamped(header=header, pose=pose_message(odom_from_link))


def rigid_transform_message(
    header: Header, child_frame_id: str, parent_from_child: NDArray[np.float64]
) -> TransformStamped:
    """A rigid transform (4, 4), in the axes of the two frames, as a message."""
    pose = pose_message(parent_from_child)
    transform = Transform(rotation=pose.orientation)
    translation, position = transform.translation, pose.position
    translation.x, translation.y, translation.z = position.x, position.y, position.z
    return TransformStamped(header=header, child_frame_id=child_frame_id, transform=transform)
