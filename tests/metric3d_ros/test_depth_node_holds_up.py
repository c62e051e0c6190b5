"""The depth node under load, broken messages, failing engines and publishers that come and go.

Short forms of what ``make soak`` runs for long: SOAK_MINUTES makes the load last, SOAK_MESSAGES sends more fuzz.
"""

from __future__ import annotations

import array
import os
import time
from threading import Event

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: source a ROS install or take the [ros] extra")

from graph_probe import DiagnosticsProbe, GraphProbe, header, info_message, rgb_message
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from inner_graph import InnerNode, wait_for_subscribers
from sensor_msgs.msg import CameraInfo, Image

from metric3d_ros.engines.engine import ModelInfo, NetworkOutput
from metric3d_ros.errors import EngineError
from metric3d_ros.image_encoding import COLOUR_ENCODINGS
from metric3d_ros.ros import depth_node
from metric3d_ros.ros.depth_node import DepthNode
from metric3d_ros.ros.messages import depth_m_from_message, stamp_ns_of
from metric3d_ros.run_statistics import GpuMemory, resident_memory_mb

pytestmark = [pytest.mark.ros, pytest.mark.timeout(7200)]
SOAK_MINUTES = float(os.environ.get("SOAK_MINUTES", "0.1"))
SOAK_MESSAGES = int(os.environ.get("SOAK_MESSAGES", "100"))
WIDTH_PX, HEIGHT_PX = 640, 480
RATE_HZ = 30.0
# A minute shows what stays; a few seconds show only whether every image does.
MOST_GROWTH_MB = 20.0 if SOAK_MINUTES >= 1 else 80.0
# In the engine, in the slot, in the queues of both sides, and room for a machine that does other things.
MOST_LATENCY_ANSWERS = 10


class StandInEngine:
    """An engine whose time and answers a test decides: flat depth of 2 m in the canonical camera."""

    model = ModelInfo("stand-in", 64, 32)
    identity = "stand-in engine"

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.failure: Exception | None = None
        self.value = 2.0
        self.runs = 0

    def run(self, network_image: np.ndarray, first_row: int = 0) -> NetworkOutput:
        self.runs += 1
        time.sleep(self.seconds)
        if self.failure is not None:
            raise self.failure
        return NetworkOutput(np.full(network_image.shape[:2], self.value, np.float32))


class Graph:
    def __init__(self, monkeypatch, engine, **parameters):
        monkeypatch.setattr(depth_node, "open_engine_of", lambda node: engine)
        self.engine, self.probe = engine, GraphProbe()
        self.inner = InnerNode(DepthNode, parameters)
        assert self.inner.has_started
        self.node = self.inner.node
        self.images, self.infos = (
            self.probe.publisher(Image, "image"),
            self.probe.publisher(CameraInfo, "camera_info"),
        )
        self.depths: list[tuple[int, float, float]] = []
        self.probe.node.create_subscription(Image, "depth/image", self._on_depth, 5)
        wait_for_subscribers(self.probe, self.images, self.infos)
        assert self.probe.wait_for(lambda: self.node.count_subscribers("depth/image") == 1)

    def _on_depth(self, message):
        middle_m = depth_m_from_message(message)[message.height // 2, message.width // 2]
        self.depths.append((stamp_ns_of(message.header), float(middle_m), time.time()))

    def send(self, stamp_ns, width_px=WIDTH_PX, height_px=HEIGHT_PX):
        self.infos.publish(info_message(width_px, height_px, 500.0, stamp_ns))
        self.probe.spin_for(0.02)
        self.images.publish(rgb_message(np.zeros((height_px, width_px, 3), np.uint8), stamp_ns))

    def refusals(self):
        return sum(self.node._statistics._refused.values())

    def answer_after(self, send, timeout_s=15.0):
        before = len(self.depths)
        send()
        assert self.probe.wait_for(lambda: len(self.depths) > before, timeout_s), "no answer"
        return self.depths[-1]

    def close(self):
        self.inner.close()
        self.probe.close()


@pytest.fixture
def start(monkeypatch):
    started = []

    def make(engine, **parameters):
        started.append(Graph(monkeypatch, engine, **parameters))
        return started[-1]

    yield make
    for graph in started:
        graph.close()


def test_images_faster_than_the_engine_are_dropped_and_nothing_piles_up(start):
    graph = start(StandInEngine(seconds=0.12), publish_points=False)
    graph.infos.publish(info_message(WIDTH_PX, HEIGHT_PX, 500.0, 1))
    graph.probe.spin_for(0.1)
    data = array.array("B", bytes(WIDTH_PX * HEIGHT_PX * 3))
    fields = {"height": HEIGHT_PX, "width": WIDTH_PX, "encoding": "rgb8", "step": WIDTH_PX * 3, "data": data}
    began_s, sent, held_mb = time.time(), 0, []
    warm_s = max(3.0, 6.0 * SOAK_MINUTES)
    while time.time() - began_s < 60.0 * SOAK_MINUTES + warm_s:
        graph.images.publish(Image(header=header(time.time_ns()), **fields))
        sent += 1
        graph.probe.spin_for(max(0.002, began_s + sent / RATE_HZ - time.time()))
        if time.time() - began_s > warm_s:
            held_mb.append(resident_memory_mb())
    answered = len(graph.depths)
    graph.probe.spin_for(3.0)
    report = graph.node._statistics.report()
    stamps_ns = [stamp_ns for stamp_ns, _, _ in graph.depths]
    assert report.dropped > 0
    assert report.answered >= 0.5 * report.received * (1 / RATE_HZ) / 0.2
    assert report.received == report.answered + report.dropped
    # One image in the engine, one that waits, and what lies in the probe's own queue; a queue of the node's would
    # hold most of what was sent.
    assert len(graph.depths) - answered <= 8
    assert all(np.diff(stamps_ns) > 0)
    latency_ms = np.array([1e3 * (came_s - stamp_ns / 1e9) for stamp_ns, _, came_s in graph.depths])
    growth_mb = max(held_mb) - held_mb[0]
    print(
        f"load: {sent} images sent, {report.received} received, {report.answered} answered, "
        f"{report.dropped} dropped; latency median {np.median(latency_ms):.0f} ms, "
        f"99 % {np.percentile(latency_ms, 99):.0f} ms, longest {latency_ms.max():.0f} ms; "
        f"memory grew {growth_mb:.1f} MB"
    )
    between_answers_ms = 1e3 * (graph.depths[-1][2] - graph.depths[0][2]) / len(latency_ms)
    assert np.median(latency_ms[-len(latency_ms) // 4 :]) < MOST_LATENCY_ANSWERS * between_answers_ms
    assert growth_mb < MOST_GROWTH_MB


def test_an_engine_that_fails_is_reported_and_the_next_image_answered(start):
    graph = start(StandInEngine())
    graph.answer_after(lambda: graph.send(1))
    failures = (EngineError("the GPU is gone; check nvidia-smi."), RuntimeError("driver shutting down"))
    for count, failure in enumerate(failures, start=1):
        graph.engine.failure = failure
        runs = graph.engine.runs
        graph.send(10 * count)
        assert graph.probe.wait_for(lambda before=runs: graph.engine.runs > before)
        assert graph.probe.wait_for(lambda so_far=count: graph.refusals() == so_far)
        graph.engine.failure = None
        assert graph.answer_after(lambda stamp=10 * count + 1: graph.send(stamp))[0] == 10 * count + 1
    assert graph.node._statistics._refused == {"network failed": 1, "unexpected": 1}


def test_an_engine_that_returns_nothing_but_nan_is_reported(start):
    graph = start(StandInEngine())
    graph.engine.value = float("nan")
    assert np.isnan(graph.answer_after(lambda: graph.send(1))[1])
    assert graph.node._statistics._refused == {"no reading": 1}
    assert "no pixel of an image has a reading" in graph.node._health().message


def test_diagnostics_say_how_the_node_is(start):
    graph = start(StandInEngine())
    statuses = DiagnosticsProbe(graph.probe, "depth")
    graph.answer_after(lambda: graph.send(1))
    stages = ("decode", "rectify", "network", "publish", "arrival to answer")
    names = {f"{stage} (ms, {kind})" for stage in stages for kind in ("mean", "longest")}
    names |= {"rate in (Hz)", "rate out (Hz)", "received", "answered", "dropped for newer ones", "engine"}
    names |= {"camera_info age (s)", "CPU (% of one core)", "memory (MB)"}
    assert graph.probe.wait_for(lambda: names <= statuses.values.keys(), 60), names - statuses.values.keys()
    assert statuses.hardware_id == "stand-in engine"
    # A machine without a GPU has none to report.
    assert ("GPU memory, all programs (MB)" in statuses.values) == (GpuMemory().in_use_mb() is not None)


def test_publishers_that_come_and_go(start):
    graph = start(StandInEngine())
    for round_trip in range(3):
        graph.answer_after(lambda stamp=round_trip + 1: graph.send(stamp))
        graph.probe.node.destroy_publisher(graph.images)
        graph.probe.node.destroy_publisher(graph.infos)
        graph.probe.spin_for(0.1)
        graph.images = graph.probe.publisher(Image, "image")
        graph.infos = graph.probe.publisher(CameraInfo, "camera_info")
        wait_for_subscribers(graph.probe, graph.images, graph.infos)
    assert graph.answer_after(lambda: graph.send(9))[0] == 9


def test_a_slow_start_is_on_diagnostics_and_its_state_is_answered(monkeypatch):
    """Building an engine takes minutes; meanwhile the node says so and answers who asks for its state."""
    from diagnostic_msgs.msg import DiagnosticArray
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState, GetState

    is_built = Event()

    def build(node):
        is_built.wait(20)
        return StandInEngine()

    monkeypatch.setattr(depth_node, "open_engine_of", build)
    # A name of its own: the services of an earlier test's node may not be gone yet.
    probe, inner = GraphProbe(), InnerNode(DepthNode, {"autostart": False}, namespace="slow_start")
    try:
        statuses = probe.collect(DiagnosticArray, "/diagnostics")
        change = probe.node.create_client(ChangeState, "/slow_start/depth/change_state")
        state = probe.node.create_client(GetState, "/slow_start/depth/get_state")
        assert probe.wait_for(lambda: change.service_is_ready() and state.service_is_ready())
        request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE))
        configured = change.call_async(request)
        assert probe.wait_for(lambda: any("building its engine" in it.status[0].message for it in statuses))
        asked = state.call_async(GetState.Request())
        assert probe.wait_for(asked.done, 5)
        assert asked.result().current_state.label == "configuring"
        assert not configured.done()
        is_built.set()
        assert probe.wait_for(configured.done)
        assert configured.result().success
    finally:
        is_built.set()
        inner.close()
        probe.close()


NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
SMALL = st.integers(0, 40)
BROKEN_IMAGES = st.fixed_dictionaries(
    {
        "width": st.one_of(SMALL, st.just(2**32 - 1)),
        "height": st.one_of(SMALL, st.just(2**32 - 1)),
        "step": st.one_of(SMALL, st.just(0), st.just(2**32 - 1)),
        "encoding": st.sampled_from([*COLOUR_ENCODINGS, "32FC1", "yuv999", ""]),
        "is_bigendian": st.integers(0, 1),
        "data": st.binary(max_size=600),
    }
)
BROKEN_INFOS = st.fixed_dictionaries(
    {
        "width": st.one_of(SMALL, st.just(2**32 - 1)),
        "height": st.one_of(SMALL, st.just(2**32 - 1)),
        "distortion_model": st.sampled_from(["", "plumb_bob", "equidistant", "rational_polynomial", "mystery"]),
        "d": st.lists(NUMBERS, max_size=15),
        "k": st.lists(NUMBERS, min_size=9, max_size=9),
        "r": st.lists(NUMBERS, min_size=9, max_size=9),
        "p": st.lists(NUMBERS, min_size=12, max_size=12),
        "binning_x": st.sampled_from([0, 1, 2, 2**32 - 1]),
    }
)


def test_no_message_ends_it_and_each_refusal_is_counted(start):
    graph = start(StandInEngine(), rectified=False)
    stamp = iter(range(10, 10**9))

    def fuzz(image, info, stamp_s):
        image_header, info_header = header(next(stamp)), header(stamp_s * 10**9)
        before = graph.node._statistics
        data = array.array("B", image.pop("data"))
        seen = before._answered + sum(before._refused.values())
        graph.infos.publish(CameraInfo(header=info_header, **info))
        graph.probe.spin_for(0.002)
        graph.images.publish(Image(header=image_header, data=data, **image))
        assert graph.probe.wait_for(lambda: before._answered + sum(before._refused.values()) > seen, 10)

    run = settings(
        max_examples=SOAK_MESSAGES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )(given(BROKEN_IMAGES, BROKEN_INFOS, st.integers(0, 2**31 - 1))(fuzz))
    run()
    assert set(graph.node._statistics._refused) <= {
        "image does not decode",
        "camera_info does not fit",
        "no reading",
    }
    assert graph.refusals() > SOAK_MESSAGES / 2
    graph.answer_after(lambda: graph.send(next(stamp)))
