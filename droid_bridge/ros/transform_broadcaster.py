"""Publishes TF where tf2_msgs is installed; pip has no tf2_msgs, a ROS install has."""

from __future__ import annotations

from typing import Any

from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.qos import QoSProfile

try:
    from tf2_msgs.msg import TFMessage
except ImportError:
    TFMessage = None

WITHOUT_TF = (
    "tf2_msgs is not installed, so no TF is published; odometry and path are. "
    "On a ROS install: apt install ros-$ROS_DISTRO-tf2-msgs."
)


class TransformBroadcaster:
    """Sends transforms on ``/tf``; does nothing, and says so once, where tf2_msgs is missing."""

    def __init__(self, node: Node) -> None:
        self._publisher: Any = None
        if TFMessage is None:
            node.get_logger().info(WITHOUT_TF)
        else:
            self._publisher = node.create_publisher(TFMessage, "/tf", QoSProfile(depth=100))

    def send(self, *transforms: TransformStamped) -> None:
        """Publish transforms in one message."""
        if self._publisher is not None:
            self._publisher.publish(TFMessage(transforms=list(transforms)))
