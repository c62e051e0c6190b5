"""The SLAM node under load, broken messages and failures of its own.

Short forms of what ``make soak`` runs for long: SOAK_MINUTES makes the load last, SOAK_MESSAGES sends more fuzz.
"""

from __future__ import annotations

import array
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: source a ROS install or take the [ros] extra")

from graph_probe import DiagnosticsProbe, header, info_message, rgb_message
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from inner_slam import InnerSlam
from sensor_msgs.msg import CameraInfo, Image
from sliding_camera import FOCAL_PX, HEIGHT_PX, PERIOD_NS, WALL_M, WIDTH_PX, view

from droid_bridge.ros.droid_node import REASONS
from metric3d_ros.image_encoding import COLOUR_ENCODINGS
from metric3d_ros.ros.messages import depth_message, image_message
from metric3d_ros.run_statistics import resident_memory_mb

pytestmark = [pytest.mark.ros, pytest.mark.timeout(7200)]
SOAK_MINUTES = float(os.environ.get("SOAK_MINUTES", "0.1"))
SOAK_MESSAGES = int(os.environ.get("SOAK_MESSAGES", "60"))
RATE_HZ = 30.0
# A minute shows what stays; a few seconds show only whether every image does.
MOST_GROWTH_MB = 20.0 if SOAK_MINUTES >= 1 else 80.0
# Two queues of ten moments, and the answer.
MOST_LATENCY_ANSWERS = 30
SOAK_WIDTH_PX, SOAK_HEIGHT_PX = 640, 480


def test_diagnostics_say_how_slam_is(start_slam: Callable[..., InnerSlam]) -> None:
    graph = start_slam()
    statuses = DiagnosticsProbe(graph.probe, "droid_slam")
    for frame in range(4):
        graph.send((frame + 1) * PERIOD_NS, frame)
    names = {f"{step} (ms, {kind})" for step in ("decode", "pose", "publish") for kind in ("mean", "longest")}
    names |= {"rate in (Hz)", "rate out (Hz)", "received", "answered", "dropped for newer ones", "image age (s)"}
    names |= {"camera_info age (s)", "depth age (s)", "tracking", "position sigma in odom (m)", "restarts"}
    names |= {"keyframes in the map", "map size (MB)", "CPU (% of one core)", "memory (MB)"}
    assert graph.probe.wait_for(lambda: names <= statuses.values.keys(), 60), names - statuses.values.keys()
    assert statuses.values["tracking"] == "tracking"
    assert statuses.hardware_id == "optical_flow on cpu"
    assert "GPU memory, all programs (MB)" not in statuses.values, "on the CPU no GPU is opened"


def test_what_nobody_foresaw_costs_the_drive_and_not_the_node(
    start_slam: Callable[..., InnerSlam], monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = start_slam()
    graph.send(PERIOD_NS)
    slam = graph.node._slam

    def broken(frame: Any) -> None:
        raise RuntimeError("the solver broke")

    with monkeypatch.context() as patch:
        patch.setattr(slam, "track", broken)
        graph.send(2 * PERIOD_NS, 1)
    assert graph.node._statistics._refused == {"unexpected": 1}
    assert graph.node._restarts == 1
    graph.send(3 * PERIOD_NS, 2)
    assert graph.node._statistics._answered == 2
    assert graph.node._last_update.frame_index == 0, "a new drive"


def test_depth_of_long_ago_is_no_jump_of_time(start_slam: Callable[..., InnerSlam]) -> None:
    graph = start_slam()
    for frame in range(3):
        graph.send((frame + 20) * PERIOD_NS, frame)
    graph.depths.publish(depth_message(np.full((HEIGHT_PX, WIDTH_PX), WALL_M, np.float32), header(PERIOD_NS)))
    assert graph.probe.wait_for(lambda: PERIOD_NS in graph.node._pairing._waiting)
    graph.send(23 * PERIOD_NS, 3)
    assert (graph.node._restarts, graph.node._statistics._answered) == (0, 4)


def test_depth_that_cannot_be_used_costs_the_prior_alone(start_slam: Callable[..., InnerSlam]) -> None:
    graph = start_slam()
    graph.send(PERIOD_NS)
    for stamp_ns, shape in ((2 * PERIOD_NS, (10, 20)), (3 * PERIOD_NS, (HEIGHT_PX, WIDTH_PX))):
        depth = depth_message(np.full(shape, WALL_M, np.float32), header(stamp_ns))
        depth.encoding = "32FC1" if shape == (10, 20) else "mono16"
        graph.depths.publish(depth)
        graph.infos.publish(info_message(WIDTH_PX, HEIGHT_PX, FOCAL_PX, stamp_ns))
        assert graph.probe.wait_for(lambda stamp_ns=stamp_ns: graph.waits_for_image(stamp_ns))
        graph.images.publish(rgb_message(view(1), stamp_ns))
        graph.sent += 1
        assert graph.probe.wait_for(graph.counted, 60), graph.counts()
    assert graph.node._statistics._answered == 3
    assert graph.node._statistics._refused == {"depth: image does not decode": 2}


# --- load -----------------------------------------------------------------------------------------------------


def test_images_faster_than_tracking_are_dropped_and_nothing_piles_up(
    start_slam: Callable[..., InnerSlam],
) -> None:
    graph = start_slam()
    inner_track = graph.node._slam.track

    def slowly(frame: Any) -> Any:
        time.sleep(0.1)
        return inner_track(frame)

    graph.node._slam.track = slowly
    wall_m = np.full((SOAK_HEIGHT_PX, SOAK_WIDTH_PX), WALL_M, np.float32)
    texture = np.random.default_rng(1).integers(0, 255, (SOAK_HEIGHT_PX // 4, SOAK_WIDTH_PX // 4, 1), np.uint8)
    pixels = np.kron(texture, np.ones((4, 4, 3), np.uint8))
    began_s, sent, held_mb = time.time(), 0, []
    warm_s = max(4.0, 12.0 * SOAK_MINUTES)
    while time.time() - began_s < 60.0 * SOAK_MINUTES + warm_s:
        stamp_ns = time.time_ns()
        graph.infos.publish(info_message(SOAK_WIDTH_PX, SOAK_HEIGHT_PX, 500.0, stamp_ns))
        graph.depths.publish(depth_message(wall_m, header(stamp_ns)))
        graph.images.publish(image_message(pixels, "rgb8", header(stamp_ns)))
        sent += 1
        graph.probe.spin_for(max(0.002, began_s + sent / RATE_HZ - time.time()))
        if time.time() - began_s > warm_s:
            held_mb.append(resident_memory_mb())
    answered = len(graph.answers)
    graph.probe.spin_for(3.0)
    received, _, dropped, refused, _ = graph.counts()
    stamps_ns = [stamp_ns for stamp_ns, _ in graph.answers]
    latency_ms = np.array([1e3 * (came_s - stamp_ns / 1e9) for stamp_ns, came_s in graph.answers])
    growth_mb = max(held_mb) - held_mb[0]
    print(
        f"load: {sent} images sent, {received} received, {len(stamps_ns)} answered, {dropped} dropped; "
        f"latency median {np.median(latency_ms):.0f} ms, 99 % {np.percentile(latency_ms, 99):.0f} ms, "
        f"longest {latency_ms.max():.0f} ms; memory grew {growth_mb:.1f} MB"
    )
    assert dropped > 0
    assert not refused
    assert all(np.diff(stamps_ns) > 0)
    assert len(stamps_ns) - answered <= MOST_LATENCY_ANSWERS
    between_answers_ms = 1e3 * (graph.answers[-1][1] - graph.answers[0][1]) / len(stamps_ns)
    assert np.median(latency_ms[-len(latency_ms) // 4 :]) < MOST_LATENCY_ANSWERS * between_answers_ms
    assert growth_mb < MOST_GROWTH_MB


# --- fuzz -----------------------------------------------------------------------------------------------------

NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
SMALL = st.integers(0, 80)
ANY_SIZE = st.one_of(SMALL, st.just(2**32 - 1))
BROKEN_IMAGES = st.fixed_dictionaries(
    {
        "width": ANY_SIZE,
        "height": ANY_SIZE,
        "step": ANY_SIZE,
        "encoding": st.sampled_from([*COLOUR_ENCODINGS, "32FC1", "16UC1", "yuv999", ""]),
        "is_bigendian": st.integers(0, 1),
        "data": st.binary(max_size=600),
    }
)
# Of an image as it should be, one field is another.
IMAGE_FAULTS = st.sampled_from(
    [
        {"height": HEIGHT_PX + 1},
        {"width": 2 * WIDTH_PX},
        {"step": 3},
        {"step": 2**32 - 1},
        {"encoding": "bgra8"},
        {"encoding": "32FC1"},
        {"encoding": "bayer_rggb8"},
        {"data": b""},
        {"data": b"\x00" * 1_000_000},
        {"data": b"\x7f" * (3 * WIDTH_PX * HEIGHT_PX - 1)},
    ]
)
INFO_FAULTS = st.one_of(
    st.fixed_dictionaries(
        {
            "width": ANY_SIZE,
            "height": ANY_SIZE,
            "distortion_model": st.sampled_from(["", "plumb_bob", "equidistant", "mystery"]),
            "d": st.lists(NUMBERS, max_size=15),
            "k": st.lists(NUMBERS, min_size=9, max_size=9),
        }
    ),
    st.fixed_dictionaries({"p": st.lists(NUMBERS, min_size=12, max_size=12)}),
    st.fixed_dictionaries({"binning_x": st.sampled_from([2, 2**32 - 1])}),
)
DEPTH_VALUES = st.sampled_from([WALL_M, 0.0, -1.0, 1e-30, 1e30, float("nan"), float("inf")])
DEPTH_FAULTS = st.sampled_from(
    [
        {"encoding": "16UC1"},
        {"encoding": "rgb8"},
        {"step": 0},
        {"height": 2**32 - 1},
        {"data": b"\x01" * 77},
    ]
)
STAMP_STEPS_NS = st.sampled_from(
    [PERIOD_NS] * 6 + [0, -PERIOD_NS, -20 * PERIOD_NS, 10**15, -(10**15), -(10**9) * 2**31, 1]
)
FUZZ = {
    "fault": st.one_of(
        *[st.just(("nothing", {}))] * 3,
        st.tuples(st.just("image"), st.one_of(IMAGE_FAULTS, BROKEN_IMAGES)),
        st.tuples(st.just("info"), INFO_FAULTS),
        st.tuples(st.just("depth"), st.one_of(DEPTH_FAULTS, BROKEN_IMAGES)),
    ),
    "depth_m": DEPTH_VALUES,
    "step_ns": STAMP_STEPS_NS,
    "depth_is_first": st.booleans(),
}


def _message(base: Image, changes: dict[str, Any]) -> Image:
    for name, value in changes.items():
        setattr(base, name, array.array("B", value) if name == "data" else value)
    return base


def _info(changes: dict[str, Any], stamp_ns: int) -> CameraInfo:
    info = info_message(WIDTH_PX, HEIGHT_PX, FOCAL_PX, stamp_ns)
    for name, value in changes.items():
        setattr(info, name, value)
    return info


def test_no_message_ends_it_and_each_image_is_counted(start_slam: Callable[..., InnerSlam]) -> None:
    graph = start_slam()
    last_ns, frame = 10 * PERIOD_NS, 0

    def fuzz(fault: tuple[str, dict[str, Any]], depth_m: float, step_ns: int, depth_is_first: bool) -> None:
        nonlocal last_ns, frame
        image, info, depth = (fault[1] if fault[0] == part else {} for part in ("image", "info", "depth"))
        last_ns = min(max(last_ns + step_ns, -(10**9) * 2**31), 10**9 * (2**31 - 1))
        frame = (frame + 1) % 20
        depth_base = depth_message(np.full((HEIGHT_PX, WIDTH_PX), depth_m, np.float32), header(last_ns))
        image_base = rgb_message(view(frame), last_ns)
        if depth_is_first:
            graph.depths.publish(_message(depth_base, depth))
        graph.infos.publish(_info(info, last_ns))
        graph.images.publish(_message(image_base, image))
        graph.sent += 1
        if not depth_is_first:
            graph.depths.publish(_message(depth_base, depth))
        assert graph.probe.wait_for(graph.counted, 60), graph.counts()

    settings(
        max_examples=SOAK_MESSAGES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )(given(**FUZZ)(fuzz))()
    received, answered, dropped, refused, _ = graph.counts()
    print(f"fuzz: {received} images, {answered} answered, {dropped} dropped, refused {refused}")
    known = set(REASONS.values())
    assert {reason.rpartition("depth: ")[2] for reason in refused} <= known
    assert sum(refused.values()) > SOAK_MESSAGES / 10
    assert answered > SOAK_MESSAGES / 10

    assert graph.not_numbers == 0

    # A new drive, as it would be after the fuzz ends: the size of the first image holds until then.
    graph.node._start_anew()
    before = len(graph.answers)
    for k in range(3):
        graph.send(PERIOD_NS * (k + 1), k)
    assert graph.probe.wait_for(lambda: len(graph.answers) == before + 3)
    assert graph.answers[-1][0] == 3 * PERIOD_NS
