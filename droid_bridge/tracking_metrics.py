"""What ``droid-bridge track`` tells of a drive: its drift where there is a truth, its speed and its memory."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from droid_bridge.errors import DroidBridgeError
from droid_bridge.evaluation.drift import evaluate_drift
from droid_bridge.evaluation.scored_path import scored
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
    odometry : each pose as it was first told, with stamps; None where no pose ever had a unit.
    told : frames, frames per second, peak memory, and what else is known of the run.
    """

    trajectory: Trajectory
    odometry: Trajectory | None
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
    after one scale from the first tenth of the truth. ``live`` is the drift of the poses as they were first told.
    """
    told = {**tracked.told, "settings": settings}
    if source.world_from_camera is None:
        return told
    everything = Trajectory(source.world_from_camera, stamps_ns=source.stamps_ns)
    try:
        truth = _at_stamps_of(tracked.trajectory, everything)
        final = scored(truth, tracked.trajectory, is_metric, lengths_m)
        once_scaled = evaluate_drift(truth, tracked.trajectory, "scale", lengths_m)
    except DroidBridgeError as error:
        return {**told, "no_drift_because": str(error)}
    return {
        **told,
        **final.to_json(),
        "t_rel_percent_after_one_scale": once_scaled.t_rel_percent,
        "ate_sim3_m": final.report.ate_by_align_m["sim3"],
        "live": _live(tracked, everything, is_metric, lengths_m),
    }


def _live(
    tracked: Tracked, truth: Trajectory, is_metric: bool, lengths_m: tuple[float, ...]
) -> dict[str, Any] | None:
    if (odometry := tracked.odometry) is None:
        return None
    try:
        return scored(_at_stamps_of(odometry, truth), odometry, is_metric, lengths_m).to_json()
    except DroidBridgeError as error:
        return {"no_drift_because": str(error)}


def _at_stamps_of(estimate: Trajectory, truth: Trajectory) -> Trajectory:
    """The truth of the frames that an estimate has."""
    assert estimate.stamps_ns is not None, "an estimate has stamps"
    assert truth.stamps_ns is not None, "a recording has stamps"
    chosen = np.isin(truth.stamps_ns, estimate.stamps_ns)
    return Trajectory(truth.world_from_camera[chosen], stamps_ns=truth.stamps_ns[chosen])
