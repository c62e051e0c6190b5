"""The SLAM node: image, camera_info and metric depth in; odometry, path, TF and trajectory files out."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry as OdometryMessage
from nav_msgs.msg import Path as PathMessage
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from droid_bridge.errors import DroidBridgeError
from droid_bridge.odometry import Odometry, OdometryConfig, OdometryUpdate
from droid_bridge.pairing import StampPairing
from droid_bridge.ros.messages import odometry_message, stamped_pose_message, transform_message, twist_between
from droid_bridge.ros.transform_broadcaster import TransformBroadcaster
from droid_bridge.trajectory_recorder import TrajectoryRecorder
from metric3d_ros.bag_topics import odom_from_optical
from metric3d_ros.datasets.frame import Frame
from metric3d_ros.errors import Metric3dError
from metric3d_ros.ros.lifecycle import AutostartNode, run_node
from metric3d_ros.ros.messages import (
    camera_from_info,
    depth_m_from_message,
    rgb_from_message,
    stamp_ns_of,
    time_from_ns,
)

WARNING_PERIOD_S = 5.0
INPUT_REPORT_PERIOD_S = 5.0
RESTART_AFTER_JUMP_BACK_NS = 500_000_000
PATH_PERIOD_FRAMES = 10
QUEUE_DEPTH = 10
WORLD_FROM_FIRST_CAMERA = np.eye(4)


class DroidNode(AutostartNode):
    """Tracks the camera in metres.

    Subscribes to ``image``, ``camera_info`` and, with the scale prior, ``depth/image``, paired by exact stamp.
    Publishes ``odometry`` for every tracked frame and ``path`` every tenth. With ``output_dir`` set it keeps
    ``trajectory_kitti.txt`` and ``trajectory_tum.txt`` current there (optical frame, first = identity).
    """

    def __init__(self) -> None:
        super().__init__("droid_slam")
        self.declare_described(
            "scale_prior", True, "Use metric depth as the scale prior; off is monocular, without a scale."
        )
        self.declare_described("matcher", "optical_flow", "What matches frames: optical_flow.")
        self.declare_described(
            "rectified", True, "True: images are rectified, P is their camera; false: K is, and D must be 0."
        )
        self.declare_described("odom_frame", "odom", "Frame of the odometry: the body frame of the first image.")
        self.declare_described("child_frame", "camera_link", "Body frame of the camera (x forward, z up).")
        self.declare_described("publish_tf", True, "Publish odom_frame to child_frame on /tf.")
        self.declare_described(
            "output_dir", "", "Folder for trajectory files, kept current at every frame; empty writes none."
        )
        self.declare_described("threads", 1, "CPU threads of the solver; flow takes its own.", bounds=(1, 256))
        self._odometry: Odometry | None = None
        self._recorder: TrajectoryRecorder | None = None

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Make the tracker, open the trajectory files, create publishers and subscriptions."""
        try:
            self._odometry = Odometry(self._odometry_config())
            self._forget_drive()
            self._open_recorder()
        except DroidBridgeError as error:
            self.get_logger().error(str(error))
            self._odometry = None
            return TransitionCallbackReturn.FAILURE
        self._create_publishers()
        self._create_subscriptions()
        self._input_report = self.create_timer(INPUT_REPORT_PERIOD_S, self._report_inputs)
        return super().on_configure(state)

    def close(self) -> None:
        """Close the trajectory files."""
        if self._recorder is not None:
            self._recorder.close()
            self._recorder = None

    def _odometry_config(self) -> OdometryConfig:
        return OdometryConfig(
            scale_prior=self.value_of("scale_prior"),
            matcher=self.value_of("matcher"),
            torch_threads=self.value_of("threads"),
        )

    def _forget_drive(self) -> None:
        parts = {"image", "camera_info"} | ({"depth"} if self.value_of("scale_prior") else set())
        self._pairing = StampPairing(parts)
        self._frame_count = 0
        self._last_message: OdometryMessage | None = None
        self._last_pose: NDArray[np.float64] | None = None
        self._last_stamp_ns = -1
        self._last_status = ""
        self._path = PathMessage()
        self._path.header.frame_id = self.value_of("odom_frame")

    def _open_recorder(self, restart: int = 0) -> None:
        self.close()
        self._restarts = restart
        if self.value_of("output_dir"):
            folder = Path(self.value_of("output_dir")).expanduser()
            self._recorder = TrajectoryRecorder(folder / f"restart_{restart:02d}" if restart else folder)

    def _create_publishers(self) -> None:
        options = QoSOverridingOptions.with_default_policies()
        self._odometry_publisher = self.create_lifecycle_publisher(
            OdometryMessage, "odometry", QoSProfile(depth=10), qos_overriding_options=options
        )
        self._path_publisher = self.create_lifecycle_publisher(
            PathMessage, "path", QoSProfile(depth=1), qos_overriding_options=options
        )
        self._broadcaster = TransformBroadcaster(self) if self.value_of("publish_tf") else None

    def _create_subscriptions(self) -> None:
        qos = QoSProfile(depth=QUEUE_DEPTH, reliability=QoSReliabilityPolicy.BEST_EFFORT)
        topics: list[tuple[Any, str, str]] = [
            (CameraInfo, "camera_info", "camera_info"),
            (Image, "image", "image"),
        ]
        if self.value_of("scale_prior"):
            topics.append((Image, "depth/image", "depth"))
        self._input_subscriptions = [
            self.create_subscription(
                kind,
                topic,
                partial(self._on_part, part),
                qos,
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            )
            for kind, topic, part in topics
        ]
        self._topic_of = {
            part: subscription.topic_name
            for (_, _, part), subscription in zip(topics, self._input_subscriptions, strict=True)
        }
        self._messages_on = dict.fromkeys(self._topic_of.values(), 0)

    def _report_inputs(self) -> None:
        silent = [topic for topic, count in self._messages_on.items() if count == 0]
        if silent and len(silent) < len(self._messages_on):
            self.get_logger().warning(
                f"no message on {', '.join(silent)} for {INPUT_REPORT_PERIOD_S:g} s while other inputs arrive; "
                "publish it, or remap it to where it is."
            )
        elif self._pairing.dropped:
            self.get_logger().warning(
                f"{self._pairing.dropped} frames were dropped in {INPUT_REPORT_PERIOD_S:g} s because no message "
                f"of the same stamp came on every one of {', '.join(self._messages_on)}."
            )
        self._pairing.dropped = 0
        self._messages_on = dict.fromkeys(self._messages_on, 0)

    def release(self) -> None:
        """Close the trajectory files and let go of the tracker, publishers and subscriptions."""
        self.close()
        if self._odometry is None:
            return
        self.destroy_timer(self._input_report)
        for subscription in self._input_subscriptions:
            self.destroy_subscription(subscription)
        self.destroy_lifecycle_publisher(self._odometry_publisher)
        self.destroy_lifecycle_publisher(self._path_publisher)
        self._odometry = None

    def _on_part(self, part: str, message: Any) -> None:
        if self._odometry is None or not self._odometry_publisher.is_activated:
            return
        self._messages_on[self._topic_of[part]] += 1
        stamp_ns = stamp_ns_of(message.header)
        if self._last_stamp_ns - stamp_ns > RESTART_AFTER_JUMP_BACK_NS:
            self._restart(stamp_ns)
        moment = self._pairing.add(part, stamp_ns, message)
        if moment is not None:
            self._on_moment(stamp_ns, moment)

    def _on_moment(self, stamp_ns: int, moment: dict[str, Any]) -> None:
        if stamp_ns == self._last_stamp_ns and self._last_message is not None:
            self._odometry_publisher.publish(self._last_message)
            return
        assert self._odometry is not None
        try:
            update = self._odometry.track(self._frame(stamp_ns, moment))
        except (Metric3dError, DroidBridgeError) as error:
            self.get_logger().warning(f"frame skipped: {error}", throttle_duration_sec=WARNING_PERIOD_S)
            return
        self._frame_count += 1
        self._record(update)
        self._publish(update, moment["image"].header)

    def _frame(self, stamp_ns: int, moment: dict[str, Any]) -> Frame:
        depth = moment.get("depth")
        return Frame(
            index=self._frame_count,
            stamp_ns=stamp_ns,
            image=rgb_from_message(moment["image"]),
            camera=camera_from_info(moment["camera_info"], rectified=self.value_of("rectified")),
            depth_m=None if depth is None else depth_m_from_message(depth),
        )

    def _record(self, update: OdometryUpdate) -> None:
        if self._recorder is None:
            return
        poses = [(pose.frame_index, pose.stamp_ns, pose.world_from_camera) for pose in update.window]
        try:
            self._recorder.record(poses)
        except DroidBridgeError as error:
            self.get_logger().error(str(error), throttle_duration_sec=WARNING_PERIOD_S)

    def _publish(self, update: OdometryUpdate, image_header: Header) -> None:
        pose = odom_from_optical(update.world_from_camera, WORLD_FROM_FIRST_CAMERA)
        header = Header(stamp=image_header.stamp, frame_id=self.value_of("odom_frame"))
        twist = Twist()
        if self._last_pose is not None:
            twist = twist_between(self._last_pose, pose, update.stamp_ns - self._last_stamp_ns)
        message = odometry_message(header, self.value_of("child_frame"), pose, twist)
        self._odometry_publisher.publish(message)
        if self._broadcaster is not None:
            self._broadcaster.send(transform_message(message))
        self._extend_path(update)
        self._last_message, self._last_pose, self._last_stamp_ns = message, pose, update.stamp_ns
        if update.status.value != self._last_status:
            self.get_logger().info(f"{update.status.value} at frame {update.frame_index}")
            self._last_status = update.status.value

    def _extend_path(self, update: OdometryUpdate) -> None:
        first = update.window[0].frame_index
        del self._path.poses[first:]
        for pose in update.window:
            header = Header(stamp=time_from_ns(pose.stamp_ns), frame_id=self.value_of("odom_frame"))
            self._path.poses.append(
                stamped_pose_message(header, odom_from_optical(pose.world_from_camera, WORLD_FROM_FIRST_CAMERA))
            )
        if update.frame_index % PATH_PERIOD_FRAMES == 0:
            self._path.header.stamp = self._path.poses[-1].header.stamp
            self._path_publisher.publish(self._path)

    def _restart(self, stamp_ns: int) -> None:
        assert self._odometry is not None
        self.get_logger().warning(
            f"time went back from {self._last_stamp_ns} to {stamp_ns} ns (a bag that loops?); "
            "tracking starts anew, the trajectory so far is kept."
        )
        self._odometry.reset()
        self._forget_drive()
        self._open_recorder(self._restarts + 1)


def main(args: list[str] | None = None) -> int:
    """Run the SLAM node until it is shut down."""
    return run_node(DroidNode, args)


if __name__ == "__main__":
    sys.exit(main())
