"""What the ROS-free modules log arrives in the node's log, each record once, until the node ends."""

from __future__ import annotations

import logging

from metric3d_ros.ros.log_bridge import NodeLogHandler


class RosLogger:
    """Notes what it is told, as rclpy's logger would publish it."""

    def __init__(self):
        self.told = []

    def __getattr__(self, severity):
        return lambda text: self.told.append((severity, text))


def test_records_arrive_with_their_severity_until_the_node_ends():
    ros_logger = RosLogger()
    handler = NodeLogHandler("metric3d_ros", ros_logger)
    source = logging.getLogger("metric3d_ros.engines.some_engine")
    source.debug("too much")
    source.info("built in %d s", 7)
    source.warning("stale")
    source.error("broken")
    handler.close()
    source.error("after the end")
    assert ros_logger.told == [("info", "built in 7 s"), ("warning", "stale"), ("error", "broken")]
