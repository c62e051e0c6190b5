"""Geometry of labelled views: the label follows the image through every step, in metres and in canonical space."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.canonical import CANONICAL_FOCAL_PX, depth_from_canonical, label_to_canonical
from training.errors import TrainingError
from training.label_kind import LabelKind
from training.labelled_view import LabelledView, scatter_resized

FOCAL = st.floats(100, 4000)
SCALE = st.floats(0.3, 2.5)


def view_of(
    focal_px: float = 500.0, width_px: int = 40, height_px: int = 30, kind=LabelKind.DENSE
) -> LabelledView:
    rng = np.random.default_rng(1)
    depth_m = rng.uniform(1, 80, (height_px, width_px)).astype(np.float32)
    depth_m[:5] = np.nan
    normal = rng.normal(size=(height_px, width_px, 3)).astype(np.float32)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    return LabelledView(
        image=rng.integers(0, 255, (height_px, width_px, 3), dtype=np.uint8),
        depth_m=depth_m,
        camera=PinholeCamera(width_px, height_px, focal_px, focal_px, 17.3, 14.2),
        kind=kind,
        normal=normal,
        regions=rng.integers(0, 4, (height_px, width_px)).astype(np.int32),
        sky=np.isnan(depth_m),
    )


def point_m(view: LabelledView, row: int, column: int) -> np.ndarray:
    return view.camera.rays()[row, column].astype(np.float64) * float(view.depth_m[row, column])


@settings(max_examples=40, deadline=None)
@given(FOCAL, SCALE)
def test_label_after_resize_is_the_papers_two_steps(focal_px, scale):
    """CSTM_label then RandomResize: d 1000 / f, then over the scale that the image really got."""
    view = view_of(focal_px)
    resized = view.resized(scale)
    real_scale = (
        resized.camera.width_px / view.camera.width_px + resized.camera.height_px / view.camera.height_px
    ) / 2
    expected = label_to_canonical(1.0, view.camera) / real_scale
    assert resized.label_per_metre("label") == pytest.approx(expected, rel=1e-9)
    assert depth_from_canonical(expected, view.camera, real_scale) == pytest.approx(1.0)


@settings(max_examples=40, deadline=None)
@given(st.floats(400, 3000), st.floats(0.8, 1.2))
def test_label_after_the_canonical_image_is_metres_over_the_resize(focal_px, scale):
    """CSTM_image keeps metres up to the rounding of the size to whole pixels, and a resize divides them."""
    view = view_of(focal_px).in_canonical_image()
    smallest = min(view.camera.width_px, view.camera.height_px)
    assert view.camera.fx == pytest.approx(CANONICAL_FOCAL_PX, rel=0.6 / smallest)
    assert view.label_per_metre("image") == pytest.approx(1.0, rel=0.6 / smallest)
    resized = view.resized(scale)
    assert resized.label_per_metre("image") == pytest.approx(1 / scale, rel=1.5 / smallest)


def test_without_canonical_space_a_label_is_metres():
    assert view_of(300).resized(1.5).label_per_metre("none") == 1.0


@settings(max_examples=30, deadline=None)
@given(SCALE, st.integers(0, 29), st.integers(0, 39))
def test_a_scattered_point_keeps_its_place_to_a_pixel(scale, row, column):
    depth = np.full((30, 40), np.nan, np.float32)
    depth[row, column] = 7.5
    size = (max(1, round(40 * scale)), max(1, round(30 * scale)))
    resized = scatter_resized(depth, size)
    assert np.isfinite(resized).sum() == 1
    (new_row,), (new_column,) = np.nonzero(np.isfinite(resized))
    assert resized[new_row, new_column] == 7.5
    assert abs((row + 0.5) * size[1] / 30 - 0.5 - new_row) <= 0.5 + 1e-9
    assert abs((column + 0.5) * size[0] / 40 - 0.5 - new_column) <= 0.5 + 1e-9


def test_where_points_meet_the_nearest_stays():
    depth = np.full((4, 4), np.nan, np.float32)
    depth[0, 0], depth[1, 1] = 30.0, 4.0
    np.testing.assert_array_equal(scatter_resized(depth, (2, 2)), [[4.0, np.nan], [np.nan, np.nan]])


def test_lidar_is_scattered_and_dense_depth_sampled():
    lidar = replace(view_of(kind=LabelKind.LIDAR), sky=None)
    assert np.isfinite(lidar.depth_m).sum() == np.isfinite(lidar.resized(2.0).depth_m).sum()
    dense = view_of()
    assert np.isfinite(dense.resized(2.0).depth_m).sum() == 4 * np.isfinite(dense.depth_m).sum()


@settings(max_examples=30, deadline=None)
@given(st.integers(5, 29), st.integers(0, 39))
def test_a_flip_mirrors_the_world(row, column):
    view = view_of()
    flipped = view.flipped()
    mirrored = 39 - column
    np.testing.assert_allclose(point_m(flipped, row, mirrored), point_m(view, row, column) * [-1, 1, 1], rtol=1e-5)
    assert flipped.camera.cx == pytest.approx(39 - view.camera.cx)
    assert flipped.camera.cy == view.camera.cy
    assert view.normal is not None and flipped.normal is not None
    np.testing.assert_allclose(flipped.normal[row, mirrored], view.normal[row, column] * [-1, 1, 1])
    twice = flipped.flipped()
    assert twice.camera == view.camera
    np.testing.assert_array_equal(twice.image, view.image)


def test_crop_and_padding_keep_every_point_where_it_is():
    view = view_of()
    changed = view.cropped(7, 6, 20, 16).padded(32, 32)
    row, column = 8 + 3, 6 + 4
    np.testing.assert_allclose(point_m(changed, row, column), point_m(view, 6 + 3, 7 + 4), rtol=1e-5)
    assert changed.content is not None and changed.content.sum() == 20 * 16
    assert np.isnan(changed.depth_m[~changed.content]).all()
    assert (changed.image[0, 0] == (124, 116, 104)).all()
    assert changed.sky is not None and not changed.sky[~changed.content].any()


def test_a_plane_stays_a_plane_through_a_resize():
    """A ground plane 1.5 m under the camera is still 1.5 m under it, whatever the size of the image."""
    camera = PinholeCamera(64, 48, 60.0, 60.0, 31.5, 10.5)
    rows = np.arange(48, dtype=np.float64)
    with np.errstate(divide="ignore"):
        depth = np.where(rows > 10.5, 60 * 1.5 / (rows - 10.5), np.nan)
    depth_m = np.repeat(depth[:, None], 64, axis=1).astype(np.float32)
    view = LabelledView(np.zeros((48, 64, 3), np.uint8), depth_m, camera, LabelKind.DENSE)
    resized = view.resized(0.5)
    below = resized.camera.rays()[..., 1] * resized.depth_m
    near = resized.depth_m < 10
    assert near.sum() > 100
    # Nearest sampling takes a depth from up to half a pixel away.
    assert np.abs(below[near] / 1.5 - 1).max() < 0.12


@pytest.mark.parametrize("label", ["depth_m", "normal", "sky"])
def test_labels_of_another_size_are_refused(label):
    view = view_of()
    with pytest.raises(TrainingError, match=f"{label} is 40x10 px but its image is 40x30 px"):
        replace(view, **{label: getattr(view, label)[:10]})


def test_a_camera_of_another_size_is_refused():
    view = view_of()
    with pytest.raises(TrainingError, match="camera is 80x60 px but its image is 40x30 px"):
        replace(view, camera=view.camera.resized(80, 60))


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.7, 2.5])
def test_things_rise_so_many_times_as_high_at_the_same_depth(factor):
    """A wall across the view, 8 m away, whose top is 2.4 m above a level camera; ground below."""
    camera = PinholeCamera(60, 200, 100.0, 100.0, 29.5, 119.5)
    top_row = round(camera.cy - 2.4 / 8 * camera.fy)
    depth_m = np.full((200, 60), np.nan, dtype=np.float32)
    depth_m[top_row:] = 8.0
    depth_m[150:] = 100.0 * 1.5 / (np.arange(150, 200)[:, None] - camera.cy)
    normal = np.zeros((200, 60, 3), dtype=np.float32)
    normal[..., 1], normal[..., 2] = -0.6, -0.8
    image = np.full((200, 60, 3), 200, np.uint8)
    image[top_row:] = 90
    view = LabelledView(image, depth_m, camera, LabelKind.DENSE, normal=normal)
    taller = view.stretched_above(120, factor)
    assert taller.camera.fx == taller.camera.fy == 100.0
    rows = np.nonzero(taller.depth_m[:, 30] == 8.0)[0]
    assert 8.0 * (taller.camera.cy - rows.min() + 0.5) / 100.0 == pytest.approx(2.4 * factor, abs=0.2)
    np.testing.assert_array_equal(taller.depth_m[-80:], view.depth_m[-80:])
    np.testing.assert_array_equal(taller.image[-80:], view.image[-80:])
    edge = np.nonzero(taller.image[:, 30, 0] < 150)[0].min()
    assert abs(edge - rows.min()) <= 1
    # A surface that leans back leans back less the higher it is, and none is left without a length.
    assert taller.normal is not None
    assert taller.normal[10, 30, 1] / taller.normal[10, 30, 2] == pytest.approx(0.75 / factor, rel=1e-4)
    np.testing.assert_allclose(np.linalg.norm(taller.normal, axis=2), 1, rtol=1e-5)


def test_nothing_above_the_image_is_stretched():
    camera = PinholeCamera(60, 40, 100.0, 100.0, 29.5, 19.5)
    view = LabelledView(np.zeros((40, 60, 3), np.uint8), np.ones((40, 60), np.float32), camera, LabelKind.DENSE)
    for row_px in (-5, 0, 40, 60):
        assert view.stretched_above(row_px, 2.0) is view
