"""What the depth priors of a whole drive say of its scale, for the pose graph: the readings and how they err."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from droid_bridge.lie import sim3_inverse, sim3_rotation, so3_log
from droid_bridge.pose_graph import ScaleReadings
from droid_bridge.scale_process import ScaleBeliefs, ScaleProcess


def scale_readings(
    log_scale: NDArray[np.float64],
    travelled_m: NDArray[np.float64],
    camera_from_world: NDArray[np.float64],
    process: ScaleProcess,
) -> ScaleReadings | None:
    """The readings of a drive with the process that foresaw them best; None without a reading.

    Parameters
    ----------
    log_scale : (nodes,) log of map depth over prior depth, in each node's own unit; NaN without a reading.
    travelled_m : (nodes,) way to each node.
    camera_from_world : (nodes, 4, 4) similarities whose scales are the nodes' units as matches alone have them.
    process : what all hypotheses have in common.
    """
    if not np.isfinite(log_scale).any():
        return None
    return ScaleReadings(log_scale, travelled_m, _likeliest(log_scale, travelled_m, camera_from_world, process))


def _likeliest(
    log_scale: NDArray[np.float64],
    travelled_m: NDArray[np.float64],
    camera_from_world: NDArray[np.float64],
    process: ScaleProcess,
) -> ScaleProcess:
    """The hypothesis under which the readings were least surprising, one after the other."""
    poses = torch.from_numpy(camera_from_world)
    rotation = sim3_rotation(poses[1:] @ sim3_inverse(poses[:-1]))
    turn_rad = torch.linalg.vector_norm(so3_log(rotation), dim=-1).numpy()
    unit = np.cbrt(np.linalg.det(camera_from_world[:, :3, :3]))
    in_one_unit = log_scale - np.log(unit)
    beliefs = ScaleBeliefs.at_start(process)
    for k, reading in enumerate(in_one_unit):
        if k:
            beliefs = beliefs.after(float(travelled_m[k] - travelled_m[k - 1]), float(turn_rad[k - 1]))
        if np.isfinite(reading):
            beliefs = beliefs.measured(float(reading))
    return beliefs.processes[int(beliefs.log_weights.argmax())]
