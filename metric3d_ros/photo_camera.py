"""The camera of a photo: from the user, a camera file or EXIF, or an assumption that is called one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from metric3d_ros.calibration import CameraCalibration
from metric3d_ros.camera import PinholeCamera
from metric3d_ros.camera_file import read_calibration, read_camera_file
from metric3d_ros.errors import CameraError
from metric3d_ros.exif import exif_focal
from metric3d_ros.rectification import require_known_model

# The long side of what phones and standard lenses see lies between 50 and 70 degrees.
ASSUMED_FIELD_OF_VIEW_DEG = 60.0


@dataclass(frozen=True)
class PhotoCamera:
    """A photo's camera, and what it rests on.

    Attributes
    ----------
    intrinsics : the camera of the upright photo.
    is_metric : whether the focal length is known, without which depth is right only up to a factor.
    source : where the focal length comes from, as a phrase.
    calibration : by which a photo with lens distortion is rectified; None where there is nothing to rectify.
    """

    intrinsics: PinholeCamera
    is_metric: bool
    source: str
    calibration: CameraCalibration | None = None


@dataclass(frozen=True)
class CameraKnowledge:
    """What the user says of the camera: a focal length, a camera, or nothing (then EXIF is asked).

    Raises
    ------
    CameraError
        If the focal length is not above 0.
    """

    focal_px: float | None = None
    camera: PinholeCamera | None = None
    camera_name: str = ""
    calibration: CameraCalibration | None = None

    def __post_init__(self) -> None:
        if self.focal_px is not None and not (math.isfinite(self.focal_px) and self.focal_px > 0):
            raise CameraError(
                f"focal length is {self.focal_px:g} px; it must be above 0: "
                "give fx of the camera matrix, not millimetres or degrees."
            )

    @classmethod
    def of_file(cls, path: Path, *, rectified: bool = False) -> CameraKnowledge:
        """The camera of a ROS camera file; ``rectified`` says that the images are, so that P is their camera.

        Raises
        ------
        CameraError
            If the file cannot be read, or its distortion is of an unknown model.
        """
        camera = read_camera_file(path, rectified=rectified)
        try:
            require_known_model(camera)
        except CameraError as error:
            raise CameraError(f"camera file {path}: {error}") from error
        calibration = read_calibration(path) if camera.is_distorted else None
        return cls(camera=camera, camera_name=str(path), calibration=calibration)

    def camera_of(self, path: Path, width_px: int, height_px: int) -> PhotoCamera:
        """The camera of the photo in ``path``, which is ``width_px`` wide and ``height_px`` high when upright.

        Raises
        ------
        CameraError
            If the camera given is one of another image size.
        """
        if self.camera is not None:
            return self._given_camera(path, width_px, height_px)
        if self.focal_px is not None:
            return PhotoCamera(centred_camera(width_px, height_px, self.focal_px), True, "given")
        found = exif_focal(path)
        if found.focal_px is not None:
            return PhotoCamera(centred_camera(width_px, height_px, found.focal_px), True, found.how)
        half_field = math.radians(ASSUMED_FIELD_OF_VIEW_DEG / 2)
        assumed_px = max(width_px, height_px) / 2 / math.tan(half_field)
        source = f"assumed, {ASSUMED_FIELD_OF_VIEW_DEG:g} degrees across the long side, as {found.how}"
        return PhotoCamera(centred_camera(width_px, height_px, assumed_px), False, source)

    def _given_camera(self, path: Path, width_px: int, height_px: int) -> PhotoCamera:
        assert self.camera is not None
        if (self.camera.width_px, self.camera.height_px) != (width_px, height_px):
            raise CameraError(
                f"{path} is {width_px}x{height_px} px but {self.camera_name} describes "
                f"{self.camera.width_px}x{self.camera.height_px} px images; give the calibration of this size."
            )
        return PhotoCamera(self.camera, True, self.camera_name, self.calibration)


def centred_camera(width_px: int, height_px: int, focal_px: float) -> PinholeCamera:
    """A camera with square pixels that looks through the middle of its image."""
    return PinholeCamera(width_px, height_px, focal_px, focal_px, (width_px - 1) / 2, (height_px - 1) / 2)
