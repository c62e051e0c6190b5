"""One view's ground under another's top: what is pasted, where, and in whose metres."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.letterbox import PADDING_RGB
from training.foreign_top import GAP_SHARES, under_foreign_top, under_padding
from training.label_kind import LabelKind
from training.labelled_view import LabelledView

HEIGHT_PX, WIDTH_PX = 100, 200
CAMERA = PinholeCamera(WIDTH_PX, HEIGHT_PX, 150.0, 150.0, 99.5, 60.0)


def even_view(gray: int, depth_m: float, **labels) -> LabelledView:
    image = np.full((HEIGHT_PX, WIDTH_PX, 3), gray, np.uint8)
    return LabelledView(
        image, np.full((HEIGHT_PX, WIDTH_PX), depth_m, np.float32), CAMERA, LabelKind.DENSE, **labels
    )


def joined(seed: int, view: LabelledView, other: LabelledView, factor: float = 1.0) -> LabelledView:
    return under_foreign_top(np.random.default_rng(seed), view, other, factor)


@pytest.mark.parametrize("seed", range(20))
def test_the_ground_stays_and_the_foreign_top_brings_its_depth_in_own_metres(seed):
    view, other = even_view(100, 20.0), even_view(200, 8.0)
    both = joined(seed, view, other, 1.5)
    is_foreign = both.depth_m == np.float32(12.0)
    assert (is_foreign | (both.depth_m == np.float32(20.0))).all()
    # At the soft edge itself either is right.
    gray = both.image[..., 0].astype(int)
    is_clear = np.abs(gray - 150) > 2
    np.testing.assert_array_equal(is_foreign[is_clear], gray[is_clear] > 150)
    # Nothing lies on the ground, and each column is foreign down to its edge.
    lowest_px = is_foreign.sum(axis=0)
    assert is_foreign[: lowest_px.min()].all()
    assert lowest_px.max() <= CAMERA.cy - GAP_SHARES[0] * HEIGHT_PX + 0.03 * WIDTH_PX + 2
    assert lowest_px.max() >= CAMERA.cy - GAP_SHARES[1] * HEIGHT_PX - 2
    assert both.camera == CAMERA


@pytest.mark.parametrize("seed", range(20))
def test_padding_over_a_row_above_the_horizon_has_no_labels(seed):
    normal = np.ones((HEIGHT_PX, WIDTH_PX, 3), np.float32)
    view = even_view(100, 20.0, normal=normal, sky=np.ones((HEIGHT_PX, WIDTH_PX), np.bool_))
    hidden = under_padding(np.random.default_rng(seed), view)
    first_row = int((~hidden.content[:, 0]).sum())
    assert CAMERA.cy - GAP_SHARES[1] * HEIGHT_PX - 1 <= first_row <= CAMERA.cy - GAP_SHARES[0] * HEIGHT_PX + 1
    np.testing.assert_array_equal(hidden.image[:first_row], np.broadcast_to(PADDING_RGB, (first_row, WIDTH_PX, 3)))
    for name in ("depth_m", "normal"):
        assert np.isnan(getattr(hidden, name)[:first_row]).all()
        np.testing.assert_array_equal(getattr(hidden, name)[first_row:], getattr(view, name)[first_row:])
    assert not hidden.sky[:first_row].any()
    assert hidden.content[first_row:].all()
    np.testing.assert_array_equal(hidden.image[first_row:], view.image[first_row:])
    assert hidden.camera == view.camera


def test_what_is_nearer_hides_what_is_behind_it():
    own = even_view(100, 20.0)
    own.depth_m[:, :100] = 5.0
    own.depth_m[:, 180:] = np.nan
    found = [joined(seed, own, even_view(200, 8.0)).depth_m[0] for seed in range(20)]
    merged = [row for row in found if (row[:100] == 5.0).all()]
    replaced = [row for row in found if (row == 8.0).all()]
    assert len(merged) + len(replaced) == 20
    assert 4 <= len(merged) <= 16
    # Foreign things stand before the open sky as well.
    assert all((row[100:] == 8.0).all() for row in merged)


def test_a_foreign_sky_is_no_thing_and_hides_nothing():
    sky = np.ones((HEIGHT_PX, WIDTH_PX), dtype=np.bool_)
    own = even_view(100, 20.0, sky=~sky)
    other = replace(even_view(200, np.nan), sky=sky)
    found = [joined(seed, own, other) for seed in range(20)]
    merged = [view for view in found if (view.depth_m == 20.0).all()]
    assert all(not view.sky.any() for view in merged)
    for view in found:
        np.testing.assert_array_equal(view.sky, np.isnan(view.depth_m))


def test_labels_that_the_other_camera_gave_its_pixels_are_left_out():
    ones = np.ones((HEIGHT_PX, WIDTH_PX), dtype=np.int32)
    normal = np.zeros((HEIGHT_PX, WIDTH_PX, 3), dtype=np.float32)
    normal[..., 1] = -1
    own = even_view(100, 20.0, regions=ones, planes=2 * ones, normal=normal)
    both = joined(1, own, even_view(200, 8.0, regions=5 * ones))
    is_foreign = both.depth_m == 8.0
    assert is_foreign.any()
    np.testing.assert_array_equal(both.regions, np.where(is_foreign, 0, 1))
    np.testing.assert_array_equal(both.planes, np.where(is_foreign, 0, 2))
    np.testing.assert_array_equal(np.isnan(both.normal[..., 0]), is_foreign)
    assert own.regions is ones and (ones == 1).all()


def test_padding_stays_padding():
    content = np.zeros((HEIGHT_PX, WIDTH_PX), dtype=np.bool_)
    content[10:, 20:] = True
    own = replace(even_view(100, 20.0), content=content)
    other = replace(even_view(200, 8.0), content=np.ascontiguousarray(content[:, ::-1]))
    for seed in range(10):
        for view in (joined(seed, own, other), joined(seed, other, own)):
            outside = ~(own.content & other.content)
            kept = own if view.content is own.content else other
            np.testing.assert_array_equal(view.depth_m[outside], kept.depth_m[outside])
            np.testing.assert_array_equal(view.image[outside], kept.image[outside])
