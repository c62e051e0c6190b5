"""The files that one predicted image becomes; all of them are there, or none is."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.atomic_file import atomic_file
from metric3d_ros.depth_picture import colour_normals, depth_picture, encode_png
from metric3d_ros.engines.engine import ModelInfo
from metric3d_ros.estimator import DepthPrediction
from metric3d_ros.photo_camera import PhotoCamera
from metric3d_ros.point_cloud import back_project, median_filtered, write_ply_to
from metric3d_ros.surface_normals import normals_from_depth

# A 16-bit picture in millimetres ends here; what is farther is in the .npy alone.
FARTHEST_IN_PNG_M = 65.535


@dataclass(frozen=True)
class CloudOptions:
    """What becomes a point.

    Attributes
    ----------
    min_confidence : less sure pixels give no point; it counts only where the network gives a confidence.
    median : smooth the depth with a 5x5 median first.
    max_points : where there are more, only every n-th row and column is taken.
    """

    min_confidence: float = 0.5
    median: bool = False
    max_points: int = 1_000_000


def write_prediction(
    folder: Path,
    stem: str,
    rgb: NDArray[np.uint8],
    prediction: DepthPrediction,
    normals: NDArray[np.float32],
    photo: PhotoCamera,
    description: dict[str, str],
    cloud: CloudOptions,
) -> list[Path]:
    """Write depth, its picture, normals, point cloud and description of one image; returns the files.

    Parameters
    ----------
    folder, stem : where the files go, and what their names begin with.
    rgb, prediction, photo : the image (height, width, 3) uint8, its prediction and its camera.
    normals : (height, width, 3) in the camera frame, NaN where there is none (``normals_of``).
    description : added to what ``STEM_prediction.json`` says (image, model).
    cloud : what becomes a point.

    Raises
    ------
    OutputError
        If one of them cannot be written; then none is.
    """
    depth_m = prediction.depth_m
    facts = {**description, **_facts(prediction, photo)}
    writers: dict[str, Callable[[BinaryIO], object]] = {
        "depth_mm.png": lambda file: file.write(encode_png(depth_in_mm(depth_m))),
        "depth_m.npy": lambda file: file.write(encode_npy(depth_m)),
        "depth.png": lambda file: file.write(encode_png(depth_picture(depth_m, "m" if photo.is_metric else ""))),
        "normals.png": lambda file: file.write(encode_png(colour_normals(normals))),
        "cloud.ply": lambda file: write_ply_to(file, *cloud_of(rgb, prediction, normals, cloud)),
        "prediction.json": lambda file: file.write((json.dumps(facts, indent=2) + "\n").encode()),
    }
    paths = [folder / f"{stem}_{name}" for name in writers]
    with ExitStack() as all_or_none:
        for path, write in zip(paths, writers.values(), strict=True):
            file = all_or_none.enter_context(atomic_file(path))
            write(file)
            # A full disk must show while every file can still be taken back.
            file.flush()
    return paths


def normals_of(prediction: DepthPrediction, model: ModelInfo) -> NDArray[np.float32]:
    """The network's normals (height, width, 3) in the camera frame, or else those of its depth."""
    if prediction.normals is not None:
        return prediction.normals
    camera = prediction.camera
    enlarged = max(camera.width_px / model.input_width_px, camera.height_px / model.input_height_px)
    return normals_from_depth(prediction.depth_m, camera, step_px=max(1, round(enlarged)))


def encode_npy(values: NDArray[np.float32]) -> bytes:
    """An array as a .npy file; unlike ``np.save`` to a file, writing it says what a full disk says."""
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    return buffer.getvalue()


def depth_in_mm(depth_m: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Depth as uint16 millimetres (ROS 16UC1); 0 where there is no reading or it is beyond 65.535 m."""
    fits = np.isfinite(depth_m) & (depth_m > 0) & (depth_m <= FARTHEST_IN_PNG_M)
    return np.round(np.where(fits, depth_m, 0.0) * 1000.0).astype(np.uint16)


def cloud_of(
    rgb: NDArray[np.uint8], prediction: DepthPrediction, normals: NDArray[np.float32], options: CloudOptions
) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.float32]]:
    """Points (n, 3) in metres in the camera frame, their colours (n, 3) uint8 and normals (n, 3)."""
    depth_m = median_filtered(prediction.depth_m) if options.median else prediction.depth_m
    shown = np.isfinite(depth_m) & np.isfinite(normals).all(axis=-1)
    if prediction.confidence is not None:
        shown &= prediction.confidence >= options.min_confidence
    step = max(1, math.isqrt(np.count_nonzero(shown) // options.max_points))
    while np.count_nonzero(shown[::step, ::step]) > options.max_points:
        step += 1
    thinned = np.zeros_like(shown)
    thinned[::step, ::step] = shown[::step, ::step]
    return back_project(depth_m, prediction.camera)[thinned], rgb[thinned], normals[thinned]


def _facts(prediction: DepthPrediction, photo: PhotoCamera) -> dict[str, object]:
    depth_m, camera = prediction.depth_m, prediction.camera
    readable = np.isfinite(depth_m)
    return {
        "width_px": camera.width_px,
        "height_px": camera.height_px,
        "fx": camera.fx,
        "fy": camera.fy,
        "cx": camera.cx,
        "cy": camera.cy,
        "focal_length": photo.source,
        "is_metric": photo.is_metric,
        "share_with_depth": float(readable.mean()),
        "share_beyond_depth_mm_png": float((readable & (np.nan_to_num(depth_m) > FARTHEST_IN_PNG_M)).mean()),
        "median_depth_m": float(np.median(depth_m[readable])) if readable.any() else None,
        "normals": "from the depth" if prediction.normals is None else "from the network",
    }
