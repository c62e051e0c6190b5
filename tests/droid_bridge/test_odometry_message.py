"""Odometry messages: axes, frames and the order of the numbers (REP 103, REP 105)."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: source a ROS install or take the [ros] extra")

from nav_msgs.msg import Odometry
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header

from droid_bridge.pose_covariance import MotionCovariance
from droid_bridge.ros.messages import odometry_message

pytestmark = pytest.mark.ros
TENTH_NS = 100_000_000
# Errors of the optical camera: 1 m to the right, 2 m down, 3 m ahead, then turns about the same.
SIGMAS = np.array([1.0, 2.0, 3.0, 0.01, 0.02, 0.03])


def said(world_from_camera: np.ndarray, now_from_before: np.ndarray) -> Odometry:
    known = MotionCovariance(np.diag(SIGMAS**2), np.diag(SIGMAS**2), now_from_before, TENTH_NS)
    return odometry_message(Header(frame_id="odom"), "camera_link", world_from_camera, known)


def sigmas(covariance: np.ndarray) -> np.ndarray:
    return np.sqrt(np.diag(np.reshape(covariance, (6, 6))))


def moved(translation: tuple[float, float, float], turn_rad: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    transform = np.eye(4)
    transform[:3, :3] = Rotation.from_rotvec(turn_rad).as_matrix()
    transform[:3, 3] = translation
    return transform


def test_forward_is_x_left_is_y_up_is_z() -> None:
    message = said(moved((1.0, 2.0, 3.0)), np.eye(4))
    position = message.pose.pose.position
    assert (position.x, position.y, position.z) == (3.0, -1.0, -2.0)
    np.testing.assert_allclose(sigmas(message.pose.covariance), [3.0, 1.0, 2.0, 0.03, 0.01, 0.02])


def test_the_pose_s_covariance_is_along_the_axes_of_odom_and_the_twist_s_along_the_body_s() -> None:
    """After a quarter turn to the left, what lies ahead of the camera lies to the left in odom."""
    message = said(moved((0.0, 0.0, 0.0), (0, -np.pi / 2, 0)), np.eye(4))
    turned = Rotation.from_quat([getattr(message.pose.pose.orientation, axis) for axis in "xyzw"])
    np.testing.assert_allclose(turned.as_rotvec(), [0, 0, np.pi / 2], atol=1e-9)
    np.testing.assert_allclose(sigmas(message.pose.covariance), [1.0, 3.0, 2.0, 0.01, 0.03, 0.02])
    np.testing.assert_allclose(sigmas(message.twist.covariance), 10 * np.array([3.0, 1.0, 2.0, 0.03, 0.01, 0.02]))


def test_the_twist_is_the_last_step_in_the_body_frame() -> None:
    """Half a metre ahead and a turn to the left in a tenth of a second, wherever the camera is by then."""
    before_from_now = moved((0.0, 0.0, 0.5), (0, -0.02, 0))
    message = said(moved((7.0, 0.0, 9.0), (0, 1.0, 0)), np.linalg.inv(before_from_now))
    linear, angular = message.twist.twist.linear, message.twist.twist.angular
    np.testing.assert_allclose([linear.x, linear.y, linear.z], [5.0, -0.1, 0.0], atol=2e-3)
    np.testing.assert_allclose([angular.x, angular.y, angular.z], [0.0, 0.0, 0.2], atol=1e-9)


def test_the_first_image_has_no_velocity_and_says_so() -> None:
    known = MotionCovariance(np.zeros((6, 6)), np.zeros((6, 6)), np.eye(4), 0)
    message = odometry_message(Header(frame_id="odom"), "camera_link", np.eye(4), known)
    assert message.twist.twist.linear.x == 0.0
    assert (sigmas(message.twist.covariance) >= 300).all()
    assert not any(message.pose.covariance)
