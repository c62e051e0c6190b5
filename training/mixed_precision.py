"""A depth network's ONNX file in mixed precision: half where it is safe, single where half loses metres.

python -m training.mixed_precision vit_small.onnx --out vit_small_mixed.onnx

What stays single, and why, is ``ISLANDS``; docs/mixed_precision.md has the errors, beside a plain conversion's.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from metric3d_ros.atomic_file import atomic_file
from metric3d_ros.errors import Metric3dError
from training.errors import TrainingError
from training.half_precision import KeepsSingle, with_half_precision
from training.onnx_file import FIRST_ROW_NAME, INPUT_NAME, run_onnx, weights_file

# Nodes are named after the modules they come from. Each island is a pattern of such names, and its reason.
ISLANDS = {
    # Raw RGB minus the mean: half keeps it, but the first layer is where an error travels furthest.
    "normalisation": r"^(/network(_1)?)*/(Sub|Div)$",
    # Squares of tokens reach the thousands, their mean hides small channels.
    "layer norms": r"/(norm\d?|downsample_layers\.\d/downsample_layers\.\d\.\d)/(?!Conv)\w+$",
    # The sum of all blocks: rounded once a block, it loses what later blocks add to large channels.
    "residual stream": r"/(blocks\.\d+\.\d+/Add(_1)?|stages\.\d/stages\.\d\.\d+/Add_1)$",
    "attention softmax": r"/attn/Softmax",
    # The expectation over 256 or 512 bins up to 200 m; its logits come from one pointwise convolution.
    "bins": r"/(depth_bins|depth_regressor/depth_regressor\.2|depth_regressor_2/depth_regressor_2\.3)/",
    # The v2 state is (depth - 200) / 100: near objects lie around -2, where half's steps are 0.1 m. Operators that
    # belong to the decoder itself work on the state, or on v1's depth.
    "state": r"/decoder/(Add|Clip|Concat|Div|Mul|ReduceSum|Softmax|Sub)(_\d+)?$",
    "upsampling": r"/upsampling/",
    "normals": r"/unit_normal(_\d+)?/",
    # nano: depth is the exponential of what the head gives, an error there is relative. Each look has one.
    "nano's head": r"^(/network(_1)?)*/(head(_1)?/Conv|Add(_\d)?|Exp|Clip|Sigmoid)$",
    # Its two looks are put together in log depth, after a mean over thousands of pixels.
    "nano's looks": r"^/(Add|Clip|Div|Exp|Mul|ReduceSum|Resize|Sigmoid|Sub)(_\d)?$",
}
BLOCK_PX = 14
# The nearest depth of any model; v1, which is not clamped, may pass through zero.
MIN_COMPARED_DEPTH = 0.1
_ISLAND = re.compile("|".join(ISLANDS.values()))


@dataclass(frozen=True)
class PrecisionLoss:
    """How far a network's maps are from those in single precision.

    Attributes
    ----------
    depth_median, depth_p99, depth_max : relative error of depth.
    confidence_p99 : absolute error of confidence.
    normal_p99_deg : angle between the normals, in degrees; None where there are none.
    """

    depth_median: float
    depth_p99: float
    depth_max: float
    confidence_p99: float
    normal_p99_deg: float | None


def keeps_single(node: onnx.NodeProto) -> bool:
    """Whether a node belongs to one of the ``ISLANDS``."""
    return _ISLAND.search(node.name) is not None


def keeps_nothing_single(_: onnx.NodeProto) -> bool:
    """The rule of a plain conversion."""
    return False


def precision_error(
    single: dict[str, NDArray[np.float32]], reduced: dict[str, NDArray[np.float32]]
) -> PrecisionLoss:
    """Errors of the maps of one image against those in single precision; not a number is infinitely wrong."""
    depth = np.abs(reduced["depth"] - single["depth"]) / np.maximum(np.abs(single["depth"]), MIN_COMPARED_DEPTH)
    confidence = np.abs(reduced["confidence"] - single["confidence"])
    normal_deg = None
    if "normals" in single:
        cosine = np.clip(np.sum(single["normals"] * reduced["normals"], axis=1), -1, 1)
        normal_deg = _percentile(np.degrees(np.arccos(cosine)), 99)
    return PrecisionLoss(
        depth_median=_percentile(depth, 50),
        depth_p99=_percentile(depth, 99),
        depth_max=_percentile(depth, 100),
        confidence_p99=_percentile(confidence, 99),
        normal_p99_deg=normal_deg,
    )


def _percentile(errors: NDArray[np.float32], percent: float) -> float:
    return float(np.percentile(np.nan_to_num(errors, nan=np.inf), percent, method="higher"))


def convert(source: Path, out: Path) -> list[tuple[str, PrecisionLoss]]:
    """Write ``source`` in mixed precision, and return the errors of a plain conversion and of what was written.

    Both are measured on blocks of noise, with every half value rounded as a GPU would (``with_half_precision``).

    Raises
    ------
    TrainingError
        If ``source`` is no file of ``training.export``, or its maps are not finite in mixed precision.
    OutputError
        If ``out`` cannot be written.
    """
    model = _read(source)
    mixed = with_half_precision(model, keeps_single)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(
        mixed,
        {
            **metadata,
            "precision": "mixed",
            "single_precision_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        },
    )
    errors = [
        ("plain half", measure(model, keeps_nothing_single)),
        ("mixed", measure(model, keeps_single)),
    ]
    if not np.isfinite(errors[-1][1].depth_max):
        raise TrainingError(f"{source} gives maps that are not finite in mixed precision; stay with single.")
    with atomic_file(out) as file:
        file.write(mixed.SerializeToString())
    return errors


def measure(model: onnx.ModelProto, rule: KeepsSingle, image: NDArray[np.float32] | None = None) -> PrecisionLoss:
    """The error of a rule, on raw RGB (1, 3, height, width); without an image, on blocks of noise."""
    if image is None:
        image = noise_image(*(side.dim_value for side in model.graph.input[0].type.tensor_type.shape.dim[2:]))
    single = run_onnx(model, image)
    return precision_error(single, run_onnx(with_half_precision(model, rule, emulated=True), image))


def noise_image(height_px: int, width_px: int, seed: int = 0) -> NDArray[np.float32]:
    """Raw RGB (1, 3, height, width) with detail at two sizes: blocks of one colour under noise."""
    random = np.random.default_rng(seed)
    blocks = random.uniform(40, 215, (1, 3, -(-height_px // BLOCK_PX), -(-width_px // BLOCK_PX)))
    coarse = blocks.repeat(BLOCK_PX, 2).repeat(BLOCK_PX, 3)[:, :, :height_px, :width_px]
    noise = random.normal(0, 15, (1, 3, height_px, width_px))
    return np.clip(coarse + noise, 0, 255).astype(np.float32)


def _read(source: Path) -> onnx.ModelProto:
    if weights_file(source).exists():
        raise TrainingError(
            f"{source} keeps its weights beside it; mixed precision takes models of one file only."
        )
    try:
        model = onnx.load(source)
    except (OSError, DecodeError) as error:
        raise TrainingError(f"{source} cannot be read as ONNX: {error}; export it with training.export.") from None
    inputs, outputs = ([value.name for value in values] for values in (model.graph.input, model.graph.output))
    if inputs not in ([INPUT_NAME], [INPUT_NAME, FIRST_ROW_NAME]) or outputs[:2] != ["depth", "confidence"]:
        raise TrainingError(
            f"{source} takes {', '.join(inputs)} and gives {', '.join(outputs)}; export it with training.export."
        )
    return model


def _table(errors: Sequence[tuple[str, PrecisionLoss]]) -> Table:
    table = Table("against single precision", "depth median", "99 %", "max", "confidence 99 %", "normals 99 %")
    for name, error in errors:
        table.add_row(
            name,
            *(f"{100 * value:.3f} %" for value in (error.depth_median, error.depth_p99, error.depth_max)),
            f"{error.confidence_p99:.4f}",
            "" if error.normal_p99_deg is None else f"{error.normal_p99_deg:.2f} deg",
        )
    return table


def main(arguments: list[str] | None = None) -> int:
    """Convert; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m training.mixed_precision",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, help="an ONNX file of training.export")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        errors = convert(options.file, options.out)
    except Metric3dError as error:
        print(f"mixed_precision: {error}", file=sys.stderr)
        return 2
    print(
        f"{options.out}: {options.out.stat().st_size / 1e6:.2f} MB of {options.file.stat().st_size / 1e6:.2f} MB"
    )
    Console().print(_table(errors))
    return 0


if __name__ == "__main__":
    sys.exit(main())
