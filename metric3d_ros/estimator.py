"""One image and its camera in, metric depth out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.camera_height import KnownCameraHeight
from metric3d_ros.canonical import depth_from_canonical
from metric3d_ros.engines.choice import AUTO, EngineRequest, open_engine
from metric3d_ros.engines.engine import DepthEngine, NetworkOutput
from metric3d_ros.engines.tensorrt_api import FP32
from metric3d_ros.errors import CameraError, EngineError, ImageError
from metric3d_ros.letterbox import Letterbox
from metric3d_ros.model_zoo import model_path
from metric3d_ros.rectification import RectifiedImage

MAX_DEPTH_M = 300.0
RGB_SHAPE_RANK = 3
SHORTEST_NORMAL = 1e-6


@dataclass(frozen=True)
class DepthPrediction:
    """Metric depth of one image.

    Attributes
    ----------
    depth_m : float32 (height, width), metres along the optical axis, NaN where there is no reading.
    confidence : float32 (height, width), the network's own, where it gives one; or None.
    camera : the camera of the image and of all maps.
    normals : float32 (height, width, 3), unit surface normals in the camera frame (x right, y down, z forward)
        that point towards the camera, NaN where there is no reading; or None where the network gives none.
    """

    depth_m: NDArray[np.float32]
    confidence: NDArray[np.float32] | None
    camera: PinholeCamera
    normals: NDArray[np.float32] | None = None


class MetricDepthEstimator:
    """Runs a canonical-space depth network on images of any pinhole camera.

    Parameters
    ----------
    engine : the loaded network.
    max_depth_m : depth beyond this is no reading (Metric3D keeps 0 to 300 m).
    min_confidence : confidence below this is no reading; None takes the model's own threshold.
    camera_height : of a moving camera above flat ground, whose images come in their order: depth gets the scale
        at which the ground lies there. None leaves the network's.
    headroom_deg : what lies higher than so far over the principal row is hidden from the closer look of a network
        that looks twice; 0 hides nothing, None is the model's own.

    Raises
    ------
    EngineError
        If headroom is asked of a network that looks once.
    """

    def __init__(
        self,
        engine: DepthEngine,
        max_depth_m: float = MAX_DEPTH_M,
        min_confidence: float | None = None,
        camera_height: KnownCameraHeight | None = None,
        headroom_deg: float | None = None,
    ) -> None:
        self.engine = engine
        self._max_depth_m = max_depth_m
        self._min_confidence = engine.model.min_confidence if min_confidence is None else min_confidence
        self.camera_height = camera_height
        self._headroom_deg = engine.model.headroom_deg if headroom_deg is None else headroom_deg
        if self._headroom_deg and not engine.model.looks_twice:
            raise EngineError(
                f"headroom_deg is {self._headroom_deg:g}, but {engine.model.name} looks once; leave it at -1."
            )

    @classmethod
    def from_model(
        cls,
        name_or_file: str = "nano",
        threads: int = 0,
        *,
        engine: str = AUTO,
        precision: str = FP32,
        size_px: tuple[int, int] | None = None,
        camera_height_m: float | None = None,
        headroom_deg: float | None = None,
    ) -> MetricDepthEstimator:
        """The estimator of a model's name, or of an ONNX file, on an engine of ``engines.choice``.

        Raises
        ------
        Metric3dError
            If there is no such model, the engine does not run it here (see ``open_engine``), the camera height is
            not a positive number, or headroom is asked of a network that looks once.
        """
        camera_height = None if camera_height_m is None else KnownCameraHeight(camera_height_m)
        request = EngineRequest(model_path(name_or_file), precision, size_px, threads)
        return cls(open_engine(request, engine), camera_height=camera_height, headroom_deg=headroom_deg)

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
        output = self.engine.run(letterbox.apply(rgb), self._first_row(letterbox, camera))
        prediction = self._to_image(output, letterbox, camera)
        self._scale_by_camera_height(prediction)
        self._blank_unreadable(prediction)
        return prediction

    def predict_rectified(self, image: RectifiedImage) -> DepthPrediction:
        """Metric depth of a rectified image, NaN where the lens did not look; raises as ``predict``."""
        prediction = self.predict(image.rgb, image.camera)
        if image.is_seen is not None:
            prediction.depth_m[~image.is_seen] = np.nan
            if prediction.normals is not None:
                prediction.normals[~image.is_seen] = np.nan
        return prediction

    def _letterbox(self, camera: PinholeCamera) -> Letterbox:
        model = self.engine.model
        return Letterbox.for_camera(camera, model.input_width_px, model.input_height_px, model.placement)

    def _first_row(self, letterbox: Letterbox, camera: PinholeCamera) -> int:
        """The row of the network's input at which its looks part; 0 where nothing lies over the headroom."""
        if not self._headroom_deg:
            return 0
        first_row = letterbox.row_over_horizon(camera, self._headroom_deg)
        return first_row if first_row > letterbox.top_px else 0

    def _to_image(self, output: NetworkOutput, letterbox: Letterbox, camera: PinholeCamera) -> DepthPrediction:
        depth_m = depth_from_canonical(
            letterbox.remove(output.depth_canonical),
            camera,
            letterbox.scale,
            self.engine.model.canonical_focal_px,
        )
        return DepthPrediction(
            depth_m=depth_m,
            confidence=None if output.confidence is None else letterbox.remove(output.confidence),
            camera=camera,
            normals=None if output.normals is None else _unit(letterbox.remove(output.normals)),
        )

    def _scale_by_camera_height(self, prediction: DepthPrediction) -> None:
        if self.camera_height is not None:
            prediction.depth_m[:] *= np.float32(self.camera_height.read(prediction.depth_m, prediction.camera))

    def _blank_unreadable(self, prediction: DepthPrediction) -> None:
        depth_m = prediction.depth_m
        readable = (depth_m > 0) & (depth_m < self._max_depth_m)
        if prediction.confidence is not None:
            readable &= prediction.confidence >= self._min_confidence
        depth_m[~readable] = np.nan
        if prediction.normals is not None:
            prediction.normals[~readable] = np.nan


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors (..., 3) of length 1 again, as interpolation left them shorter; NaN where they cancelled out."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit = np.full_like(vectors, np.nan)
    np.divide(vectors, length, out=unit, where=length > SHORTEST_NORMAL)
    return unit


def _check_image(rgb: NDArray[np.uint8], camera: PinholeCamera) -> None:
    if rgb.dtype != np.uint8 or rgb.ndim != RGB_SHAPE_RANK or rgb.shape[2] != RGB_SHAPE_RANK:
        raise ImageError(f"image is {rgb.dtype} {rgb.shape}; give uint8 RGB (height, width, 3).")
    if rgb.shape[:2] != (camera.height_px, camera.width_px):
        raise CameraError(
            f"image is {rgb.shape[1]}x{rgb.shape[0]} px but its camera is "
            f"{camera.width_px}x{camera.height_px} px; use the camera_info of this image."
        )
