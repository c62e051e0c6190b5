"""From a world and a posed camera to an image and its exact depth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.simulated.lighting import expose
from metric3d_ros.datasets.simulated.raycast import GROUND, cast
from metric3d_ros.datasets.simulated.shading import shade
from metric3d_ros.datasets.simulated.world import StreetWorld
from metric3d_ros.errors import CameraError


def render(
    world: StreetWorld, camera: PinholeCamera, world_from_camera: NDArray[np.float64], seed: int | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """One view of a world.

    Parameters
    ----------
    camera : an undistorted camera.
    world_from_camera : float64 (4, 4), optical camera frame (x right, y down, z forward) to the z-up world.
    seed : draws the sensor noise; without it there is none.

    Returns
    -------
    rgb : uint8 (height, width, 3).
    depth_m : float32 (height, width), metres along the optical axis, exact, NaN in the sky.

    Raises
    ------
    CameraError
        If the camera is distorted, or the pose is not 4x4 or lies under the ground.
    """
    pose = np.asarray(world_from_camera, dtype=np.float64)
    if camera.is_distorted:
        raise CameraError(
            f"camera has distortion {camera.distortion}; the simulation renders undistorted ones only."
        )
    if pose.shape != (4, 4) or not pose[2, 3] > world.terrain.height_m(pose[0, 3], pose[1, 3]):
        raise CameraError(f"camera pose of shape {pose.shape} must be 4x4 and above the ground (z > 0).")
    hits = cast(world.patches, world.atlas, camera, pose, world.terrain.is_level)
    linear = shade(world, hits, camera.fx, pose[:3, 3])
    rgb = expose(world.lighting, linear, _silhouettes(_surfaces(world, hits.patch)), seed)
    return rgb, hits.depth_m.astype(np.float32)


def _surfaces(world: StreetWorld, patch: NDArray[np.int32]) -> NDArray[np.int32]:
    """Patch numbers, the strips of a rolling ground being one surface."""
    return np.where((patch >= 0) & (patch < world.terrain_patches), np.int32(GROUND), patch)


def _silhouettes(patch: NDArray[np.int32]) -> NDArray[np.bool_]:
    edges = np.zeros(patch.shape, dtype=np.bool_)
    across = patch[:, 1:] != patch[:, :-1]
    down = patch[1:] != patch[:-1]
    edges[:, 1:] |= across
    edges[:, :-1] |= across
    edges[1:] |= down
    edges[:-1] |= down
    return edges
