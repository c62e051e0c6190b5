"""``metric3d bag from-...`` and ``simulate``: recordings made from datasets and from simulation."""

from __future__ import annotations

import argparse
from pathlib import Path

from metric3d_ros.argument_types import from_zero_int, positive_float, positive_int
from metric3d_ros.camera import PinholeCamera
from metric3d_ros.camera_file import read_camera_file
from metric3d_ros.datasets.euroc import Euroc
from metric3d_ros.datasets.frame import FrameSource
from metric3d_ros.datasets.kitti_detection import open_kitti
from metric3d_ros.datasets.rosbag import write_source
from metric3d_ros.datasets.rosbag.writer import IMAGE_FORMATS
from metric3d_ros.datasets.tum_rgbd import TumRgbd


def add_bag_making_commands(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``from-kitti``, ``from-tum``, ``from-euroc`` and ``simulate``."""
    _add_from_kitti(actions)
    _add_from_tum(actions)
    _add_from_euroc(actions)
    _add_simulate(actions)


def _add_from_kitti(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser("from-kitti", help="a bag from KITTI odometry or KITTI raw")
    parser.add_argument("dir", type=Path, metavar="DIR", help="KITTI root, or one sequence's or drive's folder")
    _add_output(parser)
    parser.add_argument("--sequence", help="KITTI odometry sequence, such as 03")
    parser.add_argument("--drive", help="KITTI raw drive, such as 2011_09_26_drive_0013_sync")
    parser.add_argument("--camera", choices=["auto", "0", "1", "2", "3"], default="auto", help="default: colour")
    parser.add_argument("--depth", choices=["none", "lidar"], default="none", help="write the LiDAR depth too")
    parser.set_defaults(run=bag_from_kitti)


def _add_from_tum(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser("from-tum", help="a bag from a TUM RGB-D recording, rectified")
    parser.add_argument("dir", type=Path, metavar="DIR", help="the recording's folder (rgb.txt, groundtruth.txt)")
    _add_output(parser)
    parser.add_argument(
        "--camera-file", type=Path, metavar="YAML", help="camera of the raw images, if not TUM's own"
    )
    parser.add_argument("--depth", choices=["none", "sensor"], default="none", help="write the Kinect's depth too")
    parser.set_defaults(run=bag_from_tum)


def _add_from_euroc(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser("from-euroc", help="a bag from camera 0 of an EuRoC recording, rectified")
    parser.add_argument("dir", type=Path, metavar="DIR", help="the recording's folder (with mav0 in it)")
    _add_output(parser)
    parser.set_defaults(run=bag_from_euroc)


def _add_simulate(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser("simulate", help="a bag from a simulated street drive")
    _add_output(parser)
    parser.add_argument("--length", type=positive_float, default=400.0, metavar="M", help="metres (400)")
    parser.add_argument("--seed", type=from_zero_int, default=7, help="of the world (7)")
    parser.add_argument("--width", type=positive_int, default=1242, metavar="PX", help="image width (1242)")
    parser.add_argument("--height", type=positive_int, default=375, metavar="PX", help="image height (375)")
    parser.add_argument("--focal", type=positive_float, default=721.5377, metavar="PX", help="focal length")
    parser.add_argument("--closed-loop", action="store_true", help="come back to the start")
    parser.add_argument("--depth", choices=["none", "exact"], default="none", help="write the exact depth too")
    parser.add_argument("--workers", type=positive_int, default=2, help="processes that render (2)")
    parser.set_defaults(run=bag_simulate)


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", type=Path, required=True, metavar="BAG", help="NAME.mcap for one file, NAME for a rosbag2 folder"
    )
    parser.add_argument("--compress", action="store_true", help="compress with zstd: smaller, slower to play")
    parser.add_argument(
        "--images",
        choices=IMAGE_FORMATS,
        default="raw",
        help="write the images raw (default), or as CompressedImage: png keeps every value, jpeg is smallest",
    )
    parser.add_argument("--max-frames", type=positive_int, metavar="N", help="stop after N frames")


def bag_from_kitti(arguments: argparse.Namespace) -> int:
    """Write a KITTI sequence or drive as a bag."""
    source = open_kitti(
        arguments.dir,
        sequence=arguments.sequence,
        drive=arguments.drive,
        camera=arguments.camera,
        depth=arguments.depth,
    )
    return _write(source, arguments)


def bag_from_tum(arguments: argparse.Namespace) -> int:
    """Write a TUM RGB-D recording as a bag."""
    camera = None if arguments.camera_file is None else read_camera_file(arguments.camera_file)
    return _write(TumRgbd(arguments.dir, camera, depth=arguments.depth), arguments)


def bag_from_euroc(arguments: argparse.Namespace) -> int:
    """Write an EuRoC recording as a bag."""
    return _write(Euroc(arguments.dir), arguments)


def _write(source: FrameSource, arguments: argparse.Namespace) -> int:
    print(f"found {source.name}: {described(source)}")
    written = write_source(
        source,
        arguments.out,
        max_frames=arguments.max_frames,
        compressed=arguments.compress,
        image_format=arguments.images,
    )
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
        image_format=arguments.images,
    )
    print(f"{arguments.out}: {written} frames of {drive.name}")
    return 0


def described(source: FrameSource) -> str:
    """A recording in a line: frames, seconds, size, focal length, truth."""
    camera = source.camera
    seconds = (int(source.stamps_ns[-1]) - int(source.stamps_ns[0])) / 1e9
    truth = "with true poses" if source.world_from_camera is not None else "without true poses"
    return (
        f"{len(source)} frames, {seconds:.1f} s, {camera.width_px}x{camera.height_px} px, "
        f"focal length {camera.fx:.1f} px, {truth}"
    )
