"""A node for tests: publishes what a camera would, collects what the nodes under test answer."""

from __future__ import annotations

import array
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

RELIABLE = QoSProfile(depth=50, reliability=QoSReliabilityPolicy.RELIABLE)


class GraphProbe:
    """Spins a node of its own; ``wait_for`` spins until a condition holds."""

    def __init__(self) -> None:
        self._context = Context()
        rclpy.init(context=self._context)
        self.node = rclpy.create_node("probe", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)

    def collect(self, kind: type, topic: str) -> list:
        messages: list = []
        self.node.create_subscription(kind, topic, messages.append, RELIABLE)
        return messages

    def publisher(self, kind: type, topic: str):
        return self.node.create_publisher(kind, topic, RELIABLE)

    def wait_for(self, condition: Callable[[], bool], timeout_s: float = 30.0) -> bool:
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                return False
            self._executor.spin_once(timeout_sec=0.05)
        return True

    def spin_for(self, seconds: float) -> None:
        self.wait_for(lambda: False, seconds)

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)


class DiagnosticsProbe:
    """What a node's diagnostics have said so far, the latest of each value."""

    def __init__(self, probe: GraphProbe, node_name: str) -> None:
        self._node_name = node_name
        self.values: dict[str, str] = {}
        self.hardware_id = ""
        probe.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, RELIABLE)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == self._node_name:
                self.values |= {value.key: value.value for value in status.values}
                self.hardware_id = status.hardware_id


class NodeProcess:
    """A node of this project in a process of its own, its log in a file."""

    def __init__(self, module: str, log: Path, parameters: dict[str, str] | None = None) -> None:
        self._log = log
        arguments = [f"{name}:={value}" for name, value in (parameters or {}).items()]
        flags = [part for argument in arguments for part in ("-p", argument)]
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, "--ros-args", *flags],
                stdout=file,
                stderr=subprocess.STDOUT,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def lives(self) -> bool:
        return self.process.poll() is None

    def stop(self, number: int = signal.SIGINT) -> int:
        if self.lives:
            self.process.send_signal(number)
        try:
            return self.process.wait(timeout=20)
        finally:
            self.process.kill()


def header(stamp_ns: int, frame_id: str = "camera_optical_frame") -> Header:
    message = Header(frame_id=frame_id)
    message.stamp.sec, message.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
    return message


def rgb_message(pixels: np.ndarray, stamp_ns: int, encoding: str = "rgb8") -> Image:
    height_px, width_px, channels = pixels.shape
    return Image(
        header=header(stamp_ns),
        height=height_px,
        width=width_px,
        encoding=encoding,
        step=width_px * channels,
        data=array.array("B", pixels.tobytes()),
    )


def info_message(width_px: int, height_px: int, focal_px: float, stamp_ns: int) -> CameraInfo:
    cx, cy = (width_px - 1) / 2, (height_px - 1) / 2
    return CameraInfo(
        header=header(stamp_ns),
        height=height_px,
        width=width_px,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=[focal_px, 0.0, cx, 0.0, focal_px, cy, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[focal_px, 0.0, cx, 0.0, 0.0, focal_px, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
    )
