"""Rectification against the distortion formulas, written out here once more."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metric3d_ros.calibration import CameraCalibration, SensorRegion
from metric3d_ros.errors import CameraError
from metric3d_ros.rectification import rectification_of, rectified_image, rectified_pixel

WIDTH_PX, HEIGHT_PX = 96, 64
K = (70.0, 0.0, 47.0, 0.0, 72.0, 31.0, 0.0, 0.0, 1.0)
P = (60.0, 0.0, 48.5, 0.0, 0.0, 60.0, 32.5, 0.0, 0.0, 0.0, 1.0, 0.0)
TURN = cv2.Rodrigues(np.array([0.02, -0.03, 0.01]))[0]
PLUMB_BOB = (-0.28, 0.07, 0.001, -0.002, -0.01)
RATIONAL = (0.4, -0.2, 0.001, 0.0005, 0.02, 0.7, -0.1, 0.03)
EQUIDISTANT = (-0.02, 0.01, -0.004, 0.001)
# Maps are fixed-point with 5 bits behind the point.
MAP_TOLERANCE_PX = 1.0 / 32


def calibration(model="plumb_bob", distortion=PLUMB_BOB, **changes) -> CameraCalibration:
    return replace(CameraCalibration(WIDTH_PX, HEIGHT_PX, K, model, tuple(distortion)), **changes)


def bent(x: np.ndarray, y: np.ndarray, model: str, d: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Brown and Conrady's polynomial, its rational form, and Kannala and Brandt's in the angle."""
    r2 = x * x + y * y
    if model == "equidistant":
        r = np.sqrt(r2)
        theta = np.arctan(r)
        bent_theta = theta * (1 + d[0] * theta**2 + d[1] * theta**4 + d[2] * theta**6 + d[3] * theta**8)
        factor = np.divide(bent_theta, r, out=np.ones_like(r), where=r > 0)
        return x * factor, y * factor
    k1, k2, p1, p2, k3, k4, k5, k6 = (*d, 0.0, 0.0, 0.0, 0.0)[:8]
    radial = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
    return (
        x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
        y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
    )


def source_pixels(of: CameraCalibration) -> tuple[np.ndarray, np.ndarray]:
    target = of.rectified_camera()
    rays = target.rays().astype(np.float64)
    rotation = of.rotation() if of.has_projection else np.eye(3)
    rays = rays @ rotation  # row vectors: the inverse turn
    x, y = bent(rays[..., 0] / rays[..., 2], rays[..., 1] / rays[..., 2], of.distortion_model, of.distortion)
    raw = of.raw_camera()
    return raw.fx * x + raw.cx, raw.fy * y + raw.cy


@pytest.mark.parametrize("with_projection", [False, True])
@pytest.mark.parametrize(
    ("model", "distortion"),
    [
        ("plumb_bob", PLUMB_BOB),
        ("plumb_bob", PLUMB_BOB[:4]),
        ("rational_polynomial", RATIONAL),
        ("equidistant", EQUIDISTANT),
        ("equidistant", (0.0,) * 4),
    ],
)
def test_maps_lead_where_the_lens_formula_does(model, distortion, with_projection):
    of = calibration(model, distortion)
    if with_projection:
        of = replace(of, p=P, r=tuple(TURN.reshape(-1)))
    expected_x, expected_y = source_pixels(of)
    columns, rows = np.meshgrid(np.arange(WIDTH_PX, dtype=np.float32), np.arange(HEIGHT_PX, dtype=np.float32))
    maps = rectification_of(of)
    inside = (expected_x > 1) & (expected_x < WIDTH_PX - 2) & (expected_y > 1) & (expected_y < HEIGHT_PX - 2)
    assert inside.sum() > 0.4 * inside.size
    for picture, expected in ((columns, expected_x), (rows, expected_y)):
        found = cv2.remap(picture, maps.from_x, maps.from_y, cv2.INTER_LINEAR)
        assert np.abs(found - expected)[inside].max() < MAP_TOLERANCE_PX


@pytest.mark.parametrize(
    ("model", "distortion"),
    [("plumb_bob", PLUMB_BOB), ("rational_polynomial", RATIONAL), ("equidistant", EQUIDISTANT)],
)
def test_a_pixel_of_the_raw_image_is_found_in_the_rectified_one(model, distortion):
    of = replace(calibration(model, distortion), p=P, r=tuple(TURN.reshape(-1)))
    expected_x, expected_y = source_pixels(of)
    for row, column in ((32, 48), (10, 30), (50, 70)):
        found = rectified_pixel((expected_x[row, column], expected_y[row, column]), of)
        assert found == pytest.approx((column, row), abs=1e-3)


@settings(deadline=None)
@given(
    st.floats(-0.3, 0.3), st.floats(-0.1, 0.1), st.floats(-0.01, 0.01), st.floats(-0.01, 0.01),
    st.integers(1, 3), st.integers(0, 10), st.integers(0, 10),
)  # fmt: skip
def test_binning_and_region_show_the_same_rays(k1, k2, p1, p2, binning, left_px, top_px):
    """A pixel of the binned region looks where the middle of its pixels of the full sensor look."""
    full = calibration(distortion=(k1, k2, p1, p2, 0.0), p=P)
    part = replace(full, binning=(binning, binning), region=SensorRegion(left_px, top_px, 60, 48))
    for whole, shown in (
        (full.raw_camera(), part.raw_camera()),
        (full.rectified_camera(), part.rectified_camera()),
    ):
        assert (shown.width_px, shown.height_px) == (60 // binning, 48 // binning)
        middle_px = (binning - 1) / 2
        u, v = left_px + 4 * binning + middle_px, top_px + 3 * binning + middle_px
        assert (4 - shown.cx) / shown.fx == pytest.approx((u - whole.cx) / whole.fx, abs=1e-9)
        assert (3 - shown.cy) / shown.fy == pytest.approx((v - whole.cy) / whole.fy, abs=1e-9)


def image(width_px: int = WIDTH_PX, height_px: int = HEIGHT_PX) -> np.ndarray:
    return np.full((height_px, width_px, 3), 200, np.uint8)


def test_what_the_lens_did_not_see_is_marked_and_black():
    wide = (30.0, 0.0, 48.0, 0.0, 0.0, 30.0, 32.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    rectified = rectified_image(image(), calibration(distortion=(0.3, 0, 0, 0, 0), p=wide), is_rectified=False)
    assert rectified.is_seen is not None
    assert not rectified.is_seen[0, 0]
    assert rectified.is_seen[32, 48]
    assert (rectified.rgb[rectified.is_seen] == 200).all()
    assert (rectified.rgb[0, 0] == 0).all()
    assert (rectified.camera.fx, rectified.camera.cx) == (30, 48)


def test_a_rectified_image_stays_as_it_is():
    rectified = rectified_image(image(), calibration(p=P), is_rectified=True)
    np.testing.assert_array_equal(rectified.rgb, image())
    assert (rectified.camera.fx, rectified.camera.is_distorted) == (60, False)
    unset = rectified_image(image(), calibration(), is_rectified=True)
    assert unset.camera.fx == 70


def test_a_raw_image_without_distortion_stays_as_it_is():
    for model in ("", "plumb_bob", "none"):
        raw = rectified_image(image(), calibration(model, (0.0,) * 5, p=P), is_rectified=False)
        np.testing.assert_array_equal(raw.rgb, image())
        assert raw.camera.fx == 70


def test_maps_are_made_once_for_a_calibration():
    assert rectification_of(calibration()) is rectification_of(calibration())


REFUSED = [
    (calibration("double_sphere", (0.1,)), "model 'double_sphere' is not known; calibrate as plumb_bob"),
    (calibration("kannala", (0.0,) * 4), "'kannala' is not known"),
    (calibration("", (0.1, 0.2)), "distortion model '' is not known"),
    (calibration("equidistant", ()), "equidistant has 0 coefficients in D; it takes 4"),
    (calibration("plumb_bob", (0.1,)), "has 1 coefficients in D; it takes 4 or 5"),
    (calibration(distortion=(math.nan,)), "every number in D must be finite"),
    (calibration(p=P, r=(2.0,) * 9), "which is no rotation"),
    (calibration(k=(0.0,) * 9), "fx is 0 px"),
    (calibration(region=SensorRegion(50, 0, 60, 40)), "region of 60x40 px at \\(50, 0\\)"),
    (calibration(binning=(100, 1)), "bins 100x1 px"),
    (calibration(binning=(2, 2)), "camera is 48x32 px \\(binned 2x2 from 96x64\\)"),
]  # fmt: skip


@pytest.mark.parametrize(("refused", "sentence"), REFUSED, ids=[case[1][:40] for case in REFUSED])
def test_what_cannot_be_is_refused_in_a_sentence(refused, sentence):
    with pytest.raises(CameraError, match=sentence):
        rectified_image(image(), refused, is_rectified=False)
