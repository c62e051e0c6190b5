"""A whole recording through the SLAM without a ROS graph, as fast as the machine allows.

Decoding, rendering and the depth network run ahead in a thread of their own while the SLAM works on the frame
before; a few frames wait at most, so memory does not grow with the drive.
"""

from __future__ import annotations

import os
import resource
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from droid_bridge.back_end_options import BackEndOptions
from droid_bridge.dense_map import DenseMapOptions
from droid_bridge.depth_sources import DepthSource
from droid_bridge.errors import DroidBridgeError
from droid_bridge.odometry_config import OdometryConfig
from droid_bridge.odometry_update import OdometryUpdate, TrackedPose, TrackingStatus
from droid_bridge.slam import Slam
from droid_bridge.tracking_metrics import BYTES_PER_RSS_UNIT, MEGABYTE, Tracked
from droid_bridge.trajectory import Trajectory, write_kitti, write_tum
from droid_bridge.trajectory_recorder import KITTI_FILE, TUM_FILE, TrajectoryRecorder, recorded_odometry
from metric3d_ros.datasets.frame import Frame, FrameSource
from metric3d_ros.datasets.simulated import SimulatedDrive
from metric3d_ros.datasets.simulated_loop import SimulatedLoop
from metric3d_ros.point_cloud import write_ply

MAP_FILE = "map.ply"
_FRAMES_AHEAD = 6


@dataclass
class TrackingLog:
    """What is told of a drive beside its poses."""

    statuses: dict[str, int] = field(default_factory=dict)
    latency_ms: dict[str, float] = field(default_factory=dict)
    frames: int = 0
    loops: int = 0
    wall_s: float = 0.0
    slam_s: float = 0.0

    def told(self) -> dict[str, Any]:
        """Values for ``metrics.json``, with this process's peak memory."""
        most_rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {
            "frames": self.frames,
            "frames_per_second": self.frames / self.wall_s,
            "slam_ms_per_frame": 1e3 * self.slam_s / self.frames,
            "step_ms_per_frame": {name: total / self.frames for name, total in sorted(self.latency_ms.items())},
            "peak_memory_mb": most_rss * BYTES_PER_RSS_UNIT / MEGABYTE,
            "statuses": {status.value: self.statuses.get(status.value, 0) for status in TrackingStatus},
            "loops": self.loops,
        }

    def add(self, update: OdometryUpdate) -> None:
        """Count one frame."""
        self.frames += 1
        self.statuses[update.status.value] = self.statuses.get(update.status.value, 0) + 1
        for name, milliseconds in update.latency_ms.items():
            self.latency_ms[name] = self.latency_ms.get(name, 0.0) + milliseconds


def track_recording(
    source: FrameSource,
    depth: DepthSource,
    config: OdometryConfig,
    out: Path,
    frames: int | None,
    on_frame: Callable[[], None],
    render_workers: int = 2,
    map_options: DenseMapOptions | None = None,
    back_end: BackEndOptions | None = None,
) -> Tracked:
    """Track every frame of a recording and keep its trajectory files current in a folder.

    Parameters
    ----------
    source : the recording.
    depth : gives its frames their depth.
    config : of the front end.
    out : folder of ``trajectory_kitti.txt`` and ``trajectory_tum.txt``. While the drive lasts they hold the front
        end's poses, so that a killed run leaves what it had; at the end the corrected poses take their place.
        ``odometry_tum.txt`` keeps every pose as it was first told.
    frames : how many; None is all.
    on_frame : called after each frame.
    render_workers : processes that render a simulated drive.
    map_options : of the dense map, written as ``map.ply`` in the axes of the trajectory; None writes none.
    back_end : what closes loops and corrects the path; None takes the defaults.

    Raises
    ------
    DroidBridgeError
        If the recording has no frame, or no trajectory can be kept in the folder.
    OutputError
        If a file cannot be written at the end.
    """
    log = TrackingLog()
    began_s = time.perf_counter()
    count = len(source) if frames is None else min(frames, len(source))
    with Slam(config, back_end) as slam, TrajectoryRecorder(out) as recorder:
        for frame in frames_ahead(source, depth, count, render_workers):
            slam_began_s = time.perf_counter()
            update = slam.track(frame)
            log.slam_s += time.perf_counter() - slam_began_s
            log.add(update.odometry)
            if not update.odometry.waits_for_scale:
                recorder.record(
                    [(pose.frame_index, pose.stamp_ns, pose.world_from_camera) for pose in update.odometry.window]
                )
            on_frame()
        poses = slam.finish()
        log.loops = slam.loops_closed
        log.wall_s = time.perf_counter() - began_s
        if not poses:
            raise DroidBridgeError("the recording has no frame; give one with images.")
        if map_options is not None:
            cloud = slam.points(map_options)
            write_ply(out / MAP_FILE, cloud.points_m, cloud.colours)
    return Tracked(_written(poses, out), recorded_odometry(out), log.told())


def _written(poses: tuple[TrackedPose, ...], out: Path) -> Trajectory:
    trajectory = Trajectory(
        np.stack([pose.world_from_camera for pose in poses]),
        stamps_ns=np.array([pose.stamp_ns for pose in poses], dtype=np.int64),
    )
    write_kitti(Trajectory(trajectory.world_from_camera), out / KITTI_FILE)
    write_tum(trajectory, out / TUM_FILE)
    return trajectory


def frames_ahead(source: FrameSource, depth: DepthSource, count: int, render_workers: int = 2) -> Iterator[Frame]:
    """The first frames of a recording with their depth, made in a thread while the one before is in use."""
    frames = _frames(source, count, render_workers)
    with ThreadPoolExecutor(1, thread_name_prefix="frames") as thread:
        waiting: deque[Future[Frame | None]] = deque()

        def make_next() -> Frame | None:
            frame = next(frames, None)
            return None if frame is None else depth(frame)

        try:
            for _ in range(count):
                while len(waiting) < _FRAMES_AHEAD:
                    waiting.append(thread.submit(make_next))
                frame = waiting.popleft().result()
                if frame is None:
                    return
                yield frame
        finally:
            for future in waiting:
                future.cancel()


def _frames(source: FrameSource, count: int, render_workers: int) -> Iterator[Frame]:
    if isinstance(source, (SimulatedDrive, SimulatedLoop)):
        rendered = source.render_all(workers=min(render_workers, os.cpu_count() or 1), progress=False)
        for _ in range(count):
            yield next(rendered)
        return
    for index in range(count):
        yield source[index]
