"""The depth node: image and camera_info in, metric depth and its camera_info out."""

from __future__ import annotations

import copy
import sys

from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, Image

from metric3d_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from metric3d_ros.errors import Metric3dError
from metric3d_ros.estimator import MAX_DEPTH_M, MetricDepthEstimator
from metric3d_ros.model_zoo import model_path
from metric3d_ros.ros.lifecycle import AutostartNode, run_node
from metric3d_ros.ros.messages import camera_from_info, depth_message, rgb_from_message

WARNING_PERIOD_S = 5.0
MODEL_THRESHOLD = -1.0


class DepthNode(AutostartNode):
    """Publishes the metric depth of every image it can keep up with; the latest image wins.

    Subscribes to ``image`` and ``camera_info``; publishes ``depth/image`` (32FC1, metres along the optical axis,
    NaN without reading) and ``depth/camera_info``, both with the image's stamp, frame and size.
    """

    def __init__(self) -> None:
        super().__init__("depth")
        self.declare_described("model", "nano", "Name of a packaged model, or the path of an ONNX file.")
        self.declare_described("threads", 0, "CPU threads of one inference; 0 takes every core.", bounds=(0, 256))
        self.declare_described(
            "rectified", True, "True: images are rectified, P is their camera; false: K is, and D must be 0."
        )
        self.declare_described(
            "max_depth_m", MAX_DEPTH_M, "Depth beyond this is published as NaN.", bounds=(0.1, 10_000.0)
        )
        self.declare_described(
            "min_confidence",
            MODEL_THRESHOLD,
            "Confidence below this is published as NaN; -1 takes the model's own threshold.",
            bounds=(-1.0, 1.0),
        )
        self._estimator: MetricDepthEstimator | None = None
        self._camera_info: CameraInfo | None = None
        self._waiting_image: Image | None = None

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the network and create publishers and subscriptions."""
        try:
            self._estimator = self._load_estimator()
        except Metric3dError as error:
            self.get_logger().error(str(error))
            return TransitionCallbackReturn.FAILURE
        self._create_publishers()
        self._create_subscriptions()
        self.get_logger().info(
            f"depth of {self._image_subscription.topic_name} with {self._estimator.engine.identity}"
        )
        return super().on_configure(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop publishing; an image that waits for its camera_info is dropped."""
        self._waiting_image = None
        return super().on_deactivate(state)

    def _load_estimator(self) -> MetricDepthEstimator:
        min_confidence = self.value_of("min_confidence")
        return MetricDepthEstimator(
            OnnxRuntimeEngine(model_path(self.value_of("model")), threads=self.value_of("threads")),
            max_depth_m=self.value_of("max_depth_m"),
            min_confidence=None if min_confidence == MODEL_THRESHOLD else min_confidence,
        )

    def _create_publishers(self) -> None:
        qos = QoSProfile(depth=5, reliability=QoSReliabilityPolicy.RELIABLE)
        options = QoSOverridingOptions.with_default_policies()
        self._depth_publisher = self.create_lifecycle_publisher(
            Image, "depth/image", qos, qos_overriding_options=options
        )
        self._info_publisher = self.create_lifecycle_publisher(
            CameraInfo, "depth/camera_info", qos, qos_overriding_options=options
        )

    def _create_subscriptions(self) -> None:
        latest = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)
        options = QoSOverridingOptions.with_default_policies()
        self._info_subscription = self.create_subscription(
            CameraInfo, "camera_info", self._on_camera_info, latest, qos_overriding_options=options
        )
        self._image_subscription = self.create_subscription(
            Image, "image", self._on_image, latest, qos_overriding_options=options
        )

    def release(self) -> None:
        """Let go of the network, publishers and subscriptions."""
        if self._estimator is None:
            return
        self.destroy_subscription(self._image_subscription)
        self.destroy_subscription(self._info_subscription)
        self.destroy_lifecycle_publisher(self._depth_publisher)
        self.destroy_lifecycle_publisher(self._info_publisher)
        self._estimator = None
        self._camera_info = None
        self._waiting_image = None

    @property
    def _is_active(self) -> bool:
        return self._estimator is not None and bool(self._depth_publisher.is_activated)

    def _on_camera_info(self, info: CameraInfo) -> None:
        self._camera_info = info
        if self._waiting_image is not None and self._is_active:
            image, self._waiting_image = self._waiting_image, None
            self._publish_depth(image, info)

    def _on_image(self, image: Image) -> None:
        if not self._is_active:
            return
        if self._camera_info is None:
            self._waiting_image = image
            self.get_logger().warning(
                f"images arrive but no camera_info on {self._info_subscription.topic_name}; "
                "publish it, or remap camera_info to where it is.",
                throttle_duration_sec=WARNING_PERIOD_S,
            )
            return
        self._publish_depth(image, self._camera_info)

    def _publish_depth(self, image: Image, info: CameraInfo) -> None:
        assert self._estimator is not None
        try:
            camera = camera_from_info(info, rectified=self.value_of("rectified"))
            prediction = self._estimator.predict(rgb_from_message(image), camera)
        except Metric3dError as error:
            self.get_logger().warning(str(error), throttle_duration_sec=WARNING_PERIOD_S)
            return
        depth_info = copy.copy(info)
        depth_info.header = image.header
        self._info_publisher.publish(depth_info)
        self._depth_publisher.publish(depth_message(prediction.depth_m, image.header))


def main(args: list[str] | None = None) -> int:
    """Run the depth node until it is shut down."""
    return run_node(DepthNode, args)


if __name__ == "__main__":
    sys.exit(main())
