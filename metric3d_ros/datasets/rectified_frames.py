"""Frames of a recording whose images have lens distortion, without it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from metric3d_ros.calibration import CameraCalibration
from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.frame import Frame, FrameSource
from metric3d_ros.rectification import Rectification, rectification_of, require_known_model


class RectifiedFrames:
    """A ``FrameSource`` over another one: each frame rectified to the K of its own camera.

    Raises
    ------
    CameraError
        If the distortion is of no known model.
    """

    def __init__(self, source: FrameSource) -> None:
        require_known_model(source.camera)
        self._source = source

    @property
    def name(self) -> str:
        """The source's name."""
        return self._source.name

    @property
    def camera(self) -> PinholeCamera:
        """The camera of the first frame, without its distortion."""
        return replace(self._source.camera, distortion_model="", distortion=())

    @property
    def stamps_ns(self) -> NDArray[np.int64]:
        """Capture times (frames,), nanoseconds."""
        return self._source.stamps_ns

    @property
    def world_from_camera(self) -> NDArray[np.float64] | None:
        """True poses, which rectification to the same K does not turn."""
        return self._source.world_from_camera

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Frame:
        """Read and rectify one frame; raises what the source raises."""
        frame = self._source[index]
        if not frame.camera.is_distorted:
            return frame
        rectification = rectification_of(calibration_of(frame.camera))
        depth_m = None if frame.depth_m is None else rectified_depth_m(frame.depth_m, rectification)
        image = rectification.apply(frame.image)
        return replace(frame, image=image, depth_m=depth_m, camera=rectification.camera)


def calibration_of(camera: PinholeCamera) -> CameraCalibration:
    """A raw camera as a calibration whose rectified image keeps its K."""
    return CameraCalibration(
        camera.width_px,
        camera.height_px,
        tuple(camera.matrix().ravel()),
        camera.distortion_model,
        camera.distortion,
    )


def rectified_depth_m(depth_m: NDArray[np.float32], rectification: Rectification) -> NDArray[np.float32]:
    """Depth of the raw pixels, moved to the rectified ones: each takes the nearest reading, NaN where none is."""
    rectified = cv2.remap(
        depth_m,
        rectification.from_x,
        None,
        cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=float("nan"),
    )
    return np.asarray(rectified, dtype=np.float32)
