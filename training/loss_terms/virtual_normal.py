"""Losses of the planes through three far points: shape over the whole image, and flatness of what is flat."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from training.loss_terms.truth import Guess, Truth, nothing

TRIPLETS_PER_PIXEL = 0.2
# Points seen almost in line span no plane: no two sides may be closer than 30 degrees to each other.
MAX_COSINE = 0.867
# Points this near to each other on every axis are one point.
MIN_DISTANCE_M = 0.005
DROPPED_SHARE = 0.25
TRIPLETS_PER_PLANE = 5000
MIN_PLANE_PX = 200


def virtual_normal_loss(guess: Guess, truth: Truth, generator: torch.Generator) -> Tensor:
    """L1 between the unit normals of random triplets of points (Yin et al. 2019, eqs. 4 to 7).

    0.2 triplets per pixel, the ones that the truth has no plane for dropped, and of the rest the easiest quarter.
    Points are in metres and made with the rays of the image at hand.
    """
    triplets = _random_triplets(truth.labelled, round(TRIPLETS_PER_PIXEL * truth.depth.numel()), generator)
    if triplets is None:
        return nothing(guess)
    true_corners = truth.points_m(truth.depth).reshape(-1, 3)[triplets]
    corners = truth.points_m(guess.depth).reshape(-1, 3)[triplets]
    spanning = spans_a_plane(true_corners)
    if not spanning.any():
        return nothing(guess)
    error = (unit_normal(corners[spanning]) - unit_normal(true_corners[spanning])).abs().sum(dim=-1)
    hardest = error.sort().values[int(DROPPED_SHARE * error.numel()) :]
    return hardest.mean()


def plane_normal_loss(guess: Guess, truth: Truth, generator: torch.Generator) -> Tensor:
    """1 - n . m over triplets of one flat surface, n a triplet's normal and m their mean (Metric3D v2, planes).

    The mean over the planes of the image; no truth but the plane's number is needed. x of a point
    goes with its column, y with its row, as the rays say.
    """
    points = truth.points_m(guess.depth).reshape(-1, 3)
    numbers, sizes = torch.unique(truth.planes[truth.planes > 0], return_counts=True)
    found = []
    for number in numbers[sizes >= MIN_PLANE_PX]:
        triplets = _random_triplets(truth.planes == number, TRIPLETS_PER_PLANE, generator)
        assert triplets is not None
        corners = points[triplets]
        corners = corners[spans_a_plane(corners.detach())]
        if not len(corners):
            continue
        normals = unit_normal(corners)
        # Triplets turn either way; seen from the camera there is one side.
        away = (normals * corners.mean(dim=1)).sum(dim=-1, keepdim=True) > 0
        normals = torch.where(away, -normals, normals)
        mean = functional.normalize(normals.mean(dim=0), dim=0)
        found.append((1 - normals @ mean).mean())
    return torch.stack(found).mean() if found else nothing(guess)


def unit_normal(corners: Tensor) -> Tensor:
    """Unit normals (n, 3) of triangles (n, 3, 3), corners in rows."""
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return functional.normalize(torch.linalg.cross(first, second), dim=-1, eps=1e-8)


def spans_a_plane(corners: Tensor) -> Tensor:
    """(n,) whether three points (n, 3, 3) are apart and not in line."""
    sides = torch.stack(
        [corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0], corners[:, 2] - corners[:, 1]], dim=1
    )
    directions = functional.normalize(sides, dim=-1)
    cosines = (directions * directions.roll(1, dims=1)).sum(dim=-1).abs()
    meet = (sides.abs() < MIN_DISTANCE_M).all(dim=-1).any(dim=-1)
    return (cosines <= MAX_COSINE).all(dim=-1) & ~meet


def _random_triplets(chosen: Tensor, count: int, generator: torch.Generator) -> Tensor | None:
    """Pixel numbers (count, 3) of chosen pixels, or None where there are not three."""
    pixels = chosen.reshape(-1).nonzero()[:, 0]
    if pixels.numel() < 3:
        return None
    return pixels[torch.randint(pixels.numel(), (count, 3), generator=generator).to(pixels.device)]
