"""What the front end answers."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from droid_bridge.keyframe_record import KeyframeRecord
from droid_bridge.pose_covariance import MotionCovariance


class TrackingStatus(str, Enum):
    """How far a pose can be trusted."""

    INITIALIZING = "initializing"
    TRACKING = "tracking"
    DEGRADED = "degraded"


@dataclass(frozen=True)
class TrackedPose:
    """The current estimate of one frame: ``world_from_camera`` is float64 (4, 4), optical frames."""

    frame_index: int
    stamp_ns: int
    world_from_camera: NDArray[np.float64]

    def scaled(self, factor: float) -> TrackedPose:
        """The same pose in a world that became larger by a factor about its origin."""
        moved = self.world_from_camera.copy()
        moved[:3, 3] *= factor
        return TrackedPose(self.frame_index, self.stamp_ns, moved)


@dataclass(frozen=True)
class OdometryUpdate:
    """What one frame changed.

    Attributes
    ----------
    stamp_ns, frame_index : of the frame.
    world_from_camera : float64 (4, 4), its pose; the world is the first camera's optical frame.
    window : current estimates of every frame whose pose this call changed, oldest first, the new one last.
    status : how far the pose can be trusted.
    prior_scale : depth of the map over depth of the prior as it is expected here; None without a prior.
    camera_height_m : of the camera above the ground, where it stays at one: what is told of it, or what was found.
    inlier_share : share of the cells whose match fits the pose.
    median_motion_px : median motion since the last keyframe, in pixels of the working image.
    keyframes : frames in the window.
    latency_ms : milliseconds per step.
    has_metric_scale : whether poses are in metres; without it they have no unit.
    waits_for_scale : whether they have none but are to get one by the prior; such poses are for nobody yet.
    covariance : how far the pose, and the motion since the frame before, may be off.
    retired : keyframes that left the window for good with this frame, oldest first; their poses are final.
    """

    stamp_ns: int
    frame_index: int
    world_from_camera: NDArray[np.float64]
    window: tuple[TrackedPose, ...]
    status: TrackingStatus
    prior_scale: float | None
    inlier_share: float
    median_motion_px: float
    keyframes: int
    latency_ms: dict[str, float]
    covariance: MotionCovariance
    camera_height_m: float | None = None
    retired: tuple[KeyframeRecord, ...] = ()
    has_metric_scale: bool = False
    waits_for_scale: bool = False


class StepClock:
    """Milliseconds between the named steps of one frame."""

    def __init__(self) -> None:
        self.laps_ms: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Note the time since the last step under a name."""
        now = time.perf_counter()
        self.laps_ms[name] = (now - self._last) * 1e3
        self._last = now
