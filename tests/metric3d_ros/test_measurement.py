from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.errors import ImageError
from metric3d_ros.estimator import DepthPrediction
from metric3d_ros.measurement import expected_relative_error, measure

CAMERA = PinholeCamera(100, 80, 50.0, 40.0, 49.5, 39.5)

pixels = st.tuples(st.integers(0, 99), st.integers(0, 79))


def prediction_of(depth_m: np.ndarray, confidence: np.ndarray | float | None = None) -> DepthPrediction:
    if isinstance(confidence, float):
        confidence = np.full_like(depth_m, confidence)
    return DepthPrediction(depth_m=depth_m.astype(np.float32), confidence=confidence, camera=CAMERA)


def test_a_length_across_a_wall_by_hand() -> None:
    """50 px at f = 50 px and 4 m are 4 m; 20 px at f = 40 px are 2 m more down: hypot(4, 2)."""
    measured = measure(prediction_of(np.full((80, 100), 4.0)), (20, 30), (70, 50))
    assert measured.length_m == pytest.approx(math.hypot(4, 2), rel=1e-6)
    assert measured.uncertainty_m is None


def test_a_length_in_depth_is_the_difference_of_depths() -> None:
    depth_m = np.full((80, 100), 3.0)
    depth_m[39:41, 60:] = 8.0
    camera_axis = (49.5, 39.5)
    assert measure(prediction_of(depth_m), camera_axis, camera_axis).length_m == 0.0
    measured = measure(prediction_of(depth_m), camera_axis, (60, 39.5))
    assert measured.end_m[2] == 8.0
    assert measured.length_m == pytest.approx(math.hypot(5, 8 * 10.5 / 50), rel=1e-6)


def test_uncertainty_by_hand() -> None:
    """Two points 4 m apart, symmetric about the axis at 4 m: the ends' shares are +- 2 m * 10 %, so alike errors
    (one wrong scale) make 0.4 m, and errors apart sqrt(2) * 0.2 m: the larger is stated."""
    measured = measure(prediction_of(np.full((80, 100), 4.0), 0.9), (24.5, 39.5), (74.5, 39.5))
    assert measured.length_m == pytest.approx(4.0)
    assert measured.uncertainty_m == pytest.approx(0.4, rel=1e-5)


@settings(deadline=None, max_examples=50)
@given(start=pixels, end=pixels, near_m=st.floats(1, 20), slope=st.floats(-0.05, 0.05), rho=st.floats(0, 1))
def test_stated_error_covers_the_model_s_errors(
    start: tuple[int, int], end: tuple[int, int], near_m: float, slope: float, rho: float
) -> None:
    """Depths drawn with the announced relative error, alike by any rho, spread no wider than stated."""
    depth_m = near_m * (1 + slope * np.linspace(-5, 5, 100)) * np.ones((80, 1))
    share = 0.01
    measured = measure(prediction_of(depth_m, 1 - share), start, end)
    # The propagation is of first order: it holds for lengths that are many times the errors of their ends.
    if measured.length_m < 20 * share * near_m:
        return
    rng = np.random.default_rng(0)
    common, own = rng.normal(size=(4000, 1)), rng.normal(size=(4000, 2))
    factors = 1 + share * (math.sqrt(rho) * common + math.sqrt(1 - rho) * own)
    lengths = np.linalg.norm(factors[:, :1] * measured.start_m - factors[:, 1:] * measured.end_m, axis=1)
    assert measured.uncertainty_m is not None
    assert np.std(lengths) <= 1.05 * measured.uncertainty_m


@settings(deadline=None, max_examples=50)
@given(start=pixels, end=pixels, factor=st.floats(0.1, 10))
def test_both_scale_with_depth_and_do_not_care_which_end_is_first(
    start: tuple[int, int], end: tuple[int, int], factor: float
) -> None:
    depth_m = np.linspace(2, 9, 8000).reshape(80, 100)
    measured = measure(prediction_of(depth_m, 0.8), start, end)
    back = measure(prediction_of(depth_m, 0.8), end, start)
    scaled = measure(prediction_of(factor * depth_m, 0.8), start, end)
    assert back.length_m == pytest.approx(measured.length_m)
    assert back.uncertainty_m == pytest.approx(measured.uncertainty_m)
    assert scaled.length_m == pytest.approx(factor * measured.length_m, rel=1e-3, abs=1e-4)
    assert scaled.uncertainty_m == pytest.approx(factor * measured.uncertainty_m, rel=1e-2, abs=1e-4)


def test_confidence_is_not_bounded_but_the_error_is() -> None:
    assert expected_relative_error(1.3) == 0.0
    assert expected_relative_error(0.75) == 0.25
    assert expected_relative_error(-2.0) == 1.0


@pytest.mark.parametrize("pixel", [(-1, 5), (100, 5), (5, 80), (math.nan, 5), (math.inf, 5), (99.6, 5)])
def test_pixels_outside_are_refused(pixel: tuple[float, float]) -> None:
    with pytest.raises(ImageError, match="outside the image; u goes from 0 to 99, v from 0 to 79"):
        measure(prediction_of(np.ones((80, 100))), pixel, (5, 5))


def test_pixels_without_depth_are_refused() -> None:
    depth_m = np.ones((80, 100))
    depth_m[7, 9] = np.nan
    with pytest.raises(ImageError, match="pixel 9,7 has no depth"):
        measure(prediction_of(depth_m), (5, 5), (9, 7))
