"""What the depth node subscribes to, publishes, tunes and says of itself, with a node in this process."""

from __future__ import annotations

import array

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: source a ROS install or take the [ros] extra")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from graph_probe import GraphProbe, header, info_message, rgb_message
from inner_graph import InnerNode, wait_for_subscribers
from networks import write_network
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from metric3d_ros.ros.depth_node import DepthNode
from metric3d_ros.ros.depth_outputs import OUTPUTS
from metric3d_ros.ros.messages import depth_m_from_message, stamp_ns_of

pytestmark = pytest.mark.ros
WIDTH_PX, HEIGHT_PX, FOCAL_PX = 96, 48, 500.0
SCALE = 64 / 96
RED = 90
EXPECTED_M = RED * FOCAL_PX * SCALE / 1000
PIXELS = np.dstack([np.full((HEIGHT_PX, WIDTH_PX), value, np.uint8) for value in (RED, 255, 7)])
STAMP_NS = 1_317_000_000_123_456_789


class Graph:
    def __init__(self, network, image_type=Image, image_topic="image", **parameters):
        self.probe = GraphProbe()
        reliable = {
            f"qos_overrides./{topic}.subscription.reliability": "reliable"
            for topic in (image_topic, "camera_info")
        }
        self.inner = InnerNode(DepthNode, {"model": str(network), "threads": 1, **reliable, **parameters})
        assert self.inner.has_started
        self.node = self.inner.node
        self.images = self.probe.publisher(image_type, image_topic)
        self.infos = self.probe.publisher(CameraInfo, "camera_info")
        wait_for_subscribers(self.probe, self.images, self.infos)

    def collect(self, kind, topic):
        messages = self.probe.collect(kind, topic)
        assert self.probe.wait_for(lambda: self.node.count_subscribers(topic) > 0)
        self.probe.spin_for(0.2)
        return messages

    def send(self, image=None, info=None):
        self.infos.publish(info or info_message(WIDTH_PX, HEIGHT_PX, FOCAL_PX, STAMP_NS))
        assert self.probe.wait_for(lambda: self.node._camera_info is not None)
        self.images.publish(rgb_message(PIXELS, STAMP_NS) if image is None else image)

    def answered(self, messages, count=1):
        assert self.probe.wait_for(lambda: len(messages) >= count, 15)
        return messages[-1]

    def set(self, name, value):
        return self.node.set_parameters([Parameter(name, value=value)])[0]

    def status_with(self, statuses, text):
        assert self.probe.wait_for(lambda: any(text in message.status[0].message for message in statuses), 15), [
            message.status[0].message for message in statuses
        ]
        return next(message.status[0] for message in statuses if text in message.status[0].message)

    def close(self):
        self.inner.close()
        self.probe.close()


@pytest.fixture
def start(channel_network):
    started = []

    def make(*arguments, **options):
        started.append(Graph(channel_network, *arguments, **options))
        return started[-1]

    yield make
    for graph in started:
        graph.close()


def values(message, dtype, channels=1):
    return np.frombuffer(message.data, dtype).reshape(message.height, message.width, channels)


def test_every_output_has_the_image_s_stamp_frame_and_size(start):
    graph = start(publish_depth_mm=True)
    collected = {output.topic: graph.collect(output.kind, output.topic) for output in OUTPUTS}
    graph.send()
    answers = {topic: graph.answered(messages) for topic, messages in collected.items()}
    for message in answers.values():
        assert stamp_ns_of(message.header) == STAMP_NS
        assert message.header.frame_id == "camera_optical_frame"
        assert (message.width, message.height) == (WIDTH_PX, HEIGHT_PX)
    depth_m = depth_m_from_message(answers["depth/image"])
    np.testing.assert_allclose(depth_m, EXPECTED_M, rtol=1e-5)
    np.testing.assert_allclose(depth_m_from_message(answers["depth/image_mm"]), depth_m, atol=5.1e-4)
    assert answers["depth/image_mm"].encoding == "16UC1"
    np.testing.assert_allclose(values(answers["depth/confidence"], "f4"), 1.0)
    facing = values(answers["depth/normals"], "f4", 3)[2:-2, 2:-2]
    np.testing.assert_allclose(facing, np.broadcast_to([0, 0, -1], facing.shape), atol=1e-5)
    assert answers["depth/preview"].encoding == "rgb8"


def test_confidence_is_not_offered_where_the_network_gives_none(tmp_path):
    network = write_network(
        tmp_path / "unsure.onnx", inputs=("pixel_values",), outputs=("predicted_depth", "predicted_normal")
    )
    graph = Graph(network)
    try:
        assert graph.node.count_publishers("depth/image") == 1
        assert graph.node.count_publishers("depth/confidence") == 0
    finally:
        graph.close()


def test_the_cloud_is_the_depth_seen_through_the_camera_in_the_image_s_colours(start):
    graph = start()
    clouds = graph.collect(PointCloud2, "depth/points")
    graph.send()
    cloud = graph.answered(clouds)
    assert [(field.name, field.offset) for field in cloud.fields] == [("x", 0), ("y", 4), ("z", 8), ("rgb", 12)]
    points = np.frombuffer(cloud.data, [("x", "f4"), ("y", "f4"), ("z", "f4"), ("rgb", "u4")])
    points = points.reshape(cloud.height, cloud.width)
    np.testing.assert_allclose(points["z"], EXPECTED_M, rtol=1e-5)
    cx, cy = (WIDTH_PX - 1) / 2, (HEIGHT_PX - 1) / 2
    assert points["x"][5, 9] == pytest.approx((9 - cx) / FOCAL_PX * EXPECTED_M, rel=1e-4)
    assert points["y"][5, 9] == pytest.approx((5 - cy) / FOCAL_PX * EXPECTED_M, rel=1e-4)
    assert points["rgb"][5, 9] == (RED << 16) + (255 << 8) + 7
    assert (cloud.is_dense, cloud.point_step, cloud.row_step) == (True, 16, 16 * WIDTH_PX)


def test_a_compressed_image_is_answered(start):
    graph = start(CompressedImage, "image/compressed", image_transport="compressed")
    depths = graph.collect(Image, "depth/image")
    file = cv2.imencode(".png", PIXELS[..., ::-1])[1].tobytes()
    graph.send(CompressedImage(header=header(STAMP_NS), format="png", data=array.array("B", file)))
    np.testing.assert_allclose(depth_m_from_message(graph.answered(depths)), EXPECTED_M, rtol=1e-5)


def test_a_raw_image_is_rectified_and_what_the_lens_did_not_see_has_no_depth(start):
    graph = start(rectified=False, min_confidence=0.0)
    depths, infos = graph.collect(Image, "depth/image"), graph.collect(CameraInfo, "depth/camera_info")
    info = info_message(WIDTH_PX, HEIGHT_PX, FOCAL_PX, STAMP_NS)
    info.distortion_model = "equidistant"
    info.d = [0.0] * 4
    info.k[0] = info.k[4] = 40.0
    info.p[0] = info.p[5] = 10.0
    graph.send(info=info)
    depth_m = depth_m_from_message(graph.answered(depths))
    middle_m = RED * 10.0 * SCALE / 1000
    assert depth_m[HEIGHT_PX // 2, WIDTH_PX // 2] == pytest.approx(middle_m, rel=1e-4)
    assert np.isnan(depth_m[0, 0])
    answered = graph.answered(infos)
    assert (answered.k[0], answered.p[0], set(answered.d)) == (10.0, 10.0, {0.0})


def test_parameters_change_while_it_runs_and_say_why_they_do_not(start):
    graph = start()
    depths = graph.collect(Image, "depth/image")
    assert graph.set("max_depth_m", EXPECTED_M / 2).successful
    graph.send()
    assert np.isnan(depth_m_from_message(graph.answered(depths))).all()
    refused = graph.set("min_confidence", -0.5)
    assert not refused.successful
    assert "give 0 to 1, or -1 for the model's own threshold" in refused.reason
    refused = graph.set("headroom_deg", 6.0)
    assert not refused.successful
    assert "looks once; leave it at -1" in refused.reason
    assert "read-only" in graph.set("model", "nano").reason
    assert not graph.set("max_depth_m", 0.0).successful
    assert graph.node.value_of("max_depth_m") == EXPECTED_M / 2


def factor_told(message):
    return {entry.key: entry.value for entry in message.status[0].values}.get("scale by camera height")


def test_a_known_camera_height_gives_depth_its_scale(start):
    """Red is canonical depth: here that of ground 0.6 m below a camera that is said to stand 0.9 m above it."""
    focal_px = 40.0
    graph = start()
    depths = graph.collect(Image, "depth/image")
    statuses = graph.collect(DiagnosticArray, "/diagnostics")
    below_horizon_px = np.maximum(np.arange(HEIGHT_PX) - HEIGHT_PX / 2, 1.0)
    ground = PIXELS.copy()
    ground[..., 0] = np.minimum(0.6 * 1000 / (below_horizon_px * SCALE), 255)[:, None].astype(np.uint8)
    sent = rgb_message(ground, STAMP_NS), info_message(WIDTH_PX, HEIGHT_PX, focal_px, STAMP_NS)
    graph.send(*sent)
    alone_m = depth_m_from_message(graph.answered(depths))
    assert graph.set("camera_height_m", 0.9).successful
    graph.send(*sent)
    depth_m = depth_m_from_message(graph.answered(depths, 2))
    factor = depth_m / alone_m
    assert np.nanmedian(factor) == pytest.approx(1.5, rel=0.05)
    np.testing.assert_allclose(factor, np.nanmedian(factor), rtol=1e-5)
    assert graph.probe.wait_for(lambda: any(factor_told(message) for message in statuses), 15)
    told = next(factor_told(message) for message in statuses if factor_told(message))
    assert float(told) == pytest.approx(factor[0, 0], rel=1e-3)
    assert not graph.set("camera_height_m", -1.0).successful


def test_an_output_that_is_switched_off_is_not_offered(start):
    graph = start(publish_points=False)
    assert graph.node.count_publishers("depth/points") == 0
    assert graph.node.count_publishers("depth/image") == 1


def test_without_a_listener_no_network_runs_and_diagnostics_say_so(start):
    graph = start()
    statuses = graph.collect(DiagnosticArray, "/diagnostics")
    graph.send()
    status = graph.status_with(statuses, "nobody listens")
    assert status.level == DiagnosticStatus.OK
    assert {entry.key: entry.value for entry in status.values}["answered"] == "0"
    depths = graph.collect(Image, "depth/image")
    graph.send()
    graph.answered(depths)
    status = graph.status_with(statuses, "depth at")
    said = {entry.key: entry.value for entry in status.values}
    assert status.name == "depth"
    assert "channels" in said["engine"]
    assert {"rate out (Hz)", "network (ms, mean)", "arrival to answer (ms, longest)", "memory (MB)"} <= said.keys()
    assert said["images decoded by"] in ("metric3d_ros", "cv_bridge")


def test_a_refused_image_is_counted_with_its_reason(start):
    graph = start()
    statuses, depths = graph.collect(DiagnosticArray, "/diagnostics"), graph.collect(Image, "depth/image")
    graph.send(rgb_message(PIXELS[:20], STAMP_NS))
    status = graph.status_with(statuses, "use the camera_info of this image")
    assert status.level == DiagnosticStatus.ERROR
    assert {entry.key: entry.value for entry in status.values}["refused: camera_info does not fit"] == "1"
    graph.send()
    graph.answered(depths)
