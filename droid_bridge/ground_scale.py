"""The scale of a map by the ground in it: how high the camera stands above it, and how high it really does.

The depths are those that matches gave, so what a depth network errs by is not in them, and what lies near the
camera matches know best. How steep the ground is they know less well, and a degree moves the height by 6 %. But a
camera that stays at one height moves along the ground, so the way around a keyframe tells that much better.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from droid_bridge.scale_process import ScaleProcess
from metric3d_ros.camera import PinholeCamera
from metric3d_ros.camera_height import find_ground

# Keyframes before and after one whose positions tell the way there.
_REACH = 6
# A way shorter than this, in heights of the camera, has no direction to speak of.
_SHORTEST_WAY = 1.0
# Where the height is not told: a vehicle's, within a factor of almost three.
_GUESSED_HEIGHT_M, _GUESSED_HEIGHT_SIGMA = 1.5, 1.0


@dataclass(frozen=True)
class GroundScale:
    """Reads the scale off the ground.

    Attributes
    ----------
    camera_height_m : that the lens is taken to have above the ground that it sees.
    is_told : whether that is its height; otherwise it is a guess, and the ground tells how the scale changes.
    """

    camera_height_m: float
    is_told: bool = True

    @classmethod
    def of(cls, camera_height_m: float | None, keeps_height: bool) -> GroundScale | None:
        """What reads the scale of a camera, or None where its height is neither told nor kept."""
        if camera_height_m is not None:
            return cls(camera_height_m)
        return cls(_GUESSED_HEIGHT_M, is_told=False) if keeps_height else None

    def log_scale(
        self,
        inverse_depth: NDArray[np.float32],
        sigma: NDArray[np.float32],
        camera: PinholeCamera,
        camera_from_world: NDArray[np.float64],
        node: int,
    ) -> float:
        """Log of (map height / height taken) at a keyframe, in its own unit; NaN where it sees no ground.

        Parameters
        ----------
        inverse_depth : float32 (rows, columns) of the keyframe.
        sigma : float32 (rows, columns) relative standard deviation of it; infinite where nothing is known.
        camera : of these cells.
        camera_from_world : float64 (nodes, 4, 4) similarities of keyframes in order; rigid if of one unit.
        node : which one it is.
        """
        way = _way_around(camera_from_world, node)
        length = float(np.linalg.norm(way))
        if length == 0:
            return math.nan
        with np.errstate(divide="ignore"):
            depth = np.float32(1) / inverse_depth
        ground = find_ground(depth, camera, sigma, way / length)
        if ground is None or length < _SHORTEST_WAY * ground.height_m:
            return math.nan
        return math.log(ground.height_m / self.camera_height_m)


def knowing(process: ScaleProcess, by_ground: GroundScale | None) -> ScaleProcess:
    """The process with what is known of the camera's height."""
    if by_ground is None or by_ground.is_told:
        return process
    return replace(process, told_height_sigma=_GUESSED_HEIGHT_SIGMA)


def has_way_around(nodes: int, node: int) -> bool:
    """Whether there are as many later keyframes as tell the way around one."""
    return node + _REACH < nodes


def _way_around(camera_from_world: NDArray[np.float64], node: int) -> NDArray[np.float64]:
    """From some keyframes before to some after, in the axes and the unit of the one between, (3,)."""
    ends = camera_from_world[[max(0, node - _REACH), min(len(camera_from_world) - 1, node + _REACH)]]
    centres = -np.linalg.solve(ends[:, :3, :3], ends[:, :3, 3:])[..., 0]
    return np.asarray(camera_from_world[node, :3, :3] @ (centres[1] - centres[0]))
