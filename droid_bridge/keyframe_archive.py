"""Keyframes outside the window, kept small: half precision in memory, images on disk, each dropped on request."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from droid_bridge.errors import DroidBridgeError
from droid_bridge.keyframe_record import KeyframeRecord
from droid_bridge.place_recognition import LocalFeatures
from metric3d_ros.camera import PinholeCamera

_JPEG_QUALITY = 95


@dataclass(frozen=True)
class ArchivedKeyframe:
    """A keyframe at rest.

    Attributes
    ----------
    number : counts the keyframes of the drive from 0; it stays when others are dropped.
    frame_index, stamp_ns : of the frame.
    camera_from_world : float64 (4, 4) as the front end left it.
    inverse_depth : float16 (rows, columns), 1 over the front end's unit.
    inverse_depth_sigma : float16 (rows, columns), relative; infinite where nothing is known.
    rgb : uint8 (rows, columns, 3).
    log_scale : log of map depth over prior depth; NaN without a prior.
    log_growth : log of the factor by which the front end had made its map grow by then.
    travelled_m : way of the front end's path up to here.
    features : corners of the image.
    """

    number: int
    frame_index: int
    stamp_ns: int
    camera_from_world: NDArray[np.float64]
    inverse_depth: NDArray[np.float16]
    inverse_depth_sigma: NDArray[np.float16]
    rgb: NDArray[np.uint8]
    log_scale: float
    log_growth: float
    travelled_m: float
    features: LocalFeatures


class KeyframeArchive:
    """The keyframes the back end works with, by number.

    Used as a context, or closed by ``close``: the images' temporary folder goes with it.

    Parameters
    ----------
    folder : where the temporary folder is made; None takes the system's.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._keyframes: dict[int, ArchivedKeyframe] = {}
        self._next_number = 0
        self._bytes_of: dict[int, int] = {}
        self._camera: PinholeCamera | None = None
        try:
            self._folder = tempfile.TemporaryDirectory(prefix="keyframes_", dir=folder, ignore_cleanup_errors=True)
        except OSError as error:
            raise DroidBridgeError(
                f"no folder for keyframe images can be made in {folder or tempfile.gettempdir()}: "
                f"{error.strerror}; set TMPDIR to one that can be written."
            ) from error

    def __len__(self) -> int:
        return len(self._keyframes)

    def __iter__(self) -> Iterator[ArchivedKeyframe]:
        return iter(self._keyframes.values())

    def __getitem__(self, number: int) -> ArchivedKeyframe:
        return self._keyframes[number]

    def __contains__(self, number: int) -> bool:
        return number in self._keyframes

    @property
    def stored_bytes(self) -> int:
        """What the keyframes take in memory and, for their images, on disk."""
        return sum(self._bytes_of.copy().values())

    @property
    def working_camera(self) -> PinholeCamera:
        """The camera of the images, the same for all keyframes."""
        if self._camera is None:
            raise DroidBridgeError("the keyframe archive is empty, so it has no camera yet; add a keyframe first.")
        return self._camera

    def add(self, record: KeyframeRecord, travelled_m: float, features: LocalFeatures) -> ArchivedKeyframe:
        """Keep a record; its image goes to disk.

        Raises
        ------
        DroidBridgeError
            If the disk refuses the image; nothing is kept then.
        """
        number = self._next_number
        image_bytes = self._write_image(number, record.gray)
        keyframe = ArchivedKeyframe(
            number=number,
            frame_index=record.frame_index,
            stamp_ns=record.stamp_ns,
            camera_from_world=record.camera_from_world,
            inverse_depth=_halved(record.inverse_depth),
            inverse_depth_sigma=_halved(record.inverse_depth_sigma),
            rgb=record.rgb,
            log_scale=record.log_scale,
            log_growth=record.log_growth,
            travelled_m=travelled_m,
            features=features,
        )
        self._camera = record.working_camera
        self._keyframes[number] = keyframe
        self._bytes_of[number] = image_bytes + _bytes_in_memory(keyframe)
        self._next_number += 1
        return keyframe

    def gray(self, number: int) -> NDArray[np.uint8]:
        """The working image (height, width) of a keyframe.

        Raises
        ------
        DroidBridgeError
            If its file is gone.
        """
        image = cv2.imread(str(self._image_path(number)), cv2.IMREAD_GRAYSCALE)
        if image is None:
            raise DroidBridgeError(
                f"the image of keyframe {number} is gone from {self._folder.name}; "
                "leave that folder alone while SLAM runs, or set TMPDIR to one that nothing cleans."
            )
        return np.asarray(image, dtype=np.uint8)

    def drop(self, number: int) -> None:
        """Forget a keyframe and its image."""
        del self._keyframes[number], self._bytes_of[number]
        self._image_path(number).unlink(missing_ok=True)

    def close(self) -> None:
        """Delete the images; closing twice is harmless."""
        self._folder.cleanup()

    def __enter__(self) -> KeyframeArchive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _image_path(self, number: int) -> Path:
        return Path(self._folder.name) / f"{number:08d}.jpg"

    def _write_image(self, number: int, gray: NDArray[np.uint8]) -> int:
        """Write the working image of a keyframe; gives its size in bytes."""
        _, encoded = cv2.imencode(".jpg", gray, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        try:
            return self._image_path(number).write_bytes(encoded.tobytes())
        except OSError as error:
            raise DroidBridgeError(
                f"the image of keyframe {number} cannot be written to {self._folder.name}: {error.strerror}; "
                "make room there, or set TMPDIR to a folder with more."
            ) from error


def _bytes_in_memory(keyframe: ArchivedKeyframe) -> int:
    features = keyframe.features
    maps = keyframe.inverse_depth.nbytes + keyframe.inverse_depth_sigma.nbytes + keyframe.rgb.nbytes
    return maps + features.points_px.nbytes + features.descriptors.nbytes


def _halved(values: NDArray[np.float32]) -> NDArray[np.float16]:
    """Half precision; what is beyond its range becomes infinite, which for an error means unknown."""
    with np.errstate(over="ignore"):
        return values.astype(np.float16)
