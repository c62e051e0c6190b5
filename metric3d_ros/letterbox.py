"""The letterbox: an image scaled to fit the network's input, padded around its centre, and the way back.

Metric3D's rule: s = min(Hn / H, Wn / W), size floored, bilinear, padding split with the odd pixel at the
bottom or right, filled with the mean colour of the training images.

A level camera sees the horizon in the row of its principal point, and ground at depth d lies f h / d rows below.
An image is often cut out of a taller one, so that this row is anywhere. Ours may be placed so that it comes to lie
in the middle of the input (``PRINCIPAL_ROW``): the network then knows from calibration what it had to find.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.errors import CameraError

MEAN_COLOUR_RGB = (123.675, 116.28, 103.53)
PADDING_RGB = tuple(round(level) for level in MEAN_COLOUR_RGB)

# What lies in the middle of the network's input: of the image itself, or the row of its principal point.
IMAGE_CENTRE = "image_centre"
PRINCIPAL_ROW = "principal_row"
PLACEMENTS = (IMAGE_CENTRE, PRINCIPAL_ROW)
# Share of the image's height: a row farther off is taken for one this far, or little of the input would be left.
MAX_ROW_SHIFT = 0.15


@dataclass(frozen=True)
class Letterbox:
    """Where an image of one size sits inside a network input of another; sizes and borders in pixels."""

    image_width_px: int
    image_height_px: int
    network_width_px: int
    network_height_px: int
    scale: float
    content_width_px: int
    content_height_px: int
    left_px: int
    top_px: int

    @classmethod
    def fit(
        cls,
        image_width_px: int,
        image_height_px: int,
        network_width_px: int,
        network_height_px: int,
        middle_row_px: float | None = None,
    ) -> Letterbox:
        """The letterbox that shows the whole image as large as the network's input allows.

        Parameters
        ----------
        middle_row_px : the image's row that comes to lie in the middle of the input (0 is the centre of the
            first); None for its own middle. One farther off than ``MAX_ROW_SHIFT`` is moved that near.

        Raises
        ------
        CameraError
            If the image is so long and thin that less than one pixel of it would be left.
        """
        above_px = image_height_px / 2
        if middle_row_px is not None:
            above_px = near_middle_row_px(middle_row_px, image_height_px) + 0.5
        half_px = max(above_px, image_height_px - above_px)
        scale = min(network_height_px / (2 * half_px), network_width_px / image_width_px)
        content_width_px = int(image_width_px * scale)
        content_height_px = int(image_height_px * scale)
        if content_width_px < 1 or content_height_px < 1:
            raise CameraError(
                f"image of {image_width_px}x{image_height_px} px does not fit a network input of "
                f"{network_width_px}x{network_height_px} px; crop it to a less extreme shape."
            )
        return cls(
            image_width_px=image_width_px,
            image_height_px=image_height_px,
            network_width_px=network_width_px,
            network_height_px=network_height_px,
            scale=scale,
            content_width_px=content_width_px,
            content_height_px=content_height_px,
            left_px=(network_width_px - content_width_px) // 2,
            top_px=_top_px(network_height_px, content_height_px, above_px / image_height_px),
        )

    @classmethod
    def for_camera(
        cls,
        camera: PinholeCamera,
        network_width_px: int,
        network_height_px: int,
        placement: str = IMAGE_CENTRE,
    ) -> Letterbox:
        """The letterbox of a camera's images, placed as one of ``PLACEMENTS`` says; raises as ``fit``."""
        middle_row_px = camera.cy if placement == PRINCIPAL_ROW else None
        return cls.fit(camera.width_px, camera.height_px, network_width_px, network_height_px, middle_row_px)

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The network input (network height, network width, 3) uint8 of an RGB image of this letterbox's size."""
        content = cv2.resize(
            image, (self.content_width_px, self.content_height_px), interpolation=cv2.INTER_LINEAR
        )
        padded = cv2.copyMakeBorder(
            content,
            self.top_px,
            self.network_height_px - self.content_height_px - self.top_px,
            self.left_px,
            self.network_width_px - self.content_width_px - self.left_px,
            cv2.BORDER_CONSTANT,
            value=PADDING_RGB,
        )
        return np.asarray(padded, dtype=np.uint8)

    def remove(self, network_map: NDArray[np.float32]) -> NDArray[np.float32]:
        """A network map (network height, network width[, channels]) as a map of the original image, bilinear."""
        content = network_map[
            self.top_px : self.top_px + self.content_height_px,
            self.left_px : self.left_px + self.content_width_px,
        ]
        resized = cv2.resize(content, (self.image_width_px, self.image_height_px), interpolation=cv2.INTER_LINEAR)
        return np.asarray(resized, dtype=np.float32)

    def row_over_horizon(self, camera: PinholeCamera, angle_deg: float) -> int:
        """The row of the network input that lies an angle over the principal point's; 0 where that is outside."""
        return max(0, round(self.camera(camera).row_over_horizon(angle_deg)))

    def camera(self, camera: PinholeCamera) -> PinholeCamera:
        """The camera of the network input, padding included, for the camera of the original image."""
        return camera.resized(self.content_width_px, self.content_height_px).cropped(
            -self.left_px, -self.top_px, self.network_width_px, self.network_height_px
        )


def near_middle_row_px(row_px: float, height_px: int) -> float:
    """A row of an image, or the nearest that is within ``MAX_ROW_SHIFT`` of its middle."""
    middle_px = (height_px - 1) / 2
    reach_px = MAX_ROW_SHIFT * height_px
    return float(np.clip(row_px, middle_px - reach_px, middle_px + reach_px))


def _top_px(network_height_px: int, content_height_px: int, share_above: float) -> int:
    """Where the content begins, so that this share of it lies above the middle; a half pixel goes up."""
    top_px = math.ceil(network_height_px / 2 - content_height_px * share_above - 0.5)
    return min(max(top_px, 0), network_height_px - content_height_px)
