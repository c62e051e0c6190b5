"""Matches taken up again from the adjusted geometry: what a learned matcher and the adjustment do in turn."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from droid_bridge.expected_motion import expected_coords
from droid_bridge.factor_graph import FactorGraph
from droid_bridge.matching.matcher import FeaturesT, FramePair, Matcher
from droid_bridge.projection import relative_poses


def match_again(graph: FactorGraph[FeaturesT], matcher: Matcher[FeaturesT]) -> None:
    """Match every pair with a pose that may still move again, from where its geometry now expects the cells.

    The matches of the graph are replaced; both directions of a pair have to be in it.
    """
    first, second = _moving_pairs(graph)
    if not first.numel():
        return
    expected_in_second = _expected(graph, first, second)
    expected_in_first = _expected(graph, second, first)
    pairs = [
        FramePair(graph.frames[i].features, graph.frames[j].features, in_second, in_first, goes_on=True)
        for i, j, in_second, in_first in zip(
            first.tolist(), second.tolist(), expected_in_second, expected_in_first, strict=True
        )
    ]
    for i, j, match in zip(first.tolist(), second.tolist(), matcher.match(pairs), strict=True):
        graph.connect(i, j, match.forward)
        graph.connect(j, i, match.backward)


def _moving_pairs(graph: FactorGraph[FeaturesT]) -> tuple[Tensor, Tensor]:
    """Positions (pairs,) of the earlier and the later frame of each matched pair whose later pose is not held."""
    if len(graph) < 2:
        empty = torch.zeros(0, dtype=torch.long)
        return empty, empty
    factors = graph.factors()
    chosen = (factors.source < factors.target) & (factors.target >= graph.held_poses)
    return factors.source[chosen], factors.target[chosen]


def _expected(graph: FactorGraph[FeaturesT], source: Tensor, target: Tensor) -> NDArray[np.float32]:
    """Coordinates (pairs, rows, columns, 2) of the source frames' cells in the target frames."""
    estimate = graph.estimate
    target_from_source = relative_poses(estimate.camera_from_world, source, target)
    return expected_coords(target_from_source, estimate.inverse_depth[source], graph.grid)
