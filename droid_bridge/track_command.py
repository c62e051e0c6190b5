"""``droid-bridge track``: which recording, which prior, where to."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from droid_bridge.back_end_options import BackEndOptions
from droid_bridge.dense_map import DenseMapOptions
from droid_bridge.depth_sources import OWN_DEPTH, DepthNoise, NetworkOptions, open_depth
from droid_bridge.errors import DroidBridgeError
from droid_bridge.evaluation.segments import KITTI_LENGTHS_M
from droid_bridge.graph_tracking import track_over_ros
from droid_bridge.matching.choice import MATCHERS
from droid_bridge.odometry_config import OdometryConfig
from droid_bridge.offline_tracking import MAP_FILE, track_recording
from droid_bridge.tracking_metrics import METRICS_FILE, Tracked, metrics
from metric3d_ros.argument_types import add_headroom_flag, depth_noise, lengths_m, positive_float, positive_int
from metric3d_ros.atomic_file import write_json
from metric3d_ros.camera_file import read_camera_file
from metric3d_ros.datasets.detection import open_recording
from metric3d_ros.datasets.frame import FrameSource
from metric3d_ros.datasets.simulated import SimulatedDrive
from metric3d_ros.datasets.simulated_loop import OVERLAP_M, SimulatedLoop

SIMULATED = "simulated"
OFFLINE, ROS = "offline", "ros"


def register_track(commands: argparse._SubParsersAction[Any]) -> None:
    """Register ``track``."""
    parser = commands.add_parser(
        "track",
        help="a whole recording through the SLAM, offline and as fast as it goes",
        description="Track a recording without a ROS graph and write trajectory_kitti.txt, trajectory_tum.txt and "
        "metrics.json. With a prior nothing is aligned; without one the scale is free.",
    )
    parser.add_argument(
        "--input",
        required=True,
        metavar="DIR|BAG|simulated",
        help="KITTI odometry or raw, TUM RGB-D, EuRoC, a bag (folder, .mcap, .db3, .bag), a folder of images, or "
        "'simulated'",
    )
    parser.add_argument("--camera-file", type=Path, metavar="YAML", help="camera_info of a folder of images")
    parser.add_argument(
        "--rate", type=positive_float, default=10.0, metavar="HZ", help="of a folder without times.txt (10)"
    )
    parser.add_argument("--sequence", help="of KITTI odometry, such as 03")
    parser.add_argument("--drive", help="of KITTI raw, such as 2011_09_26_drive_0013_sync")
    parser.add_argument("--length", type=positive_float, default=400.0, metavar="M", help="simulated way (400)")
    parser.add_argument("--world-seed", type=int, default=7, metavar="N", help="simulated world (7)")
    parser.add_argument(
        "--loop",
        action="store_true",
        help=f"the simulated drive goes once around a block, and {OVERLAP_M:g} m on past its start",
    )
    parser.add_argument(
        "--depth",
        default="nano",
        help="the prior: nano, another model or an ONNX file, lidar or truth (the recording's own), none, or a "
        "folder of 16-bit PNGs, metres * 256, named like the images (default: %(default)s)",
    )
    parser.add_argument(
        "--depth-noise",
        type=depth_noise,
        metavar="PIXEL,FRAME",
        help="relative noise put on the depth, such as 0.10,0.03",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the noise (0)")
    parser.add_argument(
        "--camera-height",
        type=positive_float,
        metavar="M",
        help="of the lens above flat ground: the ground in the map then gives it its scale, prior or no prior",
    )
    parser.add_argument(
        "--keeps-height",
        action="store_true",
        help="the camera stays at one height above ground, as on a vehicle, which keeps the scale from drifting",
    )
    add_headroom_flag(parser)
    parser.add_argument("--matcher", choices=MATCHERS, default="optical_flow", help="default: %(default)s")
    parser.add_argument("--device", default="cpu", help="torch device of the solver and the learned matcher (cpu)")
    parser.add_argument("--threads", type=positive_int, default=1, help="of the depth network (1)")
    parser.add_argument("--max-frames", type=positive_int, metavar="N", help="only the first N frames")
    parser.add_argument(
        "--lengths", type=lengths_m, default=None, metavar="M,M,...", help="segments of the drift, metres"
    )
    parser.add_argument(
        "--global-adjustment",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="bundle-adjust all keyframes together at the end (default: yes)",
    )
    parser.add_argument(
        "--over",
        choices=(OFFLINE, ROS),
        default=OFFLINE,
        help="offline (default), or through the real ROS graph, every frame waiting for the odometry of the last",
    )
    parser.add_argument(
        "--map",
        type=positive_float,
        metavar="VOXEL_M",
        help=f"write the dense map as {MAP_FILE}, one point for each cube of this side",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the results")
    parser.set_defaults(run=_track)


def _track(arguments: argparse.Namespace) -> int:
    source = _open_source(arguments)
    noise = None
    if arguments.depth_noise is not None:
        pixel_sigma, frame_sigma = arguments.depth_noise
        noise = DepthNoise(pixel_sigma, frame_sigma, arguments.seed)
    total = len(source) if arguments.max_frames is None else min(arguments.max_frames, len(source))
    track = _track_over_ros if arguments.over == ROS else _track_offline
    tracked = track(arguments, source, noise, total)
    settings = {name: _told(value) for name, value in vars(arguments).items() if name != "run"}
    is_metric = arguments.depth != "none" or arguments.camera_height is not None
    told = metrics(source, tracked, is_metric, arguments.lengths or KITTI_LENGTHS_M, settings)
    write_json(told, arguments.out / METRICS_FILE)
    _print(told, arguments.out)
    return 0


def _track_offline(
    arguments: argparse.Namespace, source: FrameSource, noise: DepthNoise | None, frames: int
) -> Tracked:
    depth = open_depth(arguments.depth, source, noise, _network_options(arguments))
    config = replace(
        OdometryConfig(),
        scale_prior=arguments.depth != "none",
        camera_height_m=arguments.camera_height,
        keeps_height=arguments.keeps_height,
        matcher=arguments.matcher,
        device=arguments.device,
    )
    options = None if arguments.map is None else DenseMapOptions(voxel_m=arguments.map)
    with _progress() as progress:
        task = progress.add_task(source.name, total=frames)

        def count_frame() -> None:
            progress.advance(task)
            if arguments.global_adjustment and progress.finished:
                progress.add_task("adjusting all keyframes", total=None)

        return track_recording(
            source,
            depth,
            config,
            arguments.out,
            frames,
            count_frame,
            map_options=options,
            back_end=BackEndOptions(global_adjustment=arguments.global_adjustment),
        )


def _track_over_ros(
    arguments: argparse.Namespace, source: FrameSource, noise: DepthNoise | None, frames: int
) -> Tracked:
    if arguments.map is not None:
        raise DroidBridgeError("--map is for --over offline; over ROS call the SLAM node's ~/save_map.")
    if arguments.depth == "none" and arguments.camera_height is not None:
        raise DroidBridgeError(
            "--over ros waits for the pose of every frame, and without depth the first frames have none; "
            "track --over offline, or give a --depth."
        )
    parameters = {
        "matcher": arguments.matcher,
        "device": arguments.device,
        "global_adjustment": str(arguments.global_adjustment).lower(),
    }
    if arguments.keeps_height:
        parameters["keeps_height"] = "true"
    if arguments.camera_height is not None:
        parameters["camera_height_m"] = str(arguments.camera_height)
    return track_over_ros(
        source, arguments.depth, noise, arguments.out, frames, parameters, _network_options(arguments)
    )


def _network_options(arguments: argparse.Namespace) -> NetworkOptions:
    return NetworkOptions(arguments.threads, arguments.headroom_deg)


def _open_source(arguments: argparse.Namespace) -> FrameSource:
    if arguments.input == SIMULATED:
        drive = SimulatedLoop if arguments.loop else SimulatedDrive
        return drive(seed=arguments.world_seed, length_m=arguments.length)
    depth: Literal["none", "own"] = "own" if arguments.depth in OWN_DEPTH else "none"
    return open_recording(
        arguments.input,
        sequence=arguments.sequence,
        drive=arguments.drive,
        depth=depth,
        camera=None if arguments.camera_file is None else read_camera_file(arguments.camera_file),
        rate_hz=arguments.rate,
    )


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def _print(told: dict[str, Any], out: Path) -> None:
    console = Console()
    if "t_rel_percent" in told:
        console.print(
            f"t_rel {told['t_rel_percent']:.3f} %, r_rel {told['r_rel_deg_per_100m']:.3f} deg/100 m, "
            f"ATE {told['ate_m']:.2f} m, scale {told['scale_start']:.3f} to {told['scale_end']:.3f}, "
            f"{told['frames_per_second']:.1f} frames/s"
        )
    elif "no_drift_because" in told:
        console.print(f"no drift: {told['no_drift_because']}", highlight=False, soft_wrap=True)
    console.print(f"results: {out}", highlight=False, soft_wrap=True)


def _told(value: object) -> object:
    return value if isinstance(value, (int, float, str, bool, type(None))) else str(value)
