"""Where the cells of one frame are seen in another, and how that moves with the poses and the inverse depths.

A frame is a grid of cells, each with one inverse depth d = 1/z (1/m). The cell at pixel (u, v) of frame i lies
on the ray ``x = K^-1 (u, v, 1)``, and frame j sees it at

    X = R_ji x + d t_ji,    (u', v') = (fx X/Z + cx, fy Y/Z + cy),    T_ji = T_j T_i^-1,

with T the ``camera_from_world`` of each frame (Teed and Deng, DROID-SLAM, 2021, eq. 3). X is the point divided by
its depth in frame i, so Z is the ratio of its depth in j to its depth in i: a test on Z has no unit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from droid_bridge.lie import se3_adjoint, se3_inverse
from metric3d_ros.camera import PinholeCamera


@dataclass(frozen=True)
class CellGrid:
    """The cells of a frame: one ray each.

    Attributes
    ----------
    camera : intrinsics of the grid, in cells.
    coords : (2, cells) the cell's own column and row.
    rays : (3, cells) viewing rays in the camera frame with z = 1.
    """

    camera: PinholeCamera
    coords: Tensor
    rays: Tensor

    @classmethod
    def of_camera(
        cls, camera: PinholeCamera, device: torch.device, dtype: torch.dtype = torch.float32
    ) -> CellGrid:
        """The grid whose cells are the pixels of ``camera``, row by row."""
        v, u = torch.meshgrid(
            torch.arange(camera.height_px, dtype=dtype, device=device),
            torch.arange(camera.width_px, dtype=dtype, device=device),
            indexing="ij",
        )
        coords = torch.stack([u.flatten(), v.flatten()])
        x = (coords[0] - camera.cx) / camera.fx
        y = (coords[1] - camera.cy) / camera.fy
        return cls(camera, coords, torch.stack([x, y, torch.ones_like(x)]))


@dataclass(frozen=True)
class Reprojection:
    """Cells of the source frames of E edges as their target frames see them.

    Attributes
    ----------
    coords : (E, 2, cells) column and row in the target, in cells.
    depth_ratio : (E, cells) depth in the target over depth in the source; zero or less is behind the camera.
    target_from_source : (E, 4, 4) relative poses.
    pose_jacobian : (E, 6, 2, cells) of ``coords`` by a left perturbation of the target's camera_from_world.
    inverse_depth_jacobian : (E, 2, cells) of ``coords`` by the source's inverse depth.
    source_adjoint : (E, 6, 6); the Jacobian by the source's pose is ``-pose_jacobian`` through it.
    """

    coords: Tensor
    depth_ratio: Tensor
    target_from_source: Tensor
    pose_jacobian: Tensor
    inverse_depth_jacobian: Tensor
    source_adjoint: Tensor


def relative_poses(camera_from_world: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Transforms (E, 4, 4) from the source frame to the target frame of each edge."""
    return camera_from_world[target] @ se3_inverse(camera_from_world[source])


def _points_in_target(target_from_source: Tensor, inverse_depth: Tensor, grid: CellGrid) -> Tensor:
    """Points (E, 3, cells) in the target frame, divided by their depth in the source."""
    transform = target_from_source.to(inverse_depth.dtype)
    return transform[:, :3, :3] @ grid.rays + transform[:, :3, 3:] * inverse_depth[:, None, :]


def reproject_coords(target_from_source: Tensor, inverse_depth: Tensor, grid: CellGrid) -> tuple[Tensor, Tensor]:
    """Where cells are seen, without derivatives.

    Parameters
    ----------
    target_from_source : (E, 4, 4) relative poses.
    inverse_depth : (E, cells) inverse depth of the source cells, 1/m.
    grid : the cells.

    Returns
    -------
    coords (E, 2, cells) in cells, and depth_ratio (E, cells); coordinates where the ratio is not positive mean
    nothing.
    """
    points = _points_in_target(target_from_source, inverse_depth, grid)
    depth_ratio = points[:, 2]
    z = torch.where(depth_ratio > 0, depth_ratio, torch.ones_like(depth_ratio))
    camera = grid.camera
    u = camera.fx * points[:, 0] / z + camera.cx
    v = camera.fy * points[:, 1] / z + camera.cy
    return torch.stack([u, v], dim=1), depth_ratio


def reproject(
    camera_from_world: Tensor, inverse_depth: Tensor, source: Tensor, target: Tensor, grid: CellGrid
) -> Reprojection:
    """Reproject every edge's source cells into its target, with the Jacobians of Gauss-Newton.

    Parameters
    ----------
    camera_from_world : (frames, 4, 4) poses.
    inverse_depth : (frames, cells) 1/m; its type is the type of the result.
    source, target : (E,) frame indices of the edges.
    grid : the cells of every frame.
    """
    target_from_source = relative_poses(camera_from_world, source, target)
    d = inverse_depth[source]
    points = _points_in_target(target_from_source, d, grid)
    depth_ratio = points[:, 2]
    z = torch.where(depth_ratio > 1e-6, depth_ratio, torch.ones_like(depth_ratio))
    x, y, k = points[:, 0] / z, points[:, 1] / z, d / z
    fx, fy = grid.camera.fx, grid.camera.fy

    zero = torch.zeros_like(x)
    by_pose_u = torch.stack([fx * k, zero, -fx * x * k, -fx * x * y, fx * (1 + x * x), -fx * y], dim=1)
    by_pose_v = torch.stack([zero, fy * k, -fy * y * k, -fy * (1 + y * y), fy * x * y, fy * x], dim=1)
    t = target_from_source[:, :3, 3].to(d.dtype)
    by_depth_u = fx * (t[:, 0:1] - x * t[:, 2:3]) / z
    by_depth_v = fy * (t[:, 1:2] - y * t[:, 2:3]) / z

    return Reprojection(
        coords=torch.stack([fx * x + grid.camera.cx, fy * y + grid.camera.cy], dim=1),
        depth_ratio=depth_ratio,
        target_from_source=target_from_source,
        pose_jacobian=torch.stack([by_pose_u, by_pose_v], dim=2),
        inverse_depth_jacobian=torch.stack([by_depth_u, by_depth_v], dim=1),
        source_adjoint=se3_adjoint(target_from_source),
    )
