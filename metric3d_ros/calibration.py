"""What a calibration says of a camera: its lens, its rectification, and the part of the sensor an image shows.

Knows no ROS; the fields are those of ``sensor_msgs/CameraInfo``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.errors import CameraError

Numbers = tuple[float, ...]
_ROTATION_TOLERANCE = 1e-3


@dataclass(frozen=True)
class SensorRegion:
    """A part of the sensor, in pixels of the full resolution; a size of 0 is all of it (as drivers leave it)."""

    left_px: int = 0
    top_px: int = 0
    width_px: int = 0
    height_px: int = 0


@dataclass(frozen=True)
class CameraCalibration:
    """The calibration of the full sensor, and the binned region of it that images show.

    Attributes
    ----------
    width_px, height_px : full resolution.
    k : 3x3 intrinsic matrix of the raw image, row by row.
    distortion_model, distortion : of the raw image.
    r : 3x3 rotation from the camera to the rectified camera, row by row; all zero where unset.
    p : 3x4 projection matrix of the rectified image, row by row; all zero where unset.
    binning : columns and rows of the sensor that make one pixel; 0 is 1.
    region : what the images show.
    """

    width_px: int
    height_px: int
    k: Numbers
    distortion_model: str = ""
    distortion: Numbers = ()
    r: Numbers = (0.0,) * 9
    p: Numbers = (0.0,) * 12
    binning: tuple[int, int] = (1, 1)
    region: SensorRegion = SensorRegion()

    @classmethod
    def of_message(cls, info: Any) -> CameraCalibration:
        """What a ``sensor_msgs/CameraInfo`` says, whichever library made the message."""
        roi = info.roi
        return cls(
            width_px=int(info.width),
            height_px=int(info.height),
            k=_numbers(info.k),
            distortion_model=str(info.distortion_model),
            distortion=_numbers(info.d),
            r=_numbers(info.r),
            p=_numbers(info.p),
            binning=(max(1, int(info.binning_x)), max(1, int(info.binning_y))),
            region=SensorRegion(int(roi.x_offset), int(roi.y_offset), int(roi.width), int(roi.height)),
        )

    @property
    def has_projection(self) -> bool:
        """Whether P is set."""
        return any(value != 0.0 for value in self.p)

    def rotation(self) -> NDArray[np.float64]:
        """R (3, 3) float64; the identity where it is unset.

        Raises
        ------
        CameraError
            If R is no rotation.
        """
        if not any(value != 0.0 for value in self.r):
            return np.eye(3)
        rotation = np.reshape(self.r, (3, 3))
        if not np.allclose(rotation @ rotation.T, np.eye(3), atol=_ROTATION_TOLERANCE):
            raise CameraError(f"camera_info has the R {list(self.r)}, which is no rotation; calibrate the camera.")
        return rotation

    def raw_camera(self) -> PinholeCamera:
        """The camera of an image as the sensor gives it: K, and the distortion it has.

        Raises
        ------
        CameraError
            If no camera can have these values, or D is not finite.
        """
        if not all(math.isfinite(value) for value in self.distortion):
            raise CameraError(
                f"camera_info has the distortion {list(self.distortion)}; every number in D must be finite."
            )
        full = PinholeCamera.from_matrix(
            np.reshape(self.k, (3, 3)),
            self.width_px,
            self.height_px,
            self.distortion_model,
            self.distortion,
        )
        return self._as_shown(full)

    def rectified_camera(self) -> PinholeCamera:
        """The camera of the rectified image: P, or K where P is unset.

        Raises
        ------
        CameraError
            If no camera can have these values.
        """
        matrix = np.reshape(self.p, (3, 4)) if self.has_projection else np.reshape(self.k, (3, 3))
        return self._as_shown(PinholeCamera.from_matrix(matrix, self.width_px, self.height_px))

    def _as_shown(self, full: PinholeCamera) -> PinholeCamera:
        """The full sensor's camera cut to the region, its pixels joined by the binning."""
        region, (columns, rows) = self.region, self.binning
        width_px, height_px = region.width_px or full.width_px, region.height_px or full.height_px
        if region.left_px + width_px > full.width_px or region.top_px + height_px > full.height_px:
            raise CameraError(
                f"camera_info has a region of {width_px}x{height_px} px at ({region.left_px}, {region.top_px}) "
                f"in an image of {full.width_px}x{full.height_px} px; give it in pixels of the full resolution."
            )
        if min(width_px // columns, height_px // rows) < 1:
            raise CameraError(
                f"camera_info bins {columns}x{rows} px of a region of {width_px}x{height_px} px into nothing; "
                "correct binning_x and binning_y."
            )
        # Whole bins only: what is left at the right and bottom edge is in no pixel.
        binned_px = width_px // columns, height_px // rows
        used = full.cropped(region.left_px, region.top_px, binned_px[0] * columns, binned_px[1] * rows)
        return used.resized(*binned_px)


def _numbers(values: Any) -> Numbers:
    return tuple(float(value) for value in values)
