"""What each part of the prior and of the back end is worth: the same frames, one part off at a time.

    python benchmarks/ablation.py --run RUN --jobs 2 --table docs/ablation.md
    python benchmarks/ablation.py --run RUN --kitti-raw DIR --drive 2011_09_26_drive_0013_sync

The drives are a simulated street, a simulated block whose start is seen again, and a real one that is given. Their
frames and noisy depth are made once and kept in RUN, so that every row sees the same, and each row leaves a file
there: the same command goes on after a kill. With a prior nothing is aligned; without one the scale is free and is
set once by the first tenth of the truth.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ablation_parts import VARIANTS, Variant
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from droid_bridge.benchmark.outcome import read_json, score
from droid_bridge.depth_sources import DepthNoise, open_depth
from droid_bridge.errors import DroidBridgeError
from droid_bridge.offline_tracking import frames_ahead
from droid_bridge.report.marked_section import require_section, write_section
from droid_bridge.slam import Slam
from droid_bridge.trajectory import Trajectory
from metric3d_ros.argument_types import lengths_m, positive_int
from metric3d_ros.atomic_file import make_output_folder, write_json
from metric3d_ros.datasets.detection import open_recording
from metric3d_ros.datasets.frame import FrameSource
from metric3d_ros.datasets.rosbag import BagReader, write_source
from metric3d_ros.datasets.simulated import SimulatedDrive
from metric3d_ros.datasets.simulated.drive import KITTI_LIKE_CAMERA
from metric3d_ros.datasets.simulated_loop import SimulatedLoop
from metric3d_ros.errors import Metric3dError

SECTION = "ablation"
LENGTHS_M = (50.0, 100.0)
CAMERA = KITTI_LIKE_CAMERA.resized(808, 240)  # the size that SLAM works at, rendered in half the time
STREET_SEED, STREET_M = 2000101, 200.0
BLOCK_SEED, BLOCK_M, OVERLAP_M = 2000103, 200.0, 60.0
HEADINGS = ("", "t_rel %", "t_rel % after one scale", "ATE m", "Sim(3) ATE m", "scale start, end", "loops")


@dataclass(frozen=True)
class Drive:
    """What is driven, and the noise on its depth."""

    name: str
    title: str
    source: FrameSource
    depth: str
    noise: DepthNoise


@dataclass(frozen=True)
class Row:
    """One variant on one drive, which leaves a file.

    Attributes
    ----------
    bag : the drive's frames with their depth.
    variant : what is off.
    lengths_m : segment lengths of the drift.
    result : the file it leaves.
    """

    bag: Path
    variant: Variant
    lengths_m: tuple[float, ...]
    result: Path


def main() -> int:
    arguments = _arguments()
    try:
        if arguments.table is not None:
            require_section(arguments.table, SECTION)
        drives = _drives(arguments)
        rows = {drive.name: _rows(drive, arguments) for drive in drives}
        _do([row for each in rows.values() for row in each], arguments.jobs)
        text = "\n\n".join(_table(drive, rows[drive.name]) for drive in drives)
        if arguments.table is not None:
            write_section(arguments.table, SECTION, text)
    except (DroidBridgeError, Metric3dError) as error:
        print(f"ablation: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("ablation: stopped; the same command goes on where it was.", file=sys.stderr)
        return 130
    print(text)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, metavar="DIR", help="folder of frames and results")
    parser.add_argument("--jobs", type=positive_int, default=1, help="rows at a time (default: %(default)s)")
    parser.add_argument("--frames", type=positive_int, metavar="N", help="only the first N frames of each drive")
    parser.add_argument("--lengths", type=lengths_m, default=LENGTHS_M, metavar="M,M,...", help="drift segments")
    parser.add_argument("--kitti-raw", type=Path, metavar="DIR", help="a real drive too, with its LiDAR as prior")
    parser.add_argument("--drive", help="which of --kitti-raw")
    parser.add_argument("--table", type=Path, metavar="PAGE.md", help="write the tables into it")
    return parser.parse_args()


def _drives(arguments: argparse.Namespace) -> list[Drive]:
    noisy = DepthNoise(0.2, 0.06)
    street = SimulatedDrive(STREET_SEED, STREET_M, CAMERA)
    block = SimulatedLoop(BLOCK_SEED, BLOCK_M, CAMERA, OVERLAP_M)
    drives = [
        Drive("street", f"Simulated street, {STREET_M:g} m, depth with 20 % / 6 % noise", street, "truth", noisy),
        Drive(
            "block",
            f"Simulated block, {BLOCK_M:g} m and its first {OVERLAP_M:g} m again, depth with 20 % / 6 % noise",
            block,
            "truth",
            noisy,
        ),
    ]
    if arguments.kitti_raw is not None:
        real = open_recording(arguments.kitti_raw, drive=arguments.drive, depth="own")
        title = f"Real, KITTI raw {arguments.drive or real.name}, LiDAR depth with 10 % / 3 % noise"
        if real.world_from_camera is None:
            raise DroidBridgeError(f"{real.name} has no true poses; choose a drive that has.")
        drives.append(Drive(real.name, title, real, "lidar", DepthNoise(0.1, 0.03)))
    return drives


def _rows(drive: Drive, arguments: argparse.Namespace) -> list[Row]:
    """The rows of a drive, whose frames are made where they are not there yet."""
    count = min(arguments.frames or len(drive.source), len(drive.source))
    folder = make_output_folder(arguments.run / f"{drive.name}_{count}")
    bag = folder / "drive.mcap"
    if not bag.exists():
        depth = open_depth(drive.depth, drive.source, drive.noise)
        write_source(drive.source, bag, frames=frames_ahead(drive.source, depth, count), max_frames=count)
    lengths_m = tuple(arguments.lengths)
    return [Row(bag, variant, lengths_m, folder / f"{number:02d}.json") for number, variant in enumerate(VARIANTS)]


def _do(rows: list[Row], jobs: int) -> None:
    """Do what is not done; each row says how it went as it ends."""
    left = [row for row in rows if not _is_done(row)]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    context = multiprocessing.get_context("spawn")
    with (
        Progress(*columns, console=Console(stderr=True)) as progress,
        ProcessPoolExecutor(jobs, mp_context=context) as pool,
    ):
        task = progress.add_task("rows", total=len(rows), completed=len(rows) - len(left))
        waiting = {pool.submit(_do_row, row): row for row in left}
        try:
            for future in as_completed(waiting):
                future.result()
                row = waiting[future]
                progress.console.print(f"{row.bag.parent.name}, {row.variant.name}", highlight=False)
                progress.advance(task)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _is_done(row: Row) -> bool:
    found = read_json(row.result)
    return found is not None and found["settings"] == _settings(row)


def _settings(row: Row) -> dict[str, Any]:
    """What a result belongs to, as JSON has it: another default makes another row."""
    plain: dict[str, Any] = _plain(asdict(row.variant) | {"lengths_m": row.lengths_m})
    return plain


def _plain(value: Any) -> Any:
    """Values as they come back from JSON."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value if isinstance(value, (int, float, str, bool, type(None))) else str(value)


def _do_row(row: Row) -> None:
    poses: dict[int, np.ndarray] = {}
    with BagReader(row.bag) as bag, Slam(row.variant.config, row.variant.back_end) as slam:
        for frame in _frames(bag):
            update = slam.track(frame)
            poses |= {pose.frame_index: pose.world_from_camera for pose in update.odometry.window}
        if row.variant.is_corrected:
            poses = {pose.frame_index: pose.world_from_camera for pose in slam.finish()}
        loops = slam.loops_closed
        assert bag.world_from_camera is not None, "a drive without a truth is refused before"
        truth = Trajectory(bag.world_from_camera)
    estimate = Trajectory(np.stack([poses[index] for index in sorted(poses)]))
    scored = score(truth, estimate, row.lengths_m, is_metric=row.variant.config.is_metric)
    write_json(
        {
            "name": row.variant.name,
            "settings": _settings(row),
            "loops": loops,
            "drift": scored.drift,
            "t_rel_percent_after_one_scale": scored.t_rel_percent_after_one_scale,
            "no_drift_because": scored.no_drift_because,
        },
        row.result,
    )


def _frames(bag: BagReader) -> Iterator[Any]:
    for index in range(len(bag)):
        yield bag[index]


def _table(drive: Drive, rows: list[Row]) -> str:
    lines = [f"**{drive.title}**", "", f"| {' | '.join(HEADINGS)} |", "|" + "---|" * len(HEADINGS)]
    for row in rows:
        found = read_json(row.result)
        assert found is not None, "every row is done"
        lines.append(f"| {row.variant.name} | {' | '.join(_cells(found))} |")
    return "\n".join(lines)


def _cells(found: dict[str, Any]) -> list[str]:
    drift = found["drift"]
    if drift is None:
        return [found["no_drift_because"], *["-"] * (len(HEADINGS) - 2)]
    once, sim3 = found["t_rel_percent_after_one_scale"], drift["ate_by_align_m"]["sim3"]
    return [
        f"{drift['t_rel_percent']:.2f}",
        "-" if once is None else f"{once:.2f}",
        f"{drift['ate_m']:.2f}",
        "-" if sim3 is None else f"{sim3:.2f}",
        f"{drift['scale_start']:.3f}, {drift['scale_end']:.3f}",
        str(found["loops"]),
    ]


if __name__ == "__main__":
    raise SystemExit(main())
