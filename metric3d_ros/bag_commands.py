"""``metric3d bag``: recordings made from KITTI and from simulation, looked at, and played."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from pathlib import Path

from metric3d_ros import bag_topics
from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.frame import FrameSource
from metric3d_ros.datasets.kitti_detection import open_kitti
from metric3d_ros.datasets.rosbag import BagReader, Recording, write_source
from metric3d_ros.errors import DatasetError, MissingDependencyError
from metric3d_ros.ros.playback import PlayOptions

EXIT_STALLED = 1


def add_bag_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``bag`` and its own commands."""
    bag = commands.add_parser("bag", help="make, look at and play recordings (rosbag2, MCAP)")
    actions = bag.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_from_kitti(actions)
    _add_simulate(actions)
    _add_info(actions)
    _add_play(actions)


def _add_from_kitti(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser("from-kitti", help="a bag from KITTI odometry or KITTI raw")
    parser.add_argument("dir", type=Path, metavar="DIR", help="KITTI root, or one sequence's or drive's folder")
    _add_output(parser)
    parser.add_argument("--sequence", help="KITTI odometry sequence, such as 03")
    parser.add_argument("--drive", help="KITTI raw drive, such as 2011_09_26_drive_0013_sync")
    parser.add_argument("--camera", choices=["auto", "0", "1", "2", "3"], default="auto", help="default: colour")
    parser.add_argument("--depth", choices=["none", "lidar"], default="none", help="write the LiDAR depth too")
    parser.add_argument("--max-frames", type=_positive_int, metavar="N", help="stop after N frames")
    parser.set_defaults(run=bag_from_kitti)


def _add_simulate(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser("simulate", help="a bag from a simulated street drive")
    _add_output(parser)
    parser.add_argument("--length", type=_positive_float, default=400.0, metavar="M", help="metres (400)")
    parser.add_argument("--seed", type=_from_zero_int, default=7, help="of the world (7)")
    parser.add_argument("--width", type=_positive_int, default=1242, metavar="PX", help="image width (1242)")
    parser.add_argument("--height", type=_positive_int, default=375, metavar="PX", help="image height (375)")
    parser.add_argument("--focal", type=_positive_float, default=721.5377, metavar="PX", help="focal length")
    parser.add_argument("--closed-loop", action="store_true", help="come back to the start")
    parser.add_argument("--depth", choices=["none", "exact"], default="none", help="write the exact depth too")
    parser.add_argument("--workers", type=_positive_int, default=2, help="processes that render (2)")
    parser.add_argument("--max-frames", type=_positive_int, metavar="N", help="stop after N frames")
    parser.set_defaults(run=bag_simulate)


def _add_info(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser("info", help="what a bag holds")
    parser.add_argument("bag", type=Path)
    parser.set_defaults(run=bag_info)


def _add_play(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser("play", help="play a bag into the ROS graph")
    parser.add_argument("bag", type=Path)
    parser.add_argument("--rate", type=_positive_float, default=1.0, help="speed against the recording (1)")
    parser.add_argument("--clock", action="store_true", help="publish /clock")
    parser.add_argument("--lockstep", action="store_true", help="each frame waits for the odometry of the last")
    parser.add_argument("--loop", action="store_true", help="start again at the end, until interrupted")
    parser.add_argument("--start", type=_from_zero_float, default=0.0, metavar="S", help="seconds to leave out")
    parser.add_argument("--duration", type=_positive_float, metavar="S", help="seconds to play")
    parser.add_argument("--image-topic", metavar="TOPIC", help="the images that make the frames")
    parser.add_argument("--odometry-topic", default=bag_topics.ODOMETRY, metavar="TOPIC", help="answers")
    parser.add_argument("--timeout", type=_positive_float, default=30.0, metavar="S", help="for an answer (30)")
    parser.add_argument(
        "--wait-subscribers", type=_from_zero_int, default=1, metavar="N", help="on the images first (1; 0: none)"
    )
    parser.add_argument("--wait-timeout", type=_positive_float, default=60.0, metavar="S", help="for them (60)")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the figures as JSON")
    parser.set_defaults(run=bag_play)


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", type=Path, required=True, metavar="BAG", help="NAME.mcap for one file, NAME for a rosbag2 folder"
    )
    parser.add_argument("--compress", action="store_true", help="compress with zstd: smaller, slower to play")


def bag_from_kitti(arguments: argparse.Namespace) -> int:
    """Write a KITTI sequence or drive as a bag."""
    source = open_kitti(
        arguments.dir,
        sequence=arguments.sequence,
        drive=arguments.drive,
        camera=arguments.camera,
        depth=arguments.depth,
    )
    print(f"found {source.name}: {_described(source)}")
    written = write_source(source, arguments.out, max_frames=arguments.max_frames, compressed=arguments.compress)
    print(f"{arguments.out}: {written} frames")
    return 0


def bag_simulate(arguments: argparse.Namespace) -> int:
    """Render a simulated drive into a bag."""
    from metric3d_ros.datasets.simulated import SimulatedDrive

    camera = PinholeCamera(
        width_px=arguments.width,
        height_px=arguments.height,
        fx=arguments.focal,
        fy=arguments.focal,
        cx=(arguments.width - 1) / 2,
        cy=(arguments.height - 1) / 2,
    )
    drive = SimulatedDrive(
        seed=arguments.seed,
        length_m=arguments.length,
        camera=camera,
        closed_loop=arguments.closed_loop,
    )
    written = write_source(
        drive,
        arguments.out,
        frames=drive.render_all(workers=arguments.workers, progress=False),
        max_frames=arguments.max_frames,
        with_depth=arguments.depth == "exact",
        compressed=arguments.compress,
    )
    print(f"{arguments.out}: {written} frames of {drive.name}")
    return 0


def bag_info(arguments: argparse.Namespace) -> int:
    """Print what a bag holds."""
    with Recording(arguments.bag) as recording:
        seconds = (recording.end_ns - recording.start_ns) / 1e9
        print(f"{arguments.bag}: {seconds:.3f} s from {recording.start_ns / 1e9:.3f} s")
        for topic in recording.topics.values():
            print(f"  {topic.message_count:7d}  {topic.name}  {topic.message_type}")
    with BagReader(arguments.bag) as frames:
        print(f"frames on {frames.image_topic}: {_described(frames)}")
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
        _write_json(arguments.report, report.as_dict())
    print(
        f"{report.frames_in} frames sent, {report.frames_out} answered, {report.wall_s:.2f} s, {report.hz:.2f} Hz"
    )
    if report.failure == "interrupted":
        raise KeyboardInterrupt
    if not report.completed:
        print(f"metric3d: {report.failure}", file=sys.stderr)
        return EXIT_STALLED
    return 0


def _described(source: FrameSource) -> str:
    camera = source.camera
    seconds = (int(source.stamps_ns[-1]) - int(source.stamps_ns[0])) / 1e9
    truth = "with true poses" if source.world_from_camera is not None else "without true poses"
    return (
        f"{len(source)} frames, {seconds:.1f} s, {camera.width_px}x{camera.height_px} px, "
        f"focal length {camera.fx:.1f} px, {truth}"
    )


def _write_json(path: Path, values: dict[str, object]) -> None:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise DatasetError(f"{path} cannot be written: {error.strerror or error}.") from error


def _positive_float(text: str) -> float:
    value = _from_zero_float(text)
    if value == 0:
        raise argparse.ArgumentTypeError("must be above 0")
    return value


def _from_zero_float(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 on")
    return value


def _positive_int(text: str) -> int:
    value = _from_zero_int(text)
    if value == 0:
        raise argparse.ArgumentTypeError("must be above 0")
    return value


def _from_zero_int(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value
