"""SLAM: the front end's odometry, and what the back end makes of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from droid_bridge.back_end import BackEnd, BackEndUpdate, LoopEvent
from droid_bridge.back_end_options import BackEndOptions
from droid_bridge.dense_map import DenseMapOptions, PointCloud, fused_points
from droid_bridge.errors import DroidBridgeError
from droid_bridge.keyframe_record import KeyframeRecord
from droid_bridge.matching.optical_flow import OpticalFlowMatcher
from droid_bridge.odometry import Odometry
from droid_bridge.odometry_config import OdometryConfig
from droid_bridge.odometry_update import OdometryUpdate, TrackedPose, TrackingStatus
from droid_bridge.trajectory_filler import TrajectoryFiller, moved_rigidly
from metric3d_ros.datasets.frame import Frame

_MOST_WAITING = 20


@dataclass(frozen=True)
class SlamUpdate:
    """What one frame changed.

    Attributes
    ----------
    odometry : the front end's answer; its world never jumps.
    map_from_odom : float64 (4, 4), rigid: takes the front end's pose of this frame to where the map has it.
    loops : loops closed since the last update.
    faults : what the back end could not do since, such as keep an image on a full disk, a sentence each; it goes
        on without that keyframe.
    """

    odometry: OdometryUpdate
    map_from_odom: NDArray[np.float64]
    loops: tuple[LoopEvent, ...]
    faults: tuple[str, ...] = ()

    @property
    def map_from_camera(self) -> NDArray[np.float64]:
        """The frame's pose in the map, float64 (4, 4)."""
        return np.asarray(self.map_from_odom @ self.odometry.world_from_camera, dtype=np.float64)


class Slam:
    """Odometry with loops closed behind it.

    Parameters
    ----------
    odometry : settings of the front end.
    back_end : settings of the back end.
    in_background : let the back end take its time beside tracking, as a live camera needs. Otherwise it has until
        the next frame is tracked, and the same frames give the same answers.
    """

    def __init__(
        self,
        odometry: OdometryConfig | None = None,
        back_end: BackEndOptions | None = None,
        in_background: bool = False,
    ) -> None:
        self._config = odometry or OdometryConfig()
        self._options = back_end or BackEndOptions()
        self.odometry = Odometry(self._config)
        self._in_background = in_background
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="back_end")
        self._begin()

    def _begin(self) -> None:
        self._back_end = BackEnd(OpticalFlowMatcher(), self._options, self._config.ground_scale)
        self._filler = TrajectoryFiller()
        self._waiting: deque[Future[BackEndUpdate]] = deque()
        self._corrections: list[tuple[int, NDArray[np.float64]]] = []
        self._lost_in_a_row = 0
        self._was_lost = False
        self._is_finished = False
        self._loops_closed = 0

    def reset(self) -> None:
        """Forget everything; the next frame is the first of a new world."""
        self._settle()
        self._back_end.close()
        self.odometry.reset()
        self._begin()

    def track(self, frame: Frame) -> SlamUpdate:
        """Estimate the pose of the next frame; raises what ``Odometry.track`` raises, and nothing changed then."""
        update = self.odometry.track(frame)
        self._filler.record(update.window)
        self._notice_loss(update)
        loops, faults = self._hand_over(update.retired)
        return SlamUpdate(update, self._map_from_odom(update), loops, faults)

    def finish(self) -> tuple[TrackedPose, ...]:
        """End the drive: the window's keyframes go to the back end, which solves for the last time.

        Returns
        -------
        The corrected pose of every frame, in order; its world is the map.
        """
        if not self._is_finished:
            self._hand_over(self.odometry.flush(), in_time=False)
            self._settle()
            self._back_end.finish()
            self._corrections = list(self._back_end.corrections())
            self._is_finished = True
        return self.poses()

    def poses(self, first_frame: int = 0) -> tuple[TrackedPose, ...]:
        """The poses in the map of all frames from ``first_frame`` on, as they are known now."""
        return self._filler.corrected(self._corrections, first_frame)

    @property
    def keyframes(self) -> int:
        """How many keyframes the back end keeps."""
        return len(self._back_end.archive)

    @property
    def loops_closed(self) -> int:
        """How many loops were closed so far, those of the last hand-over included once the drive is finished."""
        return self._loops_closed

    @property
    def stored_bytes(self) -> int:
        """What these take in memory and on disk."""
        return self._back_end.archive.stored_bytes

    def adjust_globally(self) -> Future[BackEndUpdate]:
        """Bundle-adjust all keyframes together, in the back end's thread; takes a while.

        The next frames are tracked as before; the one after it is done is the first to be corrected by it. The
        future raises DroidBridgeError where the disk refuses the matches; nothing changed then.
        """
        job = self._worker.submit(self._adjusted)
        self._waiting.append(job)
        return job

    def _adjusted(self) -> BackEndUpdate:
        if not self._back_end.adjust_globally():
            raise DroidBridgeError("there are too few keyframes to adjust; drive on and ask again.")
        return BackEndUpdate((), self._back_end.corrections(), moves_all=True)

    def points(self, options: DenseMapOptions | None = None, newest: int | None = None) -> PointCloud:
        """The dense map, or that of the newest keyframes alone."""
        return self.points_later(options, newest).result()

    def points_later(
        self, options: DenseMapOptions | None = None, newest: int | None = None
    ) -> Future[PointCloud]:
        """The same as ``points`` without waiting for it."""
        return self._worker.submit(self._points, options, newest)

    def _points(self, options: DenseMapOptions | None, newest: int | None) -> PointCloud:
        placed = list(self._back_end.placed_keyframes())
        chosen = placed if newest is None else placed[-newest:]
        if not chosen:
            return PointCloud.empty()
        return fused_points(chosen, self._back_end.archive.working_camera, options or DenseMapOptions())

    def close(self) -> None:
        """Delete what the back end kept on disk, and end its thread."""
        self._settle()
        self._worker.shutdown()
        self._back_end.close()

    def __enter__(self) -> Slam:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- the back end's work ---------------------------------------------------------------------------------

    def _notice_loss(self, update: OdometryUpdate) -> None:
        """Whether the path has a gap: the front end starts anew after so many frames without an answer."""
        self._lost_in_a_row = self._lost_in_a_row + 1 if update.status is TrackingStatus.DEGRADED else 0
        if self._lost_in_a_row >= self._config.max_lost_frames:
            self._was_lost = True

    def _hand_over(
        self, records: tuple[KeyframeRecord, ...], in_time: bool = True
    ) -> tuple[tuple[LoopEvent, ...], tuple[str, ...]]:
        """Give keyframes to the back end; gives the loops it has closed meanwhile, and what it could not do.

        In the background a back end that has fallen behind looks for no loops in them, unless there is time for
        all that waits. Otherwise it has worked beside this frame on what the last one handed over, and is waited
        for.
        """
        loops, faults = self._taken(lambda job: job.done() or not self._in_background)
        for record in records:
            was_lost, self._was_lost = self._was_lost, False
            has_time = not in_time or not self._in_background or len(self._waiting) < _MOST_WAITING
            self._waiting.append(self._worker.submit(self._back_end.add, record, was_lost, has_time))
        return loops, faults

    def _taken(
        self, is_due: Callable[[Future[BackEndUpdate]], bool]
    ) -> tuple[tuple[LoopEvent, ...], tuple[str, ...]]:
        """Adopt what the back end says of the waiting keyframes, oldest first, as far as they are due."""
        loops: list[LoopEvent] = []
        faults: list[str] = []
        while self._waiting and is_due(self._waiting[0]):
            try:
                update = self._waiting.popleft().result()
            except DroidBridgeError as error:
                faults.append(str(error))
                continue
            if update.moves_all:
                self._corrections = list(update.corrections)
            else:
                self._corrections += update.corrections
            loops += update.loops
        self._loops_closed += len(loops)
        return tuple(loops), tuple(faults)

    def _settle(self) -> None:
        """Wait for the back end's thread, so that nothing changes while its keyframes are read."""
        self._taken(lambda job: True)

    def _map_from_odom(self, update: OdometryUpdate) -> NDArray[np.float64]:
        """The rigid transform that puts this frame where the correction of the newest keyframe has it."""
        correction = self._corrections[-1][1] if self._corrections else np.eye(4)
        odom_from_camera = torch.from_numpy(update.world_from_camera)
        map_from_camera = moved_rigidly(torch.from_numpy(correction), odom_from_camera)
        return np.asarray(map_from_camera.numpy() @ np.linalg.inv(update.world_from_camera), dtype=np.float64)
