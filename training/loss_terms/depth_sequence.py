"""Losses of depth and its confidence, pixel by pixel."""

from __future__ import annotations

import torch
from torch import Tensor

from training.loss_terms.truth import MIN_LABEL, Guess, Truth, mean_where, refinement_weights

SILOG_MEAN_SHARE = 0.5


def depth_sequence_loss(guess: Guess, truth: Truth, _generator: torch.Generator) -> Tensor:
    """L1 and confidence of every refinement (Metric3D v2, Hu et al. 2024, after RAFT, Teed and Deng 2020, eq. 7).

    sum_i gamma^(n - 1 - i) [ mean |d_i - d*| + mean |c_i - (1 - |d_i - d*| / d*)| ]

    with gamma = 0.9^(15 / (n - 1)); the confidence counts only where |d_i - d*| < d*, its target being
    positive there, and the target does not pull on the depth.
    """
    labelled = truth.labelled
    depth_truth = torch.where(labelled, truth.depth, torch.ones_like(truth.depth))
    total = guess.depth.new_zeros(())
    weights = refinement_weights(len(guess.depths))
    for weight, depth, confidence in zip(weights, guess.depths, guess.confidences, strict=True):
        error = (depth - depth_truth).abs()
        relative = (error / depth_truth).detach()
        confidence_error = (confidence - (1 - relative)).abs()
        total = total + weight * mean_where(error, labelled)
        total = total + weight * mean_where(confidence_error, labelled & (relative < 1))
    return total


def silog_loss(guess: Guess, truth: Truth, _generator: torch.Generator) -> Tensor:
    """mean(g^2) - 0.5 mean(g)^2 with g = ln d - ln d* (Eigen et al. 2014, eq. 4)."""
    labelled = truth.labelled
    safe_truth = torch.where(labelled, truth.depth, torch.ones_like(truth.depth))
    # Nothing keeps a v1 network's depth above 0.
    safe_depth = torch.where(labelled, guess.depth, torch.ones_like(guess.depth)).clamp(min=MIN_LABEL)
    g = safe_depth.log() - safe_truth.log()
    mean = mean_where(g, labelled)
    return mean_where(g * g, labelled) - SILOG_MEAN_SHARE * mean * mean
