"""What the front end keeps of a frame: its image at working size, what the matcher sees in it, and its prior."""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from droid_bridge.factor_graph import WindowFrame
from droid_bridge.frame_check import MIN_SIDE_PX
from droid_bridge.matching.choice import AnyFeatures
from droid_bridge.matching.matcher import CELL_PX, Matcher
from droid_bridge.projection import CellGrid
from droid_bridge.scale_prior import CellPrior, ScalePriorOptions, cell_prior
from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.frame import Frame


class FrameObserver:
    """Reduces the frames of one camera.

    Attributes
    ----------
    working_camera : the camera of the reduced images.
    grid : their cells.
    """

    def __init__(self, camera: PinholeCamera, area_px: int, device: str, matcher: Matcher[AnyFeatures]) -> None:
        self.working_camera = _working_camera(camera, area_px)
        self._size = (self.working_camera.width_px, self.working_camera.height_px)
        self._cells = (self._size[0] // CELL_PX, self._size[1] // CELL_PX)
        self.grid = CellGrid.of_camera(self.working_camera.resized(*self._cells), torch.device(device))
        self._matcher = matcher

    def observe(self, frame: Frame, prior: ScalePriorOptions | None) -> WindowFrame[AnyFeatures]:
        """What to keep of a frame; without prior options its depth is not looked at."""
        image = np.asarray(cv2.resize(frame.image, self._size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        return WindowFrame(
            frame.index,
            frame.stamp_ns,
            self._matcher.prepare(image),
            None if prior is None else self.prior_of(frame.depth_m, frame.depth_confidence, prior),
            np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8),
            np.asarray(cv2.resize(image, self._cells, interpolation=cv2.INTER_AREA), dtype=np.uint8),
        )

    def prior_of(
        self,
        depth_m: NDArray[np.float32] | None,
        confidence: NDArray[np.float32] | None,
        options: ScalePriorOptions,
    ) -> CellPrior | None:
        """The prior of a depth map of any size, or None where too few cells have a reading."""
        return cell_prior(depth_m, *self._cells, options, self.grid.rays.device, confidence)


def _working_camera(camera: PinholeCamera, area_px: int) -> PinholeCamera:
    """The camera reduced to about an area, keeping its aspect, with sides that are multiples of a cell."""
    scale = min(1.0, math.sqrt(area_px / (camera.width_px * camera.height_px)))
    sides = (
        max(MIN_SIDE_PX, round(side * scale / CELL_PX) * CELL_PX) for side in (camera.width_px, camera.height_px)
    )
    return camera.resized(*sides)
