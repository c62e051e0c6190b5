"""What nothing was trained on: unseen worlds through cameras of the held-out focal lengths."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.simulated import SimulatedDrive, StreetWorld
from metric3d_ros.datasets.simulated.styles import PLAIN
from training.cameras import FIRST_EVALUATION_SEED, sample_camera
from training.simulated_view import WORLD_LENGTH_M, simulated_view

VIEWS_PER_WORLD = 4

# Image uint8 (h, w, 3), depth float32 (h, w) in metres or NaN, and the camera of both.
Truth = tuple[NDArray[np.uint8], NDArray[np.float32], PinholeCamera]


def random_views(band_px: tuple[float, float], views: int, seed: int = 0, style: str = PLAIN) -> Iterator[Truth]:
    """Views as in training.

    On streets any lane or pavement, one in ten in any direction, mounted 1.2 to 2.2 m high; in rooms anywhere,
    0.3 to 1.8 m high.
    """
    rng = np.random.default_rng([seed, round(band_px[0])])
    for number in range(views):
        if number % VIEWS_PER_WORLD == 0:
            world = StreetWorld.generate(seed=_world_seed(rng), length_m=WORLD_LENGTH_M, style=style)
        camera = sample_camera(rng, (band_px,))
        rgb, depth_m = simulated_view(rng, world, camera, style)
        yield rgb, depth_m, camera


def drive_frames(band_px: tuple[float, float], views: int, seed: int = 0, style: str = PLAIN) -> Iterator[Truth]:
    """Frames of drives along the lane, spread over each drive, the camera 1.65 m high: what SLAM gets."""
    rng = np.random.default_rng([seed, round(band_px[1])])
    for number in range(views):
        if number % VIEWS_PER_WORLD == 0:
            drive = SimulatedDrive(
                seed=_world_seed(rng),
                length_m=WORLD_LENGTH_M,
                camera=sample_camera(rng, (band_px,)),
                style=style,
            )
        frame = drive[(number % VIEWS_PER_WORLD) * len(drive) // VIEWS_PER_WORLD]
        assert frame.depth_m is not None
        yield frame.image, frame.depth_m, frame.camera


def _world_seed(rng: np.random.Generator) -> int:
    return FIRST_EVALUATION_SEED + int(rng.integers(FIRST_EVALUATION_SEED))
