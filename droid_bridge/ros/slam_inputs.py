"""How images, cameras and depth reach the SLAM node: on topics, or handed over in its own process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from metric3d_ros.calibration import CameraCalibration
from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.frame import Frame
from metric3d_ros.errors import ImageError
from metric3d_ros.rectification import rectified_image
from metric3d_ros.ros.colour_images import rgb_from_message
from metric3d_ros.ros.depth_outputs import DepthResult
from metric3d_ros.ros.depth_parameters import COMPRESSED
from metric3d_ros.ros.input_watch import IMAGE_REMEDIES, InputWatch
from metric3d_ros.ros.lifecycle import AutostartNode
from metric3d_ros.ros.messages import confidence_from_message, depth_m_from_message, stamp_ns_of

IMAGE, CAMERA_INFO, DEPTH, CONFIDENCE = "image", "camera_info", "depth", "confidence"
QUEUE_DEPTH = 10
WAITING_PARTS = 4 * QUEUE_DEPTH


@dataclass(frozen=True)
class HandedDepth:
    """Depth that came without a message.

    Attributes
    ----------
    depth_m : float32 (height, width) in metres, NaN without reading.
    confidence : float32 (height, width) from 0 to 1, where the network gives one.
    """

    depth_m: NDArray[np.float32]
    confidence: NDArray[np.float32] | None


class SlamInputs:
    """Passes on what comes, in the node's own callback group, as (part, stamp in ns, value).

    Parts are received beside tracking and wait in a queue of ten moments; when one more comes the oldest
    goes, and images that go are counted.

    Parameters
    ----------
    node : with the parameters scale_prior, rectified and image_transport.
    on_part : takes each part; a part is ``image``, ``camera_info``, ``depth`` or ``confidence``, which comes with
        handed depth.
    on_lost : is called for each image that had to go.
    is_handed : the parts come through ``take_image`` and ``take_depth``, and nothing is subscribed to.
    """

    def __init__(
        self,
        node: AutostartNode,
        on_part: Callable[[str, int, Any], None],
        on_lost: Callable[[], None],
        is_handed: bool = False,
    ) -> None:
        self._node = node
        self._on_part = on_part
        self._on_lost = on_lost
        self._waiting: deque[tuple[str, int, Any]] = deque()
        self._guard = node.create_guard_condition(self._pass_on)
        self._receiving = MutuallyExclusiveCallbackGroup()
        self._subscriptions: dict[str, Any] = {}
        self._watches: dict[str, InputWatch] = {}
        if not is_handed:
            self._subscribe()

    def _subscribe(self) -> None:
        is_compressed = self._node.value_of("image_transport") == COMPRESSED
        topics: dict[str, tuple[Any, str]] = {
            CAMERA_INFO: (CameraInfo, "camera_info"),
            IMAGE: (CompressedImage, "image/compressed") if is_compressed else (Image, "image"),
        }
        if self._node.value_of("scale_prior"):
            topics[DEPTH] = (Image, "depth/image")
            topics[CONFIDENCE] = (Image, "depth/confidence")
        for part, (kind, topic) in topics.items():
            subscription = self._node.create_subscription(
                kind,
                topic,
                partial(self._on_message, part),
                QoSProfile(depth=QUEUE_DEPTH, reliability=QoSReliabilityPolicy.BEST_EFFORT),
                callback_group=self._receiving,
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            )
            self._subscriptions[part] = subscription
            if part != CONFIDENCE:
                remedies = IMAGE_REMEDIES if part == IMAGE else None
                self._watches[part] = InputWatch(self._node, subscription, topic, remedies)

    @property
    def has_confidence(self) -> bool:
        """Whether someone publishes how sure depth is."""
        subscription = self._subscriptions.get(CONFIDENCE)
        return subscription is not None and subscription.get_publisher_count() > 0

    def topic_of(self, part: str) -> str:
        """The resolved topic of a part, or where else it comes from."""
        subscription = self._subscriptions.get(part)
        return "the depth node of this process" if subscription is None else str(subscription.topic_name)

    def mark_all(self) -> None:
        """Waiting begins now."""
        for watch in self._watches.values():
            watch.mark()

    def values(self) -> dict[str, object]:
        """Seconds since the last of each part that comes on a topic, for diagnostics."""
        return {f"{part} age (s)": watch.age_s for part, watch in self._watches.items()}

    def problem(self) -> str:
        """What is waited for, and why it does not come, as sentences; empty while everything comes."""
        return " ".join(problem for watch in self._watches.values() if (problem := watch.problem()))

    def take_image(self, image: Any, info: CameraInfo) -> None:
        """An image and its camera, from any thread of this process."""
        stamp_ns = stamp_ns_of(image.header)
        self._hand(CAMERA_INFO, stamp_ns, info)
        self._hand(IMAGE, stamp_ns, image)

    def take_depth(self, result: DepthResult) -> None:
        """The depth of an image, from any thread of this process."""
        depth = HandedDepth(result.prediction.depth_m, result.prediction.confidence)
        self._hand(DEPTH, stamp_ns_of(result.header), depth)

    def frame_of(self, index: int, stamp_ns: int, moment: dict[str, Any]) -> Frame:
        """The frame that the image and the camera of one stamp make; its depth comes by ``depth_m_of``.

        Raises
        ------
        Metric3dError
            If one cannot be decoded, or the camera is not the image's.
        """
        image = rectified_image(
            rgb_from_message(moment[IMAGE]),
            CameraCalibration.of_message(moment[CAMERA_INFO]),
            is_rectified=self._node.value_of("rectified"),
        )
        return Frame(index=index, stamp_ns=stamp_ns, image=image.rgb, camera=image.camera)

    def destroy(self) -> None:
        """Give subscriptions and the like back to the node."""
        for subscription in self._subscriptions.values():
            self._node.destroy_subscription(subscription)
        if self._guard is not None:
            self._node.destroy_guard_condition(self._guard)
            self._guard = None
        self._waiting.clear()

    def _on_message(self, part: str, message: Any) -> None:
        if (watch := self._watches.get(part)) is not None:
            watch.mark()
        self._hand(part, stamp_ns_of(message.header), message)

    def _hand(self, part: str, stamp_ns: int, value: Any) -> None:
        guard = self._guard
        if guard is None:
            return
        self._waiting.append((part, stamp_ns, value))
        if len(self._waiting) > WAITING_PARTS and (lost := self._next()) is not None and lost[0] == IMAGE:
            self._on_lost()
        guard.trigger()

    def _pass_on(self) -> None:
        """Pass one part on; others of this group have their turn before the next."""
        part = self._next()
        if part is None:
            return
        self._on_part(*part)
        if self._waiting and self._guard is not None:
            self._guard.trigger()

    def _next(self) -> tuple[str, int, Any] | None:
        """The part that waits longest; another thread may have taken the last."""
        try:
            return self._waiting.popleft()
        except IndexError:
            return None


def depth_m_of(depth: Any, camera: PinholeCamera | None) -> NDArray[np.float32]:
    """The metres of a depth part, which is a message or was handed over.

    Raises
    ------
    ImageError
        If it cannot be decoded, or is not as large as the images of a camera.
    """
    depth_m = depth.depth_m if isinstance(depth, HandedDepth) else depth_m_from_message(depth)
    return _of_image_size(DEPTH, depth_m, camera)


def confidence_of(moment: Mapping[str, Any], camera: PinholeCamera | None) -> NDArray[np.float32] | None:
    """The confidence of the depth of a moment, float32 (height, width); None where it has none.

    Raises
    ------
    ImageError
        If it cannot be decoded, or is not as large as the images of a camera.
    """
    depth = moment.get(DEPTH)
    if isinstance(depth, HandedDepth):
        return None if depth.confidence is None else _of_image_size(CONFIDENCE, depth.confidence, camera)
    message = moment.get(CONFIDENCE)
    return None if message is None else _of_image_size(CONFIDENCE, confidence_from_message(message), camera)


def _of_image_size(part: str, values: NDArray[np.float32], camera: PinholeCamera | None) -> NDArray[np.float32]:
    if camera is not None and values.shape != (camera.height_px, camera.width_px):
        height_px, width_px = values.shape
        raise ImageError(
            f"{part} is {width_px}x{height_px} px but its image is {camera.width_px}x{camera.height_px} px; "
            f"publish {part} of the image's size."
        )
    return values
