from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from recordings import FrameList, made_up_drive

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.frame import Frame
from metric3d_ros.datasets.rosbag import Recording, write_source
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

    def stamps_ns(self, what: str) -> list[int]:
        lines = [line.split() for line in self._log.read_text().splitlines()]
        return [int(stamp) for kind, stamp in lines if kind == what]

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
    assert echo.stamps_ns("info") == drive.stamps_ns.tolist()
    assert echo.stamps_ns("truth") == drive.stamps_ns.tolist()


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
    start_echo("--best-effort")
    report = play(tmp_path / "large.mcap", lockstep=True, timeout_s=20.0)
    assert (report.frames_in, report.frames_out) == (5, 5)


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
