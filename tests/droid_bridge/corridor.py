"""A textured corridor that is ray-cast: exact images, depths and poses, and small."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from droid_bridge.odometry import Odometry, OdometryConfig, OdometryUpdate
from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.frame import Frame

CAMERA = PinholeCamera(320, 160, 190.0, 190.0, 159.5, 79.5)
PERIOD_NS = 100_000_000
STEP_M = 0.25
# Each plane: axis of its normal, position along it, and the two axes of its texture.
PLANES = ((0, -2.5, (1, 2)), (0, 3.0, (1, 2)), (1, 1.4, (0, 2)), (1, -2.0, (0, 2)), (2, 60.0, (0, 1)))


@cache
def textures() -> list[NDArray[np.float32]]:
    textures = []
    for k in range(len(PLANES)):
        rng = np.random.default_rng(100 + k)
        texture = np.zeros((512, 2048), dtype=np.float32)
        for blur_px in (1.2, 3.0, 8.0, 24.0):
            layer = cv2.GaussianBlur(rng.uniform(0, 1, texture.shape).astype(np.float32), (0, 0), blur_px)
            texture += (layer - layer.mean()) / layer.std()
        textures.append(np.clip(128 + 28 * texture, 0, 255).astype(np.float32))
    return textures


def render(world_from_camera: NDArray[np.float64]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    rays = CAMERA.rays().astype(np.float64) @ world_from_camera[:3, :3].T
    centre = world_from_camera[:3, 3]
    depth = np.full(rays.shape[:2], np.inf)
    gray = np.zeros(rays.shape[:2], dtype=np.float32)
    for (axis, position, (across, along)), texture in zip(PLANES, textures(), strict=True):
        with np.errstate(divide="ignore"):
            distance = (position - centre[axis]) / rays[..., axis]
        nearer = (distance > 0) & (distance < depth)
        with np.errstate(invalid="ignore"):
            points = centre + np.where(nearer, distance, 0)[..., None] * rays
        px_per_m = 30.0
        seen = cv2.remap(
            texture,
            (points[..., along] * px_per_m % 2048).astype(np.float32),
            (points[..., across] * px_per_m % 512).astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_WRAP,
        )
        gray[nearer], depth[nearer] = seen[nearer], distance[nearer]
    image = np.repeat(gray.round().astype(np.uint8)[..., None], 3, axis=2)
    return image, depth.astype(np.float32)


def pose(k: float) -> NDArray[np.float64]:
    """World from camera along a gentle bend."""
    yaw = 0.004 * k
    pose = np.eye(4)
    pose[:3, :3] = cv2.Rodrigues(np.array([0.0, yaw, 0.0]))[0]
    pose[:3, 3] = [0.1 * np.sin(0.1 * k), 0.0, STEP_M * k]
    return pose


@cache
def frame_of(k: int) -> Frame:
    image, depth_m = render(pose(k))
    return Frame(k, k * PERIOD_NS, image, CAMERA, depth_m, pose(k))


def frames_of(count: int) -> list[Frame]:
    return [frame_of(k) for k in range(count)]


def without_depth(frame: Frame) -> Frame:
    return replace(frame, depth_m=None)


def tracked(frames: list[Frame], config: OdometryConfig | None = None) -> list[OdometryUpdate]:
    odometry = Odometry(config or OdometryConfig())
    return [odometry.track(frame) for frame in frames]


def final_poses(updates: list[OdometryUpdate]) -> NDArray[np.float64]:
    poses: dict[int, NDArray[np.float64]] = {}
    for update in updates:
        poses.update({tracked.frame_index: tracked.world_from_camera for tracked in update.window})
    return np.stack([poses[k] for k in sorted(poses)])


def path_m(poses: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1).sum())


def end_error_m(updates: list[OdometryUpdate], frames: list[Frame]) -> float:
    true = np.linalg.inv(frames[0].world_from_camera) @ frames[-1].world_from_camera
    return float(np.linalg.norm((updates[-1].world_from_camera - true)[:3, 3]))
