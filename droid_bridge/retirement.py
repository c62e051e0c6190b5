"""What the back end gets of a frame that leaves the window."""

from __future__ import annotations

import numpy as np

from droid_bridge.factor_graph import FactorGraph
from droid_bridge.keyframe_record import KeyframeRecord
from droid_bridge.matching.matcher import FeaturesT
from droid_bridge.scale_prior import fit_prior
from metric3d_ros.camera import PinholeCamera


def keyframe_record(graph: FactorGraph[FeaturesT], position: int, working_camera: PinholeCamera) -> KeyframeRecord:
    """The record of the frame at a position in the window, as it is estimated now."""
    frame, estimate = graph.frames[position], graph.estimate
    shape = (graph.grid.camera.height_px, graph.grid.camera.width_px)
    return KeyframeRecord(
        frame_index=frame.frame_index,
        stamp_ns=frame.stamp_ns,
        camera_from_world=estimate.camera_from_world[position].cpu().numpy().copy(),
        inverse_depth=estimate.inverse_depth[position].cpu().numpy().reshape(shape).astype(np.float32),
        inverse_depth_sigma=graph.inverse_depth_sigma(position).cpu().numpy().reshape(shape).astype(np.float32),
        gray=frame.gray,
        rgb=frame.rgb,
        log_scale=_log_scale(graph, position),
        working_camera=working_camera,
        log_growth=graph.log_growth,
    )


def _log_scale(graph: FactorGraph[FeaturesT], position: int) -> float:
    """Log of the map's depth over the prior's where the matches know it; NaN without a prior."""
    prior = graph.frames[position].prior
    if prior is None:
        return float("nan")
    fit = fit_prior(prior, graph.known_depth(position))
    return float("nan") if fit is None else fit.log_scale
