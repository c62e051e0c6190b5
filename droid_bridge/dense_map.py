"""The dense map: the depths of all keyframes that others confirm, as one coloured point cloud."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from droid_bridge.errors import DroidBridgeError
from droid_bridge.keyframe_archive import ArchivedKeyframe
from droid_bridge.lie import sim3_inverse
from droid_bridge.matching.matcher import CELL_PX
from droid_bridge.projection import CellGrid
from metric3d_ros.camera import PinholeCamera

_NEIGHBOURS = (-3, -2, -1, 1, 2, 3)
_MIN_DEPTH_RATIO = 0.05


@dataclass(frozen=True)
class DenseMapOptions:
    """Which cells become points.

    Attributes
    ----------
    voxel_m : side of the cubes of which each gives one point.
    max_depth_sigma : relative error above which a depth is left out.
    max_depth_m : depth beyond which a cell is left out; its error in metres grows with the square.
    agreeing_views : keyframes around that must see the same depth there.
    max_disagreement : relative difference up to which two depths are the same.
    """

    voxel_m: float = 0.2
    max_depth_sigma: float = 0.1
    max_depth_m: float = 50.0
    agreeing_views: int = 2
    max_disagreement: float = 0.05

    def __post_init__(self) -> None:
        for name in ("voxel_m", "max_depth_sigma", "max_depth_m", "max_disagreement"):
            if not getattr(self, name) > 0:
                raise DroidBridgeError(f"dense map {name} is {getattr(self, name)}; it must be above 0.")
        if self.agreeing_views < 0:
            raise DroidBridgeError(f"dense map agreeing_views is {self.agreeing_views}; it must be 0 or more.")


@dataclass(frozen=True)
class PointCloud:
    """Coloured points in the map.

    Attributes
    ----------
    points_m : float32 (n, 3), metres, in the optical axes of the first camera.
    colours : uint8 (n, 3), RGB.
    """

    points_m: NDArray[np.float32]
    colours: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.points_m)

    @classmethod
    def empty(cls) -> PointCloud:
        """No point at all."""
        return cls(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8))


def fused_points(
    placed: Sequence[tuple[ArchivedKeyframe, NDArray[np.float64]]],
    working_camera: PinholeCamera,
    options: DenseMapOptions,
) -> PointCloud:
    """One cloud of many keyframes.

    Parameters
    ----------
    placed : keyframes in order, each with its similarity camera_from_map (4, 4).
    working_camera : the camera of their images.
    options : which cells become points.
    """
    columns, rows = working_camera.width_px // CELL_PX, working_camera.height_px // CELL_PX
    grid = CellGrid.of_camera(working_camera.resized(columns, rows), torch.device("cpu"), torch.float64)
    fused = VoxelGrid(options.voxel_m)
    for position, (keyframe, camera_from_map) in enumerate(placed):
        kept = _is_sure(keyframe, camera_from_map, options)
        neighbours = [placed[position + k] for k in _NEIGHBOURS if 0 <= position + k < len(placed)]
        wanted = min(options.agreeing_views, len(neighbours))
        kept &= _agreeing_views(keyframe, camera_from_map, neighbours, grid, options) >= wanted
        points = _points_in_map(keyframe, camera_from_map, grid)[kept]
        fused.add(points, keyframe.rgb.reshape(-1, 3)[kept])
    return fused.cloud()


def _is_sure(
    keyframe: ArchivedKeyframe, camera_from_map: NDArray[np.float64], options: DenseMapOptions
) -> NDArray[np.bool_]:
    """Cells (cells,) whose depth is known well and not too far."""
    unit_per_m = np.cbrt(np.linalg.det(camera_from_map[:3, :3]))
    inverse_depth = keyframe.inverse_depth.astype(np.float64).ravel() * unit_per_m
    sure = keyframe.inverse_depth_sigma.ravel() < options.max_depth_sigma
    return np.asarray(sure & (inverse_depth > 1 / options.max_depth_m))


def _points_in_map(
    keyframe: ArchivedKeyframe, camera_from_map: NDArray[np.float64], grid: CellGrid
) -> NDArray[np.float64]:
    """The cells' points (cells, 3); those without a depth mean nothing."""
    inverse_depth = np.maximum(keyframe.inverse_depth.astype(np.float64).ravel(), 1e-6)
    points = grid.rays.numpy().T / inverse_depth[:, None]
    map_from_camera = sim3_inverse(torch.from_numpy(camera_from_map)).numpy()
    return np.asarray(points @ map_from_camera[:3, :3].T + map_from_camera[:3, 3])


def _agreeing_views(
    keyframe: ArchivedKeyframe,
    camera_from_map: NDArray[np.float64],
    others: Sequence[tuple[ArchivedKeyframe, NDArray[np.float64]]],
    grid: CellGrid,
    options: DenseMapOptions,
) -> NDArray[np.int64]:
    """How many other keyframes (cells,) have the depth at a cell's point that the point has there."""
    points = _points_in_map(keyframe, camera_from_map, grid)
    camera = grid.camera
    agreeing = np.zeros(len(points), np.int64)
    for other, other_from_map in others:
        seen = points @ other_from_map[:3, :3].T + other_from_map[:3, 3]
        in_front = seen[:, 2] > _MIN_DEPTH_RATIO
        z = np.where(in_front, seen[:, 2], 1.0)
        column = np.rint(camera.fx * seen[:, 0] / z + camera.cx)
        row = np.rint(camera.fy * seen[:, 1] / z + camera.cy)
        inside = in_front & (column >= 0) & (row >= 0) & (column < camera.width_px) & (row < camera.height_px)
        at = np.where(inside, row * camera.width_px + column, 0).astype(np.int64)
        there = other.inverse_depth.astype(np.float64).ravel()[at]
        agreeing += inside & (np.abs(there * z - 1) < options.max_disagreement)
    return agreeing


class VoxelGrid:
    """Means of the points and colours in each cube of space; it grows with the space seen, not with the frames."""

    _COMPACT_AT = 200_000

    def __init__(self, voxel_m: float) -> None:
        self._voxel_m = voxel_m
        self._keys = np.zeros((0, 3), np.int64)
        self._sums = np.zeros((0, 7))
        self._fresh: list[NDArray[np.float64]] = []
        self._fresh_points = 0

    def add(self, points_m: NDArray[np.float64], colours: NDArray[np.uint8]) -> None:
        """Add points (n, 3) with colours (n, 3)."""
        self._fresh.append(np.concatenate([points_m, colours, np.ones((len(points_m), 1))], axis=1))
        self._fresh_points += len(points_m)
        if self._fresh_points > self._COMPACT_AT:
            self._compact()

    def cloud(self) -> PointCloud:
        """One point for each cube that has any."""
        self._compact()
        mean = self._sums[:, :6] / self._sums[:, 6:]
        return PointCloud(mean[:, :3].astype(np.float32), np.rint(mean[:, 3:]).astype(np.uint8))

    def _compact(self) -> None:
        fresh = np.concatenate([*self._fresh, np.zeros((0, 7))])
        self._fresh, self._fresh_points = [], 0
        keys = np.floor(fresh[:, :3] / self._voxel_m).astype(np.int64)
        keys, sums = np.concatenate([self._keys, keys]), np.concatenate([self._sums, fresh])
        self._keys, member = np.unique(keys, axis=0, return_inverse=True)
        self._sums = np.stack(
            [np.bincount(member.ravel(), weights=sums[:, k], minlength=len(self._keys)) for k in range(7)], axis=1
        )
