"""Write the figures a network is committed with, all measured on the file itself.

python -m training.figures --onnx metric3d_ros/models/nano.onnx [--kitti-raw ROOT DRIVE]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from metric3d_ros.atomic_file import atomic_file
from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.simulated.styles import ROOMS, VARIED
from metric3d_ros.errors import Metric3dError
from metric3d_ros.estimator import MetricDepthEstimator
from training.evaluate import evaluate_kitti_raw, evaluate_simulated

LATENCY_FRAMES = 50
KITTI_SIZE_PX = (1242, 375)


def latency_ms(estimator: MetricDepthEstimator) -> dict[str, float]:
    """Time of one KITTI-sized frame, letterbox and the way back included: median, 90th percentile and best."""
    width_px, height_px = KITTI_SIZE_PX
    camera = PinholeCamera(width_px, height_px, 721.5, 721.5, width_px / 2, height_px / 2)
    image = np.random.default_rng(0).integers(0, 255, (height_px, width_px, 3), dtype=np.uint8)
    seconds = []
    for _ in range(LATENCY_FRAMES):
        started = time.perf_counter()
        estimator.predict(image, camera)
        seconds.append(time.perf_counter() - started)
    ms = np.array(seconds[5:]) * 1e3
    return {"median": float(np.median(ms)), "p90": float(np.percentile(ms, 90)), "best": float(ms.min())}


def figures(onnx_file: Path, views: int, kitti_raw: tuple[Path, str] | None) -> dict[str, Any]:
    """What the file says of itself, its latency, and its errors on unseen worlds and, where given, real frames."""
    metadata = {entry.key: entry.value for entry in onnx.load(onnx_file).metadata_props}
    estimator = MetricDepthEstimator.from_model(str(onnx_file), threads=2)
    every_pixel = MetricDepthEstimator(estimator.engine, min_confidence=0.0)
    found: dict[str, Any] = {
        **metadata,
        "onnx_sha256": hashlib.sha256(onnx_file.read_bytes()).hexdigest(),
        "onnx_mb": round(onnx_file.stat().st_size / 1e6, 2),
        "machine": f"{os.cpu_count()}-core {platform.machine()} CPU",
        "kitti_frame_ms_2_threads": latency_ms(estimator),
        "simulated_unseen_worlds_and_focal_lengths": evaluate_simulated(every_pixel, views),
        "varied_unseen_worlds_and_focal_lengths": evaluate_simulated(every_pixel, views, VARIED),
        "rooms_unseen_rooms_and_focal_lengths": evaluate_simulated(every_pixel, views, ROOMS),
    }
    if kitti_raw is not None:
        found["kitti_raw_zero_shot"] = {
            "drive": kitti_raw[1],
            "every_pixel": evaluate_kitti_raw(every_pixel, *kitti_raw),
            "confident_pixels": evaluate_kitti_raw(estimator, *kitti_raw),
        }
    return found


def main(arguments: list[str] | None = None) -> int:
    """Measure and write; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m training.figures", description=__doc__)
    parser.add_argument("--onnx", type=Path, required=True)
    parser.add_argument("--views", type=int, default=96)
    parser.add_argument("--kitti-raw", nargs=2, metavar=("ROOT", "DRIVE"))
    parser.add_argument("--out", type=Path, help="default: beside the network, .json")
    options = parser.parse_args(arguments)
    kitti_raw = (Path(options.kitti_raw[0]), options.kitti_raw[1]) if options.kitti_raw else None
    out = options.out or options.onnx.with_suffix(".json")
    try:
        found = figures(options.onnx, options.views, kitti_raw)
        with atomic_file(out) as file:
            file.write(f"{json.dumps(_rounded(found), indent=2)}\n".encode())
    except Metric3dError as error:
        print(f"figures: {error}", file=sys.stderr)
        return 2
    print(out)
    return 0


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    return round(value, 4) if isinstance(value, float) else value


if __name__ == "__main__":
    sys.exit(main())
