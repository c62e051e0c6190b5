"""Reading frames from any bag that has an image and its camera_info."""

from __future__ import annotations

import logging
import operator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from metric3d_ros import bag_topics
from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.frame import Frame
from metric3d_ros.datasets.rosbag import messages
from metric3d_ros.datasets.rosbag.recording import Recording
from metric3d_ros.errors import CameraError, DatasetError, ImageError

log = logging.getLogger(__name__)

_COMPRESSED = "/compressed"  # how image_transport calls the compressed topic beside a raw one
_IMAGE_TYPES = (messages.IMAGE_TYPE, messages.COMPRESSED_IMAGE_TYPE)


class BagReader:
    """A ``FrameSource`` over a bag: images with the camera_info, depth and true pose of the same stamp.

    Images on a topic whose last name starts with ``image_rect`` are taken as rectified (P of the camera_info),
    others as raw (K and D). The true poses are those of ``camera_link``; the world is its optical frame at the
    start of the ground truth.

    Parameters
    ----------
    path : rosbag2 folder, MCAP or db3 file, or ROS 1 bag.
    image_topic : the images; found where there is no choice, or where the bag has this project's names.
    camera_info_topic : their camera_info; its namesake beside the image topic where not given.
    depth_topic, ground_truth_topic : read where the bag has them.

    Raises
    ------
    DatasetError
        If it is not a bag, is cut short, or has no image or no camera_info (or several to choose from).
    CameraError
        If the camera_info describes no camera.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        image_topic: str | None = None,
        camera_info_topic: str | None = None,
        depth_topic: str = bag_topics.REFERENCE_DEPTH,
        ground_truth_topic: str = bag_topics.GROUND_TRUTH,
    ) -> None:
        self._recording = Recording(path)
        try:
            self.image_topic = find_image_topic(self._recording, image_topic)
            self.camera_info_topic = find_camera_info_topic(self._recording, self.image_topic, camera_info_topic)
            self._depth_topic = depth_topic
            self._index = _index_messages(self._recording, self.image_topic, depth_topic)
            self._cameras = _read_cameras(self._recording, self.camera_info_topic, self.image_topic)
            self._poses = _read_poses(self._recording, ground_truth_topic)
        except BaseException:
            self._recording.close()
            raise
        self._stamps_ns = np.array(self._index.image_stamps_ns, dtype=np.int64)

    def __enter__(self) -> BagReader:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        self.close()
        return False

    def close(self) -> None:
        """Close the bag."""
        self._recording.close()

    @property
    def name(self) -> str:
        """The bag's file name without its suffix."""
        return self._recording.path.resolve().stem

    @property
    def camera(self) -> PinholeCamera:
        """The camera of the first camera_info."""
        return next(iter(self._cameras.values()))

    @property
    def stamps_ns(self) -> NDArray[np.int64]:
        """Capture times (frames,), nanoseconds, from the image headers."""
        return self._stamps_ns

    @property
    def world_from_camera(self) -> NDArray[np.float64] | None:
        """True poses (frames, 4, 4), if every frame has one."""
        poses = [self._poses.get(stamp_ns) for stamp_ns in self._index.image_stamps_ns]
        found = [pose for pose in poses if pose is not None]
        return np.stack(found) if len(found) == len(poses) else None

    def __len__(self) -> int:
        return len(self._stamps_ns)

    def __getitem__(self, index: int) -> Frame:
        """Read one frame.

        Raises
        ------
        ImageError
            If its image or depth does not decode, or has another size than its camera_info.
        DatasetError
            If the bag is damaged there.
        """
        position = range(len(self))[operator.index(index)]
        stamp_ns = self._index.image_stamps_ns[position]
        camera = self._cameras.get(stamp_ns, self.camera)
        image = messages.rgb_of_message(
            self._read(self.image_topic, self._index.image_log_times_ns[position], stamp_ns), self.image_topic
        )
        _require_camera_size(image, camera, self.image_topic, stamp_ns)
        return Frame(
            index=position,
            stamp_ns=stamp_ns,
            image=image,
            camera=camera,
            depth_m=self._read_depth(stamp_ns, camera),
            world_from_camera=self._poses.get(stamp_ns),
        )

    def _read_depth(self, stamp_ns: int, camera: PinholeCamera) -> NDArray[np.float32] | None:
        log_time_ns = self._index.depth_log_times_ns.get(stamp_ns)
        if log_time_ns is None:
            return None
        depth_m = messages.depth_of_message(
            self._read(self._depth_topic, log_time_ns, stamp_ns), self._depth_topic
        )
        _require_camera_size(depth_m, camera, self._depth_topic, stamp_ns)
        return depth_m

    def _read(self, topic: str, log_time_ns: int, stamp_ns: int) -> Any:
        for message in self._recording.messages([topic], log_time_ns, log_time_ns + 1):
            if self._recording.header_stamp_ns(message) == stamp_ns:
                return self._recording.deserialize(message)
        raise DatasetError(f"the message on {topic} at {stamp_ns} ns has gone from {self._recording.path}.")


@dataclass(frozen=True)
class _MessageIndex:
    """Where the messages are: recording times by position for images, by stamp for depth."""

    image_stamps_ns: list[int]
    image_log_times_ns: list[int]
    depth_log_times_ns: dict[int, int]


def find_image_topic(recording: Recording, wanted: str | None = None) -> str:
    """The image topic of a recording: the wanted one, this project's, or the only one.

    Raises
    ------
    DatasetError
        If there is none, or several; they are named.
    """
    images = [name for name, topic in recording.topics.items() if topic.message_type in _IMAGE_TYPES]
    if wanted is not None:
        if wanted not in images:
            raise DatasetError(f"{recording.path} has no images on {wanted}; it has {_listed(images)}.")
        return wanted
    for name in (bag_topics.IMAGE, bag_topics.COMPRESSED_IMAGE):
        if name in images:
            return name
    candidates = [
        name
        for name in images
        if "depth" not in name
        and "disparity" not in name
        and name.removesuffix(_COMPRESSED) not in {*images} - {name}
    ]
    if len(candidates) != 1:
        raise DatasetError(
            f"{recording.path} must have one image topic to choose from; it has {_listed(candidates)}: "
            "name one (image_topic)."
        )
    return candidates[0]


def find_camera_info_topic(recording: Recording, image_topic: str, wanted: str | None = None) -> str:
    """The camera_info topic of an image topic: the wanted one, the one beside it, or the only one.

    Raises
    ------
    DatasetError
        If there is none, or several and none beside the images; they are named.
    """
    infos = [
        name
        for name, topic in recording.topics.items()
        if topic.message_type == messages.CAMERA_INFO_TYPE and topic.message_count > 0
    ]
    namesakes = [
        f"{image_topic.rsplit('/', depth)[0]}/camera_info" for depth in (1, 2) if image_topic.count("/") >= depth
    ]
    for name in [wanted] if wanted is not None else namesakes:
        if name in infos:
            return name
    if wanted is None and len(infos) == 1:
        return infos[0]
    raise DatasetError(
        f"{recording.path} has no camera_info on {wanted or namesakes[0]} for the images on {image_topic}; "
        f"it has {_listed(infos)}: record it beside the images, or name it (camera_info_topic)."
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"


def _index_messages(recording: Recording, image_topic: str, depth_topic: str) -> _MessageIndex:
    stamps_ns: list[int] = []
    log_times_ns: list[int] = []
    depth_log_times_ns: dict[int, int] = {}
    for message in recording.messages([image_topic, depth_topic]):
        stamp_ns = recording.header_stamp_ns(message)
        if message.topic == image_topic:
            stamps_ns.append(stamp_ns)
            log_times_ns.append(message.log_time_ns)
        else:
            depth_log_times_ns[stamp_ns] = message.log_time_ns
    if not stamps_ns:
        raise DatasetError(f"{recording.path} has no message on {image_topic}.")
    return _MessageIndex(stamps_ns, log_times_ns, depth_log_times_ns)


def _read_cameras(recording: Recording, topic: str, image_topic: str) -> dict[int, PinholeCamera]:
    rectified = image_topic.removesuffix(_COMPRESSED).rsplit("/", 1)[-1].startswith("image_rect")
    cameras = {}
    for stored in recording.messages([topic]):
        try:
            camera = messages.camera_of_message(recording.deserialize(stored), rectified=rectified)
        except CameraError as error:
            raise CameraError(f"camera_info on {topic} in {recording.path}: {error}") from error
        cameras[recording.header_stamp_ns(stored)] = camera
    return cameras


def _read_poses(recording: Recording, topic: str) -> dict[int, NDArray[np.float64]]:
    if topic not in recording.topics:
        return {}
    poses = {}
    for stored in recording.messages([topic]):
        odometry = recording.deserialize(stored)
        if odometry.child_frame_id != bag_topics.CAMERA_FRAME:
            log.warning(
                "ground truth on %s is left out: it is of %s, not of %s.",
                topic,
                odometry.child_frame_id,
                bag_topics.CAMERA_FRAME,
            )
            return {}
        pose = bag_topics.optical_from_odom(messages.pose_of_message(odometry))
        poses[messages.stamp_ns_of(odometry)] = pose
    return poses


def _require_camera_size(image: NDArray[Any], camera: PinholeCamera, topic: str, stamp_ns: int) -> None:
    if image.shape[:2] != (camera.height_px, camera.width_px):
        raise ImageError(
            f"the image on {topic} at {stamp_ns} ns is {image.shape[1]}x{image.shape[0]} px but its camera_info "
            f"says {camera.width_px}x{camera.height_px} px; publish both for the same size."
        )
