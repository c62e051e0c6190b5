"""The colours of drawn views: the seed decides them, and gray is gray."""

from __future__ import annotations

import numpy as np
import pytest

from training.augment import dapple, filter_at_random, photometric, smooth_over


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 255, (96, 200, 3), dtype=np.uint8)


def test_the_same_seed_gives_the_same_colours(image):
    for seed in range(12):
        first, second = (photometric(np.random.default_rng(seed), image, 0.3) for _ in range(2))
        np.testing.assert_array_equal(first, second)
        assert first.shape == image.shape and first.dtype == np.uint8


def test_every_seed_gives_other_colours(image):
    means = [photometric(np.random.default_rng(seed), image, 0.0).mean(axis=(0, 1)) for seed in range(12)]
    assert np.std(means, axis=0).min() > 8


def test_gray_has_one_colour(image):
    rng = np.random.default_rng(0)
    grays = [photometric(rng, image, 1.0) for _ in range(20)]
    assert np.median([np.ptp(gray.astype(int), axis=2).mean() for gray in grays]) < 25


@pytest.mark.parametrize("seed", range(20))
def test_dappled_light_only_darkens(image, seed):
    pixels = image.astype(np.float32) / 255
    dappled = dapple(np.random.default_rng(seed), pixels)
    assert dappled.dtype == np.float32 and dappled.shape == pixels.shape
    ratio = dappled.max(axis=2) / np.maximum(pixels.max(axis=2), 1e-3)
    assert (ratio <= 1 + 1e-5).all()
    assert ratio.min() < 0.8 and ratio.max() > 0.9
    # Light changes, colours of things do not.
    np.testing.assert_allclose(dappled, pixels * ratio[..., None], atol=2e-3)


def test_a_random_filter_keeps_edges_and_loses_colours():
    halves = np.zeros((96, 200, 3), dtype=np.float32)
    halves[:, 100:] = (0.9, 0.5, 0.2)
    for seed in range(20):
        filtered = filter_at_random(np.random.default_rng(seed), halves)
        assert filtered.dtype == np.float32 and filtered.min() >= 0 and filtered.max() <= 1
        left, right = filtered[8:-8, 8:92], filtered[8:-8, 108:-8]
        assert np.ptp(left, axis=(0, 1)).max() < 1e-4 and np.ptp(right, axis=(0, 1)).max() < 1e-4
    colours = [filter_at_random(np.random.default_rng(seed), halves)[48, 150] for seed in range(20)]
    assert np.std(colours, axis=0).min() > 0.05


def test_smoothing_takes_grain_out_and_keeps_the_mean(image):
    pixels = image.astype(np.float32) / 255
    lost = []
    for seed in range(40):
        smooth = smooth_over(np.random.default_rng(seed), pixels)
        assert smooth.dtype == np.float32 and smooth.shape == pixels.shape
        assert smooth.mean() == pytest.approx(pixels.mean(), abs=0.02)
        grain, left = (np.abs(np.diff(of, axis=1)).mean(axis=(1, 2)) for of in (pixels, smooth))
        assert (left <= grain * 1.02).all()
        lost.append(1 - left / grain)
    assert np.median([rows.max() for rows in lost]) > 0.3
    # Some only in the lower rows, some everywhere.
    assert any(rows[:20].max() < 1e-6 and rows[-10:].min() > 0.2 for rows in lost)
    assert any(rows.min() > 0.2 for rows in lost)
