from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.canonical import (
    canonical_per_metre,
    depth_from_canonical,
    image_to_canonical,
    label_to_canonical,
)
from metric3d_ros.letterbox import Letterbox

PREPROCESS_TABLE = Path(__file__).parents[3] / "shared" / "golden" / "metric3d" / "preprocess_table.json"
NETWORK_SIZES = {"vit": (1064, 616), "convnext": (1216, 544)}

FOCAL = st.floats(50, 5000)
SCALE = st.floats(0.05, 4)


def camera_of(focal_px: float) -> PinholeCamera:
    return PinholeCamera(640, 480, focal_px, focal_px, 319.5, 239.5)


@given(FOCAL, SCALE, st.floats(0.1, 500))
def test_label_comes_back_as_metres(focal_px, scale, depth_m):
    canonical = label_to_canonical(depth_m, camera_of(focal_px), scale)
    assert depth_from_canonical(canonical, camera_of(focal_px), scale) == pytest.approx(depth_m)


@given(FOCAL, st.floats(0.1, 500))
def test_the_canonical_camera_leaves_metres_alone(focal_px, depth_m):
    assert label_to_canonical(depth_m, camera_of(1000.0)) == pytest.approx(depth_m)
    assert label_to_canonical(depth_m, camera_of(focal_px), 1000.0 / focal_px) == pytest.approx(depth_m)


@given(FOCAL, FOCAL, st.floats(0.5, 100), st.floats(0.1, 5))
def test_equal_images_have_equal_canonical_depth(focal_px, other_focal_px, depth_m, size_m):
    """What makes the space work: an object of one size and image extent has one canonical depth."""
    extent_px = focal_px * size_m / depth_m
    other_depth_m = other_focal_px * size_m / extent_px
    assert label_to_canonical(depth_m, camera_of(focal_px)) == pytest.approx(
        label_to_canonical(other_depth_m, camera_of(other_focal_px))
    )


@given(st.floats(300, 2000))
def test_image_transform_reaches_the_canonical_focal_length(focal_px):
    image, camera = image_to_canonical(
        np.zeros((96, 128, 3), np.uint8), PinholeCamera(128, 96, focal_px, focal_px, 60, 50)
    )
    assert image.shape == (camera.height_px, camera.width_px, 3)
    assert camera.fx == pytest.approx(1000, rel=0.5 / (camera.width_px - 0.5) + 1e-9)
    assert (camera.cx + 0.5) / camera.width_px == pytest.approx(60.5 / 128)


def test_nan_stays_nan():
    depth_m = np.array([[np.nan, 2.0]], np.float32)
    canonical = label_to_canonical(depth_m, camera_of(500.0))
    assert canonical.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(canonical), [[True, False]])


@pytest.mark.golden
@pytest.mark.skipif(not PREPROCESS_TABLE.is_file(), reason=f"{PREPROCESS_TABLE} is not there")
def test_preprocessing_equals_the_reference():
    for row in json.loads(PREPROCESS_TABLE.read_text()):
        fx, fy, cx, cy = row["K"]
        camera = PinholeCamera(row["W"], row["H"], fx, fy, cx, cy)
        letterbox = Letterbox.fit(row["W"], row["H"], *NETWORK_SIZES[row["net"]])
        top, bottom, left, right = row["pad_tblr"]
        assert letterbox.scale == pytest.approx(row["scale"], rel=1e-12)
        assert [letterbox.content_height_px, letterbox.content_width_px] == row["resized"]
        assert (letterbox.top_px, letterbox.left_px) == (top, left)
        assert letterbox.network_height_px - letterbox.content_height_px - top == bottom
        assert letterbox.network_width_px - letterbox.content_width_px - left == right
        assert canonical_per_metre(camera, letterbox.scale) == pytest.approx(row["label_scale_factor"], rel=1e-12)
        assert depth_from_canonical(1.0, camera, letterbox.scale) == pytest.approx(row["canon_to_real_script"])
