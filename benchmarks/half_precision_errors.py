"""What half precision costs a depth network: a plain conversion and mixed precision, against single precision.

    python -m training.export vit_small --seeded 0 --out vit_small.onnx
    python benchmarks/half_precision_errors.py vit_small.onnx
    python benchmarks/half_precision_errors.py vit_small.onnx --nearer 20

Images are the golden data's (``METRIC3D_GOLDEN``) of the file's size and others of its kind, else blocks of noise.
Every half value is rounded as on a GPU; a CPU's own half would hide the error (training/half_precision.py).
``--nearer`` moves the depths of a v2 network towards the camera by that many metres, where half steps widest.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from rich.console import Console
from rich.table import Table

from training.half_precision import KeepsSingle, with_half_precision
from training.mixed_precision import (
    PrecisionLoss,
    keeps_nothing_single,
    keeps_single,
    noise_image,
    precision_error,
)
from training.models.nano import IMAGENET_MEAN_RGB, IMAGENET_STD_RGB
from training.onnx_file import run_onnx

GOLDEN = Path(__file__).resolve().parents[2] / "shared" / "golden" / "metric3d"
RULES: tuple[tuple[str, KeepsSingle], ...] = (("plain", keeps_nothing_single), ("mixed", keeps_single))
DEPTH_RANGES = ((0.3, 1), (1, 3), (3, 10), (10, 30), (30, 200))
MIN_PIXELS = 100


def network_images(model: onnx.ModelProto, count: int) -> list[NDArray[np.float32]]:
    """The golden image of the network's size before normalisation, or one of noise, and others of its kind."""
    height, width = (side.dim_value for side in model.graph.input[0].type.tensor_type.shape.dim[2:])
    manifest = Path(os.environ.get("METRIC3D_GOLDEN", GOLDEN)) / "manifest.json"
    entries = json.loads(manifest.read_text()) if manifest.is_file() else []
    for entry in entries:
        if (entry["height"], entry["width"]) == (height, width):
            return [golden_image(height, width, entry["block"], entry["seed"] + 10 * i) for i in range(count)]
    return [noise_image(height, width, seed) for seed in range(count)]


def golden_image(height: int, width: int, block: int, seed: int) -> NDArray[np.float32]:
    """Raw RGB of the golden data's image."""
    fine = np.random.RandomState(seed).standard_normal((1, 3, height, width))
    blocks = np.random.RandomState(seed + 1).standard_normal((1, 3, -(-height // block), -(-width // block)))
    coarse = blocks.repeat(block, 2).repeat(block, 3)[:, :, :height, :width]
    mean, std = (np.reshape(values, (1, 3, 1, 1)) for values in (IMAGENET_MEAN_RGB, IMAGENET_STD_RGB))
    return ((0.3 * fine + 0.8 * coarse) * std + mean).astype(np.float32)


def move_nearer(model: onnx.ModelProto, metres: float) -> None:
    """Shift the steps of a v2 network's depth so that all of them together come ``metres`` nearer."""
    steps = sum("flow_head/conv2d" in node.name for node in model.graph.node)
    bias = next(tensor for tensor in model.graph.initializer if tensor.name.endswith("flow_head.conv2d.bias"))
    values = numpy_helper.to_array(bias).copy()
    values[0] -= metres / 100 / steps
    bias.CopyFrom(numpy_helper.from_array(values, bias.name))


def summary(errors: list[PrecisionLoss]) -> list[str]:
    """One row over all images: means of median and 99th percentiles, the worst 99th percentile and maximum."""
    p99 = [error.depth_p99 for error in errors]
    shares = (
        np.mean([error.depth_median for error in errors]),
        np.mean(p99),
        max(p99),
        max(error.depth_max for error in errors),
    )
    normals = [error.normal_p99_deg for error in errors if error.normal_p99_deg is not None]
    return [
        *(f"{100 * share:.3f} %" for share in shares),
        f"{np.mean([error.confidence_p99 for error in errors]):.4f}",
        f"{np.mean(normals):.2f} deg" if normals else "",
    ]


def rows_by_depth(depth: NDArray[np.float32], difference: NDArray[np.float32]) -> Iterator[list[str]]:
    """Range, pixels, median and 99th percentile in percent, 99th percentile in metres."""
    for nearest, farthest in DEPTH_RANGES:
        inside = (depth >= nearest) & (depth < farthest)
        if inside.sum() < MIN_PIXELS:
            continue
        relative = 100 * difference[inside] / depth[inside]
        yield [
            f"{nearest:g} to {farthest:g} m",
            str(inside.sum()),
            f"{np.median(relative):.2f} %",
            f"{np.percentile(relative, 99):.2f} %",
            f"{np.percentile(difference[inside], 99):.3f}",
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--images", type=int, default=5, metavar="N", help="rounding is chance: one says little")
    parser.add_argument("--nearer", type=float, default=0.0, metavar="METRES")
    options = parser.parse_args()
    model = onnx.load(options.file)
    if options.nearer:
        move_nearer(model, options.nearer)
    images = network_images(model, options.images)
    single = [run_onnx(model, image) for image in images]
    depth = np.stack([maps["depth"] for maps in single])
    whole = Table("all depths", "median", "99 %", "worst 99 %", "max", "confidence 99 %", "normals 99 %")
    ranges = Table("conversion", "depth", "pixels", "median", "99 %", "99 %, m")
    for name, rule in RULES:
        reduced = with_half_precision(model, rule, emulated=True)
        half = [run_onnx(reduced, image) for image in images]
        whole.add_row(name, *summary([precision_error(s, h) for s, h in zip(single, half, strict=True)]))
        for row in rows_by_depth(depth, np.abs(np.stack([maps["depth"] for maps in half]) - depth)):
            ranges.add_row(name, *row)
    console = Console(width=110)
    console.print(
        f"{options.file}: canonical depth {depth.min():.2f} to {depth.max():.2f} m, mean {depth.mean():.2f}"
    )
    console.print(whole)
    console.print(ranges)


if __name__ == "__main__":
    main()
