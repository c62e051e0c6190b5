"""Track a whole drive without ROS and print its drift, to see what the SLAM half does on its own.

    python benchmarks/track_offline.py --source kitti-raw --root ../shared/data/kitti_raw \
        --drive 2011_09_26_drive_0013_sync --prior lidar
    python benchmarks/track_offline.py --source kitti-odometry --root ../shared/data/kitti_odometry --prior off
    python benchmarks/track_offline.py --source simulated --length 400 --prior truth-noise --pixel-noise 0.1

With a prior nothing is aligned. Without one the scale is free: the drift is given after one scale from the first
tenth of the truth. The ATE is also given after a similarity, as monocular systems report it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from droid_bridge.errors import DroidBridgeError
from droid_bridge.evaluation.drift import evaluate_drift
from droid_bridge.evaluation.scale import scale_from_first_fraction, scaled
from droid_bridge.odometry import Odometry, OdometryConfig, OdometryUpdate
from droid_bridge.trajectory import Trajectory, write_kitti
from metric3d_ros.datasets.frame import Frame, FrameSource
from metric3d_ros.datasets.kitti_odometry import KittiOdometry
from metric3d_ros.datasets.kitti_raw import KittiRaw
from metric3d_ros.datasets.simulated import SimulatedDrive
from metric3d_ros.errors import Metric3dError

_NOISE_GRID_PX = 8  # noise is drawn on a grid of this step and smoothed, as a network errs by regions
_NOISE_BLUR_STEPS = 3.0


def main() -> int:
    arguments = _arguments()
    try:
        source = _open_source(arguments)
        updates, poses, seconds = _track(source, arguments)
    except (DroidBridgeError, Metric3dError) as error:
        print(f"track_offline: {error}", file=sys.stderr)
        return 2
    _report(source, updates, poses, seconds, arguments)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", choices=("kitti-raw", "kitti-odometry", "simulated"), required=True)
    parser.add_argument("--root", type=Path, help="folder of the KITTI data")
    parser.add_argument("--drive", default="2011_09_26_drive_0013_sync", help="of kitti-raw")
    parser.add_argument("--sequence", default="03", help="of kitti-odometry")
    parser.add_argument("--seed", type=int, default=7, help="simulated world")
    parser.add_argument("--length", type=float, default=400.0, help="simulated way, m")
    parser.add_argument("--prior", choices=("lidar", "truth-noise", "off"), default="off")
    parser.add_argument("--pixel-noise", type=float, default=0.1, help="relative, correlated over regions")
    parser.add_argument("--frame-noise", type=float, default=0.03, help="relative, one factor for each frame")
    parser.add_argument("--noise-seed", type=int, default=0)
    parser.add_argument("--frames", type=int, help="only the first ones")
    parser.add_argument("--lengths", type=float, nargs="+", default=[100.0], help="segment lengths, m")
    parser.add_argument("--out", type=Path, help="write the trajectory here (KITTI format)")
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    arguments = parser.parse_args()
    if arguments.source != "simulated" and arguments.root is None:
        parser.error(f"--source {arguments.source} needs --root")
    if (arguments.prior == "lidar") and arguments.source != "kitti-raw":
        parser.error("--prior lidar needs --source kitti-raw")
    if (arguments.prior == "truth-noise") and arguments.source == "kitti-odometry":
        parser.error("--prior truth-noise needs depth; --source kitti-odometry has none")
    return arguments


def _open_source(arguments: argparse.Namespace) -> FrameSource:
    if arguments.source == "kitti-raw":
        return KittiRaw(arguments.root, arguments.drive, depth="none" if arguments.prior == "off" else "lidar")
    if arguments.source == "kitti-odometry":
        return KittiOdometry(arguments.root, arguments.sequence)
    return SimulatedDrive(seed=arguments.seed, length_m=arguments.length)


def _frames(source: FrameSource, arguments: argparse.Namespace) -> Iterator[Frame]:
    rng = np.random.default_rng(arguments.noise_seed)
    count = len(source) if arguments.frames is None else min(arguments.frames, len(source))
    for index in range(count):
        frame = source[index]
        if arguments.prior == "truth-noise" and frame.depth_m is not None:
            frame = replace(frame, depth_m=_noisy(frame.depth_m, rng, arguments))
        yield frame


def _noisy(
    depth_m: NDArray[np.float32], rng: np.random.Generator, arguments: argparse.Namespace
) -> NDArray[np.float32]:
    """Depth with region-wise relative noise and one factor for the whole image."""
    height, width = depth_m.shape
    coarse = rng.standard_normal((height // _NOISE_GRID_PX + 1, width // _NOISE_GRID_PX + 1)).astype(np.float32)
    regions = cv2.GaussianBlur(coarse, (0, 0), _NOISE_BLUR_STEPS)
    regions = cv2.resize(regions / regions.std(), (width, height))
    factor = (1 + arguments.pixel_noise * regions).clip(0.1) * (1 + arguments.frame_noise * rng.standard_normal())
    return np.asarray(depth_m * factor, dtype=np.float32)


def _track(
    source: FrameSource, arguments: argparse.Namespace
) -> tuple[list[OdometryUpdate], NDArray[np.float64], float]:
    """Updates of all frames, the final poses, and the seconds that tracking alone took."""
    odometry = Odometry(OdometryConfig(scale_prior=arguments.prior != "off"))
    updates: list[OdometryUpdate] = []
    poses: dict[int, NDArray[np.float64]] = {}
    seconds = 0.0
    total = len(source) if arguments.frames is None else min(arguments.frames, len(source))
    console = Console(stderr=True)
    for frame in track(_frames(source, arguments), description=source.name, total=total, console=console):
        start = time.perf_counter()
        update = odometry.track(frame)
        seconds += time.perf_counter() - start
        updates.append(update)
        poses.update({tracked.frame_index: tracked.world_from_camera for tracked in update.window})
    return updates, np.stack([poses[index] for index in sorted(poses)]), seconds


def _report(
    source: FrameSource,
    updates: list[OdometryUpdate],
    poses: NDArray[np.float64],
    seconds: float,
    arguments: argparse.Namespace,
) -> None:
    estimate = Trajectory(poses)
    if arguments.out is not None:
        write_kitti(estimate, arguments.out)
    rows: dict[str, object] = {
        "frames": len(updates),
        "degraded": sum(update.status.value == "degraded" for update in updates),
        "ms_per_frame": round(1e3 * seconds / len(updates), 1),
        **{f"{name}_ms": value for name, value in _mean_latency_ms(updates).items()},
    }
    if source.world_from_camera is not None:
        truth = Trajectory(source.world_from_camera[: len(poses)])
        if arguments.prior == "off":
            factor = scale_from_first_fraction(truth, estimate)
            estimate = scaled(estimate, factor)
            rows["scaled_by_first_tenth"] = round(factor, 4)
        drift = evaluate_drift(truth, estimate, "none", arguments.lengths)
        rows |= {
            "t_rel_percent": round(drift.t_rel_percent, 3),
            "r_rel_deg_per_100m": round(drift.r_rel_deg_per_100m, 3),
            "ate_m": round(drift.ate_m, 3),
            "ate_sim3_m": round(evaluate_drift(truth, estimate, "sim3", arguments.lengths).ate_m, 3),
            "scale_start": round(drift.scale_start, 4),
            "scale_end": round(drift.scale_end, 4),
        }
    if arguments.json:
        print(json.dumps(rows))
        return
    print(f"{source.name}, prior {arguments.prior}")
    for name, value in rows.items():
        print(f"  {name:24} {value}")


def _mean_latency_ms(updates: list[OdometryUpdate]) -> dict[str, float]:
    names = sorted({name for update in updates for name in update.latency_ms})
    return {
        name: round(float(np.mean([u.latency_ms[name] for u in updates if name in u.latency_ms])), 1)
        for name in names
    }


if __name__ == "__main__":
    raise SystemExit(main())
