"""Export an official network to ONNX and check that ONNX Runtime gives what torch gives.

python -m training.export vit_small --checkpoint metric_depth_vit_small_800k.pth --out vit_small.onnx
python -m training.export vit_small --seeded 0 --size 196x364 --out seeded.onnx

What a run of ours has trained is exported by ``training.run_export``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from torch import nn

from metric3d_ros.argument_types import height_x_width
from metric3d_ros.canonical import CANONICAL_FOCAL_PX
from metric3d_ros.errors import Metric3dError
from metric3d_ros.model_zoo import zoo_model
from training.errors import TrainingError
from training.models import OFFICIAL_NETWORKS, build_network
from training.models.raw_image import RawImageNetwork, output_names, stride_px
from training.official_checkpoint import load_official_checkpoint
from training.onnx_file import weights_sha256, write_onnx
from training.seeded_weights import seeded_weights

# Theirs is a raw number without bounds, published without a threshold: the file keeps every pixel.
OFFICIAL_MIN_CONFIDENCE = float("-inf")


def export_official(
    name: str, network: nn.Module, weights_source: str, height_px: int, width_px: int, out: Path
) -> float:
    """Write an official network as ONNX and return the largest difference to torch (``write_onnx``).

    Parameters
    ----------
    weights_source : where the weights are from, in a few words, for the file's metadata.

    Raises
    ------
    TrainingError
        If the size is none it can run, or ONNX Runtime and torch differ; then nothing is written.
    """
    _check_size(height_px, width_px, stride_px(network))
    metadata = {
        **_description(name, height_px, width_px, OFFICIAL_MIN_CONFIDENCE),
        "weights_source": weights_source,
        "weights_sha256": weights_sha256(network.state_dict()),
    }
    raw_image_network = RawImageNetwork(network, (height_px, width_px)).eval()
    return write_onnx(raw_image_network, output_names(network), (height_px, width_px), metadata, out)


def _check_size(height_px: int, width_px: int, multiple_px: int) -> None:
    if height_px % multiple_px or width_px % multiple_px or not (height_px and width_px):
        raise TrainingError(
            f"size is {height_px}x{width_px}; height and width must be multiples of {multiple_px}."
        )


def _description(model: str, height_px: int, width_px: int, min_confidence: float) -> dict[str, str]:
    return {
        "model": model,
        "input_height_px": str(height_px),
        "input_width_px": str(width_px),
        "canonical_focal_px": f"{CANONICAL_FOCAL_PX:g}",
        "min_confidence": f"{min_confidence:g}",
    }


def _export_as_asked(options: argparse.Namespace) -> float:
    height_px, width_px = options.size or _published_size_px(options.model)
    network = build_network(options.model)
    _check_size(height_px, width_px, stride_px(network))
    if options.checkpoint is None:
        network.load_state_dict(seeded_weights(network.state_dict(), options.seeded))
        source = f"seed {options.seeded}, untrained"
    else:
        load_official_checkpoint(options.model, options.checkpoint, network)
        source = options.checkpoint.name
    return export_official(options.model, network, source, height_px, width_px, options.out)


def _published_size_px(name: str) -> tuple[int, int]:
    model = zoo_model(name)
    return model.input_height_px, model.input_width_px


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", choices=list(OFFICIAL_NETWORKS))
    weights = parser.add_mutually_exclusive_group(required=True)
    weights.add_argument("--checkpoint", type=Path, help="the official .pth")
    weights.add_argument("--seeded", type=int, metavar="SEED", help="untrained weights, for timing and parity")
    parser.add_argument(
        "--size", type=height_x_width, metavar="HxW", help="default: the size the model is published with"
    )
    parser.add_argument("--out", type=Path, required=True)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Export; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        difference = _export_as_asked(options)
    except Metric3dError as error:
        print(f"export: {error}", file=sys.stderr)
        return 2
    size_mb = options.out.stat().st_size / 1e6
    print(f"{options.out}: {size_mb:.2f} MB, within {difference:.1e} of torch")
    return 0


if __name__ == "__main__":
    sys.exit(main())
