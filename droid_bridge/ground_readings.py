"""What the ground says of the scale at the keyframes that have left the window, each read once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from droid_bridge.ground_scale import GroundScale, has_way_around
from droid_bridge.keyframe_archive import ArchivedKeyframe
from metric3d_ros.camera import PinholeCamera


class GroundReadings:
    """Keeps the readings, by keyframe number.

    Parameters
    ----------
    by_ground : reads the scale off the ground; None reads nothing.
    """

    def __init__(self, by_ground: GroundScale | None) -> None:
        self.by_ground = by_ground
        self._log_scale: dict[int, float] = {}

    def read(self, keyframes: Sequence[ArchivedKeyframe], working_camera: PinholeCamera) -> NDArray[np.float64]:
        """The readings (nodes,) in each keyframe's own unit; NaN where the ground says nothing.

        A keyframe that has no way behind it yet is read anew the next time.
        """
        readings = np.full(len(keyframes), np.nan)
        if self.by_ground is None:
            return readings
        poses = np.stack([keyframe.camera_from_world for keyframe in keyframes])
        for k, keyframe in enumerate(keyframes):
            known = self._log_scale.get(keyframe.number)
            if known is None:
                known = _reading(self.by_ground, keyframe, working_camera, keyframe.inverse_depth, poses, k)
            if has_way_around(len(keyframes), k):
                self._log_scale[keyframe.number] = known
            readings[k] = known
        return readings

    def read_adjusted(
        self,
        keyframes: Sequence[ArchivedKeyframe],
        working_camera: PinholeCamera,
        inverse_depth: NDArray[np.float32],
        camera_from_world: NDArray[np.float64],
    ) -> None:
        """Read all keyframes anew, by depths (nodes, cells) and similarities (nodes, 4, 4) in their own units."""
        if self.by_ground is None:
            return
        self._log_scale = {
            keyframe.number: _reading(
                self.by_ground, keyframe, working_camera, inverse_depth[k], camera_from_world, k
            )
            for k, keyframe in enumerate(keyframes)
        }

    def forget(self, number: int) -> None:
        """Let the reading of a keyframe go."""
        self._log_scale.pop(number, None)


def _reading(
    by_ground: GroundScale,
    keyframe: ArchivedKeyframe,
    working_camera: PinholeCamera,
    inverse_depth: NDArray[np.float16] | NDArray[np.float32],
    camera_from_world: NDArray[np.float64],
    node: int,
) -> float:
    rows, columns = keyframe.inverse_depth.shape
    return by_ground.log_scale(
        inverse_depth.astype(np.float32).reshape(rows, columns),
        keyframe.inverse_depth_sigma.astype(np.float32),
        working_camera.resized(columns, rows),
        camera_from_world,
        node,
    )
