"""Fences of wire, hoardings and boards, and what is seen through and beneath things that are drawn flat."""

from __future__ import annotations

import numpy as np
import pytest
from any_texture import AnyTexture
from numpy.typing import NDArray

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.simulated import StreetWorld, camera_pose, render
from metric3d_ros.datasets.simulated.raycast import cast
from metric3d_ros.datasets.simulated.screens import (
    is_see_through,
    put_board,
    put_hoarding,
    put_wire_fence,
    screen_textures,
)
from metric3d_ros.datasets.simulated.shading import shade
from metric3d_ros.datasets.simulated.surfaces import SurfaceBuilder

CAMERA = PinholeCamera(width_px=320, height_px=120, fx=190.0, fy=190.0, cx=158.3, cy=57.6)


def _fenced_view() -> tuple[StreetWorld, NDArray[np.float64], NDArray[np.bool_]]:
    """A world, a pose in its street, and the pixels there that see wire; the first of many that see enough."""
    for seed in range(400, 440):
        world = StreetWorld.generate(seed, 30.0, style="varied")
        if not world.see_through.any():
            continue
        for station in np.arange(world.line.start_m, world.line.end_m, 5.0):
            (point,), (heading,) = world.line.at(np.array([station]), -1.0)
            pose = camera_pose(*point, 1.6 + float(world.terrain.height_m(*point)), heading)
            hits = cast(world.patches, world.atlas, CAMERA, pose, world.terrain.is_level)
            wire = (hits.patch >= 0) & np.take(world.see_through, hits.patch, mode="clip")
            if wire.sum() > 300:
                return world, pose, wire
    raise AssertionError("no street with a fence of wire among forty")


def test_wire_shows_what_stands_behind_it_and_measures_the_wire() -> None:
    world, pose, wire = _fenced_view()
    rgb, depth_m = render(world, CAMERA, pose)
    hits = cast(world.patches, world.atlas, CAMERA, pose, world.terrain.is_level)
    beyond = cast(world.patches, world.atlas, CAMERA, pose, world.terrain.is_level, left_out=world.see_through)
    np.testing.assert_allclose(depth_m[wire], hits.depth_m[wire], rtol=1e-6)
    farther = np.where(np.isnan(beyond.depth_m), np.inf, beyond.depth_m)
    assert (farther[wire] > hits.depth_m[wire]).all()
    same = ~wire & (hits.patch >= 0)
    np.testing.assert_array_equal(hits.patch[same], beyond.patch[same])
    opaque, behind = (shade(world, seen, CAMERA.fx, pose[:3, 3]).sum(axis=0)[wire] for seen in (hits, beyond))
    drawn = rgb.astype(float).sum(axis=2)[wire]
    assert np.corrcoef(drawn, np.sqrt(behind))[0, 1] > 0.5
    assert np.corrcoef(drawn, np.sqrt(behind))[0, 1] > np.corrcoef(drawn, np.sqrt(opaque))[0, 1]


def test_wire_is_thin_and_gets_neither_thicker_nor_lost_with_distance() -> None:
    for seed in range(20):
        opacity = screen_textures(np.random.default_rng(seed))["wire"].rgba[..., 3] / 255.0
        assert 0.08 < opacity.mean() < 0.5
        assert opacity.max() == 1.0 and opacity.min() > 0.0


@pytest.mark.parametrize("style", ["varied", "kerbed"])
def test_far_woods_stand_on_the_ground(style: str) -> None:
    """With a second tile above or below the first, the sky shone through under the trees."""
    for seed in range(300, 306):
        world = StreetWorld.generate(seed, 10.0, style=style)
        woods = world.patches.texture == world.atlas.index["tree_row"]
        assert woods.sum() > 20
        np.testing.assert_allclose(world.patches.repeats[woods, 1], 1.0, rtol=1e-5)


def test_screens_have_their_sizes() -> None:
    rng = np.random.default_rng(0)
    for put, low_m, high_m in ((put_wire_fence, 1.0, 2.4), (put_hoarding, 1.8, 2.6)):
        builder = SurfaceBuilder(AnyTexture())
        for _ in range(60):
            put(rng, builder, 12.0)
        heights_m = [obstacle.top_m for obstacle in builder.obstacles]
        assert min(heights_m) >= low_m and max(heights_m) <= high_m
        assert builder.build().corners[..., 2].max() <= high_m + 0.2
    builder = SurfaceBuilder(AnyTexture())
    for _ in range(60):
        put_board(rng, builder)
    for board in builder.obstacles:
        assert 0.5 <= 2 * board.half_width_m <= 3.2 and 0.6 < board.top_m < 5.7


def test_only_wire_is_seen_through() -> None:
    index = AnyTexture()
    builder = SurfaceBuilder(index)
    put_wire_fence(np.random.default_rng(1), builder, 12.0)
    patches = builder.build()
    assert is_see_through(patches, index).sum() == 1
    assert not is_see_through(patches, {}).any()


@pytest.mark.parametrize("seed", range(500, 508))
def test_screens_keep_off_the_road(seed: int) -> None:
    world = StreetWorld.generate(seed, 40.0, style="varied")
    corners = world.patches.corners[world.see_through][..., :2]
    points = corners.reshape(-1, 2).astype(np.float32)
    left = world.road_grid.sample(world.road_layers, points[:, 0], points[:, 1], 99.0)[:, 0]
    assert (np.abs(left) > world.profile.lane_m).all()
