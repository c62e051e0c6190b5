"""The SLAM node in the test's own process, and a camera that slides past a wall."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from graph_probe import GraphProbe, header, info_message, rgb_message
from inner_graph import InnerNode, wait_for_subscribers
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CameraInfo, Image
from sliding_camera import FOCAL_PX, HEIGHT_PX, WALL_M, WIDTH_PX, view

from droid_bridge.ros.droid_node import DroidNode
from metric3d_ros.ros.messages import depth_message, stamp_ns_of


class InnerSlam:
    def __init__(self, **parameters: Any) -> None:
        reliable = {
            f"qos_overrides./{topic}.subscription.reliability": "reliable"
            for topic in ("image", "camera_info", "depth/image")
        }
        self.probe = GraphProbe()
        # Depth is not waited for: what has come by then is paired, and the rest is late.
        self.inner = InnerNode(DroidNode, {"depth_wait_s": 0.0, **reliable, **parameters})
        assert self.inner.has_started
        self.node: Any = self.inner.node
        self.images, self.infos, self.depths = (
            self.probe.publisher(Image, "image"),
            self.probe.publisher(CameraInfo, "camera_info"),
            self.probe.publisher(Image, "depth/image"),
        )
        self.answers: list[tuple[int, float]] = []
        self.probe.node.create_subscription(Odometry, "odometry", self._on_odometry, 50)
        wait_for_subscribers(self.probe, self.images, self.infos, self.depths)
        assert self.probe.wait_for(lambda: self.node.count_subscribers("odometry") >= 1)
        self.sent = self.not_numbers = 0

    def _on_odometry(self, message: Odometry) -> None:
        self.answers.append((stamp_ns_of(message.header), time.time()))
        pose, twist = message.pose, message.twist
        position, turn = pose.pose.position, pose.pose.orientation
        numbers = [position.x, position.y, position.z, turn.x, turn.y, turn.z, turn.w]
        if not np.isfinite([*numbers, *pose.covariance, *twist.covariance]).all():
            self.not_numbers += 1

    def send(self, stamp_ns: int, frame: int = 0) -> None:
        self.infos.publish(info_message(WIDTH_PX, HEIGHT_PX, FOCAL_PX, stamp_ns))
        self.depths.publish(depth_message(np.full((HEIGHT_PX, WIDTH_PX), WALL_M, np.float32), header(stamp_ns)))
        assert self.probe.wait_for(lambda: self.waits_for_image(stamp_ns))
        self.images.publish(rgb_message(view(frame), stamp_ns))
        self.sent += 1
        assert self.probe.wait_for(self.counted, 60), self.counts()

    def waits_for_image(self, stamp_ns: int) -> bool:
        return self.node._pairing._waiting.get(stamp_ns, {}).keys() >= {"camera_info", "depth"}

    def counts(self) -> tuple[int, int, int, dict[str, int], int]:
        statistics = self.node._statistics
        waiting = sum("image" in moment for moment in list(self.node._pairing._waiting.values()))
        return (
            statistics._received,
            statistics._answered,
            statistics._dropped,
            dict(statistics._refused),
            waiting,
        )

    def counted(self) -> bool:
        """Every image that was sent has come, and is answered, refused with a reason, dropped or waiting."""
        received, answered, dropped, refused, waiting = self.counts()
        images_refused = sum(count for reason, count in refused.items() if "depth: " not in reason)
        return received == self.sent == answered + dropped + images_refused + waiting

    def close(self) -> None:
        self.inner.close()
        self.probe.close()
