"""The pose of a new frame: matched to the last keyframe, from where the motion expects it or from nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from droid_bridge.expected_motion import expected_coords
from droid_bridge.factor_graph import FactorGraph, WindowFrame
from droid_bridge.lie import se3_inverse
from droid_bridge.matching.choice import AnyFeatures
from droid_bridge.matching.matcher import FramePair, Matcher, PairMatch
from droid_bridge.pose_covariance import PoseInformation

_ITERATIONS = 6
_WIDEN = 8.0
_GOOD_INLIER_SHARE = 0.25
_GOOD_FITTING_SHARE = 0.6
_MIN_INLIER_SHARE = 0.1
_MIN_FITTING_SHARE = 0.35


@dataclass(frozen=True)
class PoseFit:
    """What one match says of the pose of a frame.

    Attributes
    ----------
    match : the last keyframe and the frame.
    camera_from_world : (4, 4) float64.
    inlier_share : share of all cells whose match fits the pose.
    fitting_share : the same as a share of the cells that were matched.
    information : what is known of the pose; None where it came from elsewhere.
    """

    match: PairMatch
    camera_from_world: Tensor
    inlier_share: float
    fitting_share: float
    information: PoseInformation | None = None

    @property
    def is_good(self) -> bool:
        """Whether no other start needs to be tried."""
        return self.inlier_share > _GOOD_INLIER_SHARE and self.fitting_share > _GOOD_FITTING_SHARE

    @property
    def is_lost(self) -> bool:
        """Whether the image does not tell the pose."""
        return self.inlier_share < _MIN_INLIER_SHARE or self.fitting_share < _MIN_FITTING_SHARE


def find_pose(
    graph: FactorGraph[AnyFeatures],
    new: WindowFrame[AnyFeatures],
    predicted: Tensor,
    matcher: Matcher[AnyFeatures],
    expectation_first: bool,
) -> PoseFit:
    """Match the last keyframe of a graph to a new frame and fit its pose; if one start fails, the better of two.

    Parameters
    ----------
    graph : the window; its last frame is the keyframe.
    new : a frame that is not in it.
    predicted : (4, 4) camera_from_world that the last motion predicts.
    matcher : what finds the cells.
    expectation_first : begin with the prediction instead of nothing.
    """
    cold = FramePair(graph.frames[-1].features, new.features)
    expected = _expecting(cold, graph, predicted)
    fits = []
    for pair in (expected, cold) if expectation_first else (cold, expected):
        match = matcher.match([pair])[0]
        fits.append(fitted(graph, match, predicted))
        if fits[-1].is_good:
            break
    return max(fits, key=lambda fit: fit.inlier_share)


def fitted(graph: FactorGraph[AnyFeatures], match: PairMatch, start: Tensor) -> PoseFit:
    """The pose (4, 4) that fits a match of the last keyframe, from a first guess of it."""
    pose, residuals, information = graph.pose_against(len(graph) - 1, match.forward, start, _ITERATIONS, _WIDEN)
    fit = with_residuals(match, pose, residuals, graph.inlier_width_cells)
    return replace(fit, information=information)


def with_residuals(match: PairMatch, camera_from_world: Tensor, residuals: Tensor, width_cells: float) -> PoseFit:
    """A fit judged by its residuals (cells,) in cells, NaN without a match."""
    inliers = float((residuals < width_cells).double().mean())
    matched = float(torch.isfinite(residuals).double().mean())
    return PoseFit(match, camera_from_world, inliers, inliers / matched if matched else 0.0)


def _expecting(
    pair: FramePair[AnyFeatures], graph: FactorGraph[AnyFeatures], predicted: Tensor
) -> FramePair[AnyFeatures]:
    """The pair with what the keyframe's depths expect at the predicted pose."""
    estimate = graph.estimate
    new_from_keyframe = predicted @ se3_inverse(estimate.camera_from_world[-1])
    both = torch.stack([new_from_keyframe, se3_inverse(new_from_keyframe)])
    coords = expected_coords(both, estimate.inverse_depth[-1].expand(2, -1), graph.grid)
    return replace(pair, second_from_first=coords[0], first_from_second=coords[1])
