"""How exact the truth of a KITTI raw drive is: its GPS/INS positions against its own velocities, summed up.

    python benchmarks/truth_of_raw_drive.py --kitti-raw ROOT --drive 2011_09_26_drive_0013_sync --lengths 100

Both come from one receiver and have the same attitude: the drift between them is what no odometry can be held to.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from droid_bridge.evaluation.drift import evaluate_drift
from droid_bridge.trajectory import Trajectory
from metric3d_ros.argument_types import lengths_m
from metric3d_ros.datasets.kitti_raw import KittiRaw
from metric3d_ros.datasets.oxts import read_oxts, world_from_imu
from metric3d_ros.errors import Metric3dError

# Columns of a record, from 0 (dataformat.txt of KITTI raw).
NORTH_M_S, EAST_M_S, UP_M_S, POSITION_ACCURACY_M, SATELLITES = 7 - 1, 8 - 1, 11 - 1, 24 - 1, 27 - 1
FEWEST_SATELLITES = 4


def summed_up(velocities_m_s: NDArray[np.float64], stamps_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Positions (frames, 3) from velocities (frames, 3) by the trapezoidal rule, the first at zero."""
    steps_m = (velocities_m_s[1:] + velocities_m_s[:-1]) / 2 * np.diff(stamps_s)[:, None]
    return np.concatenate([np.zeros((1, 3)), np.cumsum(steps_m, axis=0)])


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kitti-raw", type=Path, required=True)
    parser.add_argument("--drive", required=True)
    parser.add_argument("--lengths", type=lengths_m, default=(100.0,), metavar="M[,M...]")
    options = parser.parse_args()
    try:
        drive = KittiRaw(options.kitti_raw, options.drive)
        folder = options.kitti_raw / options.drive[:10] / options.drive / "oxts" / "data"
        records = read_oxts(folder, range(len(drive)), columns=SATELLITES + 1)
    except Metric3dError as error:
        print(f"truth_of_raw_drive: {error}", file=sys.stderr)
        return 2
    by_position = world_from_imu(records[:, :6])
    by_velocity = by_position.copy()
    by_velocity[:, :3, 3] = summed_up(records[:, [EAST_M_S, NORTH_M_S, UP_M_S]], drive.stamps_ns / 1e9)
    report = evaluate_drift(Trajectory(by_position), Trajectory(by_velocity), lengths_m=options.lengths)
    table = Table("velocities summed up, against positions", options.drive)
    table.add_row("t_rel %", f"{report.t_rel_percent:.2f}")
    table.add_row("ATE m", f"{report.ate_m:.2f}")
    table.add_row("scale start, end", f"{report.scale_start:.4f}, {report.scale_end:.4f}")
    table.add_row(
        "accuracy that the receiver states, m",
        f"{records[:, POSITION_ACCURACY_M].min():.2f} to {records[:, POSITION_ACCURACY_M].max():.2f}",
    )
    table.add_row(
        f"frames with under {FEWEST_SATELLITES} satellites",
        f"{(records[:, SATELLITES] < FEWEST_SATELLITES).sum()} of {len(records)}",
    )
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
