"""From a world and a posed camera to an image and its exact depth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.simulated.lighting import expose
from metric3d_ros.datasets.simulated.raycast import GROUND, SKY, Hits, cast
from metric3d_ros.datasets.simulated.shading import opacity, shade
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
    _let_through(world, camera, pose, hits, linear)
    rgb = expose(world.lighting, linear, _silhouettes(_surfaces(world, hits.patch)), seed)
    return rgb, hits.depth_m.astype(np.float32)


def _let_through(
    world: StreetWorld, camera: PinholeCamera, pose: NDArray[np.float64], hits: Hits, linear: NDArray[np.float32]
) -> None:
    """Mixes what stands behind wire into the light (3, height, width) of the pixels that see the wire, in place.

    Depth stays that of the wire, whose threads are thinner than pixels.
    """
    pixels = np.flatnonzero((hits.patch >= 0) & np.take(world.see_through, hits.patch, mode="clip"))
    if not len(pixels):
        return
    centre = pose[:3, 3]
    behind = cast(world.patches, world.atlas, camera, pose, world.terrain.is_level, left_out=world.see_through)
    elsewhere = np.ones(hits.patch.size, dtype=np.bool_)
    elsewhere[pixels] = False
    # Pixels that see no wire are not needed, and the sky costs least.
    behind.patch.ravel()[elsewhere] = SKY
    beyond = shade(world, behind, camera.fx, centre).reshape(3, -1)[:, pixels]
    flat = linear.reshape(3, -1)
    flat[:, pixels] = beyond + opacity(world, hits, pixels, camera.fx, centre) * (flat[:, pixels] - beyond)


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
