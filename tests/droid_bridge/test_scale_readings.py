"""Readings of a straight drive, and which of them count."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from droid_bridge.scale_process import ScaleProcess
from droid_bridge.scale_readings import scale_readings

NODES = 100
POSES = np.tile(np.eye(4), (NODES, 1, 1))
TRAVELLED_M = np.arange(float(NODES))
NOTHING = np.full(NODES, np.nan)
STILL = np.zeros(NODES)


def test_without_any_reading_there_are_none() -> None:
    assert scale_readings(NOTHING, NOTHING, TRAVELLED_M, POSES, ScaleProcess()) is None


@pytest.mark.parametrize("frame_sigma", [0.01, 0.06])
def test_the_readings_themselves_say_how_they_err(frame_sigma: float) -> None:
    noisy = frame_sigma * np.random.default_rng(0).standard_normal(NODES)
    readings = scale_readings(noisy, NOTHING, TRAVELLED_M, POSES, ScaleProcess())
    assert readings is not None
    assert readings.process.frame_sigma == frame_sigma


def test_ground_that_the_prior_contradicts_counts_only_where_there_is_no_prior() -> None:
    """The height is told in centimetres; there are priors in the first half alone."""
    prior = np.where(np.arange(NODES) < 50, 0.0, np.nan)
    height = np.full(NODES, math.log(0.01))
    readings = scale_readings(prior, height, TRAVELLED_M, POSES, ScaleProcess())
    assert readings is not None
    assert readings.height_log_scale is not None
    np.testing.assert_array_equal(np.isfinite(readings.height_log_scale), np.isnan(prior))
    guessed = replace(ScaleProcess(), told_height_sigma=1.0)
    readings = scale_readings(prior, height, TRAVELLED_M, POSES, guessed)
    assert readings is not None
    assert readings.height_log_scale is not None
    assert np.isfinite(readings.height_log_scale).all(), "a guess is nothing to contradict"


def test_where_the_ground_is_seen_says_which_prior_errs() -> None:
    """A prior that is a tenth short on every other stretch of 30 m: the ground shows that this is not the map."""
    prior = np.where(np.arange(NODES) // 30 % 2 == 0, 0.1, 0.0)
    readings = scale_readings(prior, STILL, TRAVELLED_M, POSES, ScaleProcess())
    assert readings is not None
    assert readings.process.error_sigma > 0.01
