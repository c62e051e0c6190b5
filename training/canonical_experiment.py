"""The paper's claim in small: one network, one mix of cameras, with canonical space and without.

python -m training.canonical_experiment --out training_output/canonical_space

Renders one set of simulated views through cameras of 300 to 2000 px (on images 960 px wide, rendered at a third),
trains the same small network from the same start on windows of it with CSTM_label, with CSTM_image, without
either, and with CSTM_label and RPNL, and measures each on unseen worlds through unseen focal lengths: some between
those that training saw, some beyond them. What is there already is not done again.

The start is the packaged nano, which knows the shape of a street: a network that does not errs by more than a
wrong guess of the focal length costs. In the units of this experiment it is off by the same factor, 4, for every
variant and a focal length in the middle. ``--initial none`` starts from nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

from metric3d_ros.atomic_file import atomic_file
from metric3d_ros.download import file_sha256
from metric3d_ros.errors import Metric3dError
from metric3d_ros.letterbox import PRINCIPAL_ROW, near_middle_row_px
from metric3d_ros.model_zoo import model_path
from training.annotated_views import AnnotatedViews
from training.cameras import FOCAL_RANGE_PX
from training.canonical_views import RENDERED_SHARE, UNSEEN_BANDS_PX, FocalLengths, render_views
from training.fabric_trainer import CHECKPOINT_NAME, fit
from training.label_kind import LabelKind
from training.labelled_view import LabelledView
from training.metrics import depth_metrics, mean_metrics
from training.run_checkpoint import averaged_network, load_run
from training.run_recipe import RunRecipe, run_recipe_from_values
from training.trained_network import TrainedNetwork
from training.view_variation import first_row_px

# Windows, not whole images: how strongly a whole image converges tells its focal length to any network.
WINDOW_HEIGHT_PX, WINDOW_WIDTH_PX = 96, 160
# At a third of the size 100 to 667 px are seen; their middle keeps CSTM_image's images near the network's size.
CANONICAL_FOCAL_PX = 250.0
NETWORK_STRIDE_PX = 32
FOCAL_TICKS_PX = (200, 300, 500, 1000, 2000, 3000)
ERROR_TICKS = (0.1, 0.2, 0.5, 1.0, 2.0)
# As packaged, so that the packaged weights fit.
NANO_SHAPE: dict[str, list[int]] = {
    "widths": [16, 32, 64, 96, 128],
    "depths": [1, 2, 3, 2],
    "decoder_widths": [64, 48, 32, 16],
}


@dataclass(frozen=True)
class Variant:
    """One of the runs that are compared."""

    title: str
    canonical: str
    random_proposal: bool


VARIANTS = {
    "label": Variant("CSTM_label", "label", False),
    "none": Variant("no canonical space", "none", False),
    "image": Variant("CSTM_image", "image", False),
    "label_with_rpnl": Variant("CSTM_label and RPNL", "label", True),
}


def recipe_of(
    variant: Variant, annotations: Path, output: Path, steps: int, initial: Path | None = None
) -> RunRecipe:
    """The one recipe, but for what the variant is about; ``initial`` is an exported nano to start from."""
    losses = {"log_l1": 1.0, "silog": 0.5, **({"random_proposal": 0.5} if variant.random_proposal else {})}
    return run_recipe_from_values(
        {
            "network": {
                "name": "nano",
                **NANO_SHAPE,
                **({} if initial is None else {"initial": str(initial), "initial_sha256": file_sha256(initial)}),
            },
            "views": [
                {
                    "height_px": WINDOW_HEIGHT_PX,
                    "width_px": WINDOW_WIDTH_PX,
                    "placement": PRINCIPAL_ROW,
                    "resize_probability": 0.0,
                    "edge_mask_probability": 0.0,
                }
            ],
            "groups": {"mix": [{"reader": "annotations", "path": str(annotations), "kind": "dense"}]},
            "losses": losses,
            "canonical": variant.canonical,
            "canonical_focal_px": CANONICAL_FOCAL_PX,
            "optimizer": {
                "encoder_learning_rate": 2e-3 if initial is None else 5e-4,
                "decoder_learning_rate": 2e-3 if initial is None else 5e-4,
                "encoder_weight_decay": 0.01,
                "decoder_weight_decay": 0.01,
            },
            "schedule": {"steps": steps, "warmup_steps": max(1, steps // 20), "hold": 0.3},
            "batch_size": 8,
            "ema_decay": 0.99,
            "output": str(output),
            "workers": 1,
            "threads": 1,
            "checkpoint_every_steps": 100,
            "seed": 1,
        }
    )


def predicted_m(network: TrainedNetwork, view: LabelledView, recipe: RunRecipe) -> NDArray[np.float32]:
    """Metric depth (h, w) of a view's own pixels, as a robot would get it."""
    seen = view.in_canonical_image(recipe.canonical_focal_px) if recipe.canonical == "image" else view
    padded = _padded(seen)
    with torch.inference_mode():
        image = torch.from_numpy(np.ascontiguousarray(padded.image.transpose(2, 0, 1)))[None].float()
        label = network(image)[-1].depth[0, 0].numpy()
    assert padded.content is not None
    rows, columns = (np.flatnonzero(padded.content.any(axis=axis)) for axis in (1, 0))
    inside = label[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    metres = inside / np.float32(padded.label_per_metre(recipe.canonical, recipe.canonical_focal_px))
    size = (view.camera.width_px, view.camera.height_px)
    return np.asarray(cv2.resize(metres, size, interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def _padded(view: LabelledView) -> LabelledView:
    """A whole view in the least input that has the row of its principal point in the middle, as in training."""
    camera = view.camera
    above_px = near_middle_row_px(camera.cy, camera.height_px) + 0.5
    height_px = _whole_strides(2 * math.ceil(max(above_px, camera.height_px - above_px)))
    return view.padded(_whole_strides(camera.width_px), height_px, -first_row_px(camera, height_px))


def _whole_strides(side_px: int) -> int:
    return -(-side_px // NETWORK_STRIDE_PX) * NETWORK_STRIDE_PX


def measure(run: Path, annotations: Path) -> dict[str, Any]:
    """AbsRel and delta1 of a run on unseen views, and each view's focal length, AbsRel and median ratio.

    ``scale_error`` is the mean of abs(ln(median(d / d*))), what is wrong with a view as a whole.
    """
    checkpoint = load_run(run / CHECKPOINT_NAME)
    network = averaged_network(checkpoint)
    views = AnnotatedViews(annotations, LabelKind.DENSE)
    judged = list(_judged(network, views, checkpoint.recipe))
    mean = mean_metrics([metrics for _, metrics in judged])
    return {
        "abs_rel": mean.abs_rel,
        "delta1": mean.delta1,
        "scale_error": float(np.mean([abs(math.log(metrics.median_ratio)) for _, metrics in judged])),
        "views": [
            [focal_px * RENDERED_SHARE, metrics.abs_rel, metrics.median_ratio] for focal_px, metrics in judged
        ],
    }


def _judged(network: TrainedNetwork, views: AnnotatedViews, recipe: RunRecipe) -> Iterator[tuple[float, Any]]:
    for index in track(range(len(views)), description=recipe.canonical, transient=True):
        view = views[index]
        metrics = depth_metrics(predicted_m(network, view, recipe), view.depth_m)
        if metrics is not None:
            yield view.camera.fx, metrics


def draw(results: dict[str, dict[str, Any]], path: Path) -> None:
    """AbsRel and scale (median of d / d*) of every unseen view over its focal length, one colour a variant."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, result in results.items():
        sets = [result[where.label] for where in UNSEEN_BANDS_PX]
        focal_px, abs_rel, ratio = np.array([view for measured in sets for view in measured["views"]]).T
        title = VARIANTS[name].title
        errors = [" / ".join(f"{measured[key]:.3f}" for measured in sets) for key in ("abs_rel", "scale_error")]
        left.scatter(focal_px, abs_rel, s=12, alpha=0.7, label=f"{title}: mean {errors[0]}")
        right.scatter(focal_px, ratio, s=12, alpha=0.7, label=f"{title}: error {errors[1]}")
    for axes, quantity in ((left, "AbsRel"), (right, "median of d / d*")):
        axes.axvspan(*FOCAL_RANGE_PX, color="gray", alpha=0.12, zorder=0)
        axes.set(xlabel="unseen focal length, px of a 960 px wide image", ylabel=quantity)
        axes.set(xscale="log", yscale="log")
        axes.set_xticks(FOCAL_TICKS_PX, [f"{focal_px:g}" for focal_px in FOCAL_TICKS_PX])
        axes.set_yticks(ERROR_TICKS, [f"{error:g}" for error in ERROR_TICKS])
        axes.minorticks_off()
        axes.legend(fontsize="small")
    figure.suptitle("Unseen worlds, unseen focal lengths: between those of training (gray) / beyond them")
    with atomic_file(path) as file:
        figure.savefig(file, format="png", dpi=120)


def run_experiment(
    out: Path, views: int, unseen_views: int, steps: int, names: list[str], initial: Path | None
) -> dict[str, Any]:
    """Render, train, measure and draw; returns the results by variant, then by where the focal lengths lie."""
    seen = render_views(out / "views", views, FocalLengths.SEEN)
    unseen = {
        where.label: render_views(out / f"{where.label}_views", unseen_views, where) for where in UNSEEN_BANDS_PX
    }
    results: dict[str, Any] = {}
    for name in names:
        fit(recipe_of(VARIANTS[name], seen, out / name, steps, initial))
        results[name] = {where: measure(out / name, annotations) for where, annotations in unseen.items()}
        with atomic_file(out / "results.json") as file:
            file.write(json.dumps(results, indent=1).encode())
    draw(results, out / "canonical_space.png")
    return results


def main(arguments: list[str] | None = None) -> int:
    """Run the experiment; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m training.canonical_experiment",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--views", type=int, default=640)
    parser.add_argument("--unseen-views", type=int, default=96, help="between, and as many beyond")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--initial", default="nano", help="an exported nano to start from, or none")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    options = parser.parse_args(arguments)
    try:
        initial = None if options.initial == "none" else model_path(options.initial)
        results = run_experiment(
            options.out, options.views, options.unseen_views, options.steps, options.variants, initial
        )
    except Metric3dError as error:
        print(f"canonical_experiment: {error}", file=sys.stderr)
        return 2
    for name, result in results.items():
        for where, measured in result.items():
            print(
                f"{VARIANTS[name].title:24s} {where:8s} AbsRel {measured['abs_rel']:.3f}  delta1 "
                f"{measured['delta1']:.3f}  scale error {measured['scale_error']:.3f}"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
