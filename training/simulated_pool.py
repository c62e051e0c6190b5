"""Fill a pool with views of simulated worlds; it may stop and go on, and training may start meanwhile.

python -m training.simulated_pool --out training_output/pool --style varied [--shards 400] [--first-shard 0]
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.canonical import label_to_canonical
from metric3d_ros.datasets.simulated import StreetWorld
from metric3d_ros.datasets.simulated.styles import STYLES, VARIED
from metric3d_ros.letterbox import PADDING_RGB, PRINCIPAL_ROW, Letterbox
from training.cameras import FIRST_EVALUATION_SEED, sample_camera
from training.pool import VIEWS_PER_SHARD, View, has_shard, save_shard
from training.simulated_view import WORLD_LENGTH_M, simulated_view

TRAFFIC_PROBABILITY = 0.6


def render_view(
    rng: np.random.Generator,
    world: StreetWorld,
    camera: PinholeCamera,
    height_px: int,
    width_px: int,
    style: str = VARIED,
) -> View:
    """A plausible view of ``world``, rendered at the size it has inside the letterbox around its principal row."""
    letterbox = Letterbox.for_camera(camera, width_px, height_px, PRINCIPAL_ROW)
    content_camera = camera.resized(letterbox.content_width_px, letterbox.content_height_px)
    rgb, depth_m = simulated_view(rng, world, content_camera, style)
    image = np.empty((height_px, width_px, 3), dtype=np.uint8)
    image[:] = PADDING_RGB
    depth = np.full((height_px, width_px), np.nan, dtype=np.float32)
    left, top = letterbox.left_px, letterbox.top_px
    inside = np.s_[top : top + letterbox.content_height_px, left : left + letterbox.content_width_px]
    image[inside] = rgb
    depth[inside] = label_to_canonical(depth_m, content_camera)
    return View(
        image=image,
        depth=depth,
        content=(left, top, letterbox.content_width_px, letterbox.content_height_px),
    )


def render_views(rng: np.random.Generator, height_px: int, width_px: int, style: str) -> list[View]:
    """As many views as a shard has of one random world that training may see, each through a camera of its own."""
    world = StreetWorld.generate(
        seed=int(rng.integers(FIRST_EVALUATION_SEED)),
        length_m=WORLD_LENGTH_M,
        traffic=bool(rng.random() < TRAFFIC_PROBABILITY),
        style=style,
    )
    return [
        render_view(rng, world, sample_camera(rng), height_px, width_px, style) for _ in range(VIEWS_PER_SHARD)
    ]


def render_shard(folder: Path, index: int, seed: int, height_px: int, width_px: int, style: str) -> None:
    """Render shard ``index``, views of one world, unless it exists; seed, index and style decide every byte."""
    if has_shard(folder, index):
        return
    save_shard(folder, index, render_views(np.random.default_rng([seed, index]), height_px, width_px, style))


def _render_job(job: tuple[Path, int, int, int, int, str]) -> None:
    cv2.setNumThreads(1)
    render_shard(*job)


def main(arguments: list[str] | None = None) -> int:
    """Render shards; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m training.simulated_pool", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the pool")
    parser.add_argument("--shards", type=int, default=400, help=f"shards of {VIEWS_PER_SHARD} views each")
    parser.add_argument("--first-shard", type=int, default=0, help="number of the first, to make a pool larger")
    parser.add_argument("--style", choices=STYLES, default=VARIED, help="of the worlds (default: varied)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--height", type=int, default=160)
    parser.add_argument("--width", type=int, default=544)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    numbers = range(options.first_shard, options.first_shard + options.shards)
    jobs = [(options.out, n, options.seed, options.height, options.width, options.style) for n in numbers]
    with multiprocessing.get_context("spawn").Pool(options.workers) as workers:
        for _ in track(workers.imap_unordered(_render_job, jobs), total=len(jobs), description="rendering views"):
            pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
