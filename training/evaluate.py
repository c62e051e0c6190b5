"""Evaluate an exported network, through the estimator that robots run.

python -m training.evaluate --onnx F --simulated [--views 96]
python -m training.evaluate --onnx F --kitti-raw ROOT DRIVE
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from metric3d_ros.datasets.kitti_raw import KittiRaw
from metric3d_ros.errors import Metric3dError
from metric3d_ros.estimator import MetricDepthEstimator
from training.cameras import HELD_OUT_FOCAL_BANDS_PX
from training.held_out import drive_frames, random_views
from training.metrics import DepthMetrics, depth_metrics, mean_metrics


def evaluate_simulated(estimator: MetricDepthEstimator, views: int) -> dict[str, Any]:
    """Metrics on unseen worlds with unseen focal lengths, nothing scaled.

    ``views`` random views and as many frames of drives, half of each per focal band.

    Returns
    -------
    ``views`` and ``drives`` (means over all their images) and one entry per kind and focal band.
    """
    results: dict[str, Any] = {"images_of_each": views}
    for kind, source in (("views", random_views), ("drives", drive_frames)):
        everything: list[DepthMetrics] = []
        for band_px in HELD_OUT_FOCAL_BANDS_PX:
            name = f"{kind}_{band_px[0]:.0f}_{band_px[1]:.0f}_px"
            share = views // len(HELD_OUT_FOCAL_BANDS_PX)
            frames = track(source(band_px, share), description=name, total=share, transient=True)
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


def print_table(results: dict[str, Any]) -> None:
    """The results that are metrics, one row each."""
    table = Table("", "AbsRel", "RMSE m", "SILog", "delta1", "delta2", "delta3", "median ratio", "coverage")
    for name, row in results.items():
        if isinstance(row, dict) and "abs_rel" in row:
            table.add_row(name, *(f"{value:.3f}" for value in row.values()))
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
    parser.add_argument("--views", type=int, default=96, help="simulated views")
    parser.add_argument(
        "--min-confidence", type=float, default=0.0, help="judge only pixels this sure (default: all)"
    )
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    options = parser.parse_args(arguments)
    try:
        estimator = MetricDepthEstimator.from_model(options.onnx, threads=options.threads)
        estimator = MetricDepthEstimator(estimator.engine, min_confidence=options.min_confidence)
        if options.simulated:
            results = evaluate_simulated(estimator, options.views)
        else:
            results = evaluate_kitti_raw(estimator, Path(options.kitti_raw[0]), options.kitti_raw[1])
    except Metric3dError as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(results, indent=2))
    else:
        print_table(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
