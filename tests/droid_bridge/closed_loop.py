"""A small camera once around a block and a little further: two visits of one place, rendered and tracked once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from droid_bridge.keyframe_record import KeyframeRecord
from droid_bridge.odometry import Odometry
from droid_bridge.odometry_config import OdometryConfig
from droid_bridge.odometry_update import OdometryUpdate
from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.frame import Frame
from metric3d_ros.datasets.simulated import SimulatedDrive, render

CAMERA = PinholeCamera(width_px=384, height_px=128, fx=223.0, fy=223.0, cx=191.5, cy=60.0)
LOOP_M = 170.0
EXTRA_FRAMES = 60
PERIOD_NS = 100_000_000
SEED = 11


@dataclass(frozen=True)
class TrackedLoop:
    """The frames with their truth, what odometry said of each, and all keyframes."""

    truth: np.ndarray
    updates: tuple[OdometryUpdate, ...]
    records: tuple[KeyframeRecord, ...]


def depth_error(frame_index: int) -> float:
    """Depth of a frame over its true depth."""
    return float(1.02 + 0.04 * np.sin(2 * np.pi * frame_index / 90))


@lru_cache(maxsize=1)
def loop_frames() -> tuple[Frame, ...]:
    """Frames a metre apart; the second visit runs a hand's breadth beside the first. Depth is off by up to 6 %."""
    drive = SimulatedDrive(seed=SEED, length_m=LOOP_M, camera=CAMERA, closed_loop=True, rate_hz=10.0)
    poses = list(drive.world_from_camera[:-1])
    for k in range(EXTRA_FRAMES):
        pose = poses[k].copy()
        pose[:3, 3] += pose[:3, :3] @ [0.2, -0.03, 0.4]
        poses.append(pose)
    frames = []
    for k, pose in enumerate(poses):
        rgb, depth_m = render(drive.world, CAMERA, pose, seed=k)
        wrong_m = (depth_m * depth_error(k)).astype(np.float32)
        frames.append(Frame(k, (k + 1) * PERIOD_NS, rgb, CAMERA, wrong_m, pose))
    return tuple(frames)


def loop_truth() -> np.ndarray:
    """True poses (frames, 4, 4) in the first camera's frame."""
    poses = np.stack([frame.world_from_camera for frame in loop_frames()])
    return np.asarray(np.linalg.inv(poses[0]) @ poses)


@lru_cache(maxsize=1)
def tracked_loop() -> TrackedLoop:
    frames = loop_frames()
    odometry = Odometry(OdometryConfig())
    updates = tuple(odometry.track(frame) for frame in frames)
    retired = tuple(record for update in updates for record in update.retired)
    return TrackedLoop(loop_truth(), updates, retired + odometry.flush())


def moved(record: KeyframeRecord, **changes: object) -> KeyframeRecord:
    return replace(record, **changes)  # type: ignore[arg-type]
