"""What ``droid-bridge track`` tells of a drive: its drift where there is a truth, its speed and its memory."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from droid_bridge.errors import DroidBridgeError
from droid_bridge.evaluation.drift import evaluate_drift
from droid_bridge.evaluation.scale import scale_from_first_fraction, scaled
from droid_bridge.trajectory import Trajectory
from metric3d_ros.datasets.frame import FrameSource

METRICS_FILE = "metrics.json"
BYTES_PER_RSS_UNIT = 1 if sys.platform == "darwin" else 1024
"""Unit of ``ru_maxrss``."""
MEGABYTE = 1e6


@dataclass(frozen=True)
class Tracked:
    """A drive that was tracked.

    Attributes
    ----------
    trajectory : the final pose of every frame, with stamps.
    told : frames, frames per second, peak memory, and what else is known of the run.
    """

    trajectory: Trajectory
    told: dict[str, Any]


def metrics(
    source: FrameSource,
    tracked: Tracked,
    is_metric: bool,
    lengths_m: tuple[float, ...],
    settings: dict[str, Any],
) -> dict[str, Any]:
    """What ``metrics.json`` holds: the drift where there is a truth, what the run tells, and its settings.

    The truth is that of the frames that were tracked. Without a prior the scale is free, so the drift is given
    after one scale from the first tenth of the truth.
    """
    told = {**tracked.told, "settings": settings}
    if source.world_from_camera is None:
        return told
    estimate = tracked.trajectory
    assert estimate.stamps_ns is not None, "a tracked drive has stamps"
    chosen = np.isin(source.stamps_ns, estimate.stamps_ns)
    truth = Trajectory(source.world_from_camera[chosen], stamps_ns=source.stamps_ns[chosen])
    try:
        scaled_by = None if is_metric else scale_from_first_fraction(truth, estimate)
        placed = estimate if scaled_by is None else scaled(estimate, scaled_by)
        drift = evaluate_drift(truth, placed, "none", lengths_m)
        once_scaled = evaluate_drift(truth, estimate, "scale", lengths_m)
    except DroidBridgeError as error:
        return {**told, "no_drift_because": str(error)}
    return {
        **told,
        **drift.to_json(),
        "scaled_once_by": scaled_by,
        "t_rel_percent_after_one_scale": once_scaled.t_rel_percent,
        "ate_sim3_m": drift.ate_by_align_m["sim3"],
    }
