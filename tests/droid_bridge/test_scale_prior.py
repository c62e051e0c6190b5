from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from droid_bridge.scale_prior import (
    CellPrior,
    KnownDepth,
    ScalePriorOptions,
    cell_prior,
    fit_prior,
    pool_depth,
    prior_terms,
    trusted,
)

OPTIONS = ScalePriorOptions()
CPU = torch.device("cpu")


def _prior(depth_m: float | torch.Tensor, cells: int = 400, sigma: float = 0.1) -> CellPrior:
    depth = torch.as_tensor(depth_m, dtype=torch.float32).expand(cells)
    return CellPrior(-torch.log(depth), torch.zeros(cells), sigma)


def test_pooling_takes_the_median_of_each_cell() -> None:
    depth = np.full((16, 24), np.nan, dtype=np.float32)
    depth[0, 0], depth[3, 5], depth[7, 7] = 4.0, 5.0, 90.0
    depth[8, 23] = 12.0
    log_depth, scatter = pool_depth(depth, columns=3, rows=2)
    assert math.exp(log_depth[0]) == pytest.approx(5.0)
    assert math.exp(log_depth[5]) == pytest.approx(12.0)
    assert np.isnan(log_depth[[1, 2, 3, 4]]).all()
    assert scatter[0] > 0.5
    assert scatter[5] == 0


@given(st.integers(0, 1000), st.sampled_from([(375, 1242), (96, 320), (50, 70)]))
@settings(max_examples=10, deadline=None)
def test_pooling_agrees_with_a_loop(seed: int, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(seed)
    depth = np.full(size, np.nan, dtype=np.float32)
    chosen = rng.choice(depth.size, 700, replace=False)
    depth.flat[chosen] = rng.uniform(1, 80, 700)
    columns, rows = 10, 6
    log_depth, _ = pool_depth(depth, columns, rows)
    for row in range(rows):
        for column in range(columns):
            ys = [y for y in range(size[0]) if y * rows // size[0] == row]
            xs = [x for x in range(size[1]) if x * columns // size[1] == column]
            readings = np.sort(depth[np.ix_(ys, xs)].ravel())
            readings = readings[np.isfinite(readings)]
            found = log_depth[row * columns + column]
            if readings.size == 0:
                assert np.isnan(found)
            else:
                assert found == pytest.approx(np.median(np.log(readings)), rel=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0.0, -3.0])
def test_bad_readings_are_no_readings(bad: float) -> None:
    depth = np.full((64, 64), 10.0, dtype=np.float32)
    depth[:, :60] = bad
    log_depth, _ = pool_depth(depth, 8, 8)
    assert np.isnan(log_depth.reshape(8, 8)[:, :7]).all()
    np.testing.assert_allclose(np.exp(log_depth.reshape(8, 8)[:, 7]), 10.0, rtol=1e-6)
    assert cell_prior(np.full((64, 64), bad, dtype=np.float32), 8, 8, OPTIONS, CPU) is None


def test_a_dense_map_pools_like_its_own_cells() -> None:
    depth = np.repeat(np.repeat(np.arange(1, 13, dtype=np.float32).reshape(3, 4), 100, 0), 100, 1)
    log_depth, scatter = pool_depth(depth, 4, 3)
    np.testing.assert_allclose(np.exp(log_depth), np.arange(1, 13), rtol=1e-6)
    assert (scatter == 0).all()


def test_fit_measures_scale_and_error_apart() -> None:
    rng = np.random.default_rng(3)
    truth = torch.from_numpy(rng.uniform(4, 40, 400).astype(np.float32))
    noisy = truth * torch.from_numpy(np.exp(0.05 * rng.standard_normal(400)).astype(np.float32))
    fit = fit_prior(_prior(noisy / 1.25), KnownDepth(1 / truth, torch.full((400,), 1e-4)))
    assert fit is not None
    assert math.exp(fit.log_scale) == pytest.approx(1.25, rel=0.02)
    assert fit.error * 1.4826 == pytest.approx(0.05, rel=0.2)
    assert fit_prior(_prior(noisy), KnownDepth(1 / truth, torch.full((400,), torch.inf))) is None


def test_depths_that_matches_hardly_know_do_not_move_the_scale() -> None:
    rng = np.random.default_rng(7)
    truth = torch.from_numpy(rng.uniform(4, 40, 4000).astype(np.float32))
    noisy = truth * torch.from_numpy(np.exp(0.1 * rng.standard_normal(4000)).astype(np.float32))
    unsure = torch.arange(4000) < 800
    mapped = torch.where(unsure, 16 * truth, truth)
    fit = fit_prior(_prior(noisy, 4000), KnownDepth(1 / mapped, torch.where(unsure, 4.0, 1e-3)))
    assert fit is not None and abs(fit.log_scale) < 0.01
    counted_alike = fit_prior(_prior(noisy, 4000), KnownDepth(1 / mapped, torch.full((4000,), 1e-3)))
    assert counted_alike is not None and counted_alike.log_scale > 0.02


def test_trust_follows_the_measured_error() -> None:
    rng = np.random.default_rng(4)
    flat = KnownDepth(torch.full((400,), 0.1), torch.full((400,), 1e-4))

    def refined(relative_noise: float) -> CellPrior:
        depth = torch.from_numpy((10 * np.exp(relative_noise * rng.standard_normal(400))).astype(np.float32))
        prior = _prior(depth)
        return trusted(prior, fit_prior(prior, flat), OPTIONS)

    good, fair = refined(0.02), refined(0.2)
    assert good.sigma == pytest.approx(OPTIONS.min_cell_sigma)
    assert fair.sigma == pytest.approx(0.2, rel=0.2)
    assert refined(1.5).sigma == pytest.approx(OPTIONS.max_cell_sigma)


def _optimal_log_offset(log_noise: np.ndarray[tuple[int], np.dtype[np.float64]], sigma: float) -> float:
    """Where a single common depth settles under the prior alone, as log of depth over truth."""
    prior = _prior(torch.from_numpy(np.exp(log_noise).astype(np.float32)), log_noise.size, sigma)
    log_inverse_depth = torch.zeros(1, dtype=torch.float64)
    for _ in range(30):
        inverse_depth = torch.exp(log_inverse_depth).float().expand(1, log_noise.size)
        terms = prior_terms([prior], inverse_depth, torch.zeros(1, dtype=torch.float64), OPTIONS)
        step = (terms.information * terms.residual).sum() / terms.information.sum()
        log_inverse_depth = log_inverse_depth + step.double()
    return -float(log_inverse_depth)


@pytest.mark.parametrize("noise", [0.1, 0.2, 0.4])
def test_relative_noise_does_not_bias_the_scale(noise: float) -> None:
    log_noise = noise * np.random.default_rng(5).standard_normal(20_000)
    assert abs(_optimal_log_offset(log_noise, sigma=noise)) < 0.01


def test_a_third_of_gross_outliers_hardly_moves_the_scale() -> None:
    rng = np.random.default_rng(6)
    log_noise = 0.05 * rng.standard_normal(3000)
    log_noise[:1000] += 1.5
    assert abs(_optimal_log_offset(log_noise, sigma=0.05)) < 0.01


def test_a_frame_of_wrong_scale_pulls_with_bounded_force() -> None:
    inverse_depth = torch.full((2, 400), 0.1)
    log_scale = torch.tensor([0.05, 5.0], dtype=torch.float64)
    terms = prior_terms([_prior(10.0), _prior(10.0)], inverse_depth, log_scale, OPTIONS)
    pull = terms.scale_information * terms.scale_residual
    assert float(pull[0]) == pytest.approx(-0.05 / OPTIONS.frame_sigma**2)
    assert float(pull[1]) == pytest.approx(-OPTIONS.huber_sigmas / OPTIONS.frame_sigma)


def test_what_is_expected_of_a_frame_does_not_pull() -> None:
    log_scale = torch.tensor([-0.2], dtype=torch.float64)
    prior = replace(_prior(10.0), expected_log_scale=-0.2)
    terms = prior_terms([prior], torch.full((1, 400), 0.1), log_scale, OPTIONS)
    assert float(terms.scale_residual[0]) == 0
    assert prior.rescaled(0.2).expected_log_scale == pytest.approx(0.0)


def test_confidence_weighs_the_cells() -> None:
    depth = np.full((64, 64), 10.0, dtype=np.float32)
    confidence = np.ones((64, 64), dtype=np.float32)
    confidence[:32], confidence[32:40] = 0.25, np.nan
    prior = cell_prior(depth, 8, 8, OPTIONS, CPU, confidence)
    assert prior is not None
    information = prior.information.reshape(8, 8)
    assert float(information[0, 0] / information[7, 0]) == pytest.approx(0.25)
    assert float(information[4].max()) == 0


def test_a_prior_yields_where_the_flow_is_sure() -> None:
    terms = prior_terms([_prior(10.0)], torch.full((1, 400), 0.1), torch.zeros(1, dtype=torch.float64), OPTIONS)
    alone = terms.beside(torch.zeros(1, 400))
    torch.testing.assert_close(alone, terms.information)
    equal = terms.beside(terms.information / terms.yields)
    torch.testing.assert_close(equal, 0.5 * terms.information)
    assert float(terms.beside(torch.full((1, 400), 1e9)).max()) < 1e-3 * float(terms.information.max())


def test_frames_without_prior_say_nothing() -> None:
    terms = prior_terms(
        [None, _prior(10.0)], torch.full((2, 400), 0.1), torch.zeros(2, dtype=torch.float64), OPTIONS
    )
    assert float(terms.information[0].abs().sum() + terms.residual[0].abs().sum()) == 0
    assert float(terms.scale_information[0]) == 0
    assert float(terms.information[1].min()) > 0
