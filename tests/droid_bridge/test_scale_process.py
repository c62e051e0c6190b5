from __future__ import annotations

import math
from dataclasses import replace

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


UNTOLD = replace(PROCESS, told_height_sigma=1.0)


def _with_heights(
    process: ScaleProcess, true_scale: NDArray[np.float64], height_log_error: float, prior_log_error: float
) -> ScaleBeliefs:
    """The belief at the end of a drive over whose first 100 m the prior errs."""
    rng = np.random.default_rng(7)
    beliefs = ScaleBeliefs.at_start(process)
    for k, scale in enumerate(true_scale):
        beliefs = beliefs.after(STEP_M, 0.0) if k else beliefs
        prior_error = prior_log_error if k < 100 else 0.0
        beliefs = beliefs.measured(scale - prior_error + 0.02 * float(rng.standard_normal()))
        seen = scale + height_log_error + PROCESS.height_sigma * float(rng.standard_normal())
        beliefs = beliefs.measured_height(seen, STEP_M if k else math.inf)
    return beliefs


def test_a_told_height_outvotes_a_prior_that_is_a_tenth_too_deep() -> None:
    beliefs = _with_heights(PROCESS, np.zeros(100), 0.0, prior_log_error=0.1)
    assert beliefs.log_scale == pytest.approx(0, abs=0.03)
    assert math.sqrt(beliefs.log_scale_variance) < 0.02


def test_a_height_that_is_not_told_is_found_and_carries_the_scale() -> None:
    """The map grows by 15 %; two thirds of the prior are right, and the height is twice the one guessed."""
    grown = 0.15 * np.arange(300) / 300
    beliefs = _with_heights(UNTOLD, grown, math.log(2), prior_log_error=0.05)
    assert beliefs.log_scale == pytest.approx(grown[-1], abs=0.05)
    assert beliefs.height_log_error == pytest.approx(math.log(2), abs=0.05)
    assert beliefs.log_scale + beliefs.height_log_error == pytest.approx(grown[-1] + math.log(2), abs=0.015)


def test_a_new_map_gets_its_unit_from_the_height_that_the_last_one_found() -> None:
    found = _with_heights(UNTOLD, np.zeros(300), math.log(2), prior_log_error=0.0)
    anew = found.with_unknown_scale().measured_height(math.log(2) - 0.7, math.inf)
    assert anew.log_scale == pytest.approx(-0.7 + math.log(2) - found.height_log_error, abs=0.01)


@given(readings=st.integers(2, 40))
def test_heights_read_on_the_spot_tell_no_more_than_their_way(readings: int) -> None:
    """Readings a centimetre apart tell together hardly more than the first; far apart they are independent."""
    near = far = ScaleBelief.at_start(PROCESS).measured_height(0.0, PROCESS, math.inf)
    for _ in range(readings):
        near = near.measured_height(0.0, PROCESS, 0.01)
        far = far.measured_height(0.0, PROCESS, 100.0)
    assert near.log_scale_sigma == pytest.approx(
        math.hypot(PROCESS.height_sigma, PROCESS.told_height_sigma), rel=0.02
    )
    assert far.log_scale_sigma == pytest.approx(
        math.hypot(PROCESS.height_sigma / math.sqrt(readings + 1), PROCESS.told_height_sigma), rel=0.02
    )


def test_a_car_taken_for_ground_moves_little_and_a_map_that_changed_is_followed() -> None:
    beliefs = ScaleBeliefs.at_start(PROCESS)
    for k in range(60):
        beliefs = beliefs.after(STEP_M, 0.0).measured_height(0.0, STEP_M if k else math.inf)
    misled = beliefs
    for _ in range(4):
        misled = misled.after(STEP_M, 0.0).measured_height(-0.5, STEP_M)
    assert abs(misled.log_scale) < 0.01
    for _ in range(20):
        misled = misled.after(STEP_M, 0.0).measured_height(-0.5, STEP_M)
    assert misled.log_scale == pytest.approx(-0.5, abs=0.02)


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
