"""``droid-bridge demo``: which drive, which prior, where to."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from droid_bridge.demo import DemoRequest, run_demo
from droid_bridge.errors import DroidBridgeError

SIMULATED_LENGTH_M = 420
SIMULATED_SEED = 2_000_007  # training draws its worlds from seeds below one million


def register_demo(commands: argparse._SubParsersAction[Any]) -> None:
    """Register ``demo``."""
    parser = commands.add_parser(
        "demo",
        help="a drive through the real ROS 2 graph, with and without the scale prior",
        description="Play a drive through depth node and SLAM node in processes of their own, with and without "
        "the scale prior; print the drift and write metrics.json, trajectories and pictures.",
    )
    parser.add_argument("--out", type=Path, default=Path("demo_output"), help="results (default: %(default)s)")
    parser.add_argument("--kitti", type=Path, metavar="DIR", help="KITTI odometry folder (sequences/, poses/)")
    parser.add_argument("--sequence", default="03", help="sequence of --kitti (default: %(default)s)")
    parser.add_argument("--kitti-raw", type=Path, metavar="DIR", help="KITTI raw folder (dates in it)")
    parser.add_argument("--drive", help="drive of --kitti-raw, such as 2011_09_26_drive_0013_sync")
    parser.add_argument(
        "--depth",
        default="nano",
        help="the prior: nano, an ONNX file, or lidar (--kitti-raw only; default: %(default)s)",
    )
    parser.add_argument(
        "--length", type=float, default=SIMULATED_LENGTH_M, help="simulated drive, m (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=SIMULATED_SEED, help="simulated world (default: %(default)s)")
    parser.add_argument("--max-frames", type=int, help="use only the first frames of a KITTI drive")
    parser.add_argument(
        "--global-adjustment",
        action="store_true",
        help="bundle-adjust all keyframes together at the end, as droid-bridge track does: 0.1 s each",
    )
    parser.set_defaults(run=_demo)


def _demo(arguments: argparse.Namespace) -> int:
    run_demo(replace(_request(arguments), adjusts_globally=arguments.global_adjustment))
    return 0


def _request(arguments: argparse.Namespace) -> DemoRequest:
    if arguments.kitti is not None and arguments.kitti_raw is not None:
        raise DroidBridgeError("--kitti and --kitti-raw were both given; a demo drives one of them.")
    if arguments.depth == "lidar" and arguments.kitti_raw is None:
        raise DroidBridgeError("--depth lidar needs a drive with LiDAR; give --kitti-raw and --drive.")
    limit = () if arguments.max_frames is None else ("--max-frames", str(arguments.max_frames))
    if arguments.kitti is not None:
        command = ("from-kitti", str(arguments.kitti), "--sequence", arguments.sequence, *limit)
        return DemoRequest(arguments.out, command, f"KITTI odometry {arguments.sequence}", arguments.depth)
    if arguments.kitti_raw is not None:
        if not arguments.drive:
            raise DroidBridgeError("--kitti-raw needs a drive; give --drive 2011_..._sync (DRIVE= for make).")
        lidar = ("--depth", "lidar") if arguments.depth == "lidar" else ()
        command = ("from-kitti", str(arguments.kitti_raw), "--drive", arguments.drive, *lidar, *limit)
        return DemoRequest(arguments.out, command, f"KITTI raw {arguments.drive}", arguments.depth)
    command = ("simulate", "--length", str(arguments.length), "--seed", str(arguments.seed))
    return DemoRequest(arguments.out, command, f"simulated drive, world {arguments.seed}", arguments.depth)
