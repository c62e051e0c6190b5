"""Textures that tile: road, ground and wall materials, drawn afresh for every world."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from metric3d_ros.datasets.simulated.atlas import Texture
from metric3d_ros.datasets.simulated.noise import Field, fractal_noise, speckle, value_noise

Colour = tuple[float, float, float]


def opaque(rgb: NDArray[np.float32], size_m: float) -> Texture:
    """A tiling texture from linear albedo (size, size, 3)."""
    rgba = np.full((*rgb.shape[:2], 4), 255, dtype=np.uint8)
    rgba[..., :3] = np.rint(255.0 * np.sqrt(np.clip(rgb, 0.0, 1.0)))
    return Texture(rgba=rgba, size_m=size_m)


def coloured(brightness: Field, colour: Colour) -> NDArray[np.float32]:
    """Linear albedo (size, size, 3): a colour times a brightness that is 1 on average."""
    return np.maximum(brightness, 0.02)[..., None] * np.asarray(colour, dtype=np.float32)


def ground_textures(rng: np.random.Generator) -> dict[str, Texture]:
    """Asphalt, paving, kerb stone, grass, soil, gravel, and the large-scale variation laid over everything."""
    gray = float(rng.uniform(0.13, 0.28))
    paving = float(rng.uniform(0.2, 0.38))
    warm = float(rng.uniform(0.9, 1.0))
    slab_colour = (paving, paving * warm, paving * warm**2)
    green = _grass_colour(rng)
    soil: Colour = (0.2 * rng.uniform(0.8, 1.3), 0.15, 0.09)
    return {
        "variation": opaque(_variation(rng, 256), 24.0),
        "asphalt": opaque(coloured(_asphalt(rng, 512), (gray, gray, gray * rng.uniform(0.95, 1.08))), 5.0),
        "asphalt_patch": opaque(coloured(_asphalt(rng, 256), (gray * rng.uniform(0.45, 0.8),) * 3), 3.0),
        "paving": opaque(coloured(_slabs(rng, 256, int(rng.integers(3, 7))), slab_colour), 2.0),
        "kerb": opaque(coloured(_slabs(rng, 256, 2, joint=0.75), (0.36, 0.35, 0.33)), 2.0),
        "grass": opaque(_grass(rng, 512, green), 3.0),
        "meadow": opaque(_grass(rng, 512, (green[0] * 1.35, green[1] * 1.05, green[2] * 1.1)), 4.5),
        "soil": opaque(coloured(1.0 + 0.3 * fractal_noise(rng, 256, 8, 5, 0.75), soil), 3.0),
        "gravel": opaque(coloured(_gravel(rng, 256), (0.33, 0.3, 0.26)), 2.0),
    }  # fmt: skip


def wall_textures(rng: np.random.Generator) -> dict[str, Texture]:
    """Plaster, brick, concrete, wood, roof tiles, bark and plain paint; neutral where a tint colours them."""
    plaster = 1.0 + 0.035 * fractal_noise(rng, 512, 3, 7, 0.7) + 0.03 * speckle(rng, 512, 0.8)
    concrete = 1.0 + 0.07 * fractal_noise(rng, 256, 3, 6, 0.7)
    paint = 1.0 + 0.02 * fractal_noise(rng, 128, 4, 4)
    tiles: Colour = (0.34 * rng.uniform(0.6, 1.1), 0.16, 0.11)
    bark = 1.0 + 0.3 * speckle(rng, 128, 1.0) + 0.25 * (value_noise(rng, 128, 24, 4) - 0.5)
    return {
        "plaster": opaque(coloured(plaster, (0.8, 0.8, 0.8)), 4.0),
        "brick": opaque(_brick(rng, 512), 2.4),
        "concrete": opaque(coloured(concrete, (0.4, 0.39, 0.37)), 4.0),
        "stone": opaque(coloured(_slabs(rng, 256, 5, joint=0.6), (0.42, 0.39, 0.34)), 2.0),
        "wood": opaque(coloured(_planks(rng, 256), (0.5, 0.42, 0.33)), 1.6),
        "roof": opaque(coloured(_roof_tiles(rng, 256), tiles), 2.6),
        "bark": opaque(coloured(bark, (0.17, 0.14, 0.11)), 1.0),
        "paint": opaque(coloured(paint, (0.8, 0.8, 0.8)), 1.0),
        "ribbed": opaque(coloured(_planks(rng, 128), (0.7, 0.7, 0.7)), 1.2),
    }


def _grass_colour(rng: np.random.Generator) -> Colour:
    dry = float(rng.uniform(0.0, 1.0))
    return (0.09 + 0.11 * dry, 0.13 + 0.04 * dry, 0.04 + 0.03 * dry)


def _variation(rng: np.random.Generator, size_px: int) -> NDArray[np.float32]:
    stains = 0.25 + 0.028 * fractal_noise(rng, size_px, 3, 6, 0.72)
    hue = 1.0 + 0.03 * np.stack([fractal_noise(rng, size_px, 3, 3) for _ in range(3)], axis=-1)
    return np.asarray((stains[..., None] * hue).astype(np.float32))


def _asphalt(rng: np.random.Generator, size_px: int) -> Field:
    field = 1.0 + 0.13 * speckle(rng, size_px, 0.8) + 0.08 * speckle(rng, size_px, 2.0)
    field += 0.045 * fractal_noise(rng, size_px, 4, 5, 0.7)
    field += 0.5 * (speckle(rng, size_px, 0.9) > 2.6)
    cracks = np.zeros((size_px, size_px), dtype=np.float32)
    for _ in range(int(rng.integers(0, 3))):
        steps = rng.normal(0.0, 1.0, (40, 2)).cumsum(axis=0) * 0.012
        start, heading = rng.random(2), rng.uniform(0, 2 * np.pi)
        along = np.linspace(0, 0.6, 40)[:, None] * [np.cos(heading), np.sin(heading)]
        points = ((start + along + steps) * size_px * 16).astype(np.int32)
        for shift_x in (-1, 0, 1):
            for shift_y in (-1, 0, 1):
                moved = points + np.array([shift_x, shift_y]) * size_px * 16
                cv2.polylines(cracks, [moved], False, 1.0, 2, cv2.LINE_AA, 4)
    return np.asarray((field * (1.0 - rng.uniform(0.3, 0.6) * cracks)).astype(np.float32))


def _slabs(rng: np.random.Generator, size_px: int, count: int, joint: float = 0.55) -> Field:
    cell = (np.arange(size_px) * count / size_px)[None, :].repeat(size_px, axis=0)
    rows = cell.T
    tone = 1.0 + 0.08 * rng.standard_normal((count, count))
    field = tone[rows.astype(int), cell.astype(int)] + 0.05 * speckle(rng, size_px, 0.9)
    field += 0.06 * fractal_noise(rng, size_px, 2, 5, 0.7)
    width = 0.018 * count
    near_joint = (np.minimum(cell % 1, rows % 1) < width) | (np.maximum(cell % 1, rows % 1) > 1 - width)
    return np.asarray(np.where(near_joint, joint * field, field), dtype=np.float32)


def _gravel(rng: np.random.Generator, size_px: int) -> Field:
    return np.asarray(1.0 + 0.2 * speckle(rng, size_px, 1.3) + 0.12 * fractal_noise(rng, size_px, 4, 4))


def _grass(rng: np.random.Generator, size_px: int, colour: Colour) -> NDArray[np.float32]:
    blades = 0.42 * speckle(rng, size_px, 0.8) + 0.3 * speckle(rng, size_px, 2.2)
    blades += 0.2 * fractal_noise(rng, size_px, 4, 5, 0.7)
    yellow = np.clip(0.5 + 0.35 * fractal_noise(rng, size_px, 5, 5, 0.7), 0.0, 1.0)
    tone = coloured((1.0 + blades).astype(np.float32), colour)
    tone[..., 0] *= 0.85 + 0.35 * yellow
    fallen = speckle(rng, size_px, 1.1) > 2.5
    tone[fallen] = np.array([0.4, 0.26, 0.1], dtype=np.float32) * float(rng.uniform(0.6, 1.2))
    return tone


def _brick(rng: np.random.Generator, size_px: int) -> NDArray[np.float32]:
    courses, per_course = 32, 10
    rows = np.arange(size_px) * courses / size_px
    columns = np.arange(size_px) * per_course / size_px
    row, column = np.meshgrid(rows, columns, indexing="ij")
    column = (column + 0.5 * (row.astype(int) % 2)) % per_course
    tone = rng.normal(1.0, 0.14, (courses, per_course))[row.astype(int), column.astype(int)]
    mortar = ((row % 1) < 0.16) | ((column % 1) < 0.05)
    red = rng.uniform(0.16, 0.34)
    colour = (red, red * rng.uniform(0.45, 0.75), red * rng.uniform(0.3, 0.5))
    wall = coloured((tone + 0.1 * speckle(rng, size_px, 0.9)).astype(np.float32), colour)
    wall[mortar] = 0.38 * (1.0 + 0.08 * speckle(rng, size_px, 0.8)[mortar])[:, None]
    return wall


def _planks(rng: np.random.Generator, size_px: int, count: int = 12) -> Field:
    column = np.arange(size_px) * count / size_px
    tone = rng.normal(1.0, 0.1, count)[column.astype(int)] * np.where((column % 1) < 0.12, 0.45, 1.0)
    return np.asarray((tone[None, :] + 0.08 * fractal_noise(rng, size_px, 8, 4)).astype(np.float32))


def _roof_tiles(rng: np.random.Generator, size_px: int, count: int = 8) -> Field:
    row = (np.arange(size_px) * count / size_px)[:, None]
    column = (np.arange(size_px) * count / size_px)[None, :]
    tone = rng.normal(1.0, 0.12, (count, count))[row.astype(int), column.astype(int)]
    shade = (0.7 + 0.45 * (row % 1)) * (0.75 + 0.35 * np.sin(np.pi * (column % 1)))
    return np.asarray((tone * shade + 0.06 * speckle(rng, size_px, 0.9)).astype(np.float32))
