"""A node for tests: answers images with odometry, and writes down what it got, in order.

``python odometry_echo.py LOG [--answer always|never|second-time|stale-first] [--best-effort] [--delay S]``
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import time
from pathlib import Path

import rclpy
from nav_msgs.msg import Odometry
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from metric3d_ros.ros.large_messages import make_room_for_images


class OdometryEcho:
    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._log = Path(arguments.log).open("w", buffering=1)  # noqa: SIM115
        self._seen: set[int] = set()
        self._last_header = Header()
        self._node = rclpy.create_node("odometry_echo")
        reliability = ReliabilityPolicy.BEST_EFFORT if arguments.best_effort else ReliabilityPolicy.RELIABLE
        qos = QoSProfile(depth=10, reliability=reliability)
        self._odometry = self._node.create_publisher(Odometry, "/odometry", 10)
        self._node.create_subscription(Image, "/camera/image_rect", self._on_image, qos)
        self._node.create_subscription(CameraInfo, "/camera/camera_info", self._on_info, qos)
        self._node.create_subscription(Odometry, "/ground_truth/odometry", self._on_truth, 10)
        self._node.create_subscription(Clock, "/clock", self._on_clock, 10)

    def spin(self) -> None:
        """Until SIGINT, which Python raises between two waits."""
        executor = SingleThreadedExecutor()
        executor.add_node(self._node)
        while True:
            executor.spin_once(timeout_sec=0.05)

    def _on_image(self, image: Image) -> None:
        self._write("image", image.header)
        time.sleep(self._arguments.delay)
        stamp_ns = image.header.stamp.sec * 10**9 + image.header.stamp.nanosec
        is_first_time = stamp_ns not in self._seen
        self._seen.add(stamp_ns)
        if self._arguments.answer == "stale-first" and is_first_time:
            self._odometry.publish(Odometry(header=self._last_header))
        self._last_header = image.header
        if self._arguments.answer == "never" or (self._arguments.answer != "always" and is_first_time):
            return
        self._write("answer", image.header)
        self._odometry.publish(Odometry(header=image.header))

    def _on_info(self, info: CameraInfo) -> None:
        self._write("info", info.header)

    def _on_truth(self, odometry: Odometry) -> None:
        self._write("truth", odometry.header)

    def _on_clock(self, clock: Clock) -> None:
        self._log.write(f"clock {clock.clock.sec * 10**9 + clock.clock.nanosec}\n")

    def _write(self, what: str, header: object) -> None:
        stamp = header.stamp  # type: ignore[attr-defined]
        self._log.write(f"{what} {stamp.sec * 10**9 + stamp.nanosec}\n")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("log")
    parser.add_argument("--answer", default="always", choices=["always", "never", "second-time", "stale-first"])
    parser.add_argument("--best-effort", action="store_true")
    parser.add_argument("--delay", type=float, default=0.0)
    make_room_for_images()
    # rclpy's own signal handlers race with an executor that ends: now and then the process crashes, or stays.
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    # A shell's background job is born deaf to SIGINT, and Python leaves it so.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        OdometryEcho(parser.parse_args()).spin()
    rclpy.shutdown()


if __name__ == "__main__":
    main()
