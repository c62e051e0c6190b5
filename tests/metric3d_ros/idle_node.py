"""A node that does nothing, in a process of its own: says who takes its signals, and waits to be stopped."""

from __future__ import annotations

import sys

from rclpy.signals import get_current_signal_handlers_options

from metric3d_ros.ros.lifecycle import AutostartNode, run_node


class IdleNode(AutostartNode):
    def __init__(self) -> None:
        super().__init__("idle")
        self.get_logger().info(f"rclpy takes: {get_current_signal_handlers_options().name}")


if __name__ == "__main__":
    sys.exit(run_node(IdleNode))
