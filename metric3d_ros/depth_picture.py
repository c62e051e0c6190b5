"""Depth and normals as pictures: colour maps with a legend in metres, and strips of images above their depth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from metric3d_ros.atomic_file import atomic_file

NEAREST_M = 2.0
FARTHEST_M = 80.0
NO_READING_RGB = (24, 24, 24)
LEGEND_HEIGHT_PX = 34
LEGEND_WIDTH_PX = 1242
LARGEST_LEGEND_SCALE = 8.0
TEXT_SCALE = 0.45
TILE_WIDTH_PX = 621
# What a picture's colours span: all but these percentages of its pixels, and never less than this ratio.
RANGE_PERCENTILES = (1.0, 99.0)
SMALLEST_RANGE_RATIO = 2.0


def colour_depth(
    depth_m: NDArray[np.float32], nearest_m: float = NEAREST_M, farthest_m: float = FARTHEST_M
) -> NDArray[np.uint8]:
    """Depth (height, width) as RGB, near is warm and far is cool on a logarithmic scale; no reading is dark."""
    readable = np.isfinite(depth_m) & (depth_m > 0)
    clipped_m = np.clip(np.where(readable, depth_m, farthest_m), nearest_m, farthest_m)
    nearness = 1.0 - np.log(clipped_m / nearest_m) / math.log(farthest_m / nearest_m)
    colours = cv2.applyColorMap(np.uint8(nearness * 255), cv2.COLORMAP_TURBO)
    rgb = cv2.cvtColor(colours, cv2.COLOR_BGR2RGB)
    rgb[~readable] = NO_READING_RGB
    return np.asarray(rgb, dtype=np.uint8)


def depth_strip(
    samples: Sequence[tuple[NDArray[np.uint8], NDArray[np.float32]]], dilate_sparse: bool = True
) -> NDArray[np.uint8]:
    """Images (RGB) side by side in two columns, each above its depth, with a legend in metres.

    Depth with few readings (LiDAR) is drawn with thicker points where ``dilate_sparse`` asks for it.
    """
    tiles = [_tile(image, depth_m, dilate_sparse) for image, depth_m in samples]
    if len(tiles) % 2:
        tiles.append(np.zeros_like(tiles[0]))
    rows = [np.hstack(tiles[i : i + 2]) for i in range(0, len(tiles), 2)]
    return np.vstack([*rows, _legend(rows[0].shape[1])])


def depth_range_m(depth_m: NDArray[np.float32]) -> tuple[float, float]:
    """The range of colours that shows this depth best: nearest and farthest in metres."""
    readable = depth_m[np.isfinite(depth_m) & (depth_m > 0)]
    if readable.size == 0:
        return NEAREST_M, FARTHEST_M
    nearest_m, farthest_m = (float(value) for value in np.percentile(readable, RANGE_PERCENTILES))
    widen = math.sqrt(max(1.0, SMALLEST_RANGE_RATIO * nearest_m / farthest_m))
    return nearest_m / widen, farthest_m * widen


def depth_picture(depth_m: NDArray[np.float32], unit: str = "m") -> NDArray[np.uint8]:
    """Depth (height, width) in colours that span what it holds, above a legend; RGB.

    The legend is labelled in ``unit``, which is empty for depth that is not metric.
    """
    nearest_m, farthest_m = depth_range_m(depth_m)
    colours = colour_depth(depth_m, nearest_m, farthest_m)
    return np.vstack([colours, _legend(colours.shape[1], nearest_m, farthest_m, unit)])


def colour_normals(normals: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Normals (height, width, 3) of the camera frame as RGB; none is dark.

    The usual colours, of a frame with x right, y up and z to the viewer: what faces the camera is blue, the
    floor green, a wall that faces right red.
    """
    known = np.asarray(np.isfinite(normals).all(axis=-1))
    to_viewer = np.where(known[..., None], normals, 0.0) * np.array([1.0, -1.0, -1.0], dtype=np.float32)
    rgb = np.round((to_viewer + 1.0) * 127.5).astype(np.uint8)
    rgb[~known] = NO_READING_RGB
    return rgb


def encode_png(image: NDArray[np.generic]) -> bytes:
    """An RGB (height, width, 3) uint8 or single-channel (height, width) uint8 or uint16 image as a PNG file."""
    pixels = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    encoded: NDArray[np.uint8] = cv2.imencode(".png", pixels)[1]
    return encoded.tobytes()


def write_png(image: NDArray[np.generic], path: Path) -> None:
    """Write the PNG of ``encode_png`` atomically; raises OutputError where the folder cannot be written."""
    with atomic_file(path) as file:
        file.write(encode_png(image))


def _tile(image: NDArray[np.uint8], depth_m: NDArray[np.float32], dilate_sparse: bool) -> NDArray[np.uint8]:
    size = (TILE_WIDTH_PX, round(image.shape[0] * TILE_WIDTH_PX / image.shape[1]))
    is_sparse = float(np.mean(np.isfinite(depth_m))) < 0.2
    colours = colour_depth(depth_m)
    if dilate_sparse and is_sparse:
        grown = cv2.dilate(np.where(np.isfinite(depth_m)[..., None], colours, 0), np.ones((5, 5), np.uint8))
        colours = np.where(grown.any(axis=2, keepdims=True), grown, colours)
    picture = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    depth_tile = cv2.resize(colours, size, interpolation=cv2.INTER_AREA)
    return np.vstack([picture, depth_tile])


def _legend(
    width_px: int, nearest_m: float = NEAREST_M, farthest_m: float = FARTHEST_M, unit: str = "m"
) -> NDArray[np.uint8]:
    scale = float(np.clip(width_px / LEGEND_WIDTH_PX, 1.0, LARGEST_LEGEND_SCALE))
    font = cv2.FONT_HERSHEY_SIMPLEX, TEXT_SCALE * scale
    height_px = round(LEGEND_HEIGHT_PX * scale)
    depth_m = np.geomspace(nearest_m, farthest_m, width_px).astype(np.float32)
    legend = np.zeros((height_px, width_px, 3), dtype=np.uint8)
    legend[: height_px // 2] = colour_depth(depth_m[None], nearest_m, farthest_m)
    free_from_px = 0
    for tick_m in _ticks(nearest_m, farthest_m):
        x_px = round(math.log(tick_m / nearest_m) / math.log(farthest_m / nearest_m) * (width_px - 1))
        text = f"{tick_m:g} {unit}".strip()
        text_px = cv2.getTextSize(text, *font, round(scale))[0][0]
        left_px = int(np.clip(x_px - text_px // 2, 2, max(2, width_px - text_px - 2)))
        if left_px < free_from_px:
            continue
        free_from_px = left_px + text_px + round(8 * scale)
        origin = (left_px, height_px - round(4 * scale))
        cv2.putText(legend, text, origin, *font, (230, 230, 230), round(scale), cv2.LINE_AA)
    return legend


def _ticks(nearest: float, farthest: float) -> list[float]:
    """Numbers of the series 1, 2, 5, 10 that lie in a range."""
    decades = range(math.floor(math.log10(nearest)), math.ceil(math.log10(farthest)) + 1)
    series = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)]
    return [float(f"{value:.1g}") for value in series if nearest * 0.999 <= value <= farthest * 1.001]
