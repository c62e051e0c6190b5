"""The canonical camera space (Metric3D, ICCV 2023, section 3.1): how one network reads metres from any camera.

An object of size S at depth d spans f * S / d pixels, so an image alone fixes only d / f. Training therefore
pretends that every image came from one canonical camera of focal length f_c, and inference undoes it:

    CSTM_label   keep the image, scale the depth:    d_c = d * f_c / f
    CSTM_image   keep the depth, scale the image:    by f_c / f, which makes the focal length f_c
    resizing     an image scaled by s has focal length f * s, so d_c = d * f_c / (f * s)
    back         d = d_c * f * s / f_c

Training and inference use this module; nothing else knows the formula.
"""

from __future__ import annotations

from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from metric3d_ros.camera import PinholeCamera

CANONICAL_FOCAL_PX = 1000.0

Depth = TypeVar("Depth", float, NDArray[np.float32])


def mean_focal_px(camera: PinholeCamera) -> float:
    """The one focal length the canonical space knows: (fx + fy) / 2."""
    return (camera.fx + camera.fy) / 2


def canonical_per_metre(
    camera: PinholeCamera, resize_scale: float = 1.0, canonical_focal_px: float = CANONICAL_FOCAL_PX
) -> float:
    """How many canonical units one metre is for an image of ``camera`` that was resized by ``resize_scale``.

    This is the reference's ``label_scale_factor``, (f_c / f) * (1 / s).
    """
    return canonical_focal_px / (mean_focal_px(camera) * resize_scale)


def canonical_image_scale(camera: PinholeCamera, canonical_focal_px: float = CANONICAL_FOCAL_PX) -> float:
    """CSTM_image's one resize: an image of ``camera`` scaled by this has the canonical focal length."""
    return canonical_focal_px / mean_focal_px(camera)


def label_to_canonical(
    depth_m: Depth,
    camera: PinholeCamera,
    resize_scale: float = 1.0,
    canonical_focal_px: float = CANONICAL_FOCAL_PX,
) -> Depth:
    """CSTM_label: metric depth of ``camera`` as the canonical camera would have it."""
    return depth_m * canonical_per_metre(camera, resize_scale, canonical_focal_px)


def depth_from_canonical(
    depth_canonical: Depth,
    camera: PinholeCamera,
    resize_scale: float = 1.0,
    canonical_focal_px: float = CANONICAL_FOCAL_PX,
) -> Depth:
    """The way back: metres from canonical depth; ``camera`` is the one before resizing by ``resize_scale``."""
    return depth_canonical / canonical_per_metre(camera, resize_scale, canonical_focal_px)


def image_to_canonical(
    image: NDArray[np.uint8], camera: PinholeCamera, canonical_focal_px: float = CANONICAL_FOCAL_PX
) -> tuple[NDArray[np.uint8], PinholeCamera]:
    """CSTM_image: the image resized so that its focal length is the canonical one; its depth stays in metres.

    The size is rounded to whole pixels, so the focal length returned may miss the canonical one by half a pixel
    in the image's width or height.
    """
    scale = canonical_image_scale(camera, canonical_focal_px)
    width_px = max(1, round(camera.width_px * scale))
    height_px = max(1, round(camera.height_px * scale))
    resized = cv2.resize(image, (width_px, height_px), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.uint8), camera.resized(width_px, height_px)
