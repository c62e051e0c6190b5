"""Networks side by side on some frames of a KITTI raw drive, against its LiDAR: before and after fine-tuning.

python -m training.compare_on_kitti ROOT DRIVE --frames 100 144 nano nano_kitti.onnx
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from metric3d_ros.errors import Metric3dError
from metric3d_ros.estimator import MetricDepthEstimator
from training.errors import TrainingError
from training.metrics import DepthMetrics, depth_metrics, mean_metrics
from training.view_sources import KittiViews

COLUMNS = ("abs_rel", "rmse_m", "silog", "delta1", "median_ratio")


def measure(model: str, frames: KittiViews, threads: int) -> DepthMetrics:
    """Mean metrics of a model over frames, every pixel with a reading counted.

    Raises
    ------
    TrainingError
        If no frame has a reading to compare with.
    """
    engine = MetricDepthEstimator.from_model(model, threads=threads).engine
    estimator = MetricDepthEstimator(engine, min_confidence=float("-inf"))
    views = (frames[index] for index in range(len(frames)))
    found = [depth_metrics(estimator.predict(view.image, view.camera).depth_m, view.depth_m) for view in views]
    measured = [metrics for metrics in found if metrics is not None]
    if not measured:
        raise TrainingError("no frame has LiDAR depth from 0.5 to 80 m to compare with; choose other frames.")
    return mean_metrics(measured)


def main(arguments: list[str] | None = None) -> int:
    """Compare; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m training.compare_on_kitti",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("root", type=Path)
    parser.add_argument("drive")
    parser.add_argument("models", nargs="+", help="model names or ONNX files")
    parser.add_argument("--frames", type=int, nargs=2, default=(), metavar=("FIRST", "END"))
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        frames = KittiViews(options.root, options.drive, options.frames)
        rows = {model: measure(model, frames, options.threads) for model in options.models}
    except Metric3dError as error:
        print(f"compare_on_kitti: {error}", file=sys.stderr)
        return 2
    table = Table("model", *COLUMNS)
    for model, metrics in rows.items():
        table.add_row(Path(model).name, *(f"{getattr(metrics, name):.3f}" for name in COLUMNS))
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
