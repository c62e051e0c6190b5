"""Textures of rooms: floors, wallpaper, cloth and the backs of books, drawn afresh for every world."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.datasets.simulated.atlas import Texture
from metric3d_ros.datasets.simulated.materials import Colour, coloured, opaque
from metric3d_ros.datasets.simulated.noise import Field, fractal_noise, speckle

# What a tile of each measures, in metres; a shelf of books is as high as its tile.
PARQUET_TILE_M, FLOOR_TILES_M, BOOKS_TILE_M = 1.6, 1.2, 0.32


def indoor_textures(rng: np.random.Generator) -> dict[str, Texture]:
    """Parquet, tiles, carpet, wallpaper, cloth and books; neutral where a tint colours them."""
    brown: Colour = (rng.uniform(0.2, 0.55), rng.uniform(0.15, 0.35), rng.uniform(0.08, 0.22))
    stone = float(rng.uniform(0.2, 0.7))
    return {
        "parquet": opaque(coloured(_parquet(rng, 256), brown), PARQUET_TILE_M),
        "floor_tiles": opaque(coloured(_tiles(rng, 256, int(rng.integers(2, 6))), (stone,) * 3), FLOOR_TILES_M),
        "carpet": opaque(coloured(1.0 + rng.uniform(0.03, 0.2) * speckle(rng, 256, 0.9), (0.6, 0.6, 0.6)), 1.0),
        "wallpaper": opaque(coloured(_wallpaper(rng, 256), (0.75, 0.75, 0.75)), 1.06),
        "cloth": opaque(coloured(_cloth(rng, 128), (0.6, 0.6, 0.6)), 0.5),
        "books": opaque(_books(rng, 256), BOOKS_TILE_M),
    }


def _parquet(rng: np.random.Generator, size_px: int) -> Field:
    """Boards side by side, each row of them set off by half a board."""
    boards, lengths = int(rng.integers(8, 20)), int(rng.integers(1, 4))
    column = np.arange(size_px) * boards / size_px
    number = column.astype(int)
    row = np.arange(size_px)[:, None] * lengths / size_px + rng.random(boards)[number][None, :]
    tone = rng.normal(1.0, 0.12, (boards, lengths))[number[None, :], row.astype(int) % lengths]
    gap = (column % 1)[None, :] < 0.05
    gap = gap | ((row % 1) < 0.012)
    return np.asarray((tone + 0.06 * fractal_noise(rng, size_px, 8, 4)) * np.where(gap, 0.5, 1.0), np.float32)


def _tiles(rng: np.random.Generator, size_px: int, count: int) -> Field:
    across = np.arange(size_px) * count / size_px
    row, column = np.meshgrid(across, across, indexing="ij")
    tone = 1.0 + rng.uniform(0.0, 0.08) * rng.standard_normal((count, count))
    if rng.random() < 0.25:
        tone = tone * np.where(np.add.outer(np.arange(count), np.arange(count)) % 2, 1.0, rng.uniform(0.2, 0.8))
    joint = (np.minimum(row % 1, column % 1) < 0.012 * count) * rng.uniform(-0.3, 0.6)
    field = tone[row.astype(int), column.astype(int)] + 0.03 * fractal_noise(rng, size_px, 4, 5)
    return np.asarray(field * (1.0 - joint), dtype=np.float32)


def _wallpaper(rng: np.random.Generator, size_px: int) -> Field:
    """Stripes, a lattice of dots, or next to nothing."""
    field = 1.0 + 0.02 * fractal_noise(rng, size_px, 3, 6)
    across = np.arange(size_px) / size_px
    kind, count, depth = rng.random(), int(rng.integers(3, 16)), rng.uniform(0.05, 0.35)
    if kind < 0.35:
        field = field - depth * ((across * count % 1) < rng.uniform(0.1, 0.6))[None, :]
    elif kind < 0.6:
        x, y = np.meshgrid(across * count % 1 - 0.5, across * count % 1 - 0.5)
        field = field - depth * (np.hypot(x, y) < rng.uniform(0.1, 0.4))
    return np.asarray(field, dtype=np.float32)


def _cloth(rng: np.random.Generator, size_px: int) -> Field:
    across = np.arange(size_px) / size_px
    field = 1.0 + 0.06 * speckle(rng, size_px, 0.7)
    if rng.random() < 0.4:
        stripes = (across * int(rng.integers(2, 10)) % 1) < 0.4
        field = field - rng.uniform(0.1, 0.5) * (stripes[None, :] | (stripes[:, None] & (rng.random() < 0.5)))
    return np.asarray(field, dtype=np.float32)


def _books(rng: np.random.Generator, size_px: int) -> NDArray[np.float32]:
    """Backs of books of one to five centimetres, their tops at unequal heights before a dark shelf."""
    wall = np.full((size_px, size_px, 3), 0.03, dtype=np.float32)
    left = 0
    while left < size_px:
        thick_px = int(rng.uniform(0.01, 0.05) / BOOKS_TILE_M * size_px)
        top = int(rng.uniform(0.05, 0.4) * size_px)
        colour = rng.uniform(0.03, 0.7, 3).astype(np.float32)
        wall[top:, left : left + thick_px] = colour
        label = int(rng.uniform(0.4, 0.8) * size_px)
        wall[label : label + size_px // 12, left : left + thick_px] = 0.5 * colour + 0.3
        left += thick_px + 1
    return wall
