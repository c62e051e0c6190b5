"""How the SLAM node is: what its diagnostics say."""

from __future__ import annotations

import math

import numpy as np

from droid_bridge.odometry_update import OdometryUpdate, TrackingStatus
from droid_bridge.ros.slam_inputs import SlamInputs
from droid_bridge.slam import Slam
from metric3d_ros.ros.diagnostics import OK, WARN, Health, values_of
from metric3d_ros.run_statistics import GpuMemory, RunReport


def health_of(
    report: RunReport, inputs: SlamInputs, slam: Slam, update: OdometryUpdate | None, gpu: GpuMemory | None
) -> Health:
    """The health of an active node.

    Parameters
    ----------
    report : what happened since the last one.
    inputs : say what is waited for.
    slam : with the map.
    update : the last answer; None before the first.
    gpu : where the node uses one.
    """
    values = values_of(report, gpu) | inputs.values() | _values_of_map(slam)
    if update is not None:
        values |= _values_of_update(update)
    if problem := inputs.problem():
        return Health(WARN, problem, values)
    if report.last_refusal:
        return Health(WARN, f"frame skipped: {report.last_refusal}", values)
    if update is None:
        return Health(OK, "no frame yet.", values)
    level = WARN if update.status is TrackingStatus.DEGRADED else OK
    return Health(level, f"{update.status.value} at {report.rate_out_hz:.1f} Hz.", values)


def _values_of_map(slam: Slam) -> dict[str, object]:
    return {"keyframes in the map": slam.keyframes, "map size (MB)": slam.stored_bytes / 1e6}


def _values_of_update(update: OdometryUpdate) -> dict[str, object]:
    position_sigma_m = math.sqrt(max(0.0, float(np.trace(update.covariance.of_pose[:3, :3]))))
    return {
        "tracking": update.status.value,
        "inliers (%)": 100 * update.inlier_share,
        "position sigma in odom (m)": f"{position_sigma_m:.3f}",
        "scale is metric": update.has_metric_scale,
        "map over prior scale": "none" if update.prior_scale is None else f"{update.prior_scale:.3f}",
        "camera height (m)": "unknown" if update.camera_height_m is None else f"{update.camera_height_m:.2f}",
        "keyframes in the window": update.keyframes,
        "frames": update.frame_index + 1,
    }
