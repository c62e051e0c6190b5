"""How fast the SLAM is on this machine, and where the time goes.

    python benchmarks/slam_speed.py                                   # a simulated street, 1242x375
    python benchmarks/slam_speed.py --input KITTI_RAW --drive 2011_09_26_drive_0013_sync --depth lidar

Frames are decoded or rendered before the clock starts, so what is timed is the SLAM alone, images reduced to
240x808 as always. CPU time is given beside the wall's: on a machine with other work only the first means anything.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Literal

from rich.console import Console
from rich.table import Table

from droid_bridge.depth_sources import open_depth
from droid_bridge.errors import DroidBridgeError
from droid_bridge.odometry_config import OdometryConfig
from droid_bridge.slam import Slam
from metric3d_ros.datasets.detection import open_recording
from metric3d_ros.datasets.frame import Frame, FrameSource
from metric3d_ros.datasets.simulated import SimulatedDrive
from metric3d_ros.errors import Metric3dError

_WARM_UP_FRAMES = 20  # the window fills, and adjusts longer while it does


def main() -> int:
    arguments = _arguments()
    try:
        frames = _frames(arguments)
        told = _timed(frames, arguments.depth != "none")
    except (DroidBridgeError, Metric3dError) as error:
        print(f"slam_speed: {error}", file=sys.stderr)
        return 2
    if arguments.json:
        print(json.dumps(told, indent=2))
        return 0
    Console().print(_table(told))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", default="simulated", metavar="DIR|simulated")
    parser.add_argument("--sequence", help="of KITTI odometry")
    parser.add_argument("--drive", help="of KITTI raw")
    parser.add_argument("--depth", default="truth", help="as for droid-bridge track (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=120, help="default: %(default)s, the first 20 not counted")
    parser.add_argument("--world-seed", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.frames <= _WARM_UP_FRAMES:
        parser.error(f"--frames is {arguments.frames}; give more than {_WARM_UP_FRAMES}")
    return arguments


def _frames(arguments: argparse.Namespace) -> list[Frame]:
    source: FrameSource
    if arguments.input == "simulated":
        source = SimulatedDrive(seed=arguments.world_seed, length_m=1.2 * arguments.frames)
    else:
        own: Literal["none", "own"] = "own" if arguments.depth in ("lidar", "truth") else "none"
        source = open_recording(arguments.input, sequence=arguments.sequence, drive=arguments.drive, depth=own)
    depth = open_depth(arguments.depth, source, None)
    return [depth(source[index]) for index in range(min(arguments.frames, len(source)))]


def _timed(frames: list[Frame], scale_prior: bool) -> dict[str, float | dict[str, float]]:
    """Frames per second and milliseconds a frame, by wall and by CPU, and the milliseconds of each step."""
    steps: dict[str, float] = {}
    counted = len(frames) - _WARM_UP_FRAMES
    with Slam(OdometryConfig(scale_prior=scale_prior)) as slam:
        for frame in frames[:_WARM_UP_FRAMES]:
            slam.track(frame)
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        for frame in frames[_WARM_UP_FRAMES:]:
            for name, milliseconds in slam.track(frame).odometry.latency_ms.items():
                steps[name] = steps.get(name, 0.0) + milliseconds / counted
        wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    steps["back end"] = max(0.0, 1e3 * wall_s / counted - sum(steps.values()))
    return {
        "frames": counted,
        "frames_per_second": counted / wall_s,
        "wall_ms_per_frame": 1e3 * wall_s / counted,
        "cpu_ms_per_frame": 1e3 * cpu_s / counted,
        "step_ms_per_frame": steps,
    }


def _table(told: dict[str, float | dict[str, float]]) -> Table:
    steps = told["step_ms_per_frame"]
    assert isinstance(steps, dict)
    total_ms = sum(steps.values())
    table = Table(
        title=f"{told['frames_per_second']:.1f} frames/s, {told['wall_ms_per_frame']:.0f} ms a frame by the wall, "
        f"{told['cpu_ms_per_frame']:.0f} ms of CPU"
    )
    table.add_column("step")
    for heading in ("ms a frame", "share"):
        table.add_column(heading, justify="right")
    for name, milliseconds in steps.items():
        table.add_row(name, f"{milliseconds:.1f}", f"{milliseconds / total_ms:.0%}")
    return table


if __name__ == "__main__":
    raise SystemExit(main())
