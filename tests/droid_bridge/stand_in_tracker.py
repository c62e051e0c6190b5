"""A tracker for tests of the benchmark: takes ``droid-bridge track``'s arguments and errs by a known scale.

With a prior the path is 2 % too long; without one its scale starts at 0.5 and grows by half. Each run is noted in
``TRACKER_CALLS``; a sequence named in ``TRACKER_FAILS`` fails; ``TRACKER_SLEEPS`` names one that takes a minute.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from droid_bridge.trajectory import Trajectory, write_tum
from metric3d_ros.datasets.kitti_odometry import KittiOdometry
from metric3d_ros.point_cloud import write_ply


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--input", required=True)
    parser.add_argument("--sequence", required=True)
    parser.add_argument("--depth", required=True)
    parser.add_argument("--map", type=float)
    parser.add_argument("--camera-height", type=float)
    parser.add_argument("--keeps-height", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    arguments, _ = parser.parse_known_args()
    with Path(os.environ["TRACKER_CALLS"]).open("a") as calls:
        calls.write(f"{arguments.sequence} {arguments.depth}\n")
    (arguments.out / "pid").write_text(str(os.getpid()))
    if os.environ.get("TRACKER_SLEEPS") == arguments.sequence:
        time.sleep(60)
    if os.environ.get("TRACKER_FAILS") == arguments.sequence:
        print("droid-bridge: the stand-in fails, as it was told.", file=sys.stderr)
        return 2
    source = KittiOdometry(arguments.input, arguments.sequence)
    assert source.world_from_camera is not None
    poses = source.world_from_camera.copy()
    scale = np.full(len(poses) - 1, 1.02) if arguments.depth != "none" else np.linspace(0.5, 0.75, len(poses) - 1)
    poses[1:, :3, 3] = np.cumsum(np.diff(poses[:, :3, 3], axis=0) * scale[:, None], axis=0)
    write_tum(Trajectory(poses, stamps_ns=source.stamps_ns), arguments.out / "trajectory_tum.txt")
    if arguments.map is not None:
        # One point a metre below each camera, in the tracker's own metres.
        points_m = poses[:, :3, 3] + poses[:, :3, 1]
        write_ply(arguments.out / "map.ply", points_m, np.full((len(points_m), 3), 128, np.uint8))
    settings = {"camera_height": arguments.camera_height, "keeps_height": arguments.keeps_height}
    told = {"frames_per_second": 12.5, "settings": settings}
    (arguments.out / "metrics.json").write_text(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
