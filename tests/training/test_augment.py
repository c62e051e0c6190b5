"""The colours of drawn views: the seed decides them, and gray is gray."""

from __future__ import annotations

import numpy as np
import pytest

from training.augment import photometric


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
