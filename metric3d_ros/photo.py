"""One photo with its camera, ready for the network, and the flags that say which camera and which network."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from metric3d_ros.argument_types import add_headroom_flag
from metric3d_ros.datasets.image_files import read_rgb
from metric3d_ros.engines.choice import AUTO, ENGINES
from metric3d_ros.engines.tensorrt_api import FP32, PRECISIONS
from metric3d_ros.errors import ImageError
from metric3d_ros.estimator import DepthPrediction, MetricDepthEstimator
from metric3d_ros.photo_camera import CameraKnowledge, PhotoCamera
from metric3d_ros.rectification import RectifiedImage, rectified_image, rectified_pixel

# A network of stride 32 would answer a smaller picture from its padding alone.
SMALLEST_SIDE_PX = 32


@dataclass(frozen=True)
class Photo:
    """An image, upright, without lens distortion, uint8 RGB (height, width, 3), and its pinhole camera.

    Attributes
    ----------
    is_seen : bool (height, width), False where a rectified image shows nothing; None where it shows something
        everywhere.
    """

    path: Path
    rgb: NDArray[np.uint8]
    camera: PhotoCamera
    is_seen: NDArray[np.bool_] | None = None

    def predicted_by(self, estimator: MetricDepthEstimator) -> DepthPrediction:
        """The depth an estimator reads; raises its errors."""
        image = RectifiedImage(self.rgb, self.camera.intrinsics, self.is_seen)
        return estimator.predict_rectified(image)

    def pixel_of(self, u: float, v: float) -> tuple[float, float]:
        """Where the pixel (u, v) of the photo as it was taken lies in ``rgb``."""
        if self.camera.calibration is None:
            return u, v
        return rectified_pixel((u, v), self.camera.calibration)


def read_photo(path: Path, knowledge: CameraKnowledge) -> Photo:
    """Read a photo; gray and 16-bit ones become 8-bit RGB, EXIF's orientation is applied, distortion taken out.

    Raises
    ------
    ImageError
        If it is missing, cut short, no image, or too small to hold anything.
    CameraError
        If the camera given is not one of this image.
    """
    rgb = _decode(path)
    height_px, width_px = rgb.shape[:2]
    if min(height_px, width_px) < SMALLEST_SIDE_PX:
        raise ImageError(
            f"{path} is {width_px}x{height_px} px; depth needs at least {SMALLEST_SIDE_PX} px a side: "
            "give a larger image."
        )
    camera = knowledge.camera_of(path, width_px, height_px)
    if camera.calibration is None:
        return Photo(path, rgb, camera)
    image = rectified_image(rgb, camera.calibration, is_rectified=False)
    source = f"{camera.source}, rectified"
    return Photo(path, image.rgb, replace(camera, intrinsics=image.camera, source=source), image.is_seen)


def _decode(path: Path) -> NDArray[np.uint8]:
    try:
        return read_rgb(path)
    except cv2.error as error:
        # OpenCV answers most damage with nothing, and this one, a size it will not allocate, with an exception.
        raise ImageError(f"{path} is too large to decode or damaged; give a smaller image.") from error


def add_photo_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that ``camera_knowledge`` and ``open_estimator`` read."""
    camera = parser.add_mutually_exclusive_group()
    camera.add_argument("--focal-px", type=float, metavar="F", help="focal length in pixels of these images")
    camera.add_argument("--camera", type=Path, metavar="YAML", help="camera file (ROS camera_info YAML)")
    parser.add_argument(
        "--rectified", action="store_true", help="images are rectified: take the camera file's projection_matrix"
    )
    parser.add_argument("--model", default="nano", help="model name or ONNX file (default: %(default)s)")
    add_headroom_flag(parser)
    parser.add_argument("--engine", choices=(AUTO, *ENGINES), default=AUTO, help="default: %(default)s")
    parser.add_argument("--precision", choices=PRECISIONS, default=FP32, help="default: %(default)s")


def open_estimator(arguments: argparse.Namespace) -> MetricDepthEstimator:
    """The network that the flags ask for.

    Raises
    ------
    EngineError
        If it cannot be loaded.
    """
    return MetricDepthEstimator.from_model(
        arguments.model,
        engine=arguments.engine,
        precision=arguments.precision,
        headroom_deg=arguments.headroom_deg,
    )


def camera_knowledge(arguments: argparse.Namespace) -> CameraKnowledge:
    """What the flags say of the camera.

    Raises
    ------
    CameraError
        If the focal length or the camera file cannot be.
    """
    if arguments.camera is not None:
        return CameraKnowledge.of_file(arguments.camera, rectified=arguments.rectified)
    return CameraKnowledge(focal_px=arguments.focal_px)
