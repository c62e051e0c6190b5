"""How a keyframe joins the window: its first depths, its matches to the frames before, and the adjustment."""

from __future__ import annotations

import torch

from droid_bridge.depth_transfer import carried_depth
from droid_bridge.expected_motion import expected_coords
from droid_bridge.factor_graph import FactorGraph
from droid_bridge.lie import se3_inverse
from droid_bridge.matching.choice import AnyFeatures
from droid_bridge.matching.matcher import FramePair, Matcher
from droid_bridge.pose_search import PoseFit
from droid_bridge.rematch import match_again
from droid_bridge.scale_prior import KnownDepth


def carried_from_keyframe(graph: FactorGraph[AnyFeatures], fit: PoseFit) -> KnownDepth:
    """The depths of a fitted frame that the last keyframe's say, NaN where it was not matched."""
    new_from_keyframe = fit.camera_from_world @ se3_inverse(graph.estimate.camera_from_world[-1])
    return carried_depth(graph.known_depth(len(graph) - 1), new_from_keyframe, fit.match.backward, graph.grid)


def connect_further(graph: FactorGraph[AnyFeatures], matcher: Matcher[AnyFeatures], edge_radius: int) -> None:
    """Match the newest frame to the ones before the last keyframe, starting from the geometry."""
    newest = len(graph) - 1
    others = range(max(0, newest - edge_radius), newest - 1)
    if not others:
        return
    poses, depths = graph.estimate.camera_from_world, graph.estimate.inverse_depth
    new_from_other = torch.stack([poses[newest] @ se3_inverse(poses[k]) for k in others])
    to_new = expected_coords(new_from_other, depths[others.start : others.stop], graph.grid)
    own_depths = depths[newest].expand(len(others), -1)
    from_new = expected_coords(se3_inverse(new_from_other), own_depths, graph.grid)
    features = graph.frames[newest].features
    pairs = [FramePair(graph.frames[k].features, features, to_new[n], from_new[n]) for n, k in enumerate(others)]
    for k, match in zip(others, matcher.match(pairs), strict=True):
        graph.connect(k, newest, match.forward)
        graph.connect(newest, k, match.backward)


def adjust(
    graph: FactorGraph[AnyFeatures], matcher: Matcher[AnyFeatures], first_iterations: int, iterations: int
) -> None:
    """Bundle-adjust the window, in turn with a matcher that goes on."""
    graph.optimise(first_iterations)
    for _ in range(matcher.rematches):
        match_again(graph, matcher)
        graph.optimise(iterations)
