from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from droid_bridge.scale_process import ScaleBelief, ScaleBeliefs, ScaleProcess

PROCESS = ScaleProcess()
STEP_M = 1.0


def _network_error(rng: np.random.Generator, frames: int) -> NDArray[np.float64]:
    """A first-order Gauss-Markov error with the statistics of the model."""
    kept = math.exp(-STEP_M / PROCESS.error_length_m)
    error = np.empty(frames)
    error[0] = PROCESS.error_sigma * rng.standard_normal()
    for k in range(1, frames):
        error[k] = kept * error[k - 1] + PROCESS.error_sigma * math.sqrt(1 - kept**2) * rng.standard_normal()
    return error


def _filtered(log_ratio: NDArray[np.float64]) -> list[ScaleBelief]:
    beliefs = [ScaleBelief.at_start(PROCESS).measured(float(log_ratio[0]), PROCESS)]
    for ratio in log_ratio[1:]:
        beliefs.append(beliefs[-1].after(STEP_M, PROCESS).measured(float(ratio), PROCESS))
    return beliefs


def test_errors_that_last_are_averaged_over_the_way_and_not_over_the_frames() -> None:
    errors, sigmas = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        noise = PROCESS.frame_sigma * rng.standard_normal(400)
        last = _filtered(-_network_error(rng, 400) + noise)[-1]
        errors.append(last.log_scale)
        sigmas.append(last.log_scale_sigma)
    assert np.std(errors) < 0.6 * PROCESS.error_sigma
    assert np.std(errors) == pytest.approx(np.mean(sigmas), rel=0.35)


def test_the_scale_moves_far_less_than_the_error_of_the_prior() -> None:
    rng = np.random.default_rng(3)
    scales = np.array([belief.log_scale for belief in _filtered(-_network_error(rng, 500))])
    assert np.ptp(scales[150:]) < 0.08
    assert np.ptp(_network_error(np.random.default_rng(3), 500)[150:]) > 0.2


def test_a_drift_of_the_map_is_followed() -> None:
    rng = np.random.default_rng(5)
    true_scale = 2e-4 * STEP_M * np.arange(800)
    beliefs = _filtered(true_scale - 0.3 * _network_error(rng, 800))
    assert abs(beliefs[-1].log_scale - true_scale[-1]) < 0.05
    assert true_scale[-1] > 0.15


def test_five_frames_three_times_too_deep_hardly_move_the_scale() -> None:
    belief = _filtered(np.zeros(60))[-1]
    before = belief.log_scale
    for _ in range(5):
        belief = belief.after(STEP_M, PROCESS).measured(-math.log(3), PROCESS)
    assert abs(belief.log_scale - before) < 0.02


def test_a_new_map_is_measured_with_what_is_known_of_the_prior() -> None:
    belief = _filtered(np.full(60, -0.1))[-1]
    error = float(belief.mean[2])
    again = belief.with_unknown_scale(PROCESS).measured(0.0, PROCESS)
    assert again.log_scale == pytest.approx(error, abs=1e-3)


@given(
    st.lists(st.tuples(st.floats(0, 50), st.floats(-5, 5)), min_size=1, max_size=30),
)
@settings(max_examples=50, deadline=None)
def test_the_covariance_stays_one(steps: list[tuple[float, float]]) -> None:
    belief = ScaleBelief.at_start(PROCESS)
    for step_m, ratio in steps:
        belief = belief.after(step_m, PROCESS).measured(ratio, PROCESS)
        assert np.isfinite(belief.mean).all()
        assert np.linalg.eigvalsh(belief.covariance).min() > -1e-9
        np.testing.assert_allclose(belief.covariance, belief.covariance.T, atol=1e-9)
    assert belief.rescaled(0.3).log_scale == pytest.approx(belief.log_scale + 0.3)


def test_a_drive_tells_what_its_prior_is_worth() -> None:
    def weight_of_lasting_errors(error_share: float) -> float:
        rng = np.random.default_rng(8)
        ratios = -error_share * _network_error(rng, 300) + 0.02 * rng.standard_normal(300)
        beliefs = ScaleBeliefs.at_start(PROCESS).measured(float(ratios[0]))
        for ratio in ratios[1:]:
            beliefs = beliefs.after(STEP_M, 0.0).measured(float(ratio))
        lasting = np.array([process.error_sigma > 0.1 for process in beliefs.processes])
        return float(beliefs.weights[lasting].sum())

    assert weight_of_lasting_errors(0.0) < 0.05
    assert weight_of_lasting_errors(1.2) > 0.9


def test_a_true_prior_corrects_the_scale_at_once_and_one_that_errs_does_not() -> None:
    def scale_after_step(error_share: float) -> float:
        rng = np.random.default_rng(9)
        ratios = -error_share * _network_error(rng, 220) + 0.02 * rng.standard_normal(220)
        ratios[200:] += 0.05
        beliefs = ScaleBeliefs.at_start(PROCESS).measured(float(ratios[0]))
        at_step = 0.0
        for k, ratio in enumerate(ratios[1:], start=1):
            beliefs = beliefs.after(STEP_M, 0.0).measured(float(ratio))
            at_step = beliefs.log_scale if k == 199 else at_step
        return beliefs.log_scale - at_step

    assert scale_after_step(0.0) > 0.02
    assert abs(scale_after_step(1.2)) < 0.02


def test_a_map_that_lost_its_scale_is_put_right_and_five_wrong_frames_are_not() -> None:
    beliefs = ScaleBeliefs.at_start(PROCESS)
    rng = np.random.default_rng(10)
    for _ in range(120):
        beliefs = beliefs.after(STEP_M, 0.0).measured(0.02 * rng.standard_normal())
    before = beliefs.log_scale
    for k in range(12):
        beliefs = beliefs.after(STEP_M, 0.0).measured(-0.5 + 0.02 * rng.standard_normal())
        if k < 5:
            assert abs(beliefs.log_scale - before) < 0.03
    assert beliefs.log_scale - before == pytest.approx(-0.5, abs=0.12)
