"""Rectification: a raw image with lens distortion to the image a pinhole camera would have seen."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from metric3d_ros.calibration import CameraCalibration
from metric3d_ros.camera import EQUIDISTANT, PinholeCamera
from metric3d_ros.errors import CameraError

PLUMB_BOB = "plumb_bob"
RATIONAL_POLYNOMIAL = "rational_polynomial"
# How many coefficients D may have: OpenCV takes all four lengths of its polynomial under either name.
_POLYNOMIAL_LENGTHS = (4, 5, 8, 12, 14)
COEFFICIENTS = {PLUMB_BOB: _POLYNOMIAL_LENGTHS, RATIONAL_POLYNOMIAL: _POLYNOMIAL_LENGTHS, EQUIDISTANT: (4,)}
UNDISTORTED_NAMES = ("", "none", "None")
CACHED_CALIBRATIONS = 4
_FULL_WEIGHT = 255
_UNTIL_EXACT = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-9)


@dataclass(frozen=True)
class Rectification:
    """Maps from the pixels of a rectified image to those of the raw one.

    Attributes
    ----------
    camera : the pinhole camera of the rectified image.
    from_x, from_y : OpenCV's fixed-point maps.
    is_seen : bool (height, width), the pixels whose colour the raw image holds; None where it holds all.
    """

    camera: PinholeCamera
    from_x: NDArray[np.int16]
    from_y: NDArray[np.uint16]
    is_seen: NDArray[np.bool_] | None

    def apply(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The rectified image (height, width, 3); black where the raw image shows nothing."""
        rectified = cv2.remap(rgb, self.from_x, self.from_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        return np.asarray(rectified, dtype=np.uint8)


@dataclass(frozen=True)
class RectifiedImage:
    """An image without distortion.

    Attributes
    ----------
    rgb : uint8 (height, width, 3).
    camera : its pinhole camera.
    is_seen : bool (height, width), False where the lens did not look; None where it did everywhere.
    """

    rgb: NDArray[np.uint8]
    camera: PinholeCamera
    is_seen: NDArray[np.bool_] | None = None


def rectified_image(
    rgb: NDArray[np.uint8], calibration: CameraCalibration, *, is_rectified: bool
) -> RectifiedImage:
    """The image without distortion, and its camera.

    Parameters
    ----------
    rgb : uint8 (height, width, 3).
    calibration : of the camera that took it; the maps of the last few are kept.
    is_rectified : the image is rectified already, so that P is its camera; otherwise K and D describe it, and it
        is rectified to P (to K where P is unset) unless there is no distortion, when K is its camera.

    Raises
    ------
    CameraError
        If the calibration is of another image size, of no camera that can be, or of an unknown distortion model.
    """
    camera = calibration.rectified_camera() if is_rectified else calibration.raw_camera()
    _require_size(rgb, camera, calibration)
    if is_rectified:
        return RectifiedImage(rgb, camera)
    require_known_model(camera)
    if not camera.is_distorted:
        return RectifiedImage(rgb, camera)
    rectification = rectification_of(calibration)
    return RectifiedImage(rectification.apply(rgb), rectification.camera, rectification.is_seen)


def require_known_model(camera: PinholeCamera) -> None:
    """Refuse a raw camera whose distortion cannot be computed.

    Raises
    ------
    CameraError
        If the model's name is unknown, or it has the wrong number of coefficients.
    """
    model, count = camera.distortion_model, len(camera.distortion)
    if model in UNDISTORTED_NAMES and not camera.is_distorted:
        return
    if model not in COEFFICIENTS:
        raise CameraError(
            f"distortion model {model!r} is not known; calibrate as {', '.join(COEFFICIENTS)}, "
            "or rectify the images elsewhere and set rectified to true."
        )
    if camera.is_distorted and count not in COEFFICIENTS[model]:
        lengths = " or ".join(str(length) for length in COEFFICIENTS[model])
        raise CameraError(f"distortion model {model} has {count} coefficients in D; it takes {lengths}.")


def rectified_pixel(pixel: tuple[float, float], calibration: CameraCalibration) -> tuple[float, float]:
    """Where a pixel (u, v) of the raw image lies in the rectified one.

    Raises
    ------
    CameraError
        If no camera can have these values.
    """
    lens = _lens_of(calibration)
    point = np.array([[pixel]], dtype=np.float64)
    if calibration.distortion_model == EQUIDISTANT:
        found = cv2.fisheye.undistortPoints(point, lens.k, lens.d, R=lens.rotation, P=lens.rectified.matrix())
    else:
        found = cv2.undistortPointsIter(
            point, lens.k, lens.d, lens.rotation, lens.rectified.matrix(), _UNTIL_EXACT
        )
    u, v = found.reshape(2)
    return float(u), float(v)


@lru_cache(maxsize=CACHED_CALIBRATIONS)
def rectification_of(calibration: CameraCalibration) -> Rectification:
    """The maps of a calibration with distortion.

    The rectified camera is P turned by R, as image_proc has it; K where P is unset.

    Raises
    ------
    CameraError
        If no camera can have these values.
    """
    lens = _lens_of(calibration)
    rectified = lens.rectified
    size = (rectified.width_px, rectified.height_px)
    described = lens.k, lens.d, lens.rotation, rectified.matrix()
    if calibration.distortion_model == EQUIDISTANT:
        from_x, from_y = cv2.fisheye.initUndistortRectifyMap(*described, size, cv2.CV_16SC2)
    else:
        from_x, from_y = cv2.initUndistortRectifyMap(*described, size, cv2.CV_16SC2)
    # Raw and rectified image are of one size.
    white = np.full(size[::-1], _FULL_WEIGHT, dtype=np.uint8)
    is_seen = np.asarray(cv2.remap(white, from_x, from_y, cv2.INTER_LINEAR) == _FULL_WEIGHT)
    return Rectification(rectified, from_x, from_y, None if is_seen.all() else is_seen)


@dataclass(frozen=True)
class _Lens:
    """A calibration as OpenCV takes it."""

    k: NDArray[np.float64]
    d: NDArray[np.float64]
    rotation: NDArray[np.float64]
    rectified: PinholeCamera


def _lens_of(calibration: CameraCalibration) -> _Lens:
    raw = calibration.raw_camera()
    return _Lens(
        raw.matrix(),
        np.array(raw.distortion, dtype=np.float64),
        calibration.rotation() if calibration.has_projection else np.eye(3),
        calibration.rectified_camera(),
    )


def _require_size(rgb: NDArray[np.uint8], camera: PinholeCamera, calibration: CameraCalibration) -> None:
    height_px, width_px = rgb.shape[:2]
    if (width_px, height_px) == (camera.width_px, camera.height_px):
        return
    columns, rows = calibration.binning
    binned = f" (binned {columns}x{rows} from {calibration.width_px}x{calibration.height_px})"
    raise CameraError(
        f"image is {width_px}x{height_px} px but its camera is {camera.width_px}x{camera.height_px} px"
        f"{binned if (columns, rows) != (1, 1) else ''}; use the camera_info of this image."
    )
