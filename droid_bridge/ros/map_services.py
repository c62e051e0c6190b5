"""The services of the SLAM node: reset, adjust_map, save_map and save_trajectory, all std_srvs/Trigger.

A Trigger carries no name, so files are named by parameters, and lie in ``save_dir`` whatever those say.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.task import Future as RosFuture
from std_srvs.srv import Trigger

from droid_bridge.back_end import BackEndUpdate
from droid_bridge.dense_map import DenseMapOptions, PointCloud
from droid_bridge.errors import DroidBridgeError
from droid_bridge.slam import Slam
from droid_bridge.trajectory import Trajectory, write_kitti, write_tum
from metric3d_ros.bag_topics import LINK_FROM_OPTICAL
from metric3d_ros.errors import Metric3dError
from metric3d_ros.point_cloud import write_ply
from metric3d_ros.ros.lifecycle import AutostartNode

MAP_SUFFIXES = (".ply",)
TRAJECTORY_WRITERS = {".txt": write_tum, ".tum": write_tum, ".kitti": write_kitti}


class MapServices:
    """Offers the services while the node is configured.

    Parameters
    ----------
    node : with the parameters save_dir, map_file, trajectory_file and voxel_m.
    slam_of : the SLAM at the time of the call.
    reset : forgets the drive.
    """

    def __init__(self, node: AutostartNode, slam_of: Callable[[], Slam], reset: Callable[[], None]) -> None:
        self._node = node
        self._slam_of = slam_of
        self._reset = reset
        # A service that waits holds its group, and the images are in the node's own.
        group = MutuallyExclusiveCallbackGroup()
        self._services = [
            node.create_service(Trigger, f"~/{name}", handler, callback_group=group)
            for name, handler in (
                ("reset", self._on_reset),
                ("adjust_map", self._on_adjust_map),
                ("save_map", self._on_save_map),
                ("save_trajectory", self._on_save_trajectory),
            )
        ]

    def destroy(self) -> None:
        """Take the services back."""
        for service in self._services:
            self._node.destroy_service(service)

    def _on_reset(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._reset()
        return _answered(response, "forgot the drive; the next image is the first of a new world")

    async def _on_adjust_map(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """All keyframes are adjusted beside tracking, which goes on."""
        try:
            update: BackEndUpdate = await self._awaited(self._slam_of().adjust_globally())
        except DroidBridgeError as error:
            return _refused(response, error)
        return _answered(response, f"adjusted {len(update.corrections)} keyframes")

    async def _on_save_map(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """The cloud is made beside tracking, which goes on."""
        try:
            path = self._path("map_file", MAP_SUFFIXES)
            options = DenseMapOptions(voxel_m=self._node.value_of("voxel_m"))
            cloud: PointCloud = await self._awaited(self._slam_of().points_later(options))
            points_m = cloud.points_m @ LINK_FROM_OPTICAL[:3, :3].T.astype(np.float32)
            write_ply(path, points_m, cloud.colours)
        except (DroidBridgeError, Metric3dError) as error:
            return _refused(response, error)
        return _answered(response, f"{len(cloud)} points in {path}")

    def _on_save_trajectory(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            path = self._path("trajectory_file", tuple(TRAJECTORY_WRITERS))
            poses = self._slam_of().poses()
            if not poses:
                raise DroidBridgeError("no frame was tracked yet, so there is no trajectory; save it later.")
            trajectory = Trajectory(
                np.stack([pose.world_from_camera for pose in poses]),
                stamps_ns=np.array([pose.stamp_ns for pose in poses]),
            )
            TRAJECTORY_WRITERS[path.suffix](trajectory, path)
        except (DroidBridgeError, Metric3dError) as error:
            return _refused(response, error)
        return _answered(response, f"{len(poses)} poses in {path}")

    def _path(self, parameter: str, suffixes: tuple[str, ...]) -> Path:
        """The file that a parameter names, in the folder for saved files.

        Raises
        ------
        DroidBridgeError
            If no folder is set or it cannot be made, the name leads out of it, or its suffix is none of ours.
        """
        if not self._node.value_of("save_dir"):
            raise DroidBridgeError("parameter save_dir is empty; set it to the folder that saved files go to.")
        folder = Path(str(self._node.value_of("save_dir"))).expanduser().resolve()
        name = str(self._node.value_of(parameter))
        path = (folder / name).resolve()
        if not path.is_relative_to(folder) or path == folder:
            raise DroidBridgeError(f"parameter {parameter} is {name!r}, outside save_dir; give a plain file name.")
        if path.suffix not in suffixes:
            raise DroidBridgeError(
                f"parameter {parameter} is {name!r}; its suffix must be {' or '.join(suffixes)}."
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DroidBridgeError(
                f"folder {path.parent} cannot be made: {error.strerror}; set save_dir to one that can be written."
            ) from error
        return path

    def _awaited(self, work: Future[Any]) -> RosFuture:
        """A future of the executor that is done when the work is."""
        executor = self._node.executor
        ros_future = RosFuture(executor=executor)

        def finish(done: Future[Any]) -> None:
            error = done.exception()
            if error is not None:
                ros_future.set_exception(error)
            else:
                ros_future.set_result(done.result())
            executor.wake()

        work.add_done_callback(finish)
        return ros_future


def _answered(response: Trigger.Response, message: str) -> Trigger.Response:
    response.success, response.message = True, message
    return response


def _refused(response: Trigger.Response, error: Exception) -> Trigger.Response:
    response.success, response.message = False, str(error)
    return response
