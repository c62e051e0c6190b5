"""A sequence of image files with one camera: what the file-based readers share."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.frame import Frame
from metric3d_ros.datasets.image_files import read_rgb
from metric3d_ros.errors import DatasetError, ImageError


class ImageSequence:
    """A ``FrameSource`` whose images are decoded when asked for.

    Raises
    ------
    DatasetError
        If there are not as many stamps or poses as images, or if the stamps do not increase.
    """

    def __init__(
        self,
        name: str,
        image_paths: Sequence[Path],
        camera: PinholeCamera,
        stamps_ns: NDArray[np.int64],
        world_from_camera: NDArray[np.float64] | None = None,
        *,
        is_gray: bool = False,
    ) -> None:
        _require_as_many(name, "stamps", len(stamps_ns), len(image_paths))
        if world_from_camera is not None:
            _require_as_many(name, "poses", len(world_from_camera), len(image_paths))
        _require_increasing(name, stamps_ns)
        self._name = name
        self._camera = camera
        self._stamps_ns = stamps_ns
        self._world_from_camera = world_from_camera
        self._is_gray = is_gray
        self.image_paths = tuple(image_paths)

    @property
    def name(self) -> str:
        """Short name for file names and tables."""
        return self._name

    @property
    def camera(self) -> PinholeCamera:
        """The camera of every frame."""
        return self._camera

    @property
    def stamps_ns(self) -> NDArray[np.int64]:
        """Capture times (frames,), nanoseconds."""
        return self._stamps_ns

    @property
    def world_from_camera(self) -> NDArray[np.float64] | None:
        """True poses (frames, 4, 4), optical camera to world, where the source has them."""
        return self._world_from_camera

    def __len__(self) -> int:
        return len(self.image_paths)

    def __getitem__(self, index: int) -> Frame:
        """Decode one frame.

        Raises
        ------
        ImageError
            If this image is missing, does not decode, or has another size than the camera.
        """
        position = range(len(self))[operator.index(index)]
        return Frame(
            index=position,
            stamp_ns=int(self._stamps_ns[position]),
            image=self._read_image(position),
            camera=self._camera,
            depth_m=self._depth_m(position),
            world_from_camera=None if self._world_from_camera is None else self._world_from_camera[position],
        )

    def _read_image(self, position: int) -> NDArray[np.uint8]:
        """The image of the frame at ``position``, of the camera's size; sources that rectify override this."""
        image = read_rgb(self.image_paths[position], is_gray=self._is_gray)
        self._require_camera_size(image, self.image_paths[position])
        return image

    def _depth_m(self, position: int) -> NDArray[np.float32] | None:
        """Depth of the frame at ``position``; sources that have some override this."""
        return None

    def _require_camera_size(self, image: NDArray[np.generic], path: Path) -> None:
        size = image.shape[1], image.shape[0]
        if size != (self._camera.width_px, self._camera.height_px):
            raise ImageError(
                f"{path} is {size[0]}x{size[1]} px but its camera is "
                f"{self._camera.width_px}x{self._camera.height_px} px; give the camera of this image size."
            )


def first_image_size(image_paths: Sequence[Path]) -> tuple[int, int]:
    """Width and height in pixels of the first image that decodes.

    Raises
    ------
    DatasetError
        If none does.
    """
    for path in image_paths:
        try:
            image = read_rgb(path)
        except ImageError:
            continue
        return image.shape[1], image.shape[0]
    raise DatasetError(f"none of the {len(image_paths)} images in {image_paths[0].parent} decodes.")


def _require_as_many(name: str, what: str, count: int, images: int) -> None:
    if count != images:
        raise DatasetError(f"{name} has {count} {what} for {images} images; there must be one per image.")


def _require_increasing(name: str, stamps_ns: NDArray[np.int64]) -> None:
    backwards = np.flatnonzero(np.diff(stamps_ns) <= 0)
    if backwards.size:
        position = int(backwards[0]) + 1
        raise DatasetError(
            f"{name} has stamps that do not increase: frame {position} is at {stamps_ns[position]} ns, "
            f"the one before at {stamps_ns[position - 1]} ns; check the times file."
        )
