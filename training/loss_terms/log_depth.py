"""The losses of the small network, all on the error in log depth.

With g = ln d - ln d* over the labelled pixels of one image (H, W); canonical units cancel, so g is the same in
metres.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from training.loss_terms.truth import MIN_LABEL, Guess, Truth, mean_where

GRADIENT_SCALES = (1, 2, 4, 8)
# From three times the truth on, the relative error goes on as a straight line in g.
MAX_RATIO = 3.0
# A confidence this near to 0 or 1 has an infinite cross-entropy.
MIN_SHARE = 1e-4


def log_l1_loss(guess: Guess, truth: Truth, _generator: torch.Generator) -> Tensor:
    """Mean of abs(g)."""
    return mean_where(log_error(guess, truth).abs(), truth.labelled)


def relative_l1_loss(guess: Guess, truth: Truth, _generator: torch.Generator) -> Tensor:
    """Mean of abs(d - d*) / d* = abs(e^g - 1), and 2 + 3 (g - ln 3) where d is more than 3 d*.

    Where a pixel may belong to the near or the far side of an edge this leans to the near side, as the usual
    measure of depth (AbsRel) does; abs(g) leans to neither. The straight line keeps single pixels from ruling the
    gradient.
    """
    g = log_error(guess, truth)
    bend = math.log(MAX_RATIO)
    near = (g.clamp(max=bend).exp() - 1).abs()
    return mean_where(near + MAX_RATIO * (g - bend).clamp(min=0), truth.labelled)


def image_scale_loss(guess: Guess, truth: Truth, _generator: torch.Generator) -> Tensor:
    """abs(mean(g)): the scale of an image, which is what SLAM feels."""
    return mean_where(log_error(guess, truth), truth.labelled).abs()


def log_gradient_loss(guess: Guess, truth: Truth, _generator: torch.Generator) -> Tensor:
    """Mean of abs(dg/dx) + abs(dg/dy) on the image sub-sampled by 1, 2, 4 and 8 (MegaDepth, Li 2018, eq. 3)."""
    g, labelled = log_error(guess, truth), truth.labelled
    total = g.new_zeros(())
    for step in GRADIENT_SCALES:
        sub_g, sub_labelled = g[::step, ::step], labelled[::step, ::step]
        pair_x = sub_labelled[:, :-1] & sub_labelled[:, 1:]
        pair_y = sub_labelled[:-1] & sub_labelled[1:]
        total = total + mean_where((sub_g[:, 1:] - sub_g[:, :-1]).abs(), pair_x)
        total = total + mean_where((sub_g[1:] - sub_g[:-1]).abs(), pair_y)
    return total / len(GRADIENT_SCALES)


def confidence_entropy_loss(guess: Guess, truth: Truth, _generator: torch.Generator) -> Tensor:
    """Cross-entropy of a confidence between 0 and 1 towards max(0, 1 - abs(d - d*) / d*), 0 without a reading.

    Where labels are dense, no reading means sky, which is taught as 0; sparse labels say nothing there.
    """
    relative_error = (log_error(guess, truth).detach().exp() - 1).abs()
    target = torch.where(truth.labelled, (1 - relative_error).clamp(min=0), torch.zeros_like(relative_error))
    share = guess.confidence.clamp(MIN_SHARE, 1 - MIN_SHARE)
    per_pixel = functional.binary_cross_entropy(share, target, reduction="none")
    return mean_where(per_pixel, truth.content if truth.kind.is_dense else truth.labelled)


def log_error(guess: Guess, truth: Truth) -> Tensor:
    """g (H, W), and 0 where there is no label (there ``truth.depth`` may be NaN)."""
    log_truth = torch.log(torch.where(truth.labelled, truth.depth, torch.ones_like(truth.depth)))
    g = guess.depth.clamp(min=MIN_LABEL).log() - log_truth
    return torch.where(truth.labelled, g, torch.zeros_like(g))
