"""The depth node: image and camera_info in, metric depth and its camera_info out."""

from __future__ import annotations

import sys
import time
from typing import Any, Protocol

from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from metric3d_ros.engines.engine import DepthEngine
from metric3d_ros.errors import Metric3dError
from metric3d_ros.ros.colour_images import image_decoder
from metric3d_ros.ros.depth_outputs import DepthOutputs, DepthResult
from metric3d_ros.ros.depth_parameters import (
    COMPRESSED,
    CPU,
    declare_parameters,
    open_engine_of,
    refusal_of,
    tuning_of,
)
from metric3d_ros.ros.depth_worker import DepthJob, DepthWorker
from metric3d_ros.ros.diagnostics import ERROR, OK, WARN, DiagnosticsPublisher, Health, values_of
from metric3d_ros.ros.input_watch import IMAGE_REMEDIES, InputWatch
from metric3d_ros.ros.lifecycle import AutostartNode, run_node
from metric3d_ros.ros.log_bridge import NodeLogHandler
from metric3d_ros.ros.messages import stamp_ns_of
from metric3d_ros.run_statistics import GpuMemory, RunReport, RunStatistics

WARNING_PERIOD_S = 5.0


class FrameListener(Protocol):
    """Takes what the depth node has, as it comes; neither method may block."""

    def take_image(self, image: Any, info: CameraInfo) -> None:
        """An Image or CompressedImage, and the camera_info it is answered with."""

    def take_depth(self, result: DepthResult) -> None:
        """The depth of an image that was taken before."""


class DepthNode(AutostartNode):
    """Publishes the metric depth of every image it can keep up with; the latest image wins.

    Subscribes to ``image`` (or ``image/compressed``) and ``camera_info``; publishes what ``depth_outputs.OUTPUTS``
    lists, with the image's stamp, frame and size, and ``/diagnostics``. Where nobody listens it runs no network.

    Parameters
    ----------
    listener : a node in this process that takes every image and every result without a topic between; or None.
    options : of ``rclpy.node.Node``.
    """

    def __init__(self, listener: FrameListener | None = None, **options: Any) -> None:
        # Transitions answer while one of them builds an engine.
        super().__init__("depth", ReentrantCallbackGroup(), **options)
        self._log_handler = NodeLogHandler("metric3d_ros", self.get_logger())
        declare_parameters(self)
        self._listener = listener
        self._statistics = RunStatistics()
        self._engine: DepthEngine | None = None
        self._building_since_s: float | None = None
        self._gpu: GpuMemory | None = None
        self._worker: DepthWorker | None = None
        self._camera_info: CameraInfo | None = None
        self._waiting_image: Any = None
        self._is_active = False
        self._diagnostics = DiagnosticsPublisher(self, self._health)
        self.add_on_set_parameters_callback(self._on_parameters)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the network, which may take minutes of building, and create publishers and subscriptions."""
        reason = refusal_of(self._parameters.values())
        if reason:
            self.get_logger().error(reason)
            return TransitionCallbackReturn.FAILURE
        self._building_since_s = time.monotonic()
        try:
            engine, tuning = open_engine_of(self), tuning_of(self)
            estimator = tuning.estimator(engine)
        except Metric3dError as error:
            self.get_logger().error(str(error))
            return TransitionCallbackReturn.FAILURE
        finally:
            self._building_since_s = None
        # Opening a GPU costs some of its memory, which an engine on the CPU leaves alone.
        self._gpu = None if self.value_of("engine") == CPU else GpuMemory()
        self._engine, self._tuning, self._estimator = engine, tuning, estimator
        self._outputs = DepthOutputs(self, self._engine.model)
        self._worker = DepthWorker(self._on_result, self._warn, self._statistics)
        self._create_subscriptions()
        self.get_logger().info(
            f"depth of {self._image_subscription.topic_name} with {self._engine.identity}, "
            f"images decoded by {image_decoder()}"
        )
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Answer images from now on."""
        self._is_active = True
        for watch in self._watches:
            watch.mark()
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop publishing; an image that waits for its camera_info is dropped."""
        self._is_active = False
        self._waiting_image = None
        return super().on_deactivate(state)

    def _create_subscriptions(self) -> None:
        latest = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)
        options = QoSOverridingOptions.with_default_policies()
        is_compressed = self.value_of("image_transport") == COMPRESSED
        self._info_subscription = self.create_subscription(
            CameraInfo, "camera_info", self._on_camera_info, latest, qos_overriding_options=options
        )
        self._image_subscription = self.create_subscription(
            CompressedImage if is_compressed else Image,
            "image/compressed" if is_compressed else "image",
            self._on_image,
            latest,
            qos_overriding_options=options,
        )
        self._image_watch = InputWatch(self, self._image_subscription, "image", IMAGE_REMEDIES)
        self._info_watch = InputWatch(self, self._info_subscription, "camera_info")
        self._watches = (self._image_watch, self._info_watch)

    def release(self) -> None:
        """Let go of the network, publishers and subscriptions."""
        self._is_active = False
        if self._engine is None:
            return
        engine, self._engine = self._engine, None
        self.destroy_subscription(self._image_subscription)
        self.destroy_subscription(self._info_subscription)
        self._stop_worker()
        self._outputs.destroy()
        self._camera_info = None
        self._waiting_image = None
        del engine

    def _stop_worker(self) -> None:
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def close(self) -> None:
        """Stop the node's threads, and let go of the log, which outlives the node."""
        self._is_active = False
        self._diagnostics.close()
        self._stop_worker()
        self._log_handler.close()

    def _on_parameters(self, changes: list[Any]) -> SetParametersResult:
        reason = refusal_of(changes)
        if reason:
            return SetParametersResult(successful=False, reason=reason)
        if self._engine is not None:
            tuning = tuning_of(self, changes)
            try:
                self._estimator = tuning.estimator(self._engine, self._estimator)
            except Metric3dError as error:
                return SetParametersResult(successful=False, reason=str(error))
            self._tuning = tuning
        return SetParametersResult(successful=True)

    def _on_camera_info(self, info: CameraInfo) -> None:
        self._info_watch.mark()
        self._camera_info = info
        if self._waiting_image is not None:
            image, self._waiting_image = self._waiting_image, None
            self._offer(image, info)

    def _on_image(self, image: Any) -> None:
        self._image_watch.mark()
        if not self._is_active:
            return
        self._statistics.count_received()
        if self._camera_info is not None:
            self._offer(image, self._camera_info)
            return
        self._statistics.count_dropped(int(self._waiting_image is not None))
        self._waiting_image = image
        self.get_logger().warning(
            f"images arrive but no camera_info on {self._info_subscription.topic_name}; "
            "publish it, or remap camera_info to where it is.",
            throttle_duration_sec=WARNING_PERIOD_S,
        )

    def _offer(self, image: Any, info: CameraInfo) -> None:
        if self._listener is not None and self._is_active:
            self._listener.take_image(image, info)
        worker = self._worker
        if worker is None or not self._is_active or not (self._listener or self._outputs.wanted()):
            return
        worker.offer(DepthJob(image, info, self._estimator, self._tuning.rectified, time.monotonic()))

    def _on_result(self, result: DepthResult) -> None:
        if not self._is_active:
            return
        self._outputs.publish(result)
        if self._listener is not None:
            self._listener.take_depth(result)

    def _warn(self, sentence: str) -> None:
        self.get_logger().warning(sentence, throttle_duration_sec=WARNING_PERIOD_S)

    def _health(self) -> Health:
        if self._building_since_s is not None:
            since_s = time.monotonic() - self._building_since_s
            return Health(WARN, f"loading the network, or building its engine, since {since_s:.0f} s.")
        engine = self._engine
        if engine is None:
            return Health(OK, "not configured.")
        report = self._statistics.report()
        values = {"engine": engine.identity, "images decoded by": image_decoder(), **values_of(report, self._gpu)}
        if self._camera_info is not None:
            values["camera_info age (s)"] = self._info_watch.age_s
            values["camera_info stamp (ns)"] = stamp_ns_of(self._camera_info.header)
        if self._estimator.camera_height is not None:
            values["scale by camera height"] = f"{self._estimator.camera_height.factor:.3f}"
        level, message = self._state_of(report)
        return Health(level, message, values, engine.identity)

    def _state_of(self, report: RunReport) -> tuple[bytes, str]:
        if not self._is_active:
            return OK, "not active."
        # A latched camera_info comes once, and is enough.
        watches = [self._image_watch] + ([self._info_watch] if self._camera_info is None else [])
        problems = [problem for watch in watches if (problem := watch.problem())]
        if problems:
            return WARN, " ".join(problems)
        if report.last_refusal:
            return (WARN if report.rate_out_hz else ERROR), report.last_refusal
        if not (self._listener or self._outputs.wanted()):
            return OK, "nobody listens to any output, so no network runs."
        return OK, f"depth at {report.rate_out_hz:.1f} Hz of {report.rate_in_hz:.1f} Hz images."


def main(args: list[str] | None = None) -> int:
    """Run the depth node until it is shut down."""
    return run_node(DepthNode, args)


if __name__ == "__main__":
    sys.exit(main())
