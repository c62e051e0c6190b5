"""Export a run's averaged network to ONNX, checked against torch, for the depth node and the engines.

python -m training.run_export training_output/RUN/checkpoint.pt --out model.onnx [--size HxW] [--start-share 0.25]
    [--headroom-deg 6]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from torch import nn

from metric3d_ros.argument_types import height_x_width
from metric3d_ros.atomic_file import make_output_folder
from metric3d_ros.canonical import CANONICAL_FOCAL_PX
from metric3d_ros.engines.engine import MAX_HEADROOM_DEG
from metric3d_ros.errors import Metric3dError
from training.errors import TrainingError
from training.export import export_official
from training.initial_weights import checked_start
from training.mixed_weights import mix_with_start
from training.models.nano import Nano, NanoForExport
from training.onnx_file import weights_sha256, write_onnx
from training.run_checkpoint import RunCheckpoint, averaged_network, load_run
from training.trained_network import STRIDE_NANO
from training.two_looks import TwoLooks

# Half of the pixels this sure are wrong by half: what lies under it is sky or a guess.
NANO_MIN_CONFIDENCE = 0.5


def export_run(
    checkpoint: RunCheckpoint,
    size_px: tuple[int, int] | None,
    out: Path,
    start_share: float = 0.0,
    headroom_deg: float = 0.0,
) -> float:
    """Write a run's averaged network and return the largest difference to torch (``write_onnx``).

    Parameters
    ----------
    size_px : height and width of the input; None for those of the recipe's last stage.
    start_share : of the network that the run began with, in a mean of the weights (``mixed_weights``).
    headroom_deg : nano's (``engines.engine.ModelInfo``); above 0 it looks twice, with the same weights
        (``two_looks``).

    Raises
    ------
    TrainingError
        If the run has no canonical space, the network cannot run at that size, ONNX Runtime and torch differ, or
        there is no start to mix with.
    """
    recipe = checkpoint.recipe
    if recipe.canonical == "none":
        raise TrainingError(
            "this run was trained with canonical=none, which the depth node would take for canonical depth; train "
            "with canonical=label."
        )
    if recipe.network.name != "nano" and recipe.canonical_focal_px != CANONICAL_FOCAL_PX:
        raise TrainingError(
            f"this run's canonical focal length is {recipe.canonical_focal_px:g} px, which an exported "
            f"{recipe.network.name} cannot say; train with {CANONICAL_FOCAL_PX:g}."
        )
    view = recipe.views[-1]
    height_px, width_px = size_px or (view.height_px, view.width_px)
    network = averaged_network(checkpoint).network
    if not isinstance(network, Nano):
        source = f"{checkpoint.step} steps of recipe {recipe.sha256()[:12]}"
        return export_official(recipe.network.name, network, source, height_px, width_px, out)
    if height_px % STRIDE_NANO or width_px % STRIDE_NANO:
        raise TrainingError(
            f"size is {height_px}x{width_px}; height and width must be multiples of {STRIDE_NANO}."
        )
    if not 0 <= headroom_deg < MAX_HEADROOM_DEG:
        raise TrainingError(
            f"the headroom is {headroom_deg:g} degrees; give one from 0 to below {MAX_HEADROOM_DEG:g}."
        )
    metadata = {
        "model": "nano",
        "input_height_px": str(height_px),
        "input_width_px": str(width_px),
        "placement": view.placement,
        "headroom_deg": f"{headroom_deg:g}",
        "canonical_focal_px": f"{recipe.canonical_focal_px:g}",
        "min_confidence": f"{NANO_MIN_CONFIDENCE:g}",
        "weights_sha256": weights_sha256(network.state_dict()),
        "recipe_sha256": recipe.sha256(),
        "training_steps": str(checkpoint.step),
        "training_minutes": f"{checkpoint.minutes:.1f}",
    }
    start = checked_start(recipe.network) if start_share and recipe.network.initial else None
    if start_share and (start is None or start.suffix != ".onnx"):
        raise TrainingError(
            "this run did not begin with an exported network to mix with; leave out --start-share."
        )
    exported = _for_export(network, height_px, width_px, headroom_deg)
    outputs, size_px = ("depth", "confidence"), (height_px, width_px)
    looks_twice = isinstance(exported, TwoLooks)
    if start is None:
        return write_onnx(exported, outputs, size_px, metadata, out, looks_twice=looks_twice)
    # What is at ``out`` stays until the mean is there: a start of another architecture is known last.
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=make_output_folder(out.parent)) as workshop:
        unmixed = Path(workshop) / out.name
        difference = write_onnx(exported, outputs, size_px, metadata, unmixed, looks_twice=looks_twice)
        mix_with_start(unmixed, start, start_share, out)
    return difference


def _for_export(network: Nano, height_px: int, width_px: int, headroom_deg: float) -> nn.Module:
    exported = TwoLooks(network, height_px, width_px) if headroom_deg else NanoForExport(network)
    return exported.eval()


def main(arguments: list[str] | None = None) -> int:
    """Export; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m training.run_export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--size", type=height_x_width, metavar="HxW", help="default: what the run was trained at last"
    )
    parser.add_argument(
        "--start-share",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="nano: mean of the weights with those that the run began with, which keeps more of what they could",
    )
    parser.add_argument(
        "--headroom-deg",
        type=float,
        default=0.0,
        metavar="DEG",
        help="nano: what lies higher than this over the principal row shall not tell where the rest lies",
    )
    options = parser.parse_args(arguments)
    try:
        difference = export_run(
            load_run(options.checkpoint), options.size, options.out, options.start_share, options.headroom_deg
        )
    except Metric3dError as error:
        print(f"run_export: {error}", file=sys.stderr)
        return 2
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.2f} MB, within {difference:.1e} of torch")
    return 0


if __name__ == "__main__":
    sys.exit(main())
