"""Visibility of planar patches: which patch each pixel sees, found exactly.

The inverse depth of a plane is affine in the pixel, and so are the patch coordinates a and b divided by the
depth. A patch therefore costs three affine forms and a few comparisons over its bounding box. The same
code, with a parallel projection along the sun's rays, finds what stands in whose shadow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.simulated.atlas import Atlas
from metric3d_ros.datasets.simulated.raster import Forms, draw, texels_per_m
from metric3d_ros.datasets.simulated.surfaces import Patches

GROUND = -1
SKY = -2
NEAR_M = 0.1
FAR_M = 600.0
# Holes between leaves get coarser with distance but not with the camera: every camera sees one world.
_LEAF_FOCAL_PX = 700.0


@dataclass(frozen=True)
class Hits:
    """What the pixels of one view see.

    Attributes
    ----------
    patch : int32 (height, width), patch number, ``GROUND`` or ``SKY``.
    depth_m : float64 (height, width), metres along the optical axis, NaN in the sky.
    ray : float32 (3, height, width), world vectors of one metre of depth.
    """

    patch: NDArray[np.int32]
    depth_m: NDArray[np.float64]
    ray: NDArray[np.float32]


def cast(
    patches: Patches,
    atlas: Atlas,
    camera: PinholeCamera,
    world_from_camera: NDArray[np.float64],
    ground_is_level: bool = True,
    left_out: NDArray[np.bool_] | None = None,
) -> Hits:
    """The nearest surface along every pixel's ray, above the ground plane z = 0 if the ground is level.

    ``left_out`` (patches,) are looked through.

    Depth is recomputed in float64 from the plane of the patch that won, so it is exact.
    """
    x = np.arange(camera.width_px, dtype=np.float32) - np.float32(camera.cx)
    y = np.arange(camera.height_px, dtype=np.float32) - np.float32(camera.cy)
    ground = _ground_form(camera, world_from_camera) if ground_is_level else np.zeros(3)
    key = (ground[0] * x[None, :] + (ground[1] * y + ground[2])[:, None]).astype(np.float32)
    below_horizon = key > 1.0 / FAR_M
    patch = np.where(below_horizon, np.int32(GROUND), np.int32(SKY))
    key = np.where(below_horizon, key, np.float32(1.0 / FAR_M))
    forms = perspective_forms(patches, atlas, camera, world_from_camera, left_out)
    draw(forms, patches, atlas, x, y, key, patch)
    ray = _rays(camera, world_from_camera)
    return Hits(patch=patch, depth_m=_exact_depth(patch, patches, camera, world_from_camera, ground), ray=ray)


def perspective_forms(
    patches: Patches,
    atlas: Atlas,
    camera: PinholeCamera,
    world_from_camera: NDArray[np.float64],
    left_out: NDArray[np.bool_] | None = None,
) -> Forms:
    """Forms, with raster coordinates counted from the principal point, of the patches in view."""
    rotation, centre = world_from_camera[:3, :3], world_from_camera[:3, 3]
    left, top, right, bottom, nearest_m, in_view = _image_boxes(patches.corners, camera, rotation, centre)
    normals = patches.plane_normals
    distance = np.einsum("ij,ij->i", normals, patches.origin - centre)
    in_view &= (distance < -1e-6) | (patches.two_sided & (np.abs(distance) > 1e-6))
    if left_out is not None:
        in_view &= ~left_out
    chosen = np.flatnonzero(in_view).astype(np.int32)
    rays_from_pixels = rotation / [camera.fx, camera.fy, 1.0]
    weight = (normals[chosen] / distance[chosen, None]) @ rays_from_pixels
    dual_u, dual_v = patches.duals
    offset = centre - patches.origin[chosen]
    a = np.einsum("ij,ij->i", offset, dual_u[chosen])[:, None] * weight + dual_u[chosen] @ rays_from_pixels
    b = np.einsum("ij,ij->i", offset, dual_v[chosen])[:, None] * weight + dual_v[chosen] @ rays_from_pixels
    return Forms(
        patch=chosen, key=weight, weight=weight, a=a, b=b,
        footprint=(texels_per_m(patches, atlas)[chosen] / np.float32(_LEAF_FOCAL_PX)).astype(np.float32),
        nearest=1.0 / nearest_m[chosen],
        left=left[chosen], top=top[chosen], right=right[chosen], bottom=bottom[chosen],
    )  # fmt: skip


def _ground_form(camera: PinholeCamera, world_from_camera: NDArray[np.float64]) -> NDArray[np.float64]:
    downward = -world_from_camera[2, :3] / world_from_camera[2, 3]
    form: NDArray[np.float64] = downward / [camera.fx, camera.fy, 1.0]
    return form


def _rays(camera: PinholeCamera, world_from_camera: NDArray[np.float64]) -> NDArray[np.float32]:
    forms = world_from_camera[:3, :3] / [camera.fx, camera.fy, 1.0]
    x = forms[:, :1] * (np.arange(camera.width_px) - camera.cx)
    y = forms[:, 1:2] * (np.arange(camera.height_px) - camera.cy) + forms[:, 2:]
    return x.astype(np.float32)[:, None, :] + y.astype(np.float32)[:, :, None]


def _exact_depth(
    patch: NDArray[np.int32],
    patches: Patches,
    camera: PinholeCamera,
    world_from_camera: NDArray[np.float64],
    ground: NDArray[np.float64],
) -> NDArray[np.float64]:
    centre = world_from_camera[:3, 3]
    heights = np.einsum("ij,ij->i", patches.plane_normals, patches.origin - centre)
    planes = patches.plane_normals / np.where(np.abs(heights) > 1e-12, heights, np.inf)[:, None]
    rays_from_pixels = world_from_camera[:3, :3] / [camera.fx, camera.fy, 1.0]
    in_sky = np.zeros((-SKY - 1, 3))
    forms = np.vstack([planes @ rays_from_pixels, in_sky, ground[None]])
    which = np.where(patch < 0, patch + len(forms), patch)
    x = np.arange(camera.width_px) - camera.cx
    y = np.arange(camera.height_px) - camera.cy
    inverse_depth = np.take(forms[:, 0], which) * x[None, :]
    inverse_depth += np.take(forms[:, 1], which) * y[:, None]
    inverse_depth += np.take(forms[:, 2], which)
    with np.errstate(divide="ignore"):
        depth_m: NDArray[np.float64] = 1.0 / inverse_depth
    depth_m[patch == SKY] = np.nan
    return depth_m


def _image_boxes(
    corners: NDArray[np.float64],
    camera: PinholeCamera,
    rotation: NDArray[np.float64],
    centre: NDArray[np.float64],
) -> tuple[
    NDArray[np.int32],
    NDArray[np.int32],
    NDArray[np.int32],
    NDArray[np.int32],
    NDArray[np.float64],
    NDArray[np.bool_],
]:
    """Pixel boxes (exclusive ends) and nearest depths of quadrilaterals (n, 4, 3), clipped at the near plane."""
    in_camera = (corners - centre) @ rotation
    following = np.roll(in_camera, -1, axis=1)
    z, next_z = in_camera[..., 2], following[..., 2]
    crosses = (z > NEAR_M) != (next_z > NEAR_M)
    share = np.where(crosses, (NEAR_M - z) / np.where(crosses, next_z - z, 1.0), 0.0)
    crossing = in_camera + share[..., None] * (following - in_camera)
    points = np.concatenate([in_camera, crossing], axis=1)
    usable = np.concatenate([z > NEAR_M, crosses], axis=1)
    depth = np.where(usable, points[..., 2], 1.0)
    u = camera.fx * points[..., 0] / depth + camera.cx
    v = camera.fy * points[..., 1] / depth + camera.cy
    low, high = np.where(usable, u, np.inf), np.where(usable, u, -np.inf)
    left = np.clip(np.ceil(low.min(axis=1) - 1e-3), 0, camera.width_px).astype(np.int32)
    right = np.clip(np.floor(high.max(axis=1) + 1e-3) + 1, 0, camera.width_px).astype(np.int32)
    low, high = np.where(usable, v, np.inf), np.where(usable, v, -np.inf)
    top = np.clip(np.ceil(low.min(axis=1) - 1e-3), 0, camera.height_px).astype(np.int32)
    bottom = np.clip(np.floor(high.max(axis=1) + 1e-3) + 1, 0, camera.height_px).astype(np.int32)
    nearest = np.where(usable, points[..., 2], np.inf).min(axis=1)
    in_view = (right > left) & (bottom > top) & (nearest < FAR_M) & usable.any(axis=1)
    return left, top, right, bottom, nearest, in_view
