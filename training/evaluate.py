"""Evaluate an exported network, through the estimator that robots run.

python -m training.evaluate --onnx F --simulated [--views 96]
python -m training.evaluate --onnx F --kitti-raw ROOT DRIVE
python -m training.evaluate --onnx F --annotations test.json --protocol kitti|nyu [--root DIR]
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from metric3d_ros.datasets.kitti_raw import KittiRaw
from metric3d_ros.datasets.simulated.styles import PLAIN, STYLES, world_style
from metric3d_ros.errors import Metric3dError
from metric3d_ros.estimator import MetricDepthEstimator
from training.annotations import read_annotations
from training.cameras import HELD_OUT_FOCAL_BANDS_PX
from training.errors import TrainingError
from training.evaluation_protocols import PROTOCOLS, Protocol, judge, summary
from training.held_out import drive_frames, random_views
from training.metrics import DepthMetrics, depth_metrics, mean_metrics

HEADINGS = {
    "abs_rel": "AbsRel",
    "rmse_m": "RMSE m",
    "rmse_log": "RMSE log",
    "log10": "log10",
    "silog": "SILog",
    "delta1": "delta1",
    "delta2": "delta2",
    "delta3": "delta3",
    "median_ratio": "median ratio",
    "coverage": "coverage",
}


def evaluate_simulated(estimator: MetricDepthEstimator, views: int, style: str = PLAIN) -> dict[str, Any]:
    """Metrics on unseen worlds of a style with unseen focal lengths, nothing scaled.

    ``views`` random views and, where there is a street, as many frames of drives, half of each per focal band.

    Returns
    -------
    ``views`` and ``drives`` (means over all their images) and one entry per kind and focal band.
    """
    results: dict[str, Any] = {"images_of_each": views}
    drives = (("drives", drive_frames),) if world_style(style).has_street else ()
    for kind, source in (("views", random_views), *drives):
        everything: list[DepthMetrics] = []
        for band_px in HELD_OUT_FOCAL_BANDS_PX:
            name = f"{kind}_{band_px[0]:.0f}_{band_px[1]:.0f}_px"
            share = views // len(HELD_OUT_FOCAL_BANDS_PX)
            frames = track(source(band_px, share, style=style), description=name, total=share, transient=True)
            found = [depth_metrics(estimator.predict(rgb, camera).depth_m, truth) for rgb, truth, camera in frames]
            measured = [metrics for metrics in found if metrics is not None]
            results[name] = asdict(mean_metrics(measured))
            everything += measured
        results[kind] = asdict(mean_metrics(everything))
    return results


def evaluate_kitti_raw(estimator: MetricDepthEstimator, root: Path, drive: str) -> dict[str, Any]:
    """Metrics of a KITTI raw drive against its LiDAR scans, raw and median-scaled.

    ``scale_spread`` is what a SLAM that takes this depth for its scale feels: the median ratio's standard
    deviation over the frames, and its mean over the first and last tenth of the drive.
    """
    source = KittiRaw(root, drive, depth="lidar")
    raw: list[DepthMetrics] = []
    scaled: list[DepthMetrics] = []
    for index in track(range(len(source)), description=drive, transient=True):
        frame = source[index]
        assert frame.depth_m is not None
        predicted_m = estimator.predict(frame.image, frame.camera).depth_m
        metrics = depth_metrics(predicted_m, frame.depth_m)
        median_scaled = depth_metrics(predicted_m, frame.depth_m, median_scaled=True)
        if metrics is not None and median_scaled is not None:
            raw.append(metrics)
            scaled.append(median_scaled)
    ratios = np.array([metrics.median_ratio for metrics in raw])
    tenth = max(1, len(ratios) // 10)
    return {
        "images": len(raw),
        "raw": asdict(mean_metrics(raw)),
        "median_scaled": asdict(mean_metrics(scaled)),
        "scale_spread": {
            "standard_deviation": float(ratios.std()),
            "start": float(ratios[:tenth].mean()),
            "end": float(ratios[-tenth:].mean()),
            "lowest": float(ratios.min()),
            "highest": float(ratios.max()),
        },
    }


def evaluate_annotations(
    estimator: MetricDepthEstimator, annotations: Path, protocol: Protocol, root: Path | None = None
) -> dict[str, Any]:
    """Metrics over the images of one of the paper's annotation files, raw and median-scaled.

    One image that cannot be read ends it: a benchmark of fewer images is another benchmark.
    """
    entries = read_annotations(annotations, root)
    judged = [
        judge(estimator, entry, protocol) for entry in track(entries, description=protocol.name, transient=True)
    ]
    return summary(judged, protocol)


def print_table(results: dict[str, Any]) -> None:
    """The results that are metrics, one column each, so that they fit a terminal."""
    columns = {name: row for name, row in results.items() if isinstance(row, dict) and "abs_rel" in row}
    table = Table("", *(name.replace("_", " ") for name in columns))
    for metric, heading in HEADINGS.items():
        table.add_row(heading, *(f"{row[metric]:.3f}" for row in columns.values()))
    console = Console()
    console.print(table)
    if "scale_spread" in results:
        console.print({key: round(value, 3) for key, value in results["scale_spread"].items()})


def main(arguments: list[str] | None = None) -> int:
    """Evaluate; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=__doc__)
    parser.add_argument("--onnx", required=True, help="model name or ONNX file")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--simulated", action="store_true", help="unseen worlds, unseen focal lengths")
    what.add_argument("--kitti-raw", nargs=2, metavar=("ROOT", "DRIVE"))
    what.add_argument("--annotations", type=Path, metavar="JSON", help="the paper's annotation file")
    parser.add_argument("--protocol", choices=sorted(PROTOCOLS), help="crop and range for --annotations")
    parser.add_argument("--root", type=Path, help="what its paths are relative to (default: its own folder)")
    parser.add_argument("--views", type=int, default=96, help="simulated views")
    parser.add_argument("--style", choices=STYLES, default=PLAIN, help="of the simulated worlds (default: plain)")
    parser.add_argument(
        "--min-confidence", type=float, default=-math.inf, help="judge only pixels this sure (default: all)"
    )
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    options = parser.parse_args(arguments)
    try:
        estimator = MetricDepthEstimator.from_model(options.onnx, threads=options.threads)
        estimator = MetricDepthEstimator(estimator.engine, min_confidence=options.min_confidence)
        results = _evaluate(estimator, options)
    except Metric3dError as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(results, indent=2))
    else:
        print_table(results)
    return 0


def _evaluate(estimator: MetricDepthEstimator, options: argparse.Namespace) -> dict[str, Any]:
    if options.simulated:
        return evaluate_simulated(estimator, options.views, options.style)
    if options.kitti_raw:
        return evaluate_kitti_raw(estimator, Path(options.kitti_raw[0]), options.kitti_raw[1])
    if options.protocol is None:
        raise TrainingError(f"--annotations needs a crop and a range; give --protocol {' or '.join(PROTOCOLS)}.")
    return evaluate_annotations(estimator, options.annotations, PROTOCOLS[options.protocol], options.root)


if __name__ == "__main__":
    sys.exit(main())
