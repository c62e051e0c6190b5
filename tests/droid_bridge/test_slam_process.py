"""Both nodes in one process: metres come out, and images go in once."""

from __future__ import annotations

import array
import signal

import cv2
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: source a ROS install or take the [ros] extra")

from graph_probe import GraphProbe, NodeProcess, header, info_message, rgb_message
from nav_msgs.msg import Odometry
from networks import write_network
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from sliding_camera import CANONICAL, FOCAL_PX, HEIGHT_PX, PERIOD_NS, STEP_M, WIDTH_PX, view

from droid_bridge.trajectory import read_tum
from metric3d_ros.ros.messages import stamp_ns_of

pytestmark = pytest.mark.ros
FRAMES = 14


class OneProcess:
    def __init__(self, folder, **parameters):
        self.probe = GraphProbe()
        is_compressed = parameters.get("image_transport") == "compressed"
        kind, topic = (CompressedImage, "image/compressed") if is_compressed else (Image, "image")
        chosen = {
            "model": str(write_network(folder / "channels.onnx", outputs=("depth",), metadata=CANONICAL)),
            "min_confidence": "0.0",
            "output_dir": str(folder / "run"),
            f"qos_overrides./{topic}.subscription.reliability": "reliable",
            "qos_overrides./camera_info.subscription.reliability": "reliable",
        }
        self.node = NodeProcess("droid_bridge.ros.slam_process", folder / "slam.log", chosen | parameters)
        self.images, self.infos = (
            self.probe.publisher(kind, topic),
            self.probe.publisher(CameraInfo, "camera_info"),
        )
        self.odometry = self.probe.collect(Odometry, "odometry")
        assert self.probe.wait_for(
            lambda: (
                self.images.get_subscription_count()
                and self.infos.get_subscription_count()
                and self.probe.node.count_publishers("odometry") == 1
            ),
            60,
        ), self.node.log
        self.probe.spin_for(1.0)

    def drive(self, message_of=rgb_message):
        for frame in range(FRAMES):
            count = len(self.odometry)
            stamp_ns = (frame + 1) * PERIOD_NS
            self.infos.publish(info_message(WIDTH_PX, HEIGHT_PX, FOCAL_PX, stamp_ns))
            self.probe.spin_for(0.02)
            self.images.publish(message_of(view(frame), stamp_ns))
            assert self.probe.wait_for(lambda before=count: len(self.odometry) > before, 20), self.node.log


@pytest.fixture
def one_process(tmp_path):
    started = []

    def start(**parameters):
        started.append(OneProcess(tmp_path, **parameters))
        return started[-1]

    yield start
    for graph in started:
        graph.node.stop(signal.SIGKILL)
        graph.probe.close()


def test_metres_come_out_and_images_are_received_once(one_process, tmp_path):
    graph = one_process(depth_wait_s="5.0")
    assert graph.probe.node.count_subscribers("image") == 1
    assert graph.probe.node.count_subscribers("depth/image") == 0
    graph.drive()
    assert [stamp_ns_of(message.header) for message in graph.odometry] == [
        (frame + 1) * PERIOD_NS for frame in range(FRAMES)
    ]
    assert -graph.odometry[-1].pose.pose.position.y == pytest.approx((FRAMES - 1) * STEP_M, rel=0.1)
    assert graph.node.stop() == 0, graph.node.log
    assert "Traceback" not in graph.node.log
    assert len(read_tum(tmp_path / "run" / "trajectory_tum.txt")) == FRAMES


def test_compressed_images_without_a_prior_go_to_the_slam_node_alone(one_process):
    def compressed(pixels, stamp_ns):
        file = cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()
        return CompressedImage(header=header(stamp_ns), format="png", data=array.array("B", file))

    graph = one_process(scale_prior="false", image_transport="compressed")
    assert graph.probe.node.count_publishers("depth/image") == 0
    graph.drive(compressed)
    assert len(graph.odometry) == FRAMES
