"""Domain randomisation of materials: other colours, contrasts and grain sizes for what has no size of its own.

A network that learns how large a grain of asphalt or a leaf is learns something about the drawings, not about
streets. Bricks, windows, cars and signs keep their sizes: those are what a metre is read from.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.datasets.simulated.atlas import Texture

_GROUND = ("asphalt", "asphalt_patch", "paving", "grass", "meadow", "soil", "gravel", "variation")
_WALLS = ("plaster", "concrete", "stone", "wood", "bark", "hedge", "tree_row", "roof")
_LEAVES = ("leaves_a", "leaves_b", "needles", "bush", "hedge", "tree_row")


def repainted(rng: np.random.Generator, textures: dict[str, Texture]) -> dict[str, Texture]:
    """The textures with other tones; ground materials also have their tiles stretched or shrunk."""
    season = np.array([rng.uniform(0.7, 1.5), rng.uniform(0.85, 1.15), rng.uniform(0.6, 1.4)])
    changed = {}
    for name, texture in textures.items():
        stretch = float(np.exp(rng.uniform(-0.6, 0.6))) if name in _GROUND and name != "variation" else 1.0
        tint = season if name in _LEAVES or name in ("grass", "meadow") else np.exp(rng.normal(0.0, 0.08, 3))
        rgba = texture.rgba.copy()
        rgba[..., :3] = _toned(rng, texture.rgba[..., :3], tint, is_map=name == "variation")
        changed[name] = replace(texture, rgba=rgba, size_m=texture.size_m * stretch)
    return changed


def stretched_walls(rng: np.random.Generator) -> dict[str, float]:
    """By how much the tiles of wall materials are larger than drawn."""
    return {name: float(np.exp(rng.uniform(-0.5, 0.5))) for name in _WALLS}


def _toned(
    rng: np.random.Generator, square_root_albedo: NDArray[np.uint8], tint: NDArray[np.float64], is_map: bool
) -> NDArray[np.uint8]:
    """Contrast about the mean, brightness and colour, on the square root of albedo that textures hold."""
    values = square_root_albedo.astype(np.float32)
    mean = values.reshape(-1, 3).mean(axis=0)
    contrast = np.float32(rng.uniform(0.2, 1.6))
    gain = np.ones(3) if is_map else np.sqrt(tint) * np.exp(rng.normal(0.0, 0.15))
    return np.asarray(
        np.clip((mean + contrast * (values - mean)) * gain.astype(np.float32), 0, 255), dtype=np.uint8
    )
