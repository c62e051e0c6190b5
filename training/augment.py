"""What cameras and weather do to the colours of views of drawn worlds.

The colours are bent hard on purpose: the worlds are drawn, the images that come later are not.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


def photometric(rng: np.random.Generator, image: Image, gray_probability: float) -> Image:
    """Light, lens, sensor and file format, in the order in which they act on a picture."""
    pixels: NDArray[np.float32] = image.astype(np.float32) / np.float32(255)
    if rng.random() < 0.25:
        pixels = smooth_over(rng, pixels)
    if rng.random() < 0.3:
        pixels = cast_shadow(rng, pixels)
    if rng.random() < 0.25:
        pixels = dapple(rng, pixels)
    if rng.random() < 0.15:
        pixels = add_veil(rng, pixels)
    if rng.random() < 0.2:
        pixels = filter_at_random(rng, pixels)
    pixels = bend_colours(rng, pixels)
    if rng.random() < gray_probability:
        pixels = np.repeat(pixels @ np.array([[0.299], [0.587], [0.114]], dtype=np.float32), 3, axis=2)
    pixels = bend_tones(rng, pixels)
    if rng.random() < 0.35:
        pixels = soften(rng, pixels)
    elif rng.random() < 0.2:
        pixels = sharpen(rng, pixels)
    if rng.random() < 0.5:
        pixels = pixels + rng.standard_normal(pixels.shape, dtype=np.float32) * np.float32(
            rng.uniform(0.003, 0.04)
        )
    result: Image = np.clip(pixels * 255 + 0.5, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        result = jpeg(result, int(rng.integers(25, 95)))
    if rng.random() < 0.25:
        result = erase(rng, result)
    return result


def smooth_over(rng: np.random.Generator, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Grain taken out of the ground below some row, of a polygon or of everything: what has none need not be near.

    Worn and wet roads, speed and poor lenses do so; drawn roads have grain, and drawn cars near them none.
    """
    height_px, width_px = pixels.shape[:2]
    where = rng.random()
    if where < 0.5:
        first_row, ramp_px = rng.uniform(0.3, 0.8) * height_px, rng.uniform(0.01, 0.4) * height_px
        share = np.clip((np.arange(height_px, dtype=np.float32) - first_row) / ramp_px, 0, 1)[:, None]
    elif where < 0.8:
        share = _polygon(rng, height_px, width_px)
    else:
        share = np.ones((1, 1), dtype=np.float32)
    smooth = _without_grain(rng, pixels, is_whole=where >= 0.8)
    return np.asarray(pixels + share[..., None] * (smooth - pixels), dtype=np.float32)


def _without_grain(rng: np.random.Generator, pixels: NDArray[np.float32], is_whole: bool) -> NDArray[np.float32]:
    kind = int(rng.integers(3))
    if kind == 0:
        rounded = np.clip(pixels * 255 + 0.5, 0, 255).astype(np.uint8)
        size_px = 2 * int(rng.integers(1, 4 if is_whole else 9)) + 1
        return np.asarray(cv2.medianBlur(rounded, size_px), dtype=np.float32) / np.float32(255)
    if kind == 1:
        mean = np.asarray(cv2.GaussianBlur(pixels, (0, 0), float(rng.uniform(3, 12))), dtype=np.float32)
        return np.asarray(mean + (pixels - mean) * np.float32(rng.uniform(0.05, 0.7)), dtype=np.float32)
    blur_px = math.exp(rng.uniform(math.log(0.8), math.log(3.0 if is_whole else 12.0)))
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), blur_px), dtype=np.float32)


def cast_shadow(rng: np.random.Generator, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """A sharp-edged shadow (trees, buildings, bridges out of view) over a random polygon."""
    mask = _polygon(rng, *pixels.shape[:2])
    if rng.random() < 0.5:
        mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), float(rng.uniform(0.5, 3))), dtype=np.float32)
    return pixels * (1 - mask * np.float32(rng.uniform(0.25, 0.75)))[..., None]


def _polygon(rng: np.random.Generator, height_px: int, width_px: int) -> NDArray[np.float32]:
    corners = rng.uniform(-0.2, 1.2, size=(int(rng.integers(3, 7)), 2)) * [width_px, height_px]
    mask = np.zeros((height_px, width_px), dtype=np.float32)
    cv2.fillPoly(mask, [corners.astype(np.int32)], 1.0)
    return mask


def dapple(rng: np.random.Generator, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sun through leaves: spots of light and shadow, longer along x as on a road, over all or below some row."""
    height_px, width_px = pixels.shape[:2]
    spot_px = rng.uniform(0.02, 0.25) * height_px
    noise = np.zeros((height_px, width_px), dtype=np.float32)
    for octave in range(3):
        rows = max(2, round(height_px / spot_px * 2**octave))
        columns = max(2, round(width_px / (spot_px * rng.uniform(1, 6)) * 2**octave))
        drawn = rng.standard_normal((min(rows, height_px), min(columns, width_px)), dtype=np.float32)
        noise += cv2.resize(drawn, (width_px, height_px), interpolation=cv2.INTER_CUBIC) / np.float32(2**octave)
    level = np.quantile(noise[::4, ::4], rng.uniform(0.2, 0.8))
    shade = 1 / (1 + np.exp(np.clip(-(noise - level) * rng.uniform(3, 20), -30, 30)))
    if rng.random() < 0.5:
        row = np.arange(height_px, dtype=np.float32)[:, None] - rng.uniform(0.3, 0.7) * height_px
        shade = shade * np.clip(row / (0.1 * height_px), 0, 1)
    darkness = shade * rng.uniform(0.3, 0.8)
    return np.asarray(pixels * (1 - darkness[..., None]), dtype=np.float32)


def filter_at_random(rng: np.random.Generator, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Textures that nothing has, in shapes that stay: a random 3-to-3 convolution, mixed with what was there.

    Random convolutions (Xu et al. 2021), brought back to the contrast of the image.
    """
    size = int(rng.choice([1, 3, 5]))
    kernels = rng.standard_normal((3, 3, size, size), dtype=np.float32)
    planes = [np.ascontiguousarray(pixels[..., colour]) for colour in range(3)]
    filtered = np.stack(
        [
            sum(cv2.filter2D(plane, -1, kernel) for plane, kernel in zip(planes, row, strict=True))
            for row in kernels
        ],
        axis=2,
    )
    spread = np.float32(pixels.std() / max(float(filtered.std()), 1e-6))
    filtered = (filtered - filtered.mean()) * spread + pixels.mean()
    share = np.float32(rng.uniform(0, 1))
    return np.asarray(np.clip(pixels * (1 - share) + filtered * share, 0, 1), dtype=np.float32)


def add_veil(rng: np.random.Generator, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Glare or a dirty windscreen: light added around a point, contrast lost."""
    height_px, width_px = pixels.shape[:2]
    x = (np.arange(width_px, dtype=np.float32) - rng.uniform(0, width_px)) / width_px
    y = (np.arange(height_px, dtype=np.float32) - rng.uniform(-0.2, 0.8) * height_px) / height_px
    distance = np.sqrt(x[None, :] ** 2 + y[:, None] ** 2)
    strength = rng.uniform(0.1, 0.6) * np.exp(-distance * rng.uniform(1, 6))
    veil: NDArray[np.float32] = strength[..., None].astype(np.float32)
    return pixels * (1 - veil) + veil


def bend_colours(rng: np.random.Generator, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """White balance, saturation and hue."""
    balanced = pixels * np.exp(rng.normal(0, 0.10, size=3)).astype(np.float32)
    gray = balanced.mean(axis=2, keepdims=True)
    pixels = gray + (balanced - gray) * np.float32(rng.uniform(0.2, 1.7))
    if rng.random() < 0.3:
        pixels = pixels @ _hue_rotation(rng.uniform(-0.6, 0.6))
    return np.asarray(np.maximum(pixels, 0), dtype=np.float32)


def _hue_rotation(angle_rad: float) -> NDArray[np.float32]:
    # Rodrigues about the gray axis (1, 1, 1).
    c, s = math.cos(angle_rad), math.sin(angle_rad)
    third, root = (1 - c) / 3, s / math.sqrt(3)
    return np.array(
        [
            [c + third, third - root, third + root],
            [third + root, c + third, third - root],
            [third - root, third + root, c + third],
        ],
        dtype=np.float32,
    )


def bend_tones(rng: np.random.Generator, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Exposure, contrast, gamma, black level and a sensor that clips."""
    pixels = pixels * np.float32(math.exp(rng.normal(0, 0.35)))
    pivot = float(pixels.mean())
    pixels = pivot + (pixels - pivot) * np.float32(rng.uniform(0.6, 1.6))
    pixels = np.clip(pixels, 0, 1) ** np.float32(math.exp(rng.normal(0, 0.25)))
    return pixels * np.float32(rng.uniform(0.85, 1.0)) + np.float32(rng.uniform(0, 0.1))


def soften(rng: np.random.Generator, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Defocus, motion along x or a coarser sensor."""
    kind = int(rng.integers(3))
    if kind == 0:
        return np.asarray(cv2.GaussianBlur(pixels, (0, 0), float(rng.uniform(0.4, 1.5))), dtype=np.float32)
    if kind == 1:
        return np.asarray(cv2.blur(pixels, (int(rng.integers(2, 6)), 1)), dtype=np.float32)
    height_px, width_px = pixels.shape[:2]
    factor = rng.uniform(0.4, 0.9)
    small = cv2.resize(pixels, (int(width_px * factor), int(height_px * factor)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width_px, height_px)), dtype=np.float32)


def sharpen(rng: np.random.Generator, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Unsharp masking, as cameras do it."""
    blurred = np.asarray(cv2.GaussianBlur(pixels, (0, 0), 1.2), dtype=np.float32)
    return pixels + np.float32(rng.uniform(0.3, 1.2)) * (pixels - blurred)


def jpeg(image: Image, quality: int) -> Image:
    """The image after a round trip through JPEG."""
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), dtype=np.uint8)


def erase(rng: np.random.Generator, image: Image) -> Image:
    """Up to three rectangles replaced by noise or one colour: no single cue may carry the answer."""
    height_px, width_px = image.shape[:2]
    image = image.copy()
    for _ in range(int(rng.integers(1, 4))):
        h, w = int(rng.uniform(0.05, 0.3) * height_px), int(rng.uniform(0.03, 0.15) * width_px)
        top, left = int(rng.integers(height_px - h)), int(rng.integers(width_px - w))
        colour = rng.integers(0, 256, size=(h, w, 3) if rng.random() < 0.5 else (1, 1, 3))
        image[top : top + h, left : left + w] = colour
    return image
