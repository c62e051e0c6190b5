"""How well `metric3d measure` knows its own error: lengths between random pixels of unseen simulated views.

python benchmarks/measured_lengths.py [--model nano] [--views 24] [--pairs 200]
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.errors import ImageError
from metric3d_ros.estimator import DepthPrediction, MetricDepthEstimator
from metric3d_ros.measurement import measure
from training.cameras import HELD_OUT_FOCAL_BANDS_PX
from training.held_out import drive_frames, random_views

# Pairs this near in the image are one object's two ends; the others are mostly lengths across the scene.
NEAR_SHARE_OF_WIDTH = 0.1


def measured_pairs(
    prediction: DepthPrediction, true_m: NDArray[np.float32], camera: PinholeCamera, pairs: int, seed: int
) -> list[tuple[float, float, float, bool]]:
    """Length, true length, uncertainty (metres) and whether the pixels are near, of random pairs with truth."""
    rng = np.random.default_rng(seed)
    truth = DepthPrediction(depth_m=true_m, confidence=None, camera=camera)
    found = []
    for near in (False, True):
        for _ in range(pairs // 2):
            start = rng.integers((camera.width_px, camera.height_px)).astype(float)
            reach_px = NEAR_SHARE_OF_WIDTH * camera.width_px
            end = start + rng.uniform(-reach_px, reach_px, 2).round()
            if not near:
                end = rng.integers((camera.width_px, camera.height_px)).astype(float)
            try:
                measured = measure(prediction, (start[0], start[1]), (end[0], end[1]))
                true_length_m = measure(truth, (start[0], start[1]), (end[0], end[1])).length_m
            except ImageError:
                continue
            if measured.uncertainty_m and true_length_m > 0:
                found.append((measured.length_m, true_length_m, measured.uncertainty_m, near))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--views", type=int, default=24)
    parser.add_argument("--pairs", type=int, default=200)
    options = parser.parse_args()
    estimator = MetricDepthEstimator.from_model(options.model)
    rows = []
    for source in (random_views, drive_frames):
        for band_px in HELD_OUT_FOCAL_BANDS_PX:
            for seed, (rgb, true_m, camera) in enumerate(source(band_px, options.views // 4)):
                rows += measured_pairs(estimator.predict(rgb, camera), true_m, camera, options.pairs, seed)
    table = Table("pixels", "pairs", "median length error", "within 1 x", "within 2 x", "median stated error")
    measured = np.array(rows)
    for name, chosen in (("anywhere", measured[:, 3] == 0), ("near each other", measured[:, 3] == 1)):
        length_m, true_m, uncertainty_m = measured[chosen, :3].T
        error = np.abs(length_m - true_m)
        table.add_row(
            name,
            str(chosen.sum()),
            f"{np.median(error / true_m):.1%}",
            f"{np.mean(error <= uncertainty_m):.1%}",
            f"{np.mean(error <= 2 * uncertainty_m):.1%}",
            f"{np.median(uncertainty_m / length_m):.1%}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
