"""A sequence of image files with lens distortion, which is taken out as they are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.calibration import CameraCalibration
from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.image_files import read_rgb
from metric3d_ros.datasets.image_sequence import ImageSequence
from metric3d_ros.datasets.rectified_frames import rectified_depth_m
from metric3d_ros.errors import ImageError
from metric3d_ros.rectification import Rectification, rectification_of, require_known_model

Pixel = TypeVar("Pixel", bound=np.generic)


class RectifiedSequence(ImageSequence):
    """A ``FrameSource`` whose frames are rectified: their camera is a pinhole without distortion.

    Parameters
    ----------
    name, image_paths, stamps_ns, world_from_camera, is_gray : as for `ImageSequence`; the poses are those of the
        rectified camera.
    calibration : of the raw images.
    size_px : width and height of the frames, cut from the top left of the rectified images; all of them if None.

    Raises
    ------
    CameraError
        If the distortion is of no known model.
    DatasetError
        As `ImageSequence` does.
    """

    def __init__(
        self,
        name: str,
        image_paths: Sequence[Path],
        calibration: CameraCalibration,
        stamps_ns: NDArray[np.int64],
        world_from_camera: NDArray[np.float64] | None = None,
        *,
        size_px: tuple[int, int] | None = None,
        is_gray: bool = False,
    ) -> None:
        self._raw_camera = calibration.raw_camera()
        require_known_model(self._raw_camera)
        self._rectification = self._rectification_of(calibration)
        whole = calibration.rectified_camera()
        camera = whole if size_px is None else replace(whole, width_px=size_px[0], height_px=size_px[1])
        super().__init__(name, image_paths, camera, stamps_ns, world_from_camera, is_gray=is_gray)

    @property
    def raw_camera(self) -> PinholeCamera:
        """The camera of the images as they are on disk, with its distortion."""
        return self._raw_camera

    def _rectification_of(self, calibration: CameraCalibration) -> Rectification | None:
        return rectification_of(calibration) if self._raw_camera.is_distorted else None

    def _read_image(self, position: int) -> NDArray[np.uint8]:
        path = self.image_paths[position]
        image = read_rgb(path, is_gray=self._is_gray)
        if (image.shape[1], image.shape[0]) != (self._raw_camera.width_px, self._raw_camera.height_px):
            raise ImageError(
                f"{path} is {image.shape[1]}x{image.shape[0]} px but its calibration is of "
                f"{self._raw_camera.width_px}x{self._raw_camera.height_px} px; take both from the same recording."
            )
        return self._cut(image if self._rectification is None else self._rectification.apply(image))

    def _rectified_depth_m(self, depth_m: NDArray[np.float32]) -> NDArray[np.float32]:
        """Depth of the raw pixels, moved to the rectified ones: each takes the nearest reading."""
        if self._rectification is None:
            return self._cut(depth_m)
        return self._cut(rectified_depth_m(depth_m, self._rectification))

    def _cut(self, image: NDArray[Pixel]) -> NDArray[Pixel]:
        return np.ascontiguousarray(image[: self._camera.height_px, : self._camera.width_px])
