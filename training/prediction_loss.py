"""A batch's predictions and labels into one loss and its parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from training.label_kind import LABEL_KINDS
from training.loss_terms import image_losses
from training.loss_terms.truth import Guess, Truth
from training.models.prediction import CanonicalPrediction
from training.view_batches import ViewBatch


def batch_losses(
    weights: Mapping[str, float], predictions: Sequence[CanonicalPrediction], batch: ViewBatch, seed: int
) -> dict[str, Tensor]:
    """Every loss by name, the mean over the images of a batch, and their weighted sum as ``total``.

    An image whose label cannot teach a loss counts as 0 there. What losses draw is decided by ``seed`` and the
    sample's number, so the mean over a step is the same however its images are dealt out.
    """
    images = len(batch.number)
    sums: dict[str, Tensor] = {}
    for index in range(images):
        generator = _generator(seed, int(batch.number[index]))
        parts = image_losses(weights, _guess(predictions, index), truth_of(batch, index), generator)
        for name, part in parts.items():
            sums[name] = sums.get(name, part.new_zeros(())) + part / images
    # Every output takes part, with no weight where no loss looks at it: processes that exchange gradients must all
    # have the same ones.
    total = sum((0 * output.sum() for output in _outputs(predictions)), start=predictions[-1].depth.new_zeros(()))
    for name, part in sums.items():
        total = total + weights[name] * part
    return {**{name: sums.get(name, total.new_zeros(())) for name in weights}, "total": total}


def truth_of(batch: ViewBatch, index: int) -> Truth:
    """The labels of one image of a batch."""
    height_px, width_px = batch.depth.shape[1:]
    return Truth(
        depth=batch.depth[index],
        rays=camera_rays(batch.intrinsics[index], height_px, width_px),
        label_per_metre=float(batch.label_per_metre[index]),
        kind=LABEL_KINDS[int(batch.kind[index])],
        normal=batch.normal[index],
        regions=batch.regions[index],
        planes=batch.planes[index],
        sky=batch.sky[index],
        content=batch.content[index],
    )


def camera_rays(intrinsics: Tensor, height_px: int, width_px: int) -> Tensor:
    """Rays (H, W, 3) with z = 1 of a camera's fx, fy, cx, cy (``PinholeCamera.rays`` on any device)."""
    fx, fy, cx, cy = intrinsics
    x = (torch.arange(width_px, device=intrinsics.device) - cx) / fx
    y = (torch.arange(height_px, device=intrinsics.device) - cy) / fy
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([columns, rows, torch.ones_like(rows)], dim=-1)


def _generator(seed: int, number: int) -> torch.Generator:
    state = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    return torch.Generator().manual_seed(state)


def _guess(predictions: Sequence[CanonicalPrediction], index: int) -> Guess:
    return Guess(
        depths=[prediction.depth[index, 0].float() for prediction in predictions],
        confidences=[prediction.confidence[index, 0].float() for prediction in predictions],
        normal_kappas=[p.normal_kappa[index].float() for p in predictions if p.normal_kappa is not None],
    )


def _outputs(predictions: Sequence[CanonicalPrediction]) -> list[Tensor]:
    return [output for prediction in predictions for output in prediction if output is not None]
