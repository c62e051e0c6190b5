"""Both nodes in processes of their own: either is killed and comes back, the disk fills, and SIGINT ends them."""

from __future__ import annotations

import resource
import signal

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: source a ROS install or take the [ros] extra")

from graph_probe import GraphProbe, NodeProcess, info_message, rgb_message
from nav_msgs.msg import Odometry
from networks import write_network
from sensor_msgs.msg import CameraInfo, Image
from sliding_camera import CANONICAL, FOCAL_PX, HEIGHT_PX, PERIOD_NS, STEP_M, WIDTH_PX, view

from droid_bridge.trajectory import read_kitti, read_tum
from metric3d_ros.ros.messages import stamp_ns_of

pytestmark = pytest.mark.ros
FULL_DISK_BYTES = 5000
MOST_RESENDS = 8
MOST_IMAGES_WITHOUT_DEPTH = 60


class TwoProcesses:
    def __init__(self, folder):
        self.folder = folder
        self.model = write_network(folder / "channels.onnx", outputs=("depth",), metadata=CANONICAL)
        self.probe = GraphProbe()
        self.images, self.infos = (
            self.probe.publisher(Image, "image"),
            self.probe.publisher(CameraInfo, "camera_info"),
        )
        self.odometry = self.probe.collect(Odometry, "odometry")
        self.depths = self.probe.collect(Image, "depth/image")
        self.next_frame = 0
        self.start_depth()
        self.start_slam("run")
        self.wait_until_connected(2)

    def start_depth(self):
        parameters = {"model": str(self.model), "min_confidence": "0.0", "threads": "1"} | _reliable("image")
        self.depth_node = NodeProcess("metric3d_ros.ros.depth_node", self.folder / "depth.log", parameters)

    def start_slam(self, name):
        parameters = {"output_dir": str(self.folder / name), "depth_wait_s": "0.5"}
        parameters |= _reliable("image", "depth/image")
        self.slam = NodeProcess("droid_bridge.ros.droid_node", self.folder / f"{name}.log", parameters)

    def wait_until_connected(self, nodes):
        assert self.probe.wait_for(
            lambda: (
                self.images.get_subscription_count() == nodes
                and self.infos.get_subscription_count() == nodes
                and self.probe.node.count_publishers("depth/image") == 1
                and self.probe.node.count_publishers("odometry") == 1
                and self.probe.node.count_subscribers("depth/image") == nodes
            ),
            60,
        ), self.slam.log + self.depth_node.log
        self.probe.spin_for(0.5)

    def drive(self, frames, waits_for=None):
        """Send images; each waits for its odometry, or for what ``waits_for`` collects."""
        answers = self.odometry if waits_for is None else waits_for
        for _ in range(frames):
            stamp_ns = self.send_next()
            for _ in range(MOST_RESENDS):
                if self.probe.wait_for(lambda stamp_ns=stamp_ns: _ends_at(answers, stamp_ns), 3):
                    break
                # Topics of a process that has just come up may not be connected in both directions yet.
                self.next_frame -= 1
                self.send_next()
            assert _ends_at(answers, stamp_ns), self.slam.log + self.depth_node.log

    def send_next(self):
        stamp_ns = (self.next_frame + 1) * PERIOD_NS
        self.infos.publish(info_message(WIDTH_PX, HEIGHT_PX, FOCAL_PX, stamp_ns))
        self.probe.spin_for(0.05)
        self.images.publish(rgb_message(view(self.next_frame), stamp_ns))
        self.next_frame += 1
        return stamp_ns

    def close(self):
        for node in (self.depth_node, self.slam):
            node.stop(signal.SIGKILL)
        self.probe.close()


def _ends_at(messages, stamp_ns):
    return bool(messages) and stamp_ns_of(messages[-1].header) == stamp_ns


def _reliable(*topics):
    return {f"qos_overrides./{topic}.subscription.reliability": "reliable" for topic in ("camera_info", *topics)}


@pytest.fixture
def nodes(tmp_path):
    nodes = TwoProcesses(tmp_path)
    yield nodes
    nodes.close()


def test_either_node_is_killed_and_comes_back(nodes, tmp_path):
    nodes.drive(10)
    nodes.depth_node.stop(signal.SIGKILL)
    before = len(nodes.odometry)
    # Until the graph has noticed that a subscriber is gone, some images reach nobody.
    for _ in range(MOST_IMAGES_WITHOUT_DEPTH):
        nodes.send_next()
        if nodes.probe.wait_for(lambda: len(nodes.odometry) >= before + 5, 0.5):
            break
    assert len(nodes.odometry) >= before + 5, nodes.slam.log
    nodes.start_depth()
    nodes.wait_until_connected(2)
    nodes.drive(3)
    position = nodes.odometry[-1].pose.pose.position
    assert -position.y == pytest.approx((nodes.next_frame - 1) * STEP_M, rel=0.15), "metres went on"

    nodes.slam.stop(signal.SIGKILL)
    on_disk = read_tum(tmp_path / "run" / "trajectory_tum.txt")
    assert on_disk.stamps_ns[-1] == nodes.next_frame * PERIOD_NS
    nodes.drive(2, waits_for=nodes.depths)
    nodes.start_slam("second")
    nodes.wait_until_connected(2)
    nodes.drive(4)
    assert nodes.slam.stop() == 0, nodes.slam.log
    assert nodes.depth_node.stop() == 0, nodes.depth_node.log
    assert len(read_tum(tmp_path / "second" / "trajectory_tum.txt")) == 4
    assert "Traceback" not in nodes.slam.log + nodes.depth_node.log


def test_a_full_disk_costs_lines_of_the_trajectory_and_nothing_else(nodes, tmp_path):
    """The limit on file sizes stands in for a full disk: writing beyond it fails the same way."""
    nodes.drive(6)
    soft, hard = resource.prlimit(nodes.slam.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(nodes.slam.process.pid, resource.RLIMIT_FSIZE, (FULL_DISK_BYTES, hard))
    nodes.drive(20)
    assert nodes.probe.wait_for(lambda: "cannot write trajectories to" in nodes.slam.log, 10), nodes.slam.log
    resource.prlimit(nodes.slam.process.pid, resource.RLIMIT_FSIZE, (soft, hard))
    nodes.drive(4)
    assert nodes.slam.stop() == 0, nodes.slam.log
    written = read_tum(tmp_path / "run" / "trajectory_tum.txt")
    assert written.stamps_ns[-1] == nodes.next_frame * PERIOD_NS
    assert len(read_kitti(tmp_path / "run" / "trajectory_kitti.txt")) == len(written)
