"""Depth metrics on cases that can be worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from training.metrics import depth_metrics, mean_metrics


def test_a_constant_factor():
    truth = np.full((4, 5), 10.0, dtype=np.float32)
    metrics = depth_metrics(truth * 1.3, truth)
    assert metrics.abs_rel == pytest.approx(0.3, rel=1e-5)
    assert metrics.rmse_m == pytest.approx(3.0, rel=1e-5)
    assert metrics.silog == pytest.approx(0.0, abs=1e-3)
    assert (metrics.delta1, metrics.delta2, metrics.delta3) == (0.0, 1.0, 1.0)
    assert metrics.median_ratio == pytest.approx(1.3, rel=1e-5)


def test_median_scaling_forgives_the_factor_but_reports_it():
    truth = np.linspace(2, 60, 20, dtype=np.float32).reshape(4, 5)
    metrics = depth_metrics(truth * 0.5, truth, median_scaled=True)
    assert metrics.abs_rel == pytest.approx(0.0, abs=1e-6)
    assert metrics.median_ratio == pytest.approx(0.5)


def test_two_pixels_by_hand():
    truth = np.array([[10.0, 20.0]], dtype=np.float32)
    predicted = np.array([[12.0, 15.0]], dtype=np.float32)
    metrics = depth_metrics(predicted, truth)
    g = np.array([math.log(1.2), math.log(0.75)])
    assert metrics.abs_rel == pytest.approx((0.2 + 0.25) / 2, rel=1e-5)
    assert metrics.silog == pytest.approx(g.std(), rel=1e-5)
    assert metrics.rmse_log == pytest.approx(math.sqrt((math.log(1.2) ** 2 + math.log(0.75) ** 2) / 2), rel=1e-5)
    assert metrics.log10 == pytest.approx((math.log10(1.2) - math.log10(0.75)) / 2, rel=1e-5)
    assert metrics.delta1 == 0.5


def test_no_reading_lowers_coverage_and_far_truth_does_not_count():
    truth = np.array([[10.0, 20.0, np.nan, 200.0]], dtype=np.float32)
    predicted = np.array([[10.0, np.nan, 5.0, 5.0]], dtype=np.float32)
    metrics = depth_metrics(predicted, truth)
    assert metrics.abs_rel == 0
    assert metrics.coverage == 0.5
    assert depth_metrics(np.full_like(truth, np.nan), truth) is None


def test_range_chooses_the_truth_and_does_not_cap_the_prediction():
    truth = np.array([[0.2, 5.0, 20.0]], dtype=np.float32)
    predicted = np.array([[0.2, 50.0, 20.0]], dtype=np.float32)
    metrics = depth_metrics(predicted, truth, range_m=(0.1, 10.0))
    assert metrics.abs_rel == pytest.approx(9.0 / 2)
    assert depth_metrics(predicted, truth, range_m=(0.3, 4.0)) is None


def test_mean_over_images():
    truth = np.full((2, 2), 10.0, dtype=np.float32)
    both = [depth_metrics(truth * factor, truth) for factor in (1.1, 1.3)]
    assert mean_metrics(both).abs_rel == pytest.approx(0.2, rel=1e-5)
