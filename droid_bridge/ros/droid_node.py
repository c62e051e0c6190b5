"""The SLAM node: image, camera_info and metric depth in; odometry, path, map, TF and trajectory files out."""

from __future__ import annotations

import sys
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import CameraInfo

from droid_bridge.back_end import LoopEvent
from droid_bridge.device import torch_device
from droid_bridge.errors import DroidBridgeError, FrameError
from droid_bridge.odometry_update import OdometryUpdate, TrackedPose
from droid_bridge.pairing import StampPairing
from droid_bridge.ros.map_services import MapServices
from droid_bridge.ros.slam_health import health_of
from droid_bridge.ros.slam_inputs import (
    CAMERA_INFO,
    CONFIDENCE,
    DEPTH,
    IMAGE,
    QUEUE_DEPTH,
    SlamInputs,
    confidence_of,
    depth_m_of,
)
from droid_bridge.ros.slam_parameters import (
    back_end_options_of,
    declare_parameters,
    odometry_config_of,
    refusal_of,
)
from droid_bridge.ros.slam_publishers import SlamPublishers
from droid_bridge.slam import Slam, SlamUpdate
from droid_bridge.trajectory_recorder import TrajectoryRecorder
from metric3d_ros.camera import PinholeCamera
from metric3d_ros.errors import CameraError, ImageError, Metric3dError
from metric3d_ros.ros.depth_outputs import DepthResult
from metric3d_ros.ros.depth_parameters import UNKNOWN_HEIGHT
from metric3d_ros.ros.diagnostics import OK, DiagnosticsPublisher, Health
from metric3d_ros.ros.lifecycle import AutostartNode, run_node
from metric3d_ros.run_statistics import UNEXPECTED, GpuMemory, RunStatistics

WARNING_PERIOD_S = 5.0
RESTART_AFTER_JUMP_BACK_NS = 500_000_000
NANOSECONDS_PER_SECOND = 1_000_000_000
FRAME = "frame"
REASONS: dict[type[Exception], str] = {
    ImageError: "image does not decode",
    CameraError: "camera_info does not fit",
    FrameError: "frame does not fit the drive",
    Metric3dError: "input cannot be used",
    DroidBridgeError: "tracking refused it",
}


class DroidNode(AutostartNode):
    """Tracks the camera in metres.

    Subscribes to ``image``, ``camera_info`` and, with the scale prior, ``depth/image`` and ``depth/confidence``,
    paired by exact stamp; with the prior nothing is published before the scale is metric.
    Publishes ``odometry`` for every tracked frame, ``path`` every tenth and after a loop, ``local_map`` for each
    keyframe where someone listens. With ``output_dir`` set it keeps ``trajectory_kitti.txt`` and
    ``trajectory_tum.txt`` current there (optical frame, first = identity), and every pose as it was first told in
    ``odometry_tum.txt``. Services: ``~/reset``, ``~/adjust_map``, ``~/save_map`` and ``~/save_trajectory``.

    Parameters
    ----------
    is_handed_frames : images, cameras and depth come from the depth node of this process, through ``take_image``
        and ``take_depth``, and no topic is subscribed to.
    options : of ``rclpy.node.Node``.
    """

    def __init__(self, is_handed_frames: bool = False, **options: Any) -> None:
        super().__init__("droid_slam", **options)
        self._is_handed_frames = is_handed_frames
        self._statistics = RunStatistics()
        declare_parameters(self)
        self._slam: Slam | None = None
        self._recorder: TrajectoryRecorder | None = None
        self._last_update: OdometryUpdate | None = None
        self._inputs: SlamInputs | None = None
        self._gpu: GpuMemory | None = None
        self._diagnostics = DiagnosticsPublisher(self, self._health)
        self.add_on_set_parameters_callback(self._on_parameters)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Make the tracker, open the trajectory files, create publishers and subscriptions."""
        if reason := refusal_of(self._parameters.values()):
            self.get_logger().error(reason)
            return TransitionCallbackReturn.FAILURE
        try:
            self._slam = Slam(odometry_config_of(self), back_end_options_of(self), in_background=True)
            self._gpu = self._gpu_of(torch_device(self.value_of("device")))
            self._forget_drive()
            self._open_recorder()
        except DroidBridgeError as error:
            self.get_logger().error(str(error))
            self._close_drive()
            return TransitionCallbackReturn.FAILURE
        self._outputs = SlamPublishers(self)
        self._map_services = MapServices(self, self._running_slam, self._start_anew)
        self._inputs = SlamInputs(self, self._on_part, self._on_lost_image, self._is_handed_frames)
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Track from now on."""
        if self._inputs is not None:
            self._inputs.mark_all()
        return super().on_activate(state)

    def _on_parameters(self, changes: list[Any]) -> SetParametersResult:
        reason = refusal_of(changes)
        return SetParametersResult(successful=not reason, reason=reason)

    def take_image(self, image: Any, info: CameraInfo) -> None:
        """An Image or CompressedImage and its camera, from another node of this process."""
        if (inputs := self._inputs) is not None:
            inputs.take_image(image, info)

    def take_depth(self, result: DepthResult) -> None:
        """The depth of an image, from another node of this process."""
        if (inputs := self._inputs) is not None:
            inputs.take_depth(result)

    def close(self) -> None:
        """Stop the diagnostics, and close the trajectory files and what SLAM keeps on disk."""
        self._diagnostics.close()
        self._close_drive()

    def _close_drive(self) -> None:
        self._finish_trajectory()
        self._close_recorder()
        if self._slam is not None:
            self._slam.close()
            self._slam = None

    def _finish_trajectory(self) -> None:
        """Write the whole path once more, as everything that was seen places it."""
        update = self._last_update
        if self._slam is None or self._recorder is None or update is None or update.waits_for_scale:
            return
        try:
            self._record(self._slam.finish())
        except DroidBridgeError as error:
            self.get_logger().error(f"the trajectory stays as it was while driving: {error}")

    def _close_recorder(self) -> None:
        if self._recorder is not None:
            self._recorder.close()
            self._recorder = None

    @staticmethod
    def _gpu_of(device: torch.device) -> GpuMemory | None:
        return GpuMemory(device.index or 0) if device.type == "cuda" else None

    def _running_slam(self) -> Slam:
        if self._slam is None:
            raise DroidBridgeError("the SLAM node is not configured; configure and activate it first.")
        return self._slam

    def _forget_drive(self) -> None:
        optional = [DEPTH] if self.value_of("scale_prior") else []
        patience_ns = int(self.value_of("depth_wait_s") * NANOSECONDS_PER_SECOND)
        self._pairing = StampPairing([IMAGE, CAMERA_INFO], optional, patience_ns, counted=IMAGE)
        self._without_depth: deque[int] = deque(maxlen=QUEUE_DEPTH)
        self._frame_count = 0
        self._last_stamp_ns: int | None = None
        self._last_status = ""
        self._last_update = None

    def _open_recorder(self, restart: int = 0) -> None:
        self._close_recorder()
        self._restarts = restart
        if self.value_of("output_dir"):
            folder = Path(self.value_of("output_dir")).expanduser()
            self._recorder = TrajectoryRecorder(folder / f"restart_{restart:02d}" if restart else folder)

    def release(self) -> None:
        """Close the trajectory files and let go of SLAM, publishers, services and subscriptions."""
        if self._slam is None:
            return
        self._close_drive()
        if self._inputs is not None:
            self._inputs.destroy()
            self._inputs = None
        self._outputs.destroy()
        self._map_services.destroy()

    def _on_part(self, part: str, stamp_ns: int, message: Any) -> None:
        if self._slam is None or not self._outputs.is_active:
            return
        if part == IMAGE:
            self._statistics.count_received()
        if part == DEPTH and stamp_ns in self._without_depth:
            self._on_late_depth(stamp_ns, message)
            return
        # Depth of long ago is from a network that does not keep up, and no jump of time.
        last_ns = self._last_stamp_ns
        if (
            part in (IMAGE, CAMERA_INFO)
            and last_ns is not None
            and last_ns - stamp_ns > RESTART_AFTER_JUMP_BACK_NS
        ):
            self.get_logger().warning(
                f"time went back from {last_ns} to {stamp_ns} ns (a bag that loops?); "
                "tracking starts anew, the trajectory so far is kept."
            )
            self._start_anew()
        assert self._inputs is not None
        self._pairing.want(CONFIDENCE, self._inputs.has_confidence)
        before = self._pairing.dropped
        for due_ns, moment in self._pairing.add(part, stamp_ns, message):
            self._on_moment(due_ns, moment)
        self._statistics.count_dropped(max(0, self._pairing.dropped - before))

    def _on_lost_image(self) -> None:
        self._statistics.count_received()
        self._statistics.count_dropped()

    def _on_late_depth(self, stamp_ns: int, depth: Any) -> None:
        """Depth of an image that was tracked without waiting for it any longer."""
        try:
            confidence = confidence_of({DEPTH: depth}, None)
            self._running_slam().odometry.add_depth(stamp_ns, depth_m_of(depth, None), confidence)
        except Exception as error:
            self._refuse("late depth", error)

    def _on_moment(self, stamp_ns: int, moment: dict[str, Any]) -> None:
        if stamp_ns == self._last_stamp_ns:
            self._outputs.repeat()
            self._statistics.count_answered()
            return
        update = self._tracked(stamp_ns, moment)
        if update is None:
            return
        slam = self._running_slam()
        self._frame_count += 1
        self._last_stamp_ns = stamp_ns
        self._last_update = update.odometry
        self._statistics.count_answered()
        for step, taken_ms in update.odometry.latency_ms.items():
            self._statistics.add_time(step, taken_ms / 1e3)
        if "depth" not in moment:
            self._without_depth.append(stamp_ns)
        if update.odometry.waits_for_scale:
            self._say_it_waits(update.odometry.frame_index + 1)
            return
        changed = slam.poses(0 if update.loops else update.odometry.window[0].frame_index)
        self._record(changed)
        with self._statistics.timed("publish"):
            self._outputs.publish(update, changed, slam, moment["image"].header)
        self._log(update.odometry, update.loops)
        for fault in update.faults:
            self.get_logger().warning(fault, throttle_duration_sec=WARNING_PERIOD_S)

    def _tracked(self, stamp_ns: int, moment: dict[str, Any]) -> SlamUpdate | None:
        """The answer to a frame; None where it is refused, and counted with the reason."""
        assert self._inputs is not None
        try:
            with self._statistics.timed("decode"):
                frame = self._inputs.frame_of(self._frame_count, stamp_ns, moment)
                depth_m = self._depth_m(moment, frame.camera)
                confidence = None if depth_m is None else self._confidence(moment, frame.camera)
                frame = replace(frame, depth_m=depth_m, depth_confidence=confidence)
        except Exception as error:
            # Whatever a message brings, the node answers the next one.
            self._refuse(FRAME, error)
            return None
        try:
            return self._running_slam().track(frame)
        except (Metric3dError, DroidBridgeError) as error:
            self._refuse(FRAME, error)
        except Exception as error:
            # Nobody knows what of the drive still holds.
            self._refuse(FRAME, error)
            self._start_anew()
        return None

    def _depth_m(self, moment: dict[str, Any], camera: PinholeCamera) -> NDArray[np.float32] | None:
        """The depth of a frame; one that cannot be used costs the prior, not the frame."""
        try:
            return None if DEPTH not in moment else depth_m_of(moment[DEPTH], camera)
        except Exception as error:
            self._refuse("depth", error)
            return None

    def _confidence(self, moment: dict[str, Any], camera: PinholeCamera) -> NDArray[np.float32] | None:
        """The confidence of a frame's depth; where it cannot be used, all of the depth counts alike."""
        try:
            return confidence_of(moment, camera)
        except Exception as error:
            self._refuse("confidence", error)
            return None

    def _refuse(self, what: str, error: Exception) -> None:
        reason = next((words for kind, words in REASONS.items() if isinstance(error, kind)), UNEXPECTED)
        expected = isinstance(error, (Metric3dError, DroidBridgeError))
        sentence = str(error) if expected else f"an unexpected {type(error).__name__}: {error}"
        self._statistics.count_refused(reason if what == FRAME else f"{what}: {reason}", sentence)
        self.get_logger().warning(f"{what} skipped: {sentence}", throttle_duration_sec=WARNING_PERIOD_S)

    def _record(self, changed: tuple[TrackedPose, ...]) -> None:
        if self._recorder is None:
            return
        poses = [(pose.frame_index, pose.stamp_ns, pose.world_from_camera) for pose in changed]
        try:
            self._recorder.record(poses)
        except DroidBridgeError as error:
            self.get_logger().error(str(error), throttle_duration_sec=WARNING_PERIOD_S)

    def _say_it_waits(self, frames: int) -> None:
        """What is known so far is published once the scale is metric."""
        awaited = [f"depth on {self._topic_of(DEPTH)}"] if self.value_of("scale_prior") else []
        if self.value_of("camera_height_m") != UNKNOWN_HEIGHT:
            awaited.append("ground before a camera that moves along it")
        self.get_logger().info(
            f"no pose is published before the scale is metric; {frames} frames so far, waiting for "
            f"{' or '.join(awaited)}",
            throttle_duration_sec=WARNING_PERIOD_S,
        )

    def _log(self, update: OdometryUpdate, loops: tuple[LoopEvent, ...]) -> None:
        if update.status.value != self._last_status:
            self.get_logger().info(f"{update.status.value} at frame {update.frame_index}")
            self._last_status = update.status.value
        if loops:
            loop = loops[-1]
            self.get_logger().info(
                f"loop closed: frame {loop.new_frame_index} sees the place of frame {loop.old_frame_index} "
                f"and moved {loop.moved_m:.2f} m in {self.value_of('map_frame')}"
            )

    def _topic_of(self, part: str) -> str:
        return "" if self._inputs is None else self._inputs.topic_of(part)

    def _health(self) -> Health:
        inputs, slam = self._inputs, self._slam
        if inputs is None or slam is None:
            return Health(OK, "not configured.")
        if not self._outputs.is_active:
            return Health(OK, "not active.")
        health = health_of(self._statistics.report(), inputs, slam, self._last_update, self._gpu)
        identity = f"{self.value_of('matcher')} on {self.value_of('device')}"
        return replace(health, values={**health.values, "restarts": self._restarts}, hardware_id=identity)

    def _start_anew(self) -> None:
        """Forget the drive; files of the next one go to a folder of their own."""
        self._finish_trajectory()
        self._running_slam().reset()
        self._forget_drive()
        self._outputs.forget_drive()
        self._open_recorder(self._restarts + 1)


def main(args: list[str] | None = None) -> int:
    """Run the SLAM node until it is shut down."""
    return run_node(DroidNode, args)


if __name__ == "__main__":
    sys.exit(main())
