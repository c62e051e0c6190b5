"""A camera that slides past a textured wall, 5 cm an image; a network reads the metres off the red channel."""

from __future__ import annotations

import cv2
import numpy as np

WIDTH_PX, HEIGHT_PX, FOCAL_PX, STEP_M = 400, 240, 400.0, 0.05
# Of a network of 64x32 px whose canonical depth is red and whose canonical focal length is 1000 px.
NETWORK_SCALE = 32 / HEIGHT_PX
RED = 94
WALL_M = RED * FOCAL_PX * NETWORK_SCALE / 1000
PERIOD_NS = 100_000_000
CANONICAL = {"model": "channels", "canonical_focal_px": "1000"}


def _texture() -> np.ndarray:
    generator = np.random.default_rng(3)
    layers = [
        cv2.resize(generator.uniform(0, 255, (300 // size, 900 // size)).astype(np.float32), (900, 300))
        for size in (3, 7, 20)
    ]
    return np.clip(np.mean(layers, axis=0) * 1.6 - 75, 0, 255).astype(np.uint8)


TEXTURE = _texture()


def view(frame: int) -> np.ndarray:
    """The RGB image of a frame."""
    shift_px = round(frame * STEP_M * FOCAL_PX / WALL_M)
    seen = TEXTURE[20 : 20 + HEIGHT_PX, 20 + shift_px : 20 + shift_px + WIDTH_PX]
    return np.dstack([np.full_like(seen, RED), seen, seen])
