from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recordings import FrameList, made_up_drive
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.typesys import Stores, get_typestore

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.frame import Frame
from metric3d_ros.datasets.rosbag import Recording, messages, write_source
from metric3d_ros.errors import DatasetError

pytest.importorskip("rclpy", reason="drives the real ROS 2 graph")
from metric3d_ros.ros.bag_player import play_bag
from metric3d_ros.ros.playback import PlayOptions, PlayReport

pytestmark = pytest.mark.ros

ECHO = Path(__file__).with_name("odometry_echo.py")
QUIET = {"progress": False, "wait_timeout_s": 30.0}


class Echo:
    """The echo node in a process of its own."""

    def __init__(self, log: Path, *flags: str) -> None:
        self._log = log
        self.process = subprocess.Popen([sys.executable, str(ECHO), str(log), *flags])

    def stamps_ns(self, what: str, awaited: int = 0) -> list[int]:
        """What it heard so far; the answer to an image may come before the rest of its frame, which is awaited."""
        deadline_s = time.monotonic() + 10
        while True:
            lines = [line.split() for line in self._log.read_text().splitlines()]
            stamps_ns = [int(stamp) for kind, stamp in lines if kind == what]
            if len(stamps_ns) >= awaited or time.monotonic() > deadline_s:
                return stamps_ns
            time.sleep(0.05)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(10)
        finally:
            self.process.kill()


@pytest.fixture
def start_echo(tmp_path: Path) -> Iterator[Callable[..., Echo]]:
    started: list[Echo] = []

    def start(*flags: str) -> Echo:
        started.append(Echo(tmp_path / "echo.log", *flags))
        return started[-1]

    yield start
    for echo in started:
        echo.stop()


def play(path: Path, **options: object) -> PlayReport:
    with Recording(path) as recording:
        return play_bag(recording, PlayOptions(**(QUIET | options)))  # type: ignore[arg-type]


@pytest.fixture
def drive(tmp_path: Path) -> FrameList:
    source = made_up_drive(12, depth=False)
    write_source(source, tmp_path / "drive.mcap", progress=False)
    return source


def test_lockstep_delivers_every_frame_in_order(
    tmp_path: Path, drive: FrameList, start_echo: Callable[..., Echo]
) -> None:
    echo = start_echo()
    report = play(tmp_path / "drive.mcap", lockstep=True)
    assert report.completed
    assert (report.frames_in, report.frames_out, report.resent) == (12, 12, 0)
    assert report.hz == pytest.approx(12 / report.wall_s)
    assert echo.stamps_ns("image") == drive.stamps_ns.tolist()
    assert echo.stamps_ns("info", awaited=12) == drive.stamps_ns.tolist()
    assert echo.stamps_ns("truth", awaited=12) == drive.stamps_ns.tolist()


@pytest.mark.parametrize("answer", ["second-time", "stale-first"])
def test_frame_without_an_answer_of_its_stamp_is_sent_again(
    tmp_path: Path, start_echo: Callable[..., Echo], answer: str
) -> None:
    source = made_up_drive(2, depth=False)
    write_source(source, tmp_path / "drive.mcap", progress=False)
    # Stale: the first time, the echo answers with the stamp of the image before.
    echo = start_echo("--answer", answer)
    report = play(tmp_path / "drive.mcap", lockstep=True, timeout_s=2.0)
    assert report.completed
    assert (report.frames_in, report.frames_out, report.resent) == (2, 2, 2)
    assert echo.stamps_ns("image") == np.repeat(source.stamps_ns, 2).tolist()


def test_silence_ends_in_one_sentence(tmp_path: Path, drive: FrameList, start_echo: Callable[..., Echo]) -> None:
    echo = start_echo("--answer", "never")
    report = play(tmp_path / "drive.mcap", lockstep=True, timeout_s=0.5)
    assert not report.completed
    assert (report.frames_in, report.frames_out) == (1, 0)
    assert "/odometry" in report.failure
    assert str(drive.stamps_ns[0]) in report.failure
    assert echo.stamps_ns("image") == [drive.stamps_ns[0]] * 2


def test_real_time_sends_every_frame_and_the_clock(
    tmp_path: Path, drive: FrameList, start_echo: Callable[..., Echo]
) -> None:
    echo = start_echo()
    report = play(tmp_path / "drive.mcap", rate=2.0, clock=True)
    assert (report.frames_in, report.frames_out) == (12, 12)
    assert echo.stamps_ns("image") == drive.stamps_ns.tolist()
    clock = np.array(echo.stamps_ns("clock"))
    assert (np.diff(clock) >= 0).all()
    assert clock[-1] == drive.stamps_ns[-1]
    # The last frame is due (12 - 1) periods after the first, at twice the speed.
    due_s = (drive.stamps_ns[-1] - drive.stamps_ns[0]) / 1e9 / 2.0
    assert report.wall_s >= 0.99 * due_s
    assert len(clock) > 2 * len(drive)


def test_start_and_duration_choose_the_part(
    tmp_path: Path, drive: FrameList, start_echo: Callable[..., Echo]
) -> None:
    echo = start_echo()
    report = play(tmp_path / "drive.mcap", lockstep=True, start_s=0.25, duration_s=0.4)
    expected = [s for s in drive.stamps_ns.tolist() if 0.25e9 <= s - drive.stamps_ns[0] < 0.65e9]
    assert echo.stamps_ns("image") == expected
    assert report.frames_in == len(expected) == 4


def test_start_behind_the_end_is_refused(tmp_path: Path, drive: FrameList) -> None:
    with pytest.raises(DatasetError, match="start earlier"):
        play(tmp_path / "drive.mcap", start_s=100.0)


def test_nobody_listening_is_said_with_the_topic(tmp_path: Path, drive: FrameList) -> None:
    report = play(tmp_path / "drive.mcap", wait_timeout_s=0.5)
    assert not report.completed
    assert report.frames_in == 0
    assert "subscriber(s) on /camera/image_rect" in report.failure


def test_playing_to_nobody_on_request(tmp_path: Path, drive: FrameList) -> None:
    report = play(tmp_path / "drive.mcap", wait_subscribers=0, rate=50.0)
    assert report.completed
    assert (report.frames_in, report.frames_out) == (12, 0)


def test_large_colour_image_reaches_a_best_effort_subscriber(
    tmp_path: Path, start_echo: Callable[..., Echo]
) -> None:
    camera = PinholeCamera(1242, 375, 721.5, 721.5, 609.6, 172.9)
    image = np.random.default_rng(0).integers(0, 256, (375, 1242, 3), dtype=np.uint8)
    frames = [Frame(index, (index + 1) * 10**8, image, camera) for index in range(5)]
    write_source(FrameList(frames), tmp_path / "large.mcap", progress=False)
    echo = start_echo("--best-effort")
    report = play(tmp_path / "large.mcap", lockstep=True, timeout_s=60.0)
    heard = {what: len(echo.stamps_ns(what)) for what in ("image", "info", "answer")}
    assert (report.frames_in, report.frames_out) == (5, 5), f"{heard}, echo ended with {echo.process.poll()}"


def test_loop_plays_until_interrupted(tmp_path: Path, drive: FrameList, start_echo: Callable[..., Echo]) -> None:
    echo = start_echo()
    command = [sys.executable, "-m", "metric3d_ros.cli", "bag", "play", str(tmp_path / "drive.mcap")]
    player = subprocess.Popen([*command, "--loop", "--lockstep"], stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    log = tmp_path / "echo.log"
    while time.monotonic() < deadline and not (log.exists() and len(echo.stamps_ns("image")) > 30):
        time.sleep(0.1)
    player.send_signal(signal.SIGINT)
    output = player.communicate(timeout=30)[0]
    assert player.returncode == 130
    assert "frames sent" in output
    images = echo.stamps_ns("image")
    assert images[:24] == drive.stamps_ns.tolist() * 2
    assert os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"


def test_pause_holds_the_recording_and_loses_nothing(
    tmp_path: Path, drive: FrameList, start_echo: Callable[..., Echo]
) -> None:
    echo = start_echo()
    report_path = tmp_path / "report.json"
    command = [sys.executable, "-m", "metric3d_ros.cli", "bag", "play", str(tmp_path / "drive.mcap")]
    player = subprocess.Popen([*command, "--clock", "--rate", "0.5", "--report", str(report_path)])
    try:
        wait_until(lambda: echo_count(echo, tmp_path) >= 4)
        player.send_signal(signal.SIGTSTP)
        time.sleep(0.3)
        held = echo_count(echo, tmp_path)
        time.sleep(1.5)
        assert echo_count(echo, tmp_path) == held < 12
        player.send_signal(signal.SIGCONT)
        assert player.wait(timeout=60) == 0
    finally:
        player.kill()
    report = json.loads(report_path.read_text())
    assert (report["frames_in"], report["completed"]) == (12, True)
    assert 1.5 < report["paused_s"] < 20
    assert report["hz"] == pytest.approx(0.5 / 0.1035 * 12 / 11, rel=0.15)
    assert echo.stamps_ns("image") == drive.stamps_ns.tolist()
    assert (np.diff(echo.stamps_ns("clock")) >= 0).all()


def wait_until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def echo_count(echo: Echo, folder: Path) -> int:
    return len(echo.stamps_ns("image")) if (folder / "echo.log").exists() else 0


def test_ros_1_bag_is_played(tmp_path: Path, start_echo: Callable[..., Echo]) -> None:
    source = made_up_drive(5, depth=False)
    path = write_ros1_bag(tmp_path / "drive.bag", source)
    echo = start_echo()
    report = play(path, lockstep=True)
    assert (report.frames_in, report.frames_out, report.resent) == (5, 5, 0)
    assert echo.stamps_ns("image") == source.stamps_ns.tolist()
    assert echo.stamps_ns("info") == source.stamps_ns.tolist()


def test_ros_1_messages_become_those_of_ros_2(tmp_path: Path) -> None:
    source = made_up_drive(2, depth=False)
    with Recording(write_ros1_bag(tmp_path / "drive.bag", source)) as recording:
        assert not recording.is_ros2
        (image, *_), (info, *_) = (
            [
                messages.TYPESTORE.deserialize_cdr(recording.as_cdr(stored), recording.topics_types[topic])
                for stored in recording.messages([topic])
            ]
            for topic in ("/camera/image_rect", "/camera/camera_info")
        )
    assert messages.stamp_ns_of(image) == messages.stamp_ns_of(info) == source.stamps_ns[0]
    np.testing.assert_array_equal(messages.rgb_of_message(image, "/camera/image_rect"), source.frames[0].image)
    assert messages.camera_of_message(info, rectified=True) == source.camera


def write_ros1_bag(path: Path, source: FrameList) -> Path:
    """A ROS 1 bag of rectified images and their camera_info, as ``rosbag record`` leaves it."""
    store = get_typestore(Stores.ROS1_NOETIC)
    types = store.types
    matrix = source.camera.matrix()
    projection = np.column_stack([matrix, np.zeros(3)])
    roi = types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    with Ros1Writer(path) as bag:
        connections: dict[str, Any] = {}
        for number, frame in enumerate(source.frames):
            height, width = frame.image.shape[:2]
            seconds, nanoseconds = divmod(int(frame.stamp_ns), 10**9)
            stamp = types["builtin_interfaces/msg/Time"](sec=seconds, nanosec=nanoseconds)
            header = types["std_msgs/msg/Header"](seq=number, stamp=stamp, frame_id="cam")
            matrices = [np.zeros(5), matrix.ravel(), np.eye(3).ravel(), projection.ravel()]
            pixels = frame.image.ravel()
            for topic, message in (
                (
                    "/camera/camera_info",
                    types[messages.CAMERA_INFO_TYPE](header, height, width, "plumb_bob", *matrices, 0, 0, roi),
                ),
                (
                    "/camera/image_rect",
                    types[messages.IMAGE_TYPE](header, height, width, "rgb8", 0, 3 * width, pixels),
                ),
            ):
                if topic not in connections:
                    connections[topic] = bag.add_connection(topic, message.__msgtype__, typestore=store)
                raw = store.serialize_ros1(message, message.__msgtype__)
                bag.write(connections[topic], int(frame.stamp_ns), raw)
    return path
