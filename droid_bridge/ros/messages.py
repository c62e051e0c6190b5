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

NANOSECONDS_PER_SECOND = 1e9


def pose_message(odom_from_link: NDArray[np.float64]) -> Pose:
    """A rigid transform (4, 4) as a pose."""
    pose = Pose()
    pose.position.x, pose.position.y, pose.position.z = map(float, odom_from_link[:3, 3])
    rotation = Rotation.from_matrix(odom_from_link[:3, :3]).as_quat()
    pose.orientation.x, pose.orientation.y, pose.orientation.z, pose.orientation.w = map(float, rotation)
    return pose


def odometry_message(
    header: Header, child_frame_id: str, odom_from_link: NDArray[np.float64], twist: Twist
) -> Odometry:
    """Odometry with unknown (all zero) covariance; the twist is in the child frame."""
    message = Odometry(header=header, child_frame_id=child_frame_id)
    message.pose.pose = pose_message(odom_from_link)
    message.twist.twist = twist
    return message


def twist_between(
    odom_from_link_before: NDArray[np.float64], odom_from_link_now: NDArray[np.float64], elapsed_ns: int
) -> Twist:
    """The mean velocity over ``elapsed_ns`` in the body frame of now, m/s and rad/s."""
    elapsed_s = elapsed_ns / NANOSECONDS_PER_SECOND
    link_from_odom = odom_from_link_now[:3, :3].T
    linear = link_from_odom @ (odom_from_link_now[:3, 3] - odom_from_link_before[:3, 3]) / elapsed_s
    turned = odom_from_link_before[:3, :3].T @ odom_from_link_now[:3, :3]
    angular = Rotation.from_matrix(turned).as_rotvec() / elapsed_s
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
