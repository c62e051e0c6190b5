"""Textures with holes or drawings: leaves, fences, cars, signs, windows and doors."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from metric3d_ros.datasets.simulated.atlas import Texture
from metric3d_ros.datasets.simulated.noise import fractal_noise, speckle

WINDOWS_PER_SET = 4
OPENINGS_PER_SET = 7
# Facades whose set is numbered from here have shop fronts on the ground floor.
SHOPS_FROM = 100
OPENING_SETS = 3
_FIXED_POINT = 16

Canvas = NDArray[np.float32]


def drawn(rgb: Canvas, alpha: NDArray[np.float32] | None, size_m: float, repeats: bool = False) -> Texture:
    """A texture from linear albedo (size, size, 3) and opacity (size, size)."""
    rgba = np.full((*rgb.shape[:2], 4), 255, dtype=np.uint8)
    rgba[..., :3] = np.rint(255.0 * np.sqrt(np.clip(rgb, 0.0, 1.0)))
    if alpha is not None:
        rgba[..., 3] = np.rint(255.0 * np.clip(alpha, 0.0, 1.0))
    return Texture(rgba=rgba, size_m=size_m, repeats=repeats)


def leaf_textures(rng: np.random.Generator) -> dict[str, Texture]:
    """Branches of two trees, a conifer and a bush, a hedge, and a far row of trees."""
    autumn = float(rng.uniform(0.0, 1.0)) ** 3
    base = rng.uniform(0.75, 1.25) * np.array([0.06 + 0.05 * autumn, 0.085 + 0.01 * autumn, 0.028])
    return {
        "leaves_a": _branch(rng, 512, base * rng.uniform(0.8, 1.2), 1800, 5.5, 0.44),
        "leaves_b": _branch(rng, 512, base * [1.35, 1.1, 0.85] * rng.uniform(0.8, 1.3), 1300, 7.0, 0.42),
        "needles": _branch(rng, 512, np.array([0.035, 0.055, 0.03]), 2000, 4.5, 0.40),
        "bush": _branch(rng, 256, base * rng.uniform(0.6, 1.3), 900, 3.6, 0.44),
        "hedge": _hedge(rng, 512, base * rng.uniform(0.6, 1.0)),
        "tree_row": _tree_row(rng, 512, base * 0.8),
    }


def _leaves(
    rng: np.random.Generator, size_px: int, centres: NDArray[np.float64], colour: NDArray[np.float64], px: float
) -> tuple[Canvas, NDArray[np.float32]]:
    """Leaves painted from the darkest, deepest, to the brightest."""
    rgb = np.empty((size_px, size_px, 3), dtype=np.float32)
    rgb[:] = colour * 0.55
    alpha = np.zeros((size_px, size_px), dtype=np.float32)
    tones = np.linspace(0.25, 1.7, len(centres)) * rng.uniform(0.6, 1.4, len(centres))
    hues = rng.normal(1.0, 0.1, (len(centres), 3))
    for centre, tone, hue in zip(centres, tones, hues, strict=True):
        axes = px * rng.uniform(0.6, 1.4) * np.array([1.0, rng.uniform(0.35, 0.7)])
        at = tuple(int(v) for v in centre * _FIXED_POINT)
        half = tuple(max(1, int(v * _FIXED_POINT)) for v in axes)
        angle = float(rng.uniform(0, 180))
        paint = tuple(float(v) for v in colour * tone * hue)
        cv2.ellipse(rgb, at, half, angle, 0, 360, paint, -1, cv2.LINE_8, 4)
        cv2.ellipse(alpha, at, half, angle, 0, 360, 1.0, -1, cv2.LINE_8, 4)
    return rgb, alpha


def _branch(
    rng: np.random.Generator, size_px: int, colour: NDArray[np.float64], count: int, leaf_px: float, reach: float
) -> Texture:
    lobes = rng.normal(0.0, 0.2, (22, 2))
    spread = rng.normal(0.0, 0.075, (count, 2)) + lobes[rng.integers(0, len(lobes), count)]
    radius = np.linalg.norm(spread, axis=1, keepdims=True)
    spread = np.where(radius > reach, spread * reach / radius * rng.uniform(0.6, 1.0, (count, 1)), spread)
    rgb, alpha = _leaves(rng, size_px, (0.5 + spread) * size_px, colour, leaf_px)
    return drawn(rgb, alpha, 2.5)


def _hedge(rng: np.random.Generator, size_px: int, colour: NDArray[np.float64]) -> Texture:
    centres = rng.random((2600, 2)) * size_px
    rgb, _ = _leaves(rng, size_px, centres, colour, 6.5)
    rgb *= (1.0 + 0.18 * fractal_noise(rng, size_px, 4, 5, 0.7))[..., None]
    return drawn(rgb, None, 2.2, repeats=True)


def _tree_row(rng: np.random.Generator, size_px: int, colour: NDArray[np.float64]) -> Texture:
    """A wood seen from afar: opaque below an uneven top; the bottom row is the ground."""
    column = np.arange(size_px) / size_px
    top = 0.32 + 0.1 * np.sin(2 * np.pi * (column * 2 + rng.random())) * rng.uniform(0.3, 1)
    top += 0.08 * np.sin(2 * np.pi * (column * 5 + rng.random())) + 0.04 * np.sin(
        2 * np.pi * (column * 11 + rng.random())
    )
    centres = rng.random((5200, 2)) * size_px
    keep = centres[:, 1] / size_px > top[np.clip(centres[:, 0].astype(int), 0, size_px - 1)]
    rgb, alpha = _leaves(rng, size_px, centres[keep], colour, 5.5)
    rgb *= (1.0 + 0.25 * fractal_noise(rng, size_px, 4, 5, 0.7))[..., None]
    solid = (np.arange(size_px)[:, None] / size_px) > top[None, :] + 0.06
    return drawn(rgb, np.maximum(alpha, solid), 20.0, repeats=True)


def street_furniture_textures(rng: np.random.Generator) -> dict[str, Texture]:
    """Fences, wheels, number plates, lamps and road signs."""
    return {
        "pickets": _pickets(rng),
        "mesh": _mesh(),
        "wheel": _wheel(),
        "plate": _plate(rng),
        "glass": _glass(rng),
        "sign_round": _sign(rng, round_shape=True),
        "sign_board": _sign(rng, round_shape=False),
        "poster": _poster(rng),
    }


def _pickets(rng: np.random.Generator) -> Texture:
    size = 256
    rgb = np.ones((size, size, 3), dtype=np.float32) * 0.6
    rgb *= (1.0 + 0.1 * fractal_noise(rng, size, 6, 5))[..., None]
    alpha = np.zeros((size, size), dtype=np.float32)
    alpha[:, (np.arange(size) * 10 / size) % 1 < 0.6] = 1.0
    alpha[30:60], alpha[190:220] = 1.0, 1.0
    return drawn(rgb, alpha, 1.2, repeats=True)


def _mesh() -> Texture:
    size = 256
    rgb = np.full((size, size, 3), 0.16, dtype=np.float32)
    cells = np.arange(size) * 8 / size
    wires = ((cells % 1 < 0.16)[None, :]) | ((cells / 4 % 1 < 0.05)[:, None])
    return drawn(rgb, wires.astype(np.float32), 0.5, repeats=True)


def _wheel() -> Texture:
    size = 128
    rgb = np.full((size, size, 3), 0.015, dtype=np.float32)
    alpha = np.zeros((size, size), dtype=np.float32)
    centre = (size // 2, size // 2)
    cv2.circle(alpha, centre, size // 2 - 2, 1.0, -1, cv2.LINE_AA)
    cv2.circle(rgb, centre, int(size * 0.33), (0.3, 0.3, 0.31), -1, cv2.LINE_AA)
    for spoke in range(5):
        angle = 2 * np.pi * spoke / 5
        at = (int(size * (0.5 + 0.2 * np.cos(angle))), int(size * (0.5 + 0.2 * np.sin(angle))))
        cv2.circle(rgb, at, int(size * 0.075), (0.03, 0.03, 0.03), -1, cv2.LINE_AA)
    return drawn(rgb, alpha, 0.6)


def _plate(rng: np.random.Generator) -> Texture:
    size = 64
    rgb = np.full((size, size, 3), 0.75, dtype=np.float32)
    for letter in range(7):
        left = 6 + letter * 8
        cv2.rectangle(rgb, (left, 16), (left + 4, 48), (0.03, 0.03, 0.03), int(rng.choice([-1, 2])))
    rgb[:, :4] = (0.02, 0.05, 0.35)
    return drawn(rgb, None, 0.5)


def _glass(rng: np.random.Generator) -> Texture:
    size = 128
    rows = np.linspace(0.1, 0.025, size, dtype=np.float32)[:, None]
    tone = rows * (1.0 + 0.25 * fractal_noise(rng, size, 2, 4))
    return drawn(np.repeat(tone[..., None], 3, axis=2), None, 1.0)


def _sign(rng: np.random.Generator, round_shape: bool) -> Texture:
    size = 128
    alpha = np.zeros((size, size), dtype=np.float32)
    ring = [(0.5, 0.02, 0.02), (0.02, 0.08, 0.4), (0.6, 0.6, 0.6)][int(rng.integers(3))]
    rgb = np.empty((size, size, 3), dtype=np.float32)
    rgb[:] = ring
    centre = (size // 2, size // 2)
    if round_shape:
        cv2.circle(alpha, centre, size // 2 - 3, 1.0, -1, cv2.LINE_AA)
        cv2.circle(rgb, centre, int(size * 0.36), (0.75, 0.75, 0.75), -1, cv2.LINE_AA)
    else:
        alpha[:] = 1.0
        cv2.rectangle(rgb, (8, 8), (size - 9, size - 9), (0.7, 0.7, 0.65), -1)
    cv2.putText(
        rgb, str(rng.integers(3, 10) * 10), (30, 82), cv2.FONT_HERSHEY_SIMPLEX, 1.7, (0.02,) * 3, 8, cv2.LINE_AA
    )
    return drawn(rgb, alpha, 0.7)


def _poster(rng: np.random.Generator) -> Texture:
    size = 128
    rgb = np.empty((size, size, 3), dtype=np.float32)
    rgb[:] = rng.uniform(0.1, 0.8, 3)
    for _ in range(9):
        low = rng.integers(0, size - 20, 2)
        high = low + rng.integers(8, 60, 2)
        paint = tuple(float(v) for v in rng.uniform(0.02, 0.8, 3))
        cv2.rectangle(rgb, tuple(int(v) for v in low), tuple(int(v) for v in high), paint, -1)
    return drawn(rgb, None, 1.5)


def opening_textures(rng: np.random.Generator) -> dict[str, Texture]:
    """For each set: windows, doors and a shop front, each filling one bay of one storey (3 m x 3 m)."""
    textures = {}
    for number in range(OPENING_SETS):
        frame = rng.uniform(0.05, 0.7) if rng.random() < 0.5 else 0.7
        width, height, sill = rng.uniform(0.28, 0.5), rng.uniform(0.4, 0.52), rng.uniform(0.26, 0.36)
        shutters = rng.random() < 0.35
        shutter_paint = _muted_paint(rng)
        for variant in range(WINDOWS_PER_SET):
            textures[f"window_{number}_{variant}"] = _window(
                rng, frame, width, height, sill, shutter_paint if shutters else None
            )
        textures[f"door_{number}_0"] = _door(rng, 0.33, 0.71)
        textures[f"door_{number}_1"] = _door(rng, 0.8, 0.76)
        textures[f"shop_{number}_0"] = _shop(rng)
    return textures


def _window(
    rng: np.random.Generator, frame: float, width: float, height: float, sill: float, shutters: Canvas | None
) -> Texture:
    size = 256
    rgb = np.full((size, size, 3), 0.5, dtype=np.float32)
    alpha = np.zeros((size, size), dtype=np.float32)
    left, right = int(size * (0.5 - width / 2)), int(size * (0.5 + width / 2))
    bottom, top = int(size * (1 - sill)), int(size * (1 - sill - height))
    if shutters is not None:
        leaf = int(size * width / 2)
        for start in (left - leaf - 2, right + 2):
            rgb[top:bottom, start : start + leaf] = shutters
            rgb[top:bottom:6, start : start + leaf] *= 0.5
            alpha[top:bottom, start : start + leaf] = 1.0
    rgb[top - 5 : bottom + 5, left - 5 : right + 5] = frame
    alpha[top - 5 : bottom + 5, left - 5 : right + 5] = 1.0
    rgb[bottom + 3 : bottom + 9, left - 10 : right + 10] = 0.45
    alpha[bottom + 3 : bottom + 9, left - 10 : right + 10] = 1.0
    tone = float(rng.uniform(0.015, 0.07))
    pane = tone * (1.0 + 0.8 * np.linspace(1, 0, bottom - top)[:, None] + 0.3 * rng.random((1, right - left)))
    rgb[top:bottom, left:right] = pane[..., None]
    if rng.random() < 0.6:
        side = int((right - left) * rng.uniform(0.15, 0.5))
        rgb[top:bottom, left : left + side] = rng.uniform(0.15, 0.5)
        rgb[top:bottom, right - side : right] = rng.uniform(0.15, 0.5)
    if rng.random() < 0.3:
        rgb[top : top + int((bottom - top) * rng.uniform(0.2, 1.0)), left:right] = rng.uniform(0.25, 0.55)
    middle = (left + right) // 2
    rgb[top:bottom, middle - 3 : middle + 3] = frame
    if rng.random() < 0.5:
        bar = top + (bottom - top) // 3
        rgb[bar - 2 : bar + 3, left:right] = frame
    rgb[top : top + 5, left:right] *= 0.35
    return drawn(rgb, alpha, 3.0)


def _muted_paint(rng: np.random.Generator) -> Canvas:
    tone = rng.uniform(0.04, 0.35) * (1.0 + rng.uniform(-0.35, 0.35, 3))
    return np.asarray(tone, dtype=np.float32)


def _door(rng: np.random.Generator, width: float, height: float) -> Texture:
    size = 256
    rgb = np.full((size, size, 3), 0.5, dtype=np.float32)
    alpha = np.zeros((size, size), dtype=np.float32)
    left, right, top = int(size * (0.5 - width / 2)), int(size * (0.5 + width / 2)), int(size * (1 - height))
    rgb[top - 6 :, left - 6 : right + 6] = rng.uniform(0.2, 0.6)
    alpha[top - 6 :, left - 6 : right + 6] = 1.0
    rgb[top:, left:right] = _muted_paint(rng)
    for row in range(top + 8, size - 20, 42):
        inset = 8
        rgb[row : row + 32, left + inset : right - inset] *= 0.8
    rgb[top:, left:right] *= (1.0 + 0.05 * speckle(rng, size, 1.0))[top:, left:right, None]
    return drawn(rgb, alpha, 3.0)


def _shop(rng: np.random.Generator) -> Texture:
    size = 256
    rgb = np.full((size, size, 3), rng.uniform(0.1, 0.5), dtype=np.float32)
    rgb[20:64] = rng.uniform(0.05, 0.7, 3)
    for letter in range(9):
        left = 24 + letter * 24
        rgb[30:54, left : left + int(rng.integers(6, 18))] = rng.uniform(0.02, 0.9)
    rgb[74:226, 14:242] = 0.04
    for _ in range(14):
        x, y = int(rng.integers(18, 200)), int(rng.integers(90, 190))
        rgb[y : y + int(rng.integers(10, 36)), x : x + int(rng.integers(8, 36))] = rng.uniform(0.03, 0.35, 3)
    rgb[74:226, 124:132] = 0.3
    return drawn(rgb, np.ones((size, size), dtype=np.float32), 3.0)
