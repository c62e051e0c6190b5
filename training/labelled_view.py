"""One labelled image on its way to the network: metres and the camera of its pixels, whatever was done to it.

Every geometric step keeps three things together: the pixels, the labels in metres and the camera that would have
taken these very pixels. The canonical space is entered once, at the end, from that camera. Both transforms of the
paper and the random resize are then one formula (``metric3d_ros.canonical``):

    CSTM_label, then a resize by r     d_c = d f_c / (f r)      f r is the focal length of the pixels
    CSTM_image, then a resize by r     d_c = d / r              f r = f_c r, so it is the same
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.canonical import CANONICAL_FOCAL_PX, canonical_image_scale, canonical_per_metre
from metric3d_ros.letterbox import PADDING_RGB
from training.errors import TrainingError
from training.label_kind import LabelKind

NO_REGION = 0


@dataclass(frozen=True)
class LabelledView:
    """An image and what is known of every pixel.

    Attributes
    ----------
    image : uint8 (h, w, 3) RGB.
    depth_m : float32 (h, w) metres along the optical axis, NaN where there is no reading.
    camera : the camera of these pixels.
    kind : where the depth comes from.
    normal : float32 (h, w, 3) unit normals in the camera frame that point to the camera, NaN where there is none;
        None where the source has none at all.
    regions : int32 (h, w) semantic or instance numbers, 0 for none; None where the source has none.
    planes : int32 (h, w) numbers of flat surfaces, 0 for none; None where the source has none.
    sky : bool (h, w), or None where the source does not say.
    content : bool (h, w), false in padding; None while there is none.
    """

    image: NDArray[np.uint8]
    depth_m: NDArray[np.float32]
    camera: PinholeCamera
    kind: LabelKind
    normal: NDArray[np.float32] | None = None
    regions: NDArray[np.int32] | None = None
    planes: NDArray[np.int32] | None = None
    sky: NDArray[np.bool_] | None = None
    content: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        size = self.image.shape[:2]
        for name, labels in self.per_pixel().items():
            if labels.shape[:2] != size:
                raise TrainingError(
                    f"{name} is {labels.shape[1]}x{labels.shape[0]} px but its image is {size[1]}x{size[0]} px; "
                    "resize one to the other."
                )
        if (self.camera.height_px, self.camera.width_px) != size:
            raise TrainingError(
                f"camera is {self.camera.width_px}x{self.camera.height_px} px but its image is "
                f"{size[1]}x{size[0]} px; resize the camera with the image."
            )

    def per_pixel(self) -> dict[str, NDArray[Any]]:
        """The labels that there are, by attribute name."""
        labels = {
            "depth_m": self.depth_m,
            "normal": self.normal,
            "regions": self.regions,
            "planes": self.planes,
            "sky": self.sky,
            "content": self.content,
        }
        return {name: array for name, array in labels.items() if array is not None}

    def label_per_metre(self, canonical: str, canonical_focal_px: float = CANONICAL_FOCAL_PX) -> float:
        """What a metre is in the label's unit: of the canonical camera, or 1 where ``canonical`` is ``none``."""
        if canonical == "none":
            return 1.0
        return canonical_per_metre(self.camera, canonical_focal_px=canonical_focal_px)

    def in_canonical_image(self, canonical_focal_px: float = CANONICAL_FOCAL_PX) -> LabelledView:
        """CSTM_image: the view resized to the canonical focal length."""
        return self.resized(canonical_image_scale(self.camera, canonical_focal_px))

    def resized(self, scale: float) -> LabelledView:
        """The view at ``scale`` times its size: image bilinear (area when shrinking), labels never mixed.

        Sparse LiDAR is moved point by point, the nearest of a pixel's points winning; all else is sampled at the
        nearest pixel.
        """
        width_px = max(1, round(self.camera.width_px * scale))
        height_px = max(1, round(self.camera.height_px * scale))
        return self._at_size(width_px, height_px)

    def _at_size(self, width_px: int, height_px: int) -> LabelledView:
        size = (width_px, height_px)
        if size == (self.camera.width_px, self.camera.height_px):
            return self
        shrinks = width_px * height_px < self.camera.width_px * self.camera.height_px
        interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        labels: dict[str, Any] = {
            name: _nearest(array, size) for name, array in self.per_pixel().items() if name != "depth_m"
        }
        depth_m = self.depth_m
        return replace(
            self,
            image=np.asarray(cv2.resize(self.image, size, interpolation=interpolation), dtype=np.uint8),
            depth_m=scatter_resized(depth_m, size) if not self.kind.is_dense else _nearest(depth_m, size),
            camera=self.camera.resized(width_px, height_px),
            **labels,
        )

    def stretched_above(self, row_px: int, factor: float) -> LabelledView:
        """The view with the rows above ``row_px`` so many times as high, cut off where they leave the image.

        To a level camera that is a world in which things rise ``factor`` times as high over the plane through that
        row, at the same depth. With a factor below 1 the image has fewer rows.
        """
        width_px, height_px = self.camera.width_px, self.camera.height_px
        kept_px, new_px = round(row_px / max(factor, 1.0)), round(row_px * min(factor, 1.0))
        if not (0 < row_px < height_px and kept_px and new_px):
            return self
        upper = self.cropped(0, row_px - kept_px, width_px, kept_px)._at_size(width_px, new_px)
        lower = self.cropped(0, row_px, width_px, height_px - row_px)
        below = lower.per_pixel()
        labels: dict[str, Any] = {n: np.concatenate([a, below[n]]) for n, a in upper.per_pixel().items()}
        if upper.normal is not None:
            normal = upper.normal / np.array([1, factor, 1], dtype=np.float32)
            labels["normal"][:new_px] = normal / np.linalg.norm(normal, axis=2, keepdims=True)
        return replace(
            self,
            image=np.concatenate([upper.image, lower.image]),
            camera=self.camera.cropped(0, row_px - new_px, width_px, height_px - row_px + new_px),
            **labels,
        )

    def cropped(self, left_px: int, top_px: int, width_px: int, height_px: int) -> LabelledView:
        """A window that lies inside the view."""
        window = np.s_[top_px : top_px + height_px, left_px : left_px + width_px]
        labels: dict[str, Any] = {name: array[window] for name, array in self.per_pixel().items()}
        camera = self.camera.cropped(left_px, top_px, width_px, height_px)
        return replace(self, image=self.image[window], camera=camera, **labels)

    def padded(self, width_px: int, height_px: int, top_px: int | None = None) -> LabelledView:
        """The view in a larger one as the letterbox does it: mean colour, no labels, no content.

        It is centred; with ``top_px`` that many rows lie above it.
        """
        top = (height_px - self.camera.height_px) // 2 if top_px is None else top_px
        left = (width_px - self.camera.width_px) // 2
        shape = (height_px, width_px)
        window = np.s_[top : top + self.camera.height_px, left : left + self.camera.width_px]
        image = np.empty((*shape, 3), dtype=np.uint8)
        image[:] = PADDING_RGB
        image[window] = self.image
        inside = {"content": np.ones(self.depth_m.shape, dtype=np.bool_), **self.per_pixel()}
        labels: dict[str, Any] = {}
        for name, array in inside.items():
            empty = np.nan if array.dtype == np.float32 else 0
            labels[name] = np.full((*shape, *array.shape[2:]), empty, dtype=array.dtype)
            labels[name][window] = array
        return replace(self, image=image, camera=self.camera.cropped(-left, -top, width_px, height_px), **labels)

    def flipped(self) -> LabelledView:
        """The view mirrored left to right: cx becomes w - 1 - cx, cy stays, normals turn with the image."""
        labels: dict[str, Any] = {
            name: np.ascontiguousarray(array[:, ::-1]) for name, array in self.per_pixel().items()
        }
        if self.normal is not None:
            labels["normal"] = labels["normal"] * np.array([-1, 1, 1], dtype=np.float32)
        image = np.ascontiguousarray(self.image[:, ::-1])
        return replace(self, image=image, camera=self.camera.flipped(), **labels)


def scatter_resized(depth: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """A sparse depth map at another size (width, height), every point moved on its own.

    Points go where ``PinholeCamera.resized`` sends them (pixel edges aligned), to the nearest pixel centre. Where
    several meet the nearest stays: it is the one that hides the others.
    """
    rows, columns = np.nonzero(np.isfinite(depth))
    width_px, height_px = size
    to_row = _moved(rows, depth.shape[0], height_px)
    to_column = _moved(columns, depth.shape[1], width_px)
    nearest = np.full((height_px, width_px), np.inf, dtype=np.float32)
    np.minimum.at(nearest, (to_row, to_column), depth[rows, columns])
    nearest[np.isinf(nearest)] = np.nan
    return nearest


def _moved(positions: NDArray[np.intp], old_px: int, new_px: int) -> NDArray[np.intp]:
    # floor(x + 0.5) of (position + 0.5) * new / old - 0.5; a point never leaves the image.
    moved: NDArray[np.intp] = np.floor((positions + 0.5) * (new_px / old_px)).astype(np.intp)
    return np.asarray(np.minimum(moved, new_px - 1))


def _nearest(array: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    whole = array.astype(np.uint8) if array.dtype == np.bool_ else array
    resized = cv2.resize(whole, size, interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(resized).astype(array.dtype)
