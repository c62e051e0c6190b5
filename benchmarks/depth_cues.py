"""What a depth network reads the ground from: its grain, how high things rise, and what is over them.

python benchmarks/depth_cues.py [--model nano] [--frames 16] [--kitti-raw ROOT DRIVE]

Frames of unseen plain drives, and of a real one, are changed in one thing at a time that leaves the distance of
the ground as it is. The table tells what the network says of it then, over what is true.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.estimator import MetricDepthEstimator
from training.cameras import HELD_OUT_FOCAL_BANDS_PX
from training.held_out import Truth, drive_frames
from training.view_sources import KittiViews

CAMERA_HEIGHT_M = 1.65
# What lies so near the level ground is taken for it.
GROUND_TOLERANCE_M = {"simulated": 0.15, "real": 0.3}
DISTANCES_M = ((5, 9), (9, 16), (16, 24), (24, 40))
FEWEST_PIXELS = 20
# Blur is told for this focal length, and is as wide an angle with any other.
BLUR_FOCAL_PX = 720.0
SHARP_DOWN_TO_SLOPE = 1 / 72
SKY_RGB = (235, 240, 250)

Change = Callable[[NDArray[np.uint8], PinholeCamera], NDArray[np.uint8]]


def blurred_ground(sigma_px: float) -> Change:
    """Everything from a little below the horizon on out of focus."""

    def change(rgb: NDArray[np.uint8], camera: PinholeCamera) -> NDArray[np.uint8]:
        first_row = round(camera.cy + SHARP_DOWN_TO_SLOPE * camera.fy)
        changed = rgb.copy()
        blurred = cv2.GaussianBlur(rgb, (0, 0), sigma_px * camera.fy / BLUR_FOCAL_PX)
        changed[first_row:] = blurred[first_row:]
        return changed

    return change


def taller_things(factor: float) -> Change:
    """The rows over the horizon stretched: to a level camera, things that rise so many times as high over it."""

    def change(rgb: NDArray[np.uint8], camera: PinholeCamera) -> NDArray[np.uint8]:
        horizon_px = int(camera.cy)
        about_horizon = np.array([[1.0, 0.0, 0.0], [0.0, factor, horizon_px * (1 - factor)]])
        changed = rgb.copy()
        changed[:horizon_px] = cv2.warpAffine(
            rgb, about_horizon, (camera.width_px, horizon_px), borderValue=SKY_RGB
        )
        return changed

    return change


def nothing_over(angle_deg: float) -> Change:
    """Sky instead of everything more than an angle over the horizon."""

    def change(rgb: NDArray[np.uint8], camera: PinholeCamera) -> NDArray[np.uint8]:
        first_row = max(0, round(camera.row_over_horizon(angle_deg)))
        changed = rgb.copy()
        changed[:first_row] = SKY_RGB
        return changed

    return change


CHANGES: dict[str, Change] = {
    "as it is": lambda rgb, _camera: rgb,
    **{f"ground blurred by {sigma_px:g} px": blurred_ground(sigma_px) for sigma_px in (1.5, 3.0, 4.5, 6.0)},
    **{f"things {factor:g} times as high": taller_things(factor) for factor in (0.4, 0.6, 1.6, 2.0, 3.0)},
    **{f"nothing over {angle_deg:g} degrees": nothing_over(angle_deg) for angle_deg in (4.0, 6.0, 10.0)},
}


def ground_ratios(
    estimator: MetricDepthEstimator, rgb: NDArray[np.uint8], truth: Truth, tolerance_m: float
) -> list[float]:
    """Median of depth over true depth of the ground at each of ``DISTANCES_M``, NaN where little of it is seen."""
    _, true_m, camera = truth
    depth_m = estimator.predict(rgb, camera).depth_m
    below_m = (np.arange(camera.height_px)[:, None] - camera.cy) / camera.fy * true_m
    is_ground = np.abs(below_m - CAMERA_HEIGHT_M) < tolerance_m
    ratios = []
    for near_m, far_m in DISTANCES_M:
        there = is_ground & (true_m >= near_m) & (true_m < far_m)
        enough = np.count_nonzero(there) >= FEWEST_PIXELS
        ratios.append(float(np.median(depth_m[there] / true_m[there])) if enough else float("nan"))
    return ratios


def kitti_frames(root: Path, drive: str, frames: int) -> Iterator[Truth]:
    """So many frames of a KITTI raw drive, spread over it, with LiDAR's depth."""
    views = KittiViews(root, drive)
    for index in np.linspace(0, len(views) - 1, frames).round().astype(int):
        view = views[int(index)]
        yield view.image, view.depth_m, view.camera


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--frames", type=int, default=16, help="of each kind")
    parser.add_argument("--kitti-raw", nargs=2, metavar=("ROOT", "DRIVE"))
    options = parser.parse_args()
    engine = MetricDepthEstimator.from_model(options.model).engine
    estimator = MetricDepthEstimator(engine, min_confidence=float("-inf"))
    sources = {"simulated": list(drive_frames(HELD_OUT_FOCAL_BANDS_PX[0], options.frames))}
    if options.kitti_raw:
        root, drive = options.kitti_raw
        sources["real"] = list(kitti_frames(Path(root), drive, options.frames))
    for name, truths in sources.items():
        table = Table(title=f"{name}: ground of {len(truths)} frames, depth over true depth", title_justify="left")
        for heading in ("", *(f"{near} to {far} m" for near, far in DISTANCES_M)):
            table.add_column(heading)
        for label, change in CHANGES.items():
            ratios = [
                ground_ratios(estimator, change(truth[0], truth[2]), truth, GROUND_TOLERANCE_M[name])
                for truth in truths
            ]
            table.add_row(label, *(f"{ratio:.2f}" for ratio in np.nanmean(ratios, axis=0)))
        Console().print(table)


if __name__ == "__main__":
    main()
