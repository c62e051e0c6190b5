"""Depth as pictures: colour maps in metres, and strips of images above their depth."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from metric3d_ros.errors import ImageError

NEAREST_M = 2.0
FARTHEST_M = 80.0
NO_READING_RGB = (24, 24, 24)
LEGEND_HEIGHT_PX = 34
LEGEND_TICKS_M = (2, 5, 10, 20, 40, 80)
TILE_WIDTH_PX = 621


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


def write_png(rgb: NDArray[np.uint8], path: Path) -> None:
    """Write a picture atomically; raises ImageError where the folder cannot be written."""
    encoded = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1]
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(encoded.tobytes())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ImageError(f"cannot write picture {path}: {error.strerror}; choose another folder.") from error


def _tile(image: NDArray[np.uint8], depth_m: NDArray[np.float32], dilate_sparse: bool) -> NDArray[np.uint8]:
    size = (TILE_WIDTH_PX, round(image.shape[0] * TILE_WIDTH_PX / image.shape[1]))
    is_sparse = float(np.mean(np.isfinite(depth_m))) < 0.2
    colours = colour_depth(depth_m)
    if dilate_sparse and is_sparse:
        grown = cv2.dilate(np.where(np.isfinite(depth_m)[..., None], colours, 0), np.ones((5, 5), np.uint8))
        colours = np.where(grown.any(axis=2, keepdims=True), grown, colours)
    picture = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    depth_picture = cv2.resize(colours, size, interpolation=cv2.INTER_AREA)
    return np.vstack([picture, depth_picture])


def _legend(width_px: int) -> NDArray[np.uint8]:
    depth_m = np.geomspace(NEAREST_M, FARTHEST_M, width_px).astype(np.float32)
    legend = np.zeros((LEGEND_HEIGHT_PX, width_px, 3), dtype=np.uint8)
    legend[: LEGEND_HEIGHT_PX // 2] = colour_depth(depth_m[None])
    for tick_m in LEGEND_TICKS_M:
        x = round(math.log(tick_m / NEAREST_M) / math.log(FARTHEST_M / NEAREST_M) * (width_px - 1))
        text = f"{tick_m} m"
        text_width = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)[0][0]
        origin = (int(np.clip(x - text_width // 2, 2, width_px - text_width - 2)), LEGEND_HEIGHT_PX - 4)
        cv2.putText(legend, text, origin, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (230, 230, 230), 1, cv2.LINE_AA)
    return legend
