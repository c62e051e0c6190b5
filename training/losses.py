"""The losses, all in log canonical depth, all masked to the pixels that have a label.

With g = ln d - ln d* (canonical units cancel: g is the same in metres) and M the labelled pixels of an image.
Shapes are (batch, 1, height, width) throughout; every loss is a scalar.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

GRADIENT_SCALES = (1, 2, 4, 8)
# Half the squared mean is taken off, as in Eigen et al. 2014 and the Metric3D recipe.
SILOG_MEAN_SHARE = 0.5


def log_error(log_depth: Tensor, depth: Tensor, labelled: Tensor) -> Tensor:
    """g = ln d - ln d*, and 0 where ``labelled`` is false (there ``depth`` may be NaN)."""
    log_truth = torch.log(torch.where(labelled, depth, torch.ones_like(depth)))
    return torch.where(labelled, log_depth - log_truth, torch.zeros_like(log_depth))


def log_l1_loss(g: Tensor, labelled: Tensor) -> Tensor:
    """Mean of abs(g) over all labelled pixels of the batch."""
    return g.abs().sum() / labelled.sum().clamp(min=1)


def silog_loss(g: Tensor, labelled: Tensor) -> Tensor:
    """mean(g^2) - 0.5 mean(g)^2 per image (Eigen et al. 2014, eq. 4), averaged over the batch."""
    count = labelled.sum(dim=(1, 2, 3)).clamp(min=1)
    mean_square = (g * g).sum(dim=(1, 2, 3)) / count
    mean = g.sum(dim=(1, 2, 3)) / count
    return (mean_square - SILOG_MEAN_SHARE * mean * mean).mean()


def image_scale_loss(g: Tensor, labelled: Tensor) -> Tensor:
    """abs(mean(g)) per image, averaged over the batch: the error that a scale prior passes on to SLAM."""
    count = labelled.sum(dim=(1, 2, 3)).clamp(min=1)
    return (g.sum(dim=(1, 2, 3)) / count).abs().mean()


def log_gradient_loss(g: Tensor, labelled: Tensor) -> Tensor:
    """Mean of abs(dg/dx) + abs(dg/dy) on the image sub-sampled by 1, 2, 4 and 8 (MegaDepth, eq. 3)."""
    total = g.new_zeros(())
    for step in GRADIENT_SCALES:
        sub_g, sub_labelled = g[..., ::step, ::step], labelled[..., ::step, ::step]
        pair_x = sub_labelled[..., :-1] & sub_labelled[..., 1:]
        pair_y = sub_labelled[..., :-1, :] & sub_labelled[..., 1:, :]
        change_x = (sub_g[..., 1:] - sub_g[..., :-1]).abs() * pair_x
        change_y = (sub_g[..., 1:, :] - sub_g[..., :-1, :]).abs() * pair_y
        total = total + change_x.sum() / pair_x.sum().clamp(min=1)
        total = total + change_y.sum() / pair_y.sum().clamp(min=1)
    return total / len(GRADIENT_SCALES)


def confidence_target(g: Tensor, labelled: Tensor) -> Tensor:
    """What confidence is trained towards: max(0, 1 - abs(d - d*) / d*), and 0 where there is no reading."""
    relative_error = (g.detach().exp() - 1).abs()
    return torch.where(labelled, (1 - relative_error).clamp(min=0), torch.zeros_like(g))


def confidence_loss(confidence_logit: Tensor, g: Tensor, labelled: Tensor, content: Tensor) -> Tensor:
    """Binary cross-entropy towards ``confidence_target`` over the image content (padding left out)."""
    per_pixel = functional.binary_cross_entropy_with_logits(
        confidence_logit, confidence_target(g, labelled), reduction="none"
    )
    return (per_pixel * content).sum() / content.sum().clamp(min=1)
