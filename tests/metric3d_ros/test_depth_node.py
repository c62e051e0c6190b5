"""The depth node in a process of its own, on the real graph."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: source a ROS install or take the [ros] extra")

from graph_probe import NodeProcess, info_message, rgb_message
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from sensor_msgs.msg import CameraInfo, Image

from metric3d_ros.ros.messages import depth_m_from_message, stamp_ns_of

pytestmark = pytest.mark.ros
MODULE = "metric3d_ros.ros.depth_node"
WIDTH_PX, HEIGHT_PX, FOCAL_PX = 100, 80, 500.0
SCALE = 32 / 80
RED = 200
EXPECTED_M = RED * FOCAL_PX * SCALE / 1000
PIXELS = np.dstack([np.full((HEIGHT_PX, WIDTH_PX), value, np.uint8) for value in (RED, 255, 0)])


class DepthGraph:
    def __init__(self, probe, node):
        self.probe, self.node = probe, node
        self.images = probe.publisher(Image, "image")
        self.infos = probe.publisher(CameraInfo, "camera_info")
        self.depth = probe.collect(Image, "depth/image")
        self.depth_info = probe.collect(CameraInfo, "depth/camera_info")

    def connect(self):
        assert self.probe.wait_for(
            lambda: (
                self.images.get_subscription_count() == 1
                and self.infos.get_subscription_count() == 1
                and self.probe.node.count_publishers("depth/image") == 1
            )
        ), self.node.log
        self.probe.spin_for(0.5)

    def send_info(self, stamp_ns, focal_px=FOCAL_PX, width_px=WIDTH_PX):
        self.infos.publish(info_message(width_px, HEIGHT_PX, focal_px, stamp_ns))
        self.probe.spin_for(0.3)

    def send_image(self, stamp_ns, pixels=PIXELS, **changes):
        message = rgb_message(pixels, stamp_ns)
        for name, value in changes.items():
            setattr(message, name, value)
        self.images.publish(message)

    def answers(self, count):
        return self.probe.wait_for(lambda: len(self.depth) >= count and len(self.depth_info) >= count, 15)

    def logs(self, text):
        return self.probe.wait_for(lambda: text in self.node.log, 15)


@pytest.fixture
def graph(probe, channel_network, tmp_path):
    reliable = {
        f"qos_overrides./{topic}.subscription.reliability": "reliable" for topic in ("image", "camera_info")
    }
    parameters = {"model": str(channel_network), "threads": "1", **reliable}
    node = NodeProcess(MODULE, tmp_path / "depth.log", parameters)
    graph = DepthGraph(probe, node)
    graph.connect()
    yield graph
    node.stop()


def test_metric_depth_with_the_stamp_frame_and_size_of_the_image(graph):
    stamp_ns = 1_317_000_000_123_456_789
    graph.send_info(5)
    graph.send_image(stamp_ns)
    assert graph.answers(1), graph.node.log
    depth, info = graph.depth[0], graph.depth_info[0]
    assert stamp_ns_of(depth.header) == stamp_ns_of(info.header) == stamp_ns
    assert depth.header.frame_id == info.header.frame_id == "camera_optical_frame"
    assert (depth.encoding, depth.width, depth.height) == ("32FC1", WIDTH_PX, HEIGHT_PX)
    assert (info.width, info.height, info.k[0]) == (WIDTH_PX, HEIGHT_PX, FOCAL_PX)
    np.testing.assert_allclose(depth_m_from_message(depth), EXPECTED_M, rtol=1e-5)


def test_an_image_before_its_camera_info_is_answered_when_that_comes(graph):
    graph.send_image(7)
    assert graph.logs("no camera_info on /camera_info"), graph.node.log
    assert graph.node.lives
    graph.send_info(7)
    assert graph.answers(1)
    assert stamp_ns_of(graph.depth[0].header) == 7


BAD = [
    ("fx is 0 px", {"focal_px": 0.0}, {}),
    ("image is 100x80 px but its camera is 64x80 px", {"width_px": 64}, {}),
    ("encoding 'yuv999' is not supported", {}, {"encoding": "yuv999"}),
    ("it was truncated", {}, {"data": PIXELS.tobytes()[:-50]}),
]


@pytest.mark.parametrize(("sentence", "bad_info", "bad_image"), BAD, ids=[case[0] for case in BAD])
def test_a_bad_image_costs_that_image(graph, sentence, bad_info, bad_image):
    graph.send_info(1, **bad_info)
    graph.send_image(1, **bad_image)
    assert graph.logs(sentence), graph.node.log
    graph.send_info(2)
    graph.send_image(2)
    assert graph.answers(1)
    assert [stamp_ns_of(message.header) for message in graph.depth] == [2]


def test_stamps_that_go_back_are_answered_too(graph):
    graph.send_info(1)
    for count, stamp_ns in enumerate((3_000_000_000, 1_000_000_000), start=1):
        graph.send_image(stamp_ns)
        assert graph.answers(count)
    assert [stamp_ns_of(message.header) for message in graph.depth] == [3_000_000_000, 1_000_000_000]


def test_a_missing_model_ends_the_node_with_one_sentence(tmp_path):
    node = NodeProcess(MODULE, tmp_path / "depth.log", {"model": "absent"})
    assert node.process.wait(timeout=30) == 2
    assert "model 'absent' is neither a known name (nano, " in node.log
    assert "Traceback" not in node.log


BAD_ENGINES = [
    ({"engine": "trt"}, "engine 'trt' is not known; choose one of auto, tensorrt"),
    ({"precision": "int8"}, "precision 'int8' is not known; use fp32 or fp16"),
]


@pytest.mark.parametrize(("parameters", "sentence"), BAD_ENGINES)
def test_an_engine_that_is_not_known_ends_the_node_with_one_sentence(tmp_path, parameters, sentence):
    node = NodeProcess(MODULE, tmp_path / "depth.log", parameters)
    assert node.process.wait(timeout=30) == 2
    assert sentence in node.log
    assert "Traceback" not in node.log


def test_headroom_for_a_network_that_looks_once_ends_the_node_with_one_sentence(channel_network, tmp_path):
    parameters = {"model": str(channel_network), "headroom_deg": "6.0", "threads": "1"}
    node = NodeProcess(MODULE, tmp_path / "depth.log", parameters)
    assert node.process.wait(timeout=30) == 2
    assert "headroom_deg is 6, but channels looks once; leave it at -1." in node.log
    assert "Traceback" not in node.log


def test_the_log_says_which_engine_was_taken(graph):
    assert graph.logs("engine onnxruntime_"), graph.node.log
    assert "channels.onnx" in graph.node.log


def test_a_lifecycle_manager_can_take_it_through_its_states(probe, channel_network, tmp_path):
    parameters = {"model": str(channel_network), "autostart": "false", "threads": "1"}
    node = NodeProcess(MODULE, tmp_path / "depth.log", parameters)
    change = probe.node.create_client(ChangeState, "/depth/change_state")
    state = probe.node.create_client(GetState, "/depth/get_state")

    def call(client, request):
        assert probe.wait_for(client.service_is_ready), node.log
        future = client.call_async(request)
        assert probe.wait_for(future.done), node.log
        return future.result()

    try:
        for _ in range(2):
            for transition, reached in [
                (Transition.TRANSITION_CONFIGURE, State.PRIMARY_STATE_INACTIVE),
                (Transition.TRANSITION_ACTIVATE, State.PRIMARY_STATE_ACTIVE),
                (Transition.TRANSITION_DEACTIVATE, State.PRIMARY_STATE_INACTIVE),
                (Transition.TRANSITION_CLEANUP, State.PRIMARY_STATE_UNCONFIGURED),
            ]:
                assert call(change, ChangeState.Request(transition=Transition(id=transition))).success, node.log
                assert call(state, GetState.Request()).current_state.id == reached
    finally:
        assert node.stop() == 0, node.log
    assert "Traceback" not in node.log
