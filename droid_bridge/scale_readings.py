"""What depth priors and the ground say of a whole drive's scale, for the pose graph: readings and how they err."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from droid_bridge.lie import sim3_inverse, sim3_rotation, so3_log
from droid_bridge.pose_graph import ScaleReadings
from droid_bridge.scale_process import ScaleBeliefs, ScaleProcess


def scale_readings(
    log_scale: NDArray[np.float64],
    height_log_scale: NDArray[np.float64],
    travelled_m: NDArray[np.float64],
    camera_from_world: NDArray[np.float64],
    process: ScaleProcess,
) -> ScaleReadings | None:
    """The readings of a drive with the process that foresaw them best; None without a reading.

    Parameters
    ----------
    log_scale : (nodes,) log of map depth over prior depth, in each node's own unit; NaN without a reading.
    height_log_scale : (nodes,) log of the map's height of the camera over the known one, likewise.
    travelled_m : (nodes,) way to each node.
    camera_from_world : (nodes, 4, 4) similarities whose scales are the nodes' units as matches alone have them.
    process : what all hypotheses have in common.
    """
    if not (np.isfinite(log_scale).any() or np.isfinite(height_log_scale).any()):
        return None
    # Without a prior's reading the difference is NaN, and contradicts nothing.
    is_contradicted = process.contradicts_height(height_log_scale - log_scale)
    heights = np.where(is_contradicted, np.nan, height_log_scale)
    readings = ScaleReadings(log_scale, travelled_m, process, heights)
    return replace(readings, process=_likeliest(readings, camera_from_world))


def _likeliest(readings: ScaleReadings, camera_from_world: NDArray[np.float64]) -> ScaleProcess:
    """The hypothesis under which the readings were least surprising, one after the other."""
    poses = torch.from_numpy(camera_from_world)
    rotation = sim3_rotation(poses[1:] @ sim3_inverse(poses[:-1]))
    turn_rad = torch.linalg.vector_norm(so3_log(rotation), dim=-1).numpy()
    log_unit = np.log(np.cbrt(np.linalg.det(camera_from_world[:, :3, :3])))
    in_one_unit = readings.log_scale - log_unit
    height_steps_m = dict(zip(*readings.height_steps_m(), strict=True))
    beliefs = ScaleBeliefs.at_start(readings.process)
    for k, reading in enumerate(in_one_unit):
        if k:
            step_m = float(readings.travelled_m[k] - readings.travelled_m[k - 1])
            beliefs = beliefs.after(step_m, float(turn_rad[k - 1]))
        if np.isfinite(reading):
            beliefs = beliefs.measured(float(reading))
        if readings.height_log_scale is not None and k in height_steps_m:
            height = float(readings.height_log_scale[k] - log_unit[k])
            beliefs = beliefs.measured_height(height, float(height_steps_m[k]))
    return beliefs.processes[int(beliefs.log_weights.argmax())]
