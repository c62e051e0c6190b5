"""One variation of a view: the geometry that random sizes, crops and mirrors must keep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.letterbox import near_middle_row_px
from training.label_kind import LabelKind
from training.labelled_view import LabelledView
from training.recipe_parts import PhotometricRecipe, ViewRecipe
from training.view_variation import TALL_FACTORS, Photometric, varied_view

NO_CHANGE = Photometric(PhotometricRecipe(0, 0, 0, 0, 0, 0, 0, 0))


def ground_view(width_px: int, height_px: int, cy: float) -> LabelledView:
    """Flat ground 1.5 m below a level camera; nothing above its horizon."""
    camera = PinholeCamera(width_px, height_px, 300.0, 300.0, width_px / 2, cy)
    below = np.arange(height_px) - cy
    depth_m = np.where(below > 1, 300.0 * 1.5 / np.maximum(below, 1), np.nan)
    depth = np.repeat(depth_m[:, None], width_px, axis=1).astype(np.float32)
    return LabelledView(np.full((height_px, width_px, 3), 80, np.uint8), depth, camera, LabelKind.DENSE)


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(80, 300), st.integers(60, 200), st.floats(-0.2, 1.2))
def test_the_principal_row_stays_in_the_middle(seed, width_px, height_px, share):
    recipe = ViewRecipe(64, 128, fit=True, placement="principal_row", resize_probability=1.0)
    view = ground_view(width_px, height_px, near_middle_row_px(share * height_px, height_px))
    varied = varied_view(np.random.default_rng(seed), view, recipe, NO_CHANGE, None)
    assert varied.image.shape == (64, 128, 3)
    assert varied.camera.cy == pytest.approx(31.5, abs=0.51)
    assert varied.content is not None
    assert varied.content.any()


@pytest.mark.parametrize("placement", ["image_centre", "principal_row"])
@pytest.mark.parametrize("tall_probability", [0.0, 1.0])
def test_ground_stays_ground(placement, tall_probability):
    recipe = ViewRecipe(64, 128, fit=True, placement=placement, resize_probability=1.0)
    for seed in range(10):
        view = ground_view(200, 120, 50.0)
        rng = np.random.default_rng(seed)
        varied = varied_view(rng, view, recipe, NO_CHANGE, None, tall_probability)
        rows, columns = np.nonzero(np.isfinite(varied.depth_m))
        below = rows - varied.camera.cy
        far = below > 5
        height_m = varied.depth_m[rows, columns][far] * below[far] / varied.camera.fy
        np.testing.assert_allclose(height_m, 1.5, rtol=0.12)


def test_what_rises_over_the_horizon_gets_another_height():
    """A pole 10 m away and 3 m high over a camera that is level; its foot on the ground stays where it is."""
    recipe = ViewRecipe(
        192, 320, fit=True, placement="principal_row", resize_probability=0.0, edge_mask_probability=0.0
    )
    view = ground_view(320, 192, 95.5)
    view.depth_m[6:141, 150:170] = 10.0
    heights_m = []
    for seed in range(30):
        varied = varied_view(np.random.default_rng(seed), view, recipe, NO_CHANGE, None, tall_probability=1.0)
        rows = np.nonzero((np.abs(varied.depth_m - 10.0) < 1e-3).any(axis=1))[0]
        assert rows.max() == pytest.approx(140, abs=1)
        heights_m.append(10.0 * (varied.camera.cy - rows.min()) / varied.camera.fy)
    low, _ = TALL_FACTORS
    assert 3.0 * low - 0.3 < min(heights_m) < 2.2
    # Taller ones reach the image's upper edge.
    assert max(heights_m) == pytest.approx(3.2, abs=0.1)
    untouched = varied_view(np.random.default_rng(0), view, recipe, NO_CHANGE, None)
    np.testing.assert_array_equal(untouched.depth_m, view.depth_m)
