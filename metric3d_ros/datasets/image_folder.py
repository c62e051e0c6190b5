"""A folder of images from one camera: the reader for recordings that have no format."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.image_files import list_images
from metric3d_ros.datasets.image_sequence import ImageSequence, first_image_size
from metric3d_ros.datasets.kitti_files import read_stamps_ns
from metric3d_ros.errors import DatasetError

TIMES_FILE = "times.txt"


class ImageFolder(ImageSequence):
    """Images in natural order of their names (``frame_2`` before ``frame_10``), png, jpg or webp.

    Parameters
    ----------
    folder : where the images are.
    camera : the camera of every image.
    rate_hz : frames per second, where the folder has no ``times.txt`` (one time a row, seconds or a date).

    Raises
    ------
    DatasetError
        If there are no images, the camera has another size than the first one, or the times do not fit.
    """

    def __init__(self, folder: Path | str, camera: PinholeCamera, rate_hz: float = 10.0) -> None:
        folder = Path(folder)
        paths = list_images(folder)
        width_px, height_px = first_image_size(paths)
        if (width_px, height_px) != (camera.width_px, camera.height_px):
            raise DatasetError(
                f"images in {folder} are {width_px}x{height_px} px but the camera is "
                f"{camera.width_px}x{camera.height_px} px; give the intrinsics of this image size."
            )
        if (folder / TIMES_FILE).exists():
            stamps_ns = read_stamps_ns(folder / TIMES_FILE)
        elif math.isfinite(rate_hz) and rate_hz > 0:
            stamps_ns = np.round(np.arange(len(paths)) * (1e9 / rate_hz)).astype(np.int64)
        else:
            raise DatasetError(f"rate_hz is {rate_hz:g}; it must be above 0 where {folder} has no {TIMES_FILE}.")
        super().__init__(folder.resolve().name, paths, camera, stamps_ns)
