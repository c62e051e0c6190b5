"""A keyframe that has left the window of the front end: its last pose there, its depths, and how it looks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.camera import PinholeCamera


@dataclass(frozen=True)
class KeyframeRecord:
    """What the back end knows of one keyframe; the front end does not touch it again.

    Attributes
    ----------
    frame_index, stamp_ns : of the frame.
    camera_from_world : float64 (4, 4) optical frames, the front end's final estimate, metres.
    inverse_depth : float32 (rows, columns) 1/m, one value for each cell of the grid.
    inverse_depth_sigma : float32 (rows, columns) relative error of it; infinite where nothing is known.
    gray : uint8 (height, width), the working image.
    rgb : uint8 (rows, columns, 3), the colour of each cell.
    log_scale : log of the map's depth over the prior's depth; NaN without a prior.
    working_camera : the camera of ``gray``.
    log_growth : log of the factor by which the front end, following the priors, had made its map grow by then.
    """

    frame_index: int
    stamp_ns: int
    camera_from_world: NDArray[np.float64]
    inverse_depth: NDArray[np.float32]
    inverse_depth_sigma: NDArray[np.float32]
    gray: NDArray[np.uint8]
    rgb: NDArray[np.uint8]
    log_scale: float
    working_camera: PinholeCamera
    log_growth: float = 0.0
