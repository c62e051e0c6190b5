"""What the depth node publishes: one topic for each map of a prediction, made only where someone listens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from metric3d_ros.depth_picture import colour_depth
from metric3d_ros.engines.engine import ModelInfo
from metric3d_ros.estimator import DepthPrediction
from metric3d_ros.point_cloud import back_project
from metric3d_ros.prediction_files import normals_of
from metric3d_ros.rectification import RectifiedImage
from metric3d_ros.ros.lifecycle import AutostartNode
from metric3d_ros.ros.messages import camera_info_message, depth_message, image_message, point_cloud_message

MILLIMETRES_PER_METRE = 1000.0
LARGEST_UINT16 = 65535


@dataclass(frozen=True)
class DepthResult:
    """One answered image.

    Attributes
    ----------
    header : the image's own: its stamp and optical frame.
    image : the image without distortion.
    prediction : its depth.
    model : the network that read it.
    """

    header: Header
    image: RectifiedImage
    prediction: DepthPrediction
    model: ModelInfo


@dataclass(frozen=True)
class DepthOutput:
    """One topic.

    Attributes
    ----------
    parameter : the switch that takes it away.
    topic : relative to the node's namespace.
    kind : the message type.
    message_of : makes the message; None where the network does not give what it takes.
    description : what it holds.
    is_on : whether it is there by default.
    is_given_by : whether a network gives what it takes.
    """

    parameter: str
    topic: str
    kind: type
    message_of: Callable[[DepthResult], Any | None]
    description: str
    is_on: bool = True
    is_given_by: Callable[[ModelInfo], bool] = lambda model: True


def _depth(result: DepthResult) -> Image:
    return depth_message(result.prediction.depth_m, result.header)


def _depth_mm(result: DepthResult) -> Image:
    millimetres = np.round(result.prediction.depth_m * MILLIMETRES_PER_METRE)
    fits = np.isfinite(millimetres) & (millimetres <= LARGEST_UINT16)
    return image_message(np.where(fits, millimetres, 0).astype(np.uint16), "16UC1", result.header)


def _camera_info(result: DepthResult) -> CameraInfo:
    return camera_info_message(result.image.camera, result.header)


def _points(result: DepthResult) -> PointCloud2:
    points_m = back_project(result.prediction.depth_m, result.prediction.camera)
    return point_cloud_message(points_m, result.image.rgb, result.header)


def _normals(result: DepthResult) -> Image:
    return image_message(normals_of(result.prediction, result.model), "32FC3", result.header)


def _confidence(result: DepthResult) -> Image | None:
    confidence = result.prediction.confidence
    return None if confidence is None else image_message(confidence, "32FC1", result.header)


def _preview(result: DepthResult) -> Image:
    return image_message(colour_depth(result.prediction.depth_m), "rgb8", result.header)


OUTPUTS = (
    DepthOutput(
        "publish_depth",
        "depth/image",
        Image,
        _depth,
        "32FC1, metres along the optical axis, NaN without reading (REP 118).",
    ),
    DepthOutput(
        "publish_depth_mm",
        "depth/image_mm",
        Image,
        _depth_mm,
        "16UC1, millimetres along the optical axis, 0 without reading or beyond 65.535 m (REP 118).",
        is_on=False,
    ),
    DepthOutput(
        "publish_camera_info",
        "depth/camera_info",
        CameraInfo,
        _camera_info,
        "The pinhole camera of all maps, of their size and without distortion.",
    ),
    DepthOutput(
        "publish_points",
        "depth/points",
        PointCloud2,
        _points,
        "Organised cloud of x, y, z in metres in the optical frame and packed rgb, NaN without reading.",
    ),
    DepthOutput(
        "publish_normals",
        "depth/normals",
        Image,
        _normals,
        "32FC3, unit surface normals in the optical frame that point to the camera, NaN where there is none.",
    ),
    DepthOutput(
        "publish_confidence",
        "depth/confidence",
        Image,
        _confidence,
        "32FC1, the network's confidence, 0 to 1; only of networks that give one.",
        is_given_by=lambda model: model.gives_confidence,
    ),
    DepthOutput(
        "publish_preview",
        "depth/preview",
        Image,
        _preview,
        "rgb8, depth in colours from 2 m (red) to 80 m (blue).",
    ),
)


class DepthOutputs:
    """The publishers of the outputs that are switched on, and that the network gives."""

    def __init__(self, node: AutostartNode, model: ModelInfo) -> None:
        self._node = node
        # A transition may take the publishers back while another thread asks who listens.
        self._lock = Lock()
        qos = QoSProfile(depth=5, reliability=QoSReliabilityPolicy.RELIABLE)
        self._publishers = {
            output: node.create_lifecycle_publisher(
                output.kind,
                output.topic,
                qos,
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            )
            for output in OUTPUTS
            if node.value_of(output.parameter) and output.is_given_by(model)
        }

    def wanted(self) -> list[DepthOutput]:
        """The outputs that someone listens to."""
        with self._lock:
            return [output for output, publisher in self._publishers.items() if publisher.get_subscription_count()]

    def publish(self, result: DepthResult) -> None:
        """Send every output that someone listens to, camera_info before what it describes."""
        for output in sorted(self.wanted(), key=lambda output: output.kind is not CameraInfo):
            message = output.message_of(result)
            if message is not None:
                self._publishers[output].publish(message)

    def destroy(self) -> None:
        """Give the publishers back to the node."""
        with self._lock:
            for publisher in self._publishers.values():
                self._node.destroy_lifecycle_publisher(publisher)
            self._publishers = {}
