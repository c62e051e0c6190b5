"""Losses of the normal branch, of its agreement with depth, and of the sky."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from training.loss_terms.truth import Guess, Truth, mean_where, nothing, refinement_weights

# Nearer to parallel or opposite the arc cosine has no slope to follow.
MAX_COSINE = 0.999
MIN_CONFIDENCE = 0.5
SUREST_SHARE = 0.7
WITHOUT_TRUE_NORMALS = 2.0
DIFFERENCE_RADII_PX = (2, 1)
SKY_DEPTH = 200.0
SKY_NORMAL = (0.0, 0.0, -1.0)


def normal_branch_loss(guess: Guess, truth: Truth, _generator: torch.Generator) -> Tensor:
    """Negative log likelihood of the true normal under every refinement (Bae et al. 2021, eq. 4).

    -ln(k^2 + 1) + k acos(n . n*) + ln(1 + e^(-k pi)), over pixels with |n . n*| < 0.999, weighted as depth is.
    """
    known = torch.isfinite(truth.normal).all(dim=0)
    if not guess.normal_kappas or not known.any():
        return nothing(guess)
    normal_truth = torch.where(known, truth.normal, torch.zeros_like(truth.normal))
    total = guess.depth.new_zeros(())
    weights = refinement_weights(len(guess.normal_kappas))
    for weight, normal_kappa in zip(weights, guess.normal_kappas, strict=True):
        cosine = (normal_kappa[:3] * normal_truth).sum(dim=0)
        kappa = normal_kappa[3]
        counted = known & (cosine.abs() < MAX_COSINE)
        # Clamped before the arc cosine: a slope that is not finite survives being masked out afterwards.
        angle = torch.acos(cosine.clamp(-MAX_COSINE, MAX_COSINE))
        likelihood = -torch.log(kappa * kappa + 1) + kappa * angle + torch.log1p(torch.exp(-kappa * math.pi))
        total = total + weight * mean_where(likelihood, counted)
    return total


def depth_normal_consistency_loss(guess: Guess, truth: Truth, _generator: torch.Generator) -> Tensor:
    """1 - n . n(d): the normal branch follows the normals of the predicted depth, which it does not pull on.

    Over pixels that both confidences count among their surest 70 % and whose depth confidence is above 0.5
    (Metric3D v2); twice as heavy where the image has no true normals to learn from.
    """
    if not guess.normal_kappas:
        return nothing(guess)
    normal, kappa = guess.normal_kappas[-1][:3], guess.normal_kappas[-1][3].detach()
    from_depth, known = normals_from_points(truth.points_m(guess.depth.detach()))
    confidence = guess.confidence.detach()
    sure = known & truth.content & ~truth.sky & (confidence > MIN_CONFIDENCE)
    sure &= _surest(confidence, truth.content) & _surest(kappa, truth.content)
    has_normals = bool(torch.isfinite(truth.normal).any())
    weight = 1.0 if has_normals else WITHOUT_TRUE_NORMALS
    return weight * mean_where(1 - (normal * from_depth).sum(dim=0), sure)


def sky_loss(guess: Guess, truth: Truth, _generator: torch.Generator) -> Tensor:
    """mean |d - 200| and, with normals, 1 - n . (0, 0, -1) over the sky (Metric3D v2)."""
    total = mean_where((guess.depth - SKY_DEPTH).abs(), truth.sky)
    if guess.normal_kappas:
        facing = guess.depth.new_tensor(SKY_NORMAL).view(3, 1, 1)
        total = total + mean_where(1 - (guess.normal_kappas[-1][:3] * facing).sum(dim=0), truth.sky)
    return total


def normals_from_points(points_m: Tensor) -> tuple[Tensor, Tensor]:
    """Unit normals (3, H, W) towards the camera of a map of points (H, W, 3), and where there are any (H, W).

    Cross products of the central differences at radii of 2 and 1 px, averaged.
    """
    total = torch.zeros_like(points_m)
    for radius in DIFFERENCE_RADII_PX:
        across = torch.zeros_like(points_m)
        down = torch.zeros_like(points_m)
        across[:, radius:-radius] = points_m[:, 2 * radius :] - points_m[:, : -2 * radius]
        down[radius:-radius] = points_m[2 * radius :] - points_m[: -2 * radius]
        normal = functional.normalize(torch.linalg.cross(down, across), dim=-1)
        away = (normal * points_m).sum(dim=-1, keepdim=True) > 0
        total = total + torch.where(away, -normal, normal)
    known = total.norm(dim=-1) > 0
    return functional.normalize(total, dim=-1).permute(2, 0, 1), known


def _surest(values: Tensor, chosen: Tensor) -> Tensor:
    """Where ``values`` are among the highest 70 % of the chosen ones."""
    present = values[chosen]
    if not present.numel():
        return chosen
    # torch.quantile refuses more than 16 million values.
    rank = max(1, math.ceil((1 - SUREST_SHARE) * present.numel()))
    return values >= present.kthvalue(rank).values
