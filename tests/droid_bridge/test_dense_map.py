from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from droid_bridge.dense_map import DenseMapOptions, VoxelGrid, fused_points
from droid_bridge.errors import DroidBridgeError
from droid_bridge.keyframe_archive import ArchivedKeyframe
from droid_bridge.place_recognition import LocalFeatures
from metric3d_ros.camera import PinholeCamera

CAMERA = PinholeCamera(width_px=320, height_px=160, fx=200, fy=200, cx=159.5, cy=79.5)
ROWS, COLUMNS, WALL_M = 20, 40, 10.0
NONE = LocalFeatures(np.zeros((0, 2), np.float32), np.zeros((0, 32), np.uint8))


def facing_wall(number: int, x_m: float) -> tuple[ArchivedKeyframe, np.ndarray]:
    """A camera at x that looks along z at a wall."""
    camera_from_map = np.eye(4)
    camera_from_map[0, 3] = -x_m
    keyframe = ArchivedKeyframe(
        number,
        number,
        number,
        camera_from_map,
        np.full((ROWS, COLUMNS), 1 / WALL_M, np.float16),
        np.full((ROWS, COLUMNS), 0.02, np.float16),
        np.full((ROWS, COLUMNS, 3), 50 * number, np.uint8),
        0.0,
        0.0,
        x_m,
        NONE,
    )
    return keyframe, camera_from_map


WALL = [facing_wall(k, 0.5 * k) for k in range(5)]


def test_a_wall_becomes_a_wall() -> None:
    cloud = fused_points(WALL, CAMERA, DenseMapOptions(voxel_m=0.5))
    assert np.abs(cloud.points_m[:, 2] - WALL_M).max() < 0.01
    width_m, height_m = np.ptp(cloud.points_m[:, 0]), np.ptp(cloud.points_m[:, 1])
    assert width_m == pytest.approx(320 / 200 * WALL_M + 1, abs=1.5), "the ends are seen by too few"
    assert height_m == pytest.approx(160 / 200 * WALL_M, abs=1)
    assert len(cloud) == pytest.approx(width_m * height_m / 0.25, rel=0.2), "one point a voxel"
    assert cloud.colours.dtype == np.uint8


def test_what_one_keyframe_alone_sees_is_left_out() -> None:
    ghost, pose = facing_wall(2, 1.0)
    inverse_depth = ghost.inverse_depth.copy()
    inverse_depth[8:12, 18:22] = 1 / 4.0
    with_ghost = [*WALL[:2], (replace(ghost, inverse_depth=inverse_depth), pose), *WALL[3:]]
    cloud = fused_points(with_ghost, CAMERA, DenseMapOptions(voxel_m=0.2))
    assert cloud.points_m[:, 2].min() > 9
    believed = fused_points(with_ghost, CAMERA, DenseMapOptions(voxel_m=0.2, agreeing_views=0))
    assert believed.points_m[:, 2].min() == pytest.approx(4, abs=0.01)


def test_unsure_and_far_cells_are_left_out() -> None:
    unsure = [(replace(k, inverse_depth_sigma=np.full((ROWS, COLUMNS), np.inf, np.float16)), p) for k, p in WALL]
    assert len(fused_points(unsure, CAMERA, DenseMapOptions())) == 0
    assert len(fused_points(WALL, CAMERA, DenseMapOptions(max_depth_m=9))) == 0
    assert len(fused_points([], CAMERA, DenseMapOptions())) == 0


def test_the_map_is_in_metres_whatever_the_unit_of_a_keyframe() -> None:
    """The same wall by a front end that counts two units to a metre."""
    doubled = []
    for keyframe, pose in WALL:
        similarity = pose.copy()
        similarity[:3] *= 2
        half = (keyframe.inverse_depth / np.float16(2)).astype(np.float16)
        doubled.append((replace(keyframe, inverse_depth=half), similarity))
    cloud = fused_points(doubled, CAMERA, DenseMapOptions(voxel_m=0.5, max_depth_m=12))
    np.testing.assert_allclose(cloud.points_m, fused_points(WALL, CAMERA, DenseMapOptions(voxel_m=0.5)).points_m)


def test_a_voxel_is_the_mean_of_its_points_however_they_come() -> None:
    rng = np.random.default_rng(0)
    points, colours = rng.uniform(0, 1, (1000, 3)), rng.integers(0, 255, (1000, 3), dtype=np.uint8)
    grid = VoxelGrid(1.0)
    for part in np.array_split(np.arange(1000), 7):
        grid.add(points[part], colours[part])
        grid.cloud()
    cloud = grid.cloud()
    np.testing.assert_allclose(cloud.points_m, points.mean(axis=0)[None], rtol=1e-5)
    np.testing.assert_allclose(cloud.colours, colours.mean(axis=0)[None], atol=0.6)


def test_options_that_mean_nothing_are_refused() -> None:
    with pytest.raises(DroidBridgeError, match="voxel_m is 0; it must be above 0"):
        DenseMapOptions(voxel_m=0)
    with pytest.raises(DroidBridgeError, match="agreeing_views is -1"):
        DenseMapOptions(agreeing_views=-1)
