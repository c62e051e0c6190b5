"""Writing frames as a rosbag2 recording in MCAP."""

from __future__ import annotations

import itertools
import logging
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from metric3d_ros import bag_topics
from metric3d_ros.datasets.frame import Frame, FrameSource
from metric3d_ros.datasets.rosbag import messages
from metric3d_ros.errors import DatasetError, ImageError

log = logging.getLogger(__name__)

CAMERA_HEIGHT_M = 1.65
"""Height of KITTI's cameras above the road, for base_link -> camera_link."""

ImageFormat = Literal["raw", "png", "jpeg"]
IMAGE_FORMATS: tuple[ImageFormat, ...] = get_args(ImageFormat)

_FOREVER = QosTime(9223372036, 854775807)


class BagWriter:
    """A bag that appears under its name only when it is whole; a context manager.

    Parameters
    ----------
    path : ``NAME.mcap`` gives one MCAP file, which ``ros2 bag play`` takes as it is and which replaces a file
        of that name; any other name gives a rosbag2 folder (metadata.yaml and MCAP), which must not exist yet.
    camera_height_m : height of the camera above base_link.
    compressed : whether chunks are compressed with zstd.
    image_format : ``raw`` writes ``Image``; ``png`` (every value kept) and ``jpeg`` write ``CompressedImage`` on
        image_transport's topic beside it.

    Raises
    ------
    DatasetError
        If the bag cannot be written there.
    """

    def __init__(
        self,
        path: Path | str,
        camera_height_m: float = CAMERA_HEIGHT_M,
        compressed: bool = False,
        image_format: ImageFormat = "raw",
    ) -> None:
        self.path = Path(path)
        self.is_single_file = self.path.suffix == ".mcap"
        self._camera_height_m = camera_height_m
        self._compressed = compressed
        self._image_format = image_format
        self._connections: dict[str, Connection] = {}
        self._first_pose: NDArray[np.float64] | None = None
        self._is_gray: bool | None = None
        self.frame_count = 0
        _require_writable(self.path, self.is_single_file)

    def __enter__(self) -> BagWriter:
        try:
            self._folder = Path(tempfile.mkdtemp(prefix=f".{self.path.name}.", dir=self.path.parent))
        except OSError as error:
            raise DatasetError(f"{self.path} cannot be written: {error.strerror or error}.") from error
        self._bag = Writer(self._folder / self.path.stem, version=9, storage_plugin=StoragePlugin.MCAP)
        if self._compressed:
            self._bag.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._bag.open()
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        try:
            if error_type is None:
                self._require_frames()
                self._bag.close()
                self._move_into_place()
            else:
                self._bag.abort()
        except OSError as os_error:
            raise DatasetError(f"{self.path} cannot be written: {os_error.strerror or os_error}.") from os_error
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)
        return False

    def write(self, frame: Frame, *, with_depth: bool = True) -> None:
        """Add one frame: camera_info, image, the true pose (Odometry and TF) and the depth, as it has them.

        The first true pose is the origin of the ground truth. Gray images are written as mono8.

        Raises
        ------
        DatasetError
            If the disk does not take it.
        """
        if not self._connections:
            self._write_static_transforms(frame.stamp_ns)
        info = messages.camera_info_message(frame.stamp_ns, frame.camera)
        self._write(bag_topics.CAMERA_INFO, frame.stamp_ns, info)
        image_topic = bag_topics.IMAGE if self._image_format == "raw" else bag_topics.COMPRESSED_IMAGE
        self._write(image_topic, frame.stamp_ns, self._image_message(frame))
        if frame.depth_m is not None and with_depth:
            depth = messages.image_message(frame.stamp_ns, frame.depth_m.astype("<f4", copy=False), "32FC1")
            self._write(bag_topics.REFERENCE_DEPTH_INFO, frame.stamp_ns, info)
            self._write(bag_topics.REFERENCE_DEPTH, frame.stamp_ns, depth)
        if frame.world_from_camera is not None:
            pose = self._true_pose(frame.world_from_camera)
            self._write(bag_topics.GROUND_TRUTH, frame.stamp_ns, messages.odometry_message(frame.stamp_ns, pose))
            self._write(bag_topics.TF, frame.stamp_ns, messages.true_transform_message(frame.stamp_ns, pose))
        self.frame_count += 1

    def _write_static_transforms(self, stamp_ns: int) -> None:
        transforms = messages.static_transforms_message(stamp_ns, self._camera_height_m)
        self._write(bag_topics.TF_STATIC, stamp_ns, transforms, QosDurability.TRANSIENT_LOCAL)

    def _image_message(self, frame: Frame) -> Any:
        gray = frame.image[..., 0]
        is_gray = bool((frame.image == gray[..., None]).all())
        if self._is_gray is None:
            self._is_gray = is_gray
        # A colour camera that sees one black frame goes on in colour.
        pixels, encoding = (gray, "mono8") if self._is_gray and is_gray else (frame.image, "rgb8")
        if self._image_format == "raw":
            return messages.image_message(frame.stamp_ns, pixels, encoding)
        return messages.compressed_image_message(frame.stamp_ns, pixels, encoding, self._image_format)

    def _true_pose(self, world_from_camera: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pose of ``camera_link`` in ``odom``, which is where the first frame was."""
        if self._first_pose is None:
            self._first_pose = world_from_camera
        return bag_topics.odom_from_optical(world_from_camera, self._first_pose)

    def _write(
        self,
        topic: str,
        stamp_ns: int,
        message: Any,
        durability: QosDurability = QosDurability.VOLATILE,
    ) -> None:
        message_type = message.__msgtype__
        if topic not in self._connections:
            self._connections[topic] = self._bag.add_connection(
                topic, message_type, typestore=messages.TYPESTORE, offered_qos_profiles=[_qos(durability)]
            )
        try:
            self._bag.write(
                self._connections[topic], stamp_ns, messages.TYPESTORE.serialize_cdr(message, message_type)
            )
        except OSError as error:
            raise DatasetError(f"{self.path} cannot be written: {error.strerror or error}.") from error

    def _require_frames(self) -> None:
        if not self.frame_count:
            self._bag.abort()
            raise DatasetError(f"no frame was given for {self.path}; it is not written.")

    def _move_into_place(self) -> None:
        written = self._folder / self.path.stem
        if self.is_single_file:
            (written / self.path.name).replace(self.path)
        else:
            written.rename(self.path)


def write_source(
    source: FrameSource,
    path: Path | str,
    *,
    frames: Iterable[Frame] | None = None,
    max_frames: int | None = None,
    with_depth: bool = True,
    compressed: bool = False,
    image_format: ImageFormat = "raw",
    progress: bool = True,
) -> int:
    """Write a source as a bag and return the number of frames written.

    A frame that does not decode is left out, and said so in the log.

    Parameters
    ----------
    source : what is written.
    path : see `BagWriter`.
    frames : the frames of ``source`` where they come faster another way (several processes, say).
    max_frames : stop after this many.
    with_depth : whether depth goes into the bag, where frames have it.
    compressed : whether chunks are compressed with zstd.
    image_format : see `BagWriter`.
    progress : whether a progress bar is shown.

    Raises
    ------
    DatasetError
        If the bag cannot be written, or no frame decodes; then there is none.
    """
    count = len(source) if max_frames is None else min(max_frames, len(source))
    wanted = _decodable_frames(source, count) if frames is None else itertools.islice(frames, count)
    with BagWriter(path, compressed=compressed, image_format=image_format) as bag:
        for frame in track(wanted, description="writing", total=count, disable=not progress):
            bag.write(frame, with_depth=with_depth)
    return bag.frame_count


def _decodable_frames(source: FrameSource, count: int) -> Iterator[Frame]:
    for index in range(count):
        try:
            yield source[index]
        except ImageError as error:
            log.warning("frame %d is left out: %s", index, error)


def _require_writable(path: Path, is_single_file: bool) -> None:
    if not path.parent.is_dir():
        raise DatasetError(f"{path} cannot be written: there is no folder {path.parent}; create it first.")
    if not path.name or (path.exists() and not (is_single_file and path.is_file())):
        raise DatasetError(f"{path} exists already; remove it, or give another name.")


def _qos(durability: QosDurability) -> Qos:
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=1 if durability == QosDurability.TRANSIENT_LOCAL else 10,
        reliability=QosReliability.RELIABLE,
        durability=durability,
        deadline=_FOREVER,
        lifespan=_FOREVER,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=_FOREVER,
        avoid_ros_namespace_conventions=False,
    )
