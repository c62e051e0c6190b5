"""Losses of depth with its own median and spread taken out: near and small things count as much as far ones.

N(d) = (d - median(d)) / mean|d - median(d)| over the pixels of a domain, and the loss of a domain is
mean |N(d) - N(d*)|. Where the domains come from tells the two losses apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from training.loss_terms.truth import Guess, Truth, nothing

PROPOSALS = 32
SIDE_SHARES = (0.125, 0.5)
MIN_REGION_PX = 500
DEPTH_RANGES = 10
# A median of fewer says nothing.
MIN_DOMAIN_PX = 16
MIN_SPREAD = 1e-6


def random_proposal_loss(guess: Guess, truth: Truth, generator: torch.Generator) -> Tensor:
    """RPNL: domains are random crops, regions and the whole image (Metric3D, Yin et al. 2023, eq. 4).

    32 crops with sides of 1/8 to 1/2 of the image, every region of more than 500 px, and the image.
    """
    height_px, width_px = truth.depth.shape
    domains = [truth.labelled]
    for _ in range(PROPOSALS):
        domain = torch.zeros_like(truth.labelled)
        rows, columns = _random_span(height_px, generator), _random_span(width_px, generator)
        domain[rows, columns] = truth.labelled[rows, columns]
        domains.append(domain)
    regions, sizes = torch.unique(truth.regions[truth.regions > 0], return_counts=True)
    domains += [truth.labelled & (truth.regions == region) for region in regions[sizes > MIN_REGION_PX]]
    return _mean_over_domains(guess, truth, domains)


def depth_range_loss(guess: Guess, truth: Truth, generator: torch.Generator) -> Tensor:
    """HDN: domains are random ranges of the true depth (Zhang et al. 2022, HDN-DR), all in the label's unit.

    Ten ranges between two depths that occur in the image.
    """
    present = truth.depth[truth.labelled]
    if present.numel() < MIN_DOMAIN_PX:
        return nothing(guess)
    ends = torch.randint(present.numel(), (DEPTH_RANGES, 2), generator=generator).to(present.device)
    ranges = present[ends].sort(dim=1).values
    domains = [(truth.depth >= low) & (truth.depth <= high) for low, high in ranges]
    return _mean_over_domains(guess, truth, domains)


def normalised(depth: Tensor) -> Tensor:
    """Depths (n,) less their median, over the mean distance from it; of an even count the median is the lower."""
    centred = depth - depth.median()
    spread: Tensor = centred.abs().mean().clamp(min=MIN_SPREAD)
    return centred / spread


def _mean_over_domains(guess: Guess, truth: Truth, domains: Sequence[Tensor]) -> Tensor:
    """A flat domain has no spread to divide by, and is left out."""
    found = []
    for domain in domains:
        depth_truth = truth.depth[domain]
        if depth_truth.numel() < MIN_DOMAIN_PX or not (depth_truth.max() - depth_truth.min()) > MIN_SPREAD:
            continue
        found.append((normalised(guess.depth[domain]) - normalised(depth_truth)).abs().mean())
    return torch.stack(found).mean() if found else nothing(guess)


def _random_span(length_px: int, generator: torch.Generator) -> slice:
    low, high = (max(1, round(share * length_px)) for share in SIDE_SHARES)
    side = int(torch.randint(low, high + 1, (), generator=generator))
    start = int(torch.randint(length_px - side + 1, (), generator=generator))
    return slice(start, start + side)
