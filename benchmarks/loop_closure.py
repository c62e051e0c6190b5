"""What loop closure is worth: once around a simulated block, and on past the start, with a network's depth.

    python benchmarks/loop_closure.py                   # a kilometre, nano; fifteen minutes on two cores
    python benchmarks/loop_closure.py --length 300 --depth truth

A loop is closed by seeing a place again, so the drive goes on for ``--overlap`` metres past its start, a hand's
breadth beside its first visit. Before is the front end's path, after the same frames with the corrections of the
back end and, as ``droid-bridge track`` does, with all keyframes adjusted together at the end. The shape is what a
loop can repair: a network that reads a percent short is a percent short after it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from droid_bridge.back_end_options import BackEndOptions
from droid_bridge.depth_sources import open_depth
from droid_bridge.errors import DroidBridgeError
from droid_bridge.evaluation.drift import evaluate_drift
from droid_bridge.odometry_config import OdometryConfig
from droid_bridge.offline_tracking import frames_ahead
from droid_bridge.slam import Slam
from droid_bridge.trajectory import Trajectory
from metric3d_ros.datasets.simulated_loop import SimulatedLoop
from metric3d_ros.errors import Metric3dError

ALIGNMENTS = ("none", "se3", "sim3")
SEGMENTS_M = (100.0,)


def main() -> int:
    arguments = _arguments()
    try:
        drive = SimulatedLoop(arguments.world_seed, arguments.length, overlap_m=arguments.overlap)
        depth = open_depth(arguments.depth, drive, None)
    except (DroidBridgeError, Metric3dError) as error:
        print(f"loop_closure: {error}", file=sys.stderr)
        return 2
    truth = drive.world_from_camera
    before, slowest_s = np.empty((len(truth), 4, 4)), 0.0
    console = Console(stderr=True)
    config = OdometryConfig(keeps_height=arguments.keeps_height)
    with Slam(config, BackEndOptions(global_adjustment=arguments.global_adjustment)) as slam:
        frames = frames_ahead(drive, depth, len(drive))
        for frame in track(frames, description=drive.name, total=len(truth), console=console):
            start = time.perf_counter()
            update = slam.track(frame)
            slowest_s = max(slowest_s, time.perf_counter() - start)
            for pose in update.odometry.window:
                before[pose.frame_index] = pose.world_from_camera
        after = np.stack([pose.world_from_camera for pose in slam.finish()])
        loops = slam.loops_closed
    scores = {name: _scores(truth, poses) for name, poses in (("before", before), ("after", after))}
    told = {"frames": len(truth), "loops": loops, "slowest_frame_s": round(slowest_s, 2), **scores}
    if arguments.json:
        print(json.dumps(told))
    else:
        _print(told, scores)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world-seed", type=int, default=2000101, help="one that nothing was trained on")
    parser.add_argument("--length", type=float, default=1000.0, help="once around, m")
    parser.add_argument("--overlap", type=float, default=90.0, help="way past the start, m")
    parser.add_argument("--depth", default="nano", help="as for droid-bridge track (default: %(default)s)")
    parser.add_argument("--global-adjustment", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--keeps-height", action="store_true", help="as for droid-bridge track")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _scores(truth: NDArray[np.float64], poses: NDArray[np.float64]) -> dict[str, float]:
    reports = {
        align: evaluate_drift(Trajectory(truth), Trajectory(poses), align, SEGMENTS_M) for align in ALIGNMENTS
    }
    return {
        **{f"ate_{align}_m": round(report.ate_m, 3) for align, report in reports.items()},
        "t_rel_percent": round(reports["none"].t_rel_percent, 3),
    }


def _print(told: dict[str, object], scores: dict[str, dict[str, float]]) -> None:
    table = Table(title=f"{told['frames']} frames, {told['loops']} loops")
    for column in ("", "before", "after", "after / before"):
        table.add_column(column, justify="right")
    for name in scores["before"]:
        before, after = scores["before"][name], scores["after"][name]
        table.add_row(name, f"{before:.3f}", f"{after:.3f}", f"{after / before:.2f}")
    Console().print(table)


if __name__ == "__main__":
    raise SystemExit(main())
