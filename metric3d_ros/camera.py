"""The pinhole camera: intrinsics, image size, distortion, and what resizing and cropping do to them.

Pixel convention (OpenCV, KITTI): the centre of the top-left pixel is (0, 0), so the image covers
[-0.5, width - 0.5] x [-0.5, height - 0.5]. The camera frame is optical: x right, y down, z forward.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.errors import CameraError

EQUIDISTANT = "equidistant"


@dataclass(frozen=True)
class PinholeCamera:
    """Intrinsics in pixels for one image size, with the distortion the image still has.

    Raises
    ------
    CameraError
        If the size is not positive, a focal length is not positive and finite, or the centre is not finite.
    """

    width_px: int
    height_px: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion_model: str = ""
    distortion: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.width_px <= 0 or self.height_px <= 0:
            raise CameraError(
                f"camera size is {self.width_px}x{self.height_px} px; width and height must be at least 1."
            )
        for name, focal_px in (("fx", self.fx), ("fy", self.fy)):
            if not (math.isfinite(focal_px) and focal_px > 0):
                raise CameraError(
                    f"camera focal length {name} is {focal_px:g} px; it must be above 0: "
                    "calibrate the camera or fill K in its camera_info."
                )
        if not (math.isfinite(self.cx) and math.isfinite(self.cy)):
            raise CameraError(f"camera centre is ({self.cx}, {self.cy}) px; both must be finite numbers.")

    @classmethod
    def from_matrix(
        cls,
        matrix: NDArray[np.floating] | Sequence[Sequence[float]],
        width_px: int,
        height_px: int,
        distortion_model: str = "",
        distortion: Sequence[float] = (),
    ) -> PinholeCamera:
        """Camera from a 3x3 intrinsic matrix K, or from the left 3x3 of a 3x4 projection matrix P."""
        m = np.asarray(matrix, dtype=np.float64)
        if m.ndim != 2 or m.shape[0] != 3 or m.shape[1] not in (3, 4):
            raise CameraError(f"intrinsic matrix has shape {m.shape}; give 3x3 (K) or 3x4 (P).")
        return cls(
            width_px=int(width_px),
            height_px=int(height_px),
            fx=float(m[0, 0]),
            fy=float(m[1, 1]),
            cx=float(m[0, 2]),
            cy=float(m[1, 2]),
            distortion_model=distortion_model,
            distortion=tuple(float(d) for d in distortion),
        )

    @property
    def is_distorted(self) -> bool:
        """Whether straight lines are bent: some coefficient is not zero, or the model bends without any."""
        return self.distortion_model == EQUIDISTANT or any(d != 0.0 for d in self.distortion)

    def matrix(self) -> NDArray[np.float64]:
        """The 3x3 intrinsic matrix K in float64."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]], dtype=np.float64)

    def resized(self, width_px: int, height_px: int) -> PinholeCamera:
        """The camera of this image resized as OpenCV resizes (pixel edges, not centres, are aligned)."""
        scale_x = width_px / self.width_px
        scale_y = height_px / self.height_px
        return replace(
            self,
            width_px=width_px,
            height_px=height_px,
            fx=self.fx * scale_x,
            fy=self.fy * scale_y,
            cx=(self.cx + 0.5) * scale_x - 0.5,
            cy=(self.cy + 0.5) * scale_y - 0.5,
        )

    def cropped(self, left_px: int, top_px: int, width_px: int, height_px: int) -> PinholeCamera:
        """The camera of a crop; a negative ``left_px`` or ``top_px``, or a larger size, is padding."""
        return replace(self, width_px=width_px, height_px=height_px, cx=self.cx - left_px, cy=self.cy - top_px)

    def flipped(self) -> PinholeCamera:
        """The camera of the image mirrored left to right."""
        return replace(self, cx=self.width_px - 1 - self.cx)

    def row_over_horizon(self, angle_deg: float) -> float:
        """The row that lies an angle over that of the principal point, where a level camera has its horizon."""
        return self.cy - math.tan(math.radians(angle_deg)) * self.fy

    def rays(self) -> NDArray[np.float32]:
        """Viewing rays (height, width, 3) in the camera frame with z = 1, so that depth * ray is the point."""
        x = (np.arange(self.width_px, dtype=np.float64) - self.cx) / self.fx
        y = (np.arange(self.height_px, dtype=np.float64) - self.cy) / self.fy
        rays = np.ones((self.height_px, self.width_px, 3), dtype=np.float32)
        rays[..., 0] = x[None, :]
        rays[..., 1] = y[:, None]
        return rays
