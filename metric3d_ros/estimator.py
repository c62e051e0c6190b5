"""One image and its camera in, metric depth out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.canonical import depth_from_canonical
from metric3d_ros.engines.engine import DepthEngine, NetworkOutput
from metric3d_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from metric3d_ros.errors import CameraError, ImageError
from metric3d_ros.letterbox import Letterbox
from metric3d_ros.model_zoo import model_path

MAX_DEPTH_M = 300.0
RGB_SHAPE_RANK = 3


@dataclass(frozen=True)
class DepthPrediction:
    """Metric depth of one image.

    Attributes
    ----------
    depth_m : float32 (height, width), metres along the optical axis, NaN where there is no reading.
    confidence : float32 (height, width), the network's own, where it gives one; or None.
    camera : the camera of the image and of both maps.
    """

    depth_m: NDArray[np.float32]
    confidence: NDArray[np.float32] | None
    camera: PinholeCamera


class MetricDepthEstimator:
    """Runs a canonical-space depth network on images of any pinhole camera.

    Parameters
    ----------
    engine : the loaded network.
    max_depth_m : depth beyond this is no reading (Metric3D keeps 0 to 300 m).
    min_confidence : confidence below this is no reading; None takes the model's own threshold.
    """

    def __init__(
        self, engine: DepthEngine, max_depth_m: float = MAX_DEPTH_M, min_confidence: float | None = None
    ) -> None:
        self.engine = engine
        self._max_depth_m = max_depth_m
        self._min_confidence = engine.model.min_confidence if min_confidence is None else min_confidence

    @classmethod
    def from_model(cls, name_or_file: str = "nano", threads: int = 0) -> MetricDepthEstimator:
        """The estimator of a packaged model, or of an ONNX file."""
        return cls(OnnxRuntimeEngine(Path(model_path(name_or_file)), threads=threads))

    def predict(self, rgb: NDArray[np.uint8], camera: PinholeCamera) -> DepthPrediction:
        """Metric depth of an RGB image (height, width, 3) uint8 taken by ``camera``, which must be rectified.

        Raises
        ------
        ImageError
            If the image is not uint8 RGB.
        CameraError
            If the image is not of the camera's size.
        EngineError
            If the network fails.
        """
        _check_image(rgb, camera)
        letterbox = self._letterbox(camera)
        output = self.engine.run(letterbox.apply(rgb))
        depth_m, confidence = self._to_image(output, letterbox, camera)
        self._blank_unreadable(depth_m, confidence)
        return DepthPrediction(depth_m=depth_m, confidence=confidence, camera=camera)

    def _letterbox(self, camera: PinholeCamera) -> Letterbox:
        model = self.engine.model
        return Letterbox.fit(camera.width_px, camera.height_px, model.input_width_px, model.input_height_px)

    def _to_image(
        self, output: NetworkOutput, letterbox: Letterbox, camera: PinholeCamera
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        depth_canonical = letterbox.remove(output.depth_canonical)
        depth_m = depth_from_canonical(
            depth_canonical, camera, letterbox.scale, self.engine.model.canonical_focal_px
        )
        confidence = None if output.confidence is None else letterbox.remove(output.confidence)
        return depth_m, confidence

    def _blank_unreadable(self, depth_m: NDArray[np.float32], confidence: NDArray[np.float32] | None) -> None:
        readable = (depth_m > 0) & (depth_m < self._max_depth_m)
        if confidence is not None:
            readable &= confidence >= self._min_confidence
        depth_m[~readable] = np.nan


def _check_image(rgb: NDArray[np.uint8], camera: PinholeCamera) -> None:
    if rgb.dtype != np.uint8 or rgb.ndim != RGB_SHAPE_RANK or rgb.shape[2] != RGB_SHAPE_RANK:
        raise ImageError(f"image is {rgb.dtype} {rgb.shape}; give uint8 RGB (height, width, 3).")
    if rgb.shape[:2] != (camera.height_px, camera.width_px):
        raise CameraError(
            f"image is {rgb.shape[1]}x{rgb.shape[0]} px but its camera is "
            f"{camera.width_px}x{camera.height_px} px; use the camera_info of this image."
        )
