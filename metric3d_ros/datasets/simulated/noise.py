"""Tileable random fields that the textures are made of."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]


def value_noise(rng: np.random.Generator, size_px: int, cells_x: int, cells_y: int | None = None) -> Field:
    """Smooth noise (size, size) in [0, 1] with the given number of cells per tile, seamless at the borders."""
    rows = cells_x if cells_y is None else cells_y
    grid = rng.random((rows, cells_x), dtype=np.float32)
    if cells_x >= size_px and rows >= size_px:
        return grid[:size_px, :size_px]
    padded = np.pad(grid, 2, mode="wrap")
    step_x, step_y = size_px / cells_x, size_px / rows
    xs = ((np.arange(size_px) + 0.5) / step_x + 1.5).astype(np.float32)
    ys = ((np.arange(size_px) + 0.5) / step_y + 1.5).astype(np.float32)
    map_x, map_y = np.meshgrid(xs, ys)
    return np.asarray(np.clip(cv2.remap(padded, map_x, map_y, cv2.INTER_CUBIC), 0.0, 1.0).astype(np.float32))


def fractal_noise(
    rng: np.random.Generator, size_px: int, cells: int, octaves: int, persistence: float = 0.55
) -> Field:
    """Octaves of value noise (size, size), mean 0 and standard deviation 1."""
    total = np.zeros((size_px, size_px), dtype=np.float32)
    weight = 1.0
    for octave in range(octaves):
        total += weight * (value_noise(rng, size_px, min(size_px, cells << octave)) - 0.5)
        weight *= persistence
    return np.asarray(((total - total.mean()) / (total.std() + 1e-6)).astype(np.float32))


def speckle(rng: np.random.Generator, size_px: int, sigma_px: float) -> Field:
    """Blurred white noise (size, size), mean 0 and standard deviation 1, seamless at the borders."""
    white = rng.standard_normal((size_px, size_px), dtype=np.float32)
    reach = int(3 * sigma_px) + 1
    blurred = cv2.GaussianBlur(np.pad(white, reach, mode="wrap"), (0, 0), sigma_px)
    field = blurred[reach : reach + size_px, reach : reach + size_px]
    return np.asarray(((field - field.mean()) / (field.std() + 1e-6)).astype(np.float32))
