"""``metric3d bag``: recordings made, looked at, recovered and played."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from metric3d_ros import bag_topics
from metric3d_ros.argument_types import from_zero_float, from_zero_int, positive_float
from metric3d_ros.atomic_file import write_json
from metric3d_ros.bag_making_commands import add_bag_making_commands, described
from metric3d_ros.datasets.rosbag import BagReader, Recording
from metric3d_ros.datasets.rosbag.recovery import is_cut_short, recover_mcap
from metric3d_ros.errors import DatasetError, MissingDependencyError
from metric3d_ros.ros.playback import PlayOptions

EXIT_STALLED = 1


def add_bag_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``bag`` and its own commands."""
    bag = commands.add_parser("bag", help="make, look at and play recordings (rosbag2, MCAP)")
    actions = bag.add_subparsers(title="commands", required=True, metavar="COMMAND")
    add_bag_making_commands(actions)
    _add_info(actions)
    _add_recover(actions)
    _add_play(actions)


def _add_info(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser("info", help="what a bag holds")
    parser.add_argument("bag", type=Path)
    parser.set_defaults(run=bag_info)


def _add_recover(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser("recover", help="what is left of an MCAP file that was cut off, as a whole one")
    parser.add_argument("bag", type=Path, metavar="CUT.mcap")
    parser.add_argument("--out", type=Path, required=True, metavar="WHOLE.mcap", help="must not exist yet")
    parser.set_defaults(run=bag_recover)


def _add_play(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser("play", help="play a bag into the ROS graph")
    parser.add_argument("bag", type=Path)
    parser.add_argument("--rate", type=positive_float, default=1.0, help="speed against the recording (1)")
    parser.add_argument("--clock", action="store_true", help="publish /clock")
    parser.add_argument("--lockstep", action="store_true", help="each frame waits for the odometry of the last")
    parser.add_argument("--loop", action="store_true", help="start again at the end, until interrupted")
    parser.add_argument("--start", type=from_zero_float, default=0.0, metavar="S", help="seconds to leave out")
    parser.add_argument("--duration", type=positive_float, metavar="S", help="seconds to play")
    parser.add_argument("--image-topic", metavar="TOPIC", help="the images that make the frames")
    parser.add_argument("--odometry-topic", default=bag_topics.ODOMETRY, metavar="TOPIC", help="answers")
    parser.add_argument("--timeout", type=positive_float, default=30.0, metavar="S", help="for an answer (30)")
    parser.add_argument(
        "--wait-subscribers", type=from_zero_int, default=1, metavar="N", help="on the images first (1; 0: none)"
    )
    parser.add_argument("--wait-timeout", type=positive_float, default=60.0, metavar="S", help="for them (60)")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the figures as JSON")
    parser.set_defaults(run=bag_play)


def bag_info(arguments: argparse.Namespace) -> int:
    """Print what a bag holds."""
    with Recording(arguments.bag) as recording:
        seconds = (recording.end_ns - recording.start_ns) / 1e9
        print(f"{arguments.bag}: {seconds:.3f} s from {recording.start_ns / 1e9:.3f} s")
        if recording.recovered is not None:
            print(f"truncated: {recording.recovered}")
        for topic in recording.topics.values():
            print(f"  {topic.message_count:7d}  {topic.name}  {topic.message_type}")
    with BagReader(arguments.bag) as frames:
        print(f"frames on {frames.image_topic}: {described(frames)}")
    return 0


def bag_recover(arguments: argparse.Namespace) -> int:
    """Write what can be read of a truncated MCAP file."""
    if not arguments.bag.is_file() or arguments.bag.suffix != ".mcap":
        raise DatasetError(f"{arguments.bag} is no MCAP file; give the file that was cut off.")
    if not is_cut_short(arguments.bag):
        raise DatasetError(f"{arguments.bag} is not truncated; there is nothing to recover.")
    if arguments.out.exists():
        raise DatasetError(f"{arguments.out} exists already; remove it, or give another name.")
    print(f"{arguments.out}: {recover_mcap(arguments.bag, arguments.out)}")
    return 0


def bag_play(arguments: argparse.Namespace) -> int:
    """Play a bag; 1 if nobody answers in lockstep."""
    try:
        from metric3d_ros.ros.bag_player import play_bag
    except ImportError as error:
        raise MissingDependencyError(
            f"playing needs ROS 2 ({error}); source your ROS setup, or run pip install 'metric3d_ros[ros]'."
        ) from error
    options = PlayOptions(
        rate=arguments.rate,
        clock=arguments.clock,
        lockstep=arguments.lockstep,
        loop=arguments.loop,
        start_s=arguments.start,
        duration_s=arguments.duration,
        image_topic=arguments.image_topic,
        odometry_topic=arguments.odometry_topic,
        timeout_s=arguments.timeout,
        wait_subscribers=arguments.wait_subscribers,
        wait_timeout_s=arguments.wait_timeout,
    )
    if arguments.report is not None and not arguments.report.parent.is_dir():
        raise DatasetError(f"{arguments.report} cannot be written: there is no folder {arguments.report.parent}.")
    with Recording(arguments.bag) as recording:
        report = play_bag(recording, options)
    if arguments.report is not None:
        write_json(report.as_dict(), arguments.report)
    print(
        f"{report.frames_in} frames sent, {report.frames_out} answered, {report.wall_s:.2f} s, {report.hz:.2f} Hz"
    )
    if report.failure == "interrupted":
        raise KeyboardInterrupt
    if not report.completed:
        print(f"metric3d: {report.failure}", file=sys.stderr)
        return EXIT_STALLED
    return 0
