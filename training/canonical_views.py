"""Simulated views of the canonical-space experiment: many cameras, and which of them a training sees."""

from __future__ import annotations

import json
import math
from enum import IntEnum
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

from metric3d_ros.atomic_file import atomic_file, make_output_folder
from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.simulated import StreetWorld, render, sample_view
from metric3d_ros.datasets.simulated.styles import PLAIN
from training.cameras import FIRST_EVALUATION_SEED, FOCAL_RANGE_PX
from training.simulated_view import WORLD_LENGTH_M

IMAGE_WIDTH_PX, IMAGE_HEIGHT_PX, RENDERED_SHARE = 960, 384, 3
# Spread over the whole range: a guess from the middle of it would be right about a band in the middle.
BETWEEN_BANDS_PX = ((350.0, 410.0), (680.0, 760.0), (1200.0, 1400.0), (1650.0, 1850.0))
# Outside FOCAL_RANGE_PX, by as much as a camera may differ from all those of a training.
BEYOND_BANDS_PX = ((180.0, 230.0), (230.0, 280.0), (2200.0, 2600.0), (2600.0, 3000.0))
VIEWS_PER_WORLD = 8
DEPTH_SCALE = 256.0
FARTHEST_M = 250.0


class FocalLengths(IntEnum):
    """Where the focal lengths of a set of views lie."""

    SEEN = 0
    BETWEEN = 1
    BEYOND = 2

    @property
    def label(self) -> str:
        """The name in folders and results."""
        return self.name.lower()


UNSEEN_BANDS_PX = {FocalLengths.BETWEEN: BETWEEN_BANDS_PX, FocalLengths.BEYOND: BEYOND_BANDS_PX}


def random_camera(rng: np.random.Generator, focal_lengths: FocalLengths) -> PinholeCamera:
    """A camera of a focal length that training sees, or of one it does not, as it is rendered."""
    if focal_lengths is FocalLengths.SEEN:
        focal_px = _seen_focal_px(rng)
    else:
        bands_px = UNSEEN_BANDS_PX[focal_lengths]
        focal_px = float(rng.uniform(*bands_px[int(rng.integers(len(bands_px)))]))
    centre = ((IMAGE_WIDTH_PX - 1) / 2, (IMAGE_HEIGHT_PX - 1) / 2)
    camera = PinholeCamera(IMAGE_WIDTH_PX, IMAGE_HEIGHT_PX, focal_px, focal_px, *centre)
    return camera.resized(IMAGE_WIDTH_PX // RENDERED_SHARE, IMAGE_HEIGHT_PX // RENDERED_SHARE)


def _seen_focal_px(rng: np.random.Generator) -> float:
    low, high = (math.log(focal_px) for focal_px in FOCAL_RANGE_PX)
    while True:
        focal_px = math.exp(rng.uniform(low, high))
        if not is_unseen_focal(focal_px):
            return focal_px


def is_unseen_focal(focal_px: float) -> bool:
    """Whether this experiment keeps a focal length from its training."""
    return any(low <= focal_px <= high for bands_px in UNSEEN_BANDS_PX.values() for low, high in bands_px)


def render_views(folder: Path, views: int, focal_lengths: FocalLengths) -> Path:
    """Render views with their depth into ``folder``, unless they are there; returns their annotation file.

    Unseen focal lengths are seen in worlds that no training sees.
    """
    annotations = folder / "annotations.json"
    if annotations.is_file():
        return annotations
    make_output_folder(folder)
    files = []
    for number in track(range(views), description=f"rendering {folder.name}"):
        rng = np.random.default_rng([number, int(focal_lengths)])
        if number % VIEWS_PER_WORLD == 0:
            first_seed = 0 if focal_lengths is FocalLengths.SEEN else FIRST_EVALUATION_SEED
            world = StreetWorld.generate(seed=first_seed + number, length_m=WORLD_LENGTH_M, style=PLAIN)
        camera = random_camera(rng, focal_lengths)
        pose = sample_view(rng, world, camera, camera_height_m=(1.5, 1.8))
        rgb, depth_m = render(world, camera, pose, seed=number)
        stored = np.where(depth_m < FARTHEST_M, depth_m * DEPTH_SCALE, 0)
        cv2.imwrite(str(folder / f"{number:05d}.png"), np.ascontiguousarray(rgb[..., ::-1]))
        cv2.imwrite(str(folder / f"{number:05d}_depth.png"), np.nan_to_num(stored).astype(np.uint16))
        files.append(
            {
                "rgb": f"{number:05d}.png",
                "depth": f"{number:05d}_depth.png",
                "depth_scale": DEPTH_SCALE,
                "cam_in": [camera.fx, camera.fy, camera.cx, camera.cy],
            }
        )
    with atomic_file(annotations) as file:
        file.write(json.dumps({"files": files}).encode())
    return annotations
