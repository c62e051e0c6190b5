"""Export a trained network to ONNX and check that ONNX Runtime gives what torch gives.

python -m training.export nano --checkpoint training_output/nano/checkpoint.pt --size 160x544 --out nano.onnx
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from metric3d_ros.canonical import CANONICAL_FOCAL_PX
from metric3d_ros.errors import Metric3dError
from training.checkpoint import Checkpoint, averaged_network, load_checkpoint
from training.errors import TrainingError
from training.models.nano import NanoForExport

OPSET = 16
MAX_RELATIVE_DIFFERENCE = 1e-3
# Half of the pixels this sure are wrong by half: what lies under it is sky or a guess.
MIN_CONFIDENCE = 0.5


def weights_sha256(weights: dict[str, Tensor]) -> str:
    """Fingerprint of the weights, by name, so that a file can be traced to the run that made it."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def export(checkpoint: Checkpoint, height_px: int, width_px: int, out: Path) -> float:
    """Write the averaged network as ONNX and return the largest relative difference to torch.

    Raises
    ------
    TrainingError
        If ONNX Runtime and torch differ by more than ``MAX_RELATIVE_DIFFERENCE``; then nothing is written.
    """
    if height_px % 32 or width_px % 32:
        raise TrainingError(f"size is {height_px}x{width_px}; height and width must be multiples of 32.")
    network = NanoForExport(averaged_network(checkpoint)).eval()
    partial = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        _write_onnx(network, height_px, width_px, partial)
        _describe(partial, checkpoint, height_px, width_px)
        difference = relative_difference(network, partial, height_px, width_px)
        if not difference <= MAX_RELATIVE_DIFFERENCE:
            raise TrainingError(
                f"ONNX Runtime differs from torch by {difference:.2e} relative, more than "
                f"{MAX_RELATIVE_DIFFERENCE:g}; {out} was not written: try another opset or torch version."
            )
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return difference


def _write_onnx(network: nn.Module, height_px: int, width_px: int, path: Path) -> None:
    with warnings.catch_warnings():
        # The tracer is called legacy; the new exporter cannot write opset 16, which TensorRT 8 needs.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.zeros(1, 3, height_px, width_px),),
            str(path),
            input_names=["image"],
            output_names=["depth", "confidence"],
            opset_version=OPSET,
            dynamo=False,
        )


def _describe(path: Path, checkpoint: Checkpoint, height_px: int, width_px: int) -> None:
    model = onnx.load(path)
    metadata = {
        "model": checkpoint.recipe.model,
        "input_height_px": str(height_px),
        "input_width_px": str(width_px),
        "canonical_focal_px": f"{CANONICAL_FOCAL_PX:g}",
        "min_confidence": f"{MIN_CONFIDENCE:g}",
        "weights_sha256": weights_sha256(checkpoint.averaged),
        "recipe_sha256": checkpoint.recipe.sha256(),
        "training_steps": str(checkpoint.step),
        "training_minutes": f"{checkpoint.minutes:.1f}",
    }
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, path)


def relative_difference(network: nn.Module, path: Path, height_px: int, width_px: int) -> float:
    """Largest relative difference in depth, and absolute in confidence, between ONNX Runtime and torch."""
    image = np.random.default_rng(0).uniform(0, 255, size=(1, 3, height_px, width_px)).astype(np.float32)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    depth, confidence = session.run(["depth", "confidence"], {"image": image})
    with torch.inference_mode():
        torch_depth, torch_confidence = (output.numpy() for output in network(torch.from_numpy(image)))
    return max(
        float(np.max(np.abs(depth - torch_depth) / torch_depth)),
        float(np.max(np.abs(confidence - torch_confidence))),
    )


def _size(text: str) -> tuple[int, int]:
    height, separator, width = text.partition("x")
    if not (separator and height.isdigit() and width.isdigit()):
        raise argparse.ArgumentTypeError(f"size {text!r} is not HEIGHTxWIDTH, such as 160x544")
    return int(height), int(width)


def main(arguments: list[str] | None = None) -> int:
    """Export; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m training.export", description=__doc__)
    parser.add_argument("model", choices=["nano"])
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--size", type=_size, default=(160, 544), metavar="HxW")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        height_px, width_px = options.size
        difference = export(load_checkpoint(options.checkpoint), height_px, width_px, options.out)
    except Metric3dError as error:
        print(f"export: {error}", file=sys.stderr)
        return 2
    size_mb = options.out.stat().st_size / 1e6
    print(f"{options.out}: {size_mb:.2f} MB, within {difference:.1e} of torch")
    return 0


if __name__ == "__main__":
    sys.exit(main())
