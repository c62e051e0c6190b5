"""The losses by the name they have in a recipe, and which kinds of label each can be learned from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from training.label_kind import LabelKind
from training.loss_terms.depth_sequence import depth_sequence_loss, silog_loss
from training.loss_terms.log_depth import (
    confidence_entropy_loss,
    image_scale_loss,
    log_gradient_loss,
    log_l1_loss,
    relative_l1_loss,
)
from training.loss_terms.normalised_regression import depth_range_loss, random_proposal_loss
from training.loss_terms.surface_normal import depth_normal_consistency_loss, normal_branch_loss, sky_loss
from training.loss_terms.truth import Guess, Truth
from training.loss_terms.virtual_normal import plane_normal_loss, virtual_normal_loss

LossFunction = Callable[[Guess, Truth, torch.Generator], Tensor]


@dataclass(frozen=True)
class LossTerm:
    """A loss of one image, and what its label must be for it."""

    function: LossFunction
    needs_metric: bool = False
    needs_dense: bool = False

    def learns_from(self, kind: LabelKind) -> bool:
        """Whether a label of this kind can teach it."""
        return (kind.is_metric or not self.needs_metric) and (kind.is_dense or not self.needs_dense)


LOSS_TERMS: dict[str, LossTerm] = {
    "depth_sequence": LossTerm(depth_sequence_loss, needs_metric=True),
    "silog": LossTerm(silog_loss, needs_metric=True),
    "random_proposal": LossTerm(random_proposal_loss),
    "depth_range": LossTerm(depth_range_loss),
    "virtual_normal": LossTerm(virtual_normal_loss),
    "plane_normal": LossTerm(plane_normal_loss),
    "normal_branch": LossTerm(normal_branch_loss),
    "depth_normal_consistency": LossTerm(depth_normal_consistency_loss),
    "sky": LossTerm(sky_loss),
    "log_l1": LossTerm(log_l1_loss, needs_metric=True),
    "relative_l1": LossTerm(relative_l1_loss, needs_metric=True),
    "image_scale": LossTerm(image_scale_loss, needs_metric=True),
    "log_gradient": LossTerm(log_gradient_loss, needs_dense=True),
    "confidence_entropy": LossTerm(confidence_entropy_loss, needs_metric=True),
}


def image_losses(
    weights: Mapping[str, float], guess: Guess, truth: Truth, generator: torch.Generator
) -> dict[str, Tensor]:
    """Every loss of one image that its label can teach, by name, not weighted."""
    return {
        name: LOSS_TERMS[name].function(guess, truth, generator)
        for name in weights
        if LOSS_TERMS[name].learns_from(truth.kind)
    }
