"""The SLAM node in a process of its own, on the real graph: a camera slides past a textured wall."""

from __future__ import annotations

import array
import signal

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: source a ROS install or take the [ros] extra")

from graph_probe import GraphProbe, NodeProcess, header, info_message, rgb_message
from nav_msgs.msg import Odometry, Path
from sensor_msgs.msg import CameraInfo, Image

from droid_bridge.trajectory import read_kitti, read_tum
from metric3d_ros.ros.messages import stamp_ns_of

pytestmark = pytest.mark.ros
MODULE = "droid_bridge.ros.droid_node"
WIDTH_PX, HEIGHT_PX, FOCAL_PX, WALL_M, STEP_M = 400, 240, 400.0, 5.0, 0.05
PERIOD_NS = 100_000_000


def wall() -> np.ndarray:
    generator = np.random.default_rng(3)
    layers = [
        cv2.resize(
            generator.uniform(0, 255, (max(2, 300 // size), max(2, 900 // size))).astype(np.float32), (900, 300)
        )
        for size in (3, 7, 20)
    ]
    return np.clip(np.mean(layers, axis=0) * 1.6 - 75, 0, 255).astype(np.uint8)


WALL = wall()


def view(frame: int) -> np.ndarray:
    """The camera moves right, so the wall moves left: 4 px a frame."""
    shift_px = round(frame * STEP_M * FOCAL_PX / WALL_M)
    gray = WALL[20 : 20 + HEIGHT_PX, 20 + shift_px : 20 + shift_px + WIDTH_PX]
    return np.repeat(gray[..., None], 3, axis=2)


def depth_message(depth_m: np.ndarray, stamp_ns: int) -> Image:
    data = array.array("B", depth_m.astype("<f4").tobytes())
    rows, columns = depth_m.shape
    return Image(
        header=header(stamp_ns), height=rows, width=columns, encoding="32FC1", step=4 * columns, data=data
    )


class SlamGraph:
    def __init__(self, probe, log, **parameters):
        self.probe = probe
        self.has_prior = parameters.get("scale_prior", "true") == "true"
        reliable = {
            f"qos_overrides./{topic}.subscription.reliability": "reliable"
            for topic in ("image", "camera_info", "depth/image")
        }
        self.node = NodeProcess(MODULE, log, {"threads": "1", **reliable, **parameters})
        self.images = probe.publisher(Image, "image")
        self.infos = probe.publisher(CameraInfo, "camera_info")
        self.depths = probe.publisher(Image, "depth/image")
        self.odometry = probe.collect(Odometry, "odometry")
        self.paths = probe.collect(Path, "path")
        inputs = [self.images, self.infos] + ([self.depths] if self.has_prior else [])
        assert probe.wait_for(
            lambda: (
                all(publisher.get_subscription_count() for publisher in inputs)
                and probe.node.count_publishers("odometry") == 1
            )
        ), self.node.log
        probe.spin_for(0.5)

    def send(self, frame, stamp_ns=None, depth_m=None, with_info=True, pixels=None):
        stamp_ns = (frame + 1) * PERIOD_NS if stamp_ns is None else stamp_ns
        pixels = view(frame) if pixels is None else pixels
        if with_info:
            self.infos.publish(info_message(WIDTH_PX, HEIGHT_PX, FOCAL_PX, stamp_ns))
        if self.has_prior:
            wall_m = np.full((HEIGHT_PX, WIDTH_PX), WALL_M, np.float32)
            self.depths.publish(depth_message(wall_m if depth_m is None else depth_m, stamp_ns))
        self.images.publish(rgb_message(pixels, stamp_ns))

    def drive(self, frames, **options):
        for frame in frames:
            count = len(self.odometry)
            self.send(frame, **options)
            assert self.probe.wait_for(lambda before=count: len(self.odometry) > before, 20), self.node.log

    def logs(self, text):
        return self.probe.wait_for(lambda: text in self.node.log, 15)


@pytest.fixture
def probe():
    probe = GraphProbe()
    yield probe
    probe.close()


@pytest.fixture
def slam(probe, tmp_path):
    started = []

    def start(**parameters):
        started.append(SlamGraph(probe, tmp_path / "slam.log", **parameters))
        return started[-1]

    yield start
    for graph in started:
        graph.node.stop(signal.SIGKILL)


def test_every_frame_is_answered_in_metres(slam, tmp_path):
    graph = slam(output_dir=str(tmp_path / "run"))
    graph.drive(range(21))
    assert [stamp_ns_of(message.header) for message in graph.odometry] == [(i + 1) * PERIOD_NS for i in range(21)]
    last = graph.odometry[-1]
    assert (last.header.frame_id, last.child_frame_id) == ("odom", "camera_link")
    position = last.pose.pose.position
    assert -position.y == pytest.approx(20 * STEP_M, rel=0.05), "right is -y in REP 103"
    assert abs(position.x) < 0.05
    assert abs(position.z) < 0.05
    assert last.twist.twist.linear.y == pytest.approx(-STEP_M / 0.1, rel=0.25)
    assert graph.probe.wait_for(lambda: any(len(path.poses) == 21 for path in graph.paths))
    assert graph.node.stop() == 0, graph.node.log
    assert len(read_kitti(tmp_path / "run" / "trajectory_kitti.txt")) == 21
    assert read_tum(tmp_path / "run" / "trajectory_tum.txt").stamps_ns[-1] == 21 * PERIOD_NS


def test_without_prior_no_depth_is_needed(slam):
    graph = slam(scale_prior="false")
    graph.drive(range(6))
    assert len(graph.odometry) == 6


def test_a_killed_node_leaves_its_trajectory(slam, tmp_path):
    graph = slam(output_dir=str(tmp_path / "run"))
    graph.drive(range(9))
    graph.node.stop(signal.SIGKILL)
    trajectory = read_tum(tmp_path / "run" / "trajectory_tum.txt")
    assert trajectory.stamps_ns.tolist() == [(i + 1) * PERIOD_NS for i in range(9)]


def test_depth_without_readings_costs_nothing_but_the_prior(slam):
    graph = slam()
    graph.drive(range(4))
    graph.drive(range(4, 8), depth_m=np.full((HEIGHT_PX, WIDTH_PX), np.nan, np.float32))
    graph.drive(range(8, 12))
    assert -graph.odometry[-1].pose.pose.position.y == pytest.approx(11 * STEP_M, rel=0.1)


def test_a_bag_that_loops_starts_anew_and_keeps_what_was(slam, tmp_path):
    graph = slam(output_dir=str(tmp_path / "run"))
    graph.drive(range(10, 16))
    graph.drive(range(3))
    assert graph.logs("time went back"), graph.node.log
    assert graph.odometry[6].pose.pose.position.y == 0.0
    assert len(read_tum(tmp_path / "run" / "trajectory_tum.txt")) == 6
    assert len(read_tum(tmp_path / "run" / "restart_01" / "trajectory_tum.txt")) == 3


def test_no_camera_info_is_said_with_its_topic(slam):
    graph = slam()
    for frame in range(3):
        graph.send(frame, with_info=False)
    assert graph.logs("no message on /camera_info"), graph.node.log
    assert graph.node.lives
    graph.drive(range(3, 5))


def test_a_frame_of_another_size_costs_that_frame(slam):
    graph = slam()
    graph.drive(range(3))
    graph.send(3, pixels=view(3)[:100, :100].copy())
    assert graph.logs("frame skipped"), graph.node.log
    graph.drive(range(4, 6))
    assert [stamp_ns_of(message.header) // PERIOD_NS for message in graph.odometry] == [1, 2, 3, 5, 6]


def test_a_resent_frame_gets_its_answer_again(slam):
    graph = slam()
    graph.drive([0, 1, 1])
    assert graph.odometry[1] == graph.odometry[2]


def test_an_output_folder_that_cannot_be_made_ends_the_node(tmp_path):
    (tmp_path / "file").write_text("")
    node = NodeProcess(MODULE, tmp_path / "slam.log", {"output_dir": str(tmp_path / "file" / "run")})
    assert node.process.wait(timeout=30) == 2
    assert "cannot write trajectories to" in node.log
    assert "Traceback" not in node.log
