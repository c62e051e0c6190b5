"""The SLAM node in a process of its own, on the real graph: a camera slides past a textured wall."""

from __future__ import annotations

import array
import signal

import corridor
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: source a ROS install or take the [ros] extra")

from graph_probe import NodeProcess, header, info_message, rgb_message
from nav_msgs.msg import Odometry, Path
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from sliding_camera import FOCAL_PX, HEIGHT_PX, PERIOD_NS, STEP_M, WALL_M, WIDTH_PX, view
from std_srvs.srv import Trigger

from droid_bridge.trajectory import read_kitti, read_tum
from metric3d_ros.ros.messages import stamp_ns_of

pytestmark = pytest.mark.ros
MODULE = "droid_bridge.ros.droid_node"


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
            for topic in ("image", "camera_info", "depth/image", "depth/confidence")
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

    def publish_confidence(self):
        """From now on there is someone who says how sure depth is."""
        self.confidences = self.probe.publisher(Image, "depth/confidence")
        assert self.probe.wait_for(self.confidences.get_subscription_count), self.node.log
        self.probe.spin_for(0.5)

    def send(self, frame, stamp_ns=None, depth_m=None, with_info=True, pixels=None, with_depth=True):
        stamp_ns = (frame + 1) * PERIOD_NS if stamp_ns is None else stamp_ns
        pixels = view(frame) if pixels is None else pixels
        if with_info:
            self.infos.publish(info_message(WIDTH_PX, HEIGHT_PX, FOCAL_PX, stamp_ns))
        if self.has_prior and with_depth:
            wall_m = np.full((HEIGHT_PX, WIDTH_PX), WALL_M, np.float32)
            self.depths.publish(depth_message(wall_m if depth_m is None else depth_m, stamp_ns))
        self.images.publish(rgb_message(pixels, stamp_ns))

    def send_confidence(self, frame, confidence):
        self.confidences.publish(depth_message(confidence, (frame + 1) * PERIOD_NS))

    def drive(self, frames, **options):
        for frame in frames:
            count = len(self.odometry)
            self.send(frame, **options)
            assert self.probe.wait_for(lambda before=count: len(self.odometry) > before, 20), self.node.log

    def logs(self, text):
        return self.probe.wait_for(lambda: text in self.node.log, 15)


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
    assert_covariances_mean_something(graph.odometry)
    assert graph.probe.wait_for(lambda: any(len(path.poses) == 21 for path in graph.paths))
    assert graph.node.stop() == 0, graph.node.log
    assert len(read_kitti(tmp_path / "run" / "trajectory_kitti.txt")) == 21
    assert read_tum(tmp_path / "run" / "trajectory_tum.txt").stamps_ns[-1] == 21 * PERIOD_NS


def assert_covariances_mean_something(odometry):
    """Every matrix is one, the way grows less sure, and what was got wrong is within four sigmas."""
    poses, twists = (
        [np.reshape(getattr(message, part).covariance, (6, 6)) for message in odometry]
        for part in ("pose", "twist")
    )
    for covariance in [*poses, *twists]:
        np.testing.assert_array_equal(covariance, covariance.T)
    assert not poses[0].any(), "odom begins at the first image"
    assert (np.diag(twists[0]) >= 1e5).all(), "one image shows no velocity"
    for pose, twist in zip(poses[1:], twists[1:], strict=True):
        assert np.linalg.eigvalsh(pose).min() > 0
        assert np.linalg.eigvalsh(twist).min() > 0
    assert np.trace(poses[-1][:3, :3]) > np.trace(poses[5][:3, :3])
    # The way is sideways, and its length is what the scale of a prior leaves open most.
    sigma_m = np.sqrt(np.diag(poses[-1])[:3])
    assert 1e-3 < sigma_m[1] < 0.3
    assert abs(odometry[-1].pose.pose.position.y + 20 * STEP_M) < 4 * sigma_m[1]
    assert abs(odometry[-1].twist.twist.linear.y + STEP_M / 0.1) < 4 * np.sqrt(twists[-1][1, 1])


def test_without_prior_no_depth_is_needed(slam):
    graph = slam(scale_prior="false")
    graph.drive(range(6))
    assert len(graph.odometry) == 6


def test_depth_that_nobody_is_sure_of_does_not_count(slam):
    """Two thirds of every depth map say twice the distance, with no confidence: alone they would win."""
    graph = slam()
    graph.publish_confidence()
    depth_m = np.full((HEIGHT_PX, WIDTH_PX), WALL_M, np.float32)
    confidence = np.ones_like(depth_m)
    depth_m[:, WIDTH_PX // 3 :] *= 2
    confidence[:, WIDTH_PX // 3 :] = 0
    for frame in range(12):
        graph.send(frame, depth_m=depth_m)
        assert not graph.probe.wait_for(lambda before=frame: len(graph.odometry) > before, 0.3), "it is waited for"
        graph.send_confidence(frame, confidence)
        assert graph.probe.wait_for(lambda before=frame: len(graph.odometry) > before, 20), graph.node.log
    assert -graph.odometry[-1].pose.pose.position.y == pytest.approx(11 * STEP_M, rel=0.05)


def test_confidence_of_another_size_costs_itself_alone(slam):
    graph = slam()
    graph.publish_confidence()
    for frame in range(6):
        graph.send_confidence(frame, np.ones((HEIGHT_PX // 2, WIDTH_PX), np.float32))
        graph.drive([frame])
    assert graph.logs("confidence skipped: confidence is")
    assert -graph.odometry[-1].pose.pose.position.y == pytest.approx(5 * STEP_M, rel=0.1)


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
    assert graph.logs("waiting for camera_info on /camera_info"), graph.node.log
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


def call(graph, name):
    client = graph.probe.node.create_client(Trigger, f"/droid_slam/{name}")
    assert client.wait_for_service(10)
    future = client.call_async(Trigger.Request())
    assert graph.probe.wait_for(future.done, 60), graph.node.log
    return future.result()


def test_map_and_trajectory_are_saved_on_request_and_nowhere_else(slam, probe, tmp_path):
    clouds = probe.collect(PointCloud2, "local_map")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "out").symlink_to(tmp_path)
    graph = slam(save_dir=str(tmp_path / "saved"), voxel_m="0.05", trajectory_file="out/elsewhere.txt")
    early = call(graph, "save_trajectory")
    assert not early.success
    assert "'out/elsewhere.txt', outside save_dir" in early.message
    graph.drive(range(16))
    saved = call(graph, "save_map")
    assert saved.success, saved.message
    assert (tmp_path / "saved" / "map.ply").read_bytes().startswith(b"ply\nformat binary_little_endian 1.0")
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["saved"]

    assert probe.wait_for(lambda: len(clouds) > 0), graph.node.log
    cloud = clouds[-1]
    assert cloud.header.frame_id == "map"
    points = np.frombuffer(cloud.data, dtype=[("x", "f4"), ("y", "f4"), ("z", "f4"), ("rgb", "u4")])
    assert len(points) == cloud.width > 100
    assert np.median(points["x"]) == pytest.approx(WALL_M, rel=0.05), "forward is x in REP 103"

    assert call(graph, "reset").success
    count = len(graph.odometry)
    graph.drive([30])
    position = graph.odometry[count].pose.pose.position
    assert (position.x, position.y, position.z) == (0.0, 0.0, 0.0)


def test_nothing_is_said_without_a_scale_and_depth_may_be_late_or_missing(slam, probe):
    """Frames 0 to 9 have no depth at all, of the others every third one has."""
    graph = slam(depth_wait_s="0.2")
    wall_m = np.full((HEIGHT_PX, WIDTH_PX), WALL_M, np.float32)
    for frame in range(10):
        graph.send(frame, with_depth=False)
        probe.spin_for(0.3)
    assert graph.logs("no pose is published before the scale is metric"), graph.node.log
    assert graph.odometry == []
    for frame in range(10, 22):
        graph.send(frame, with_depth=frame % 3 == 0)
        probe.spin_for(0.3)
    assert probe.wait_for(lambda: len(graph.odometry) >= 6), graph.node.log
    late = stamp_ns_of(graph.odometry[-1].header)
    graph.depths.publish(depth_message(wall_m, late))
    graph.drive([22])
    first, last = graph.odometry[0].pose.pose.position, graph.odometry[-1].pose.pose.position
    frames = (stamp_ns_of(graph.odometry[-1].header) - stamp_ns_of(graph.odometry[0].header)) / PERIOD_NS
    assert first.y - last.y == pytest.approx(frames * STEP_M, rel=0.1)


def test_a_camera_height_gives_metres_without_depth_and_nothing_is_said_before(slam, probe):
    graph = slam(scale_prior="false", camera_height_m="1.4")
    for frame in corridor.frames_of(40):
        camera, stamp_ns = frame.camera, frame.stamp_ns + 1
        graph.infos.publish(info_message(camera.width_px, camera.height_px, camera.fx, stamp_ns))
        graph.images.publish(rgb_message(frame.image, stamp_ns))
        probe.spin_for(0.25)
        if frame.index == 1:
            assert probe.wait_for(lambda: graph.logs("waiting for ground before a camera that moves along it"))
            assert graph.odometry == []
    assert probe.wait_for(lambda: stamp_ns_of(graph.odometry[-1].header) > 3_800_000_000), graph.node.log
    first, last = graph.odometry[0], graph.odometry[-1]
    frames = (stamp_ns_of(last.header) - stamp_ns_of(first.header)) / corridor.PERIOD_NS
    assert frames > 15
    way_m = last.pose.pose.position.x - first.pose.pose.position.x
    assert way_m == pytest.approx(frames * corridor.STEP_M, rel=0.06)
