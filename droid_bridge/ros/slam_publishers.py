"""What the SLAM node says: odometry, path, the local map, and the frames between map and camera (REP 105)."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

import numpy as np
from nav_msgs.msg import Odometry, Path
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from droid_bridge.dense_map import DenseMapOptions, PointCloud
from droid_bridge.odometry_update import TrackedPose
from droid_bridge.ros.messages import (
    WORLD_FROM_FIRST_CAMERA,
    odometry_message,
    rigid_transform_message,
    stamped_pose_message,
    transform_message,
)
from droid_bridge.ros.transform_broadcaster import TransformBroadcaster
from droid_bridge.slam import Slam, SlamUpdate
from metric3d_ros.bag_topics import LINK_FROM_OPTICAL, odom_from_optical
from metric3d_ros.ros.lifecycle import AutostartNode
from metric3d_ros.ros.messages import point_cloud_message, time_from_ns

PATH_PERIOD_FRAMES = 10
LOCAL_MAP_KEYFRAMES = 10


class SlamPublishers:
    """Publishes updates of one drive after another.

    ``odom_frame`` to ``child_frame`` is the front end's and never jumps; ``map_frame`` to ``odom_frame`` takes
    what loops correct. The path is in ``map_frame``, and after a loop all of it is sent anew.
    """

    def __init__(self, node: AutostartNode) -> None:
        self._node = node
        self._map_frame, self._odom_frame, self._child_frame = (
            node.value_of(name) for name in ("map_frame", "odom_frame", "child_frame")
        )
        self._map_options = DenseMapOptions(voxel_m=node.value_of("voxel_m"))
        options = QoSOverridingOptions.with_default_policies()
        self._odometry, self._path, self._local_map = (
            node.create_lifecycle_publisher(kind, topic, QoSProfile(depth=depth), qos_overriding_options=options)
            for kind, topic, depth in (
                (Odometry, "odometry", 10),
                (Path, "path", 1),
                (PointCloud2, "local_map", 1),
            )
        )
        self._broadcaster = TransformBroadcaster(node) if node.value_of("publish_tf") else None
        self.forget_drive()

    @property
    def is_active(self) -> bool:
        """Whether the node is active, so that what is published goes out."""
        return bool(self._odometry.is_activated)

    def forget_drive(self) -> None:
        """The next update is the first of a new world."""
        self._last_message: Odometry | None = None
        self._points: Future[PointCloud] | None = None
        self._path_message = Path()
        self._path_message.header.frame_id = self._map_frame

    def destroy(self) -> None:
        """Give the publishers back to the node."""
        for publisher in (self._odometry, self._path, self._local_map):
            self._node.destroy_lifecycle_publisher(publisher)

    def repeat(self) -> None:
        """Answer a frame that was sent again as it was answered before."""
        if self._last_message is not None:
            self._odometry.publish(self._last_message)

    def publish(
        self, update: SlamUpdate, changed: Sequence[TrackedPose], slam: Slam, image_header: Header
    ) -> None:
        """Say what one frame changed.

        Parameters
        ----------
        update : the answer to the frame.
        changed : poses in the map of all frames that it moved, from one frame to the last.
        slam : makes the local map where someone listens.
        image_header : of the frame's image.
        """
        odometry = self._odometry_of(update, image_header)
        self._odometry.publish(odometry)
        if self._broadcaster is not None:
            map_header = Header(stamp=image_header.stamp, frame_id=self._map_frame)
            map_from_odom = LINK_FROM_OPTICAL @ update.map_from_odom @ LINK_FROM_OPTICAL.T
            self._broadcaster.send(
                rigid_transform_message(map_header, self._odom_frame, map_from_odom), transform_message(odometry)
            )
        self._extend_path(update, changed)
        self._offer_local_map(update, slam)

    def _odometry_of(self, update: SlamUpdate, image_header: Header) -> Odometry:
        tracked = update.odometry
        header = Header(stamp=image_header.stamp, frame_id=self._odom_frame)
        message = odometry_message(header, self._child_frame, tracked.world_from_camera, tracked.covariance)
        self._last_message = message
        return message

    def _extend_path(self, update: SlamUpdate, changed: Sequence[TrackedPose]) -> None:
        """Replace the poses that changed, and send the path when it is due or a loop moved all of it."""
        poses = self._path_message.poses
        del poses[max(0, update.odometry.frame_index + 1 - len(changed)) :]
        for pose in changed:
            header = Header(stamp=time_from_ns(pose.stamp_ns), frame_id=self._map_frame)
            poses.append(
                stamped_pose_message(header, odom_from_optical(pose.world_from_camera, WORLD_FROM_FIRST_CAMERA))
            )
        if update.loops or update.odometry.frame_index % PATH_PERIOD_FRAMES == 0:
            self._path_message.header.stamp = poses[-1].header.stamp
            self._path.publish(self._path_message)

    def _offer_local_map(self, update: SlamUpdate, slam: Slam) -> None:
        """Send the cloud that was asked for, and ask for the next where someone listens and a keyframe is new."""
        if self._points is not None and self._points.done():
            header = Header(stamp=time_from_ns(update.odometry.stamp_ns), frame_id=self._map_frame)
            cloud = self._points.result()
            points_m = cloud.points_m @ LINK_FROM_OPTICAL[:3, :3].T.astype(np.float32)
            self._local_map.publish(point_cloud_message(points_m, cloud.colours, header))
            self._points = None
        is_wanted = update.odometry.retired and self._local_map.get_subscription_count() > 0
        if is_wanted and self._points is None:
            self._points = slam.points_later(self._map_options, LOCAL_MAP_KEYFRAMES)
