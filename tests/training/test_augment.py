"""Augmentation keeps image, depth and canonical space together."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from training.augment import augment, pad_to_network, photometric, resize_in_canonical_space


def ground_view(height_px=96, width_px=200, horizon_px=40.0, mount_m=1.6):
    """Canonical depth of flat ground: 1000 h / (v - horizon), above it nothing."""
    rows = np.arange(height_px, dtype=np.float64)
    depth = np.where(rows > horizon_px + 3, 1000 * mount_m / np.maximum(rows - horizon_px, 1e-9), np.nan)
    image = np.random.default_rng(0).integers(0, 255, (height_px, width_px, 3), dtype=np.uint8)
    return image, np.repeat(depth[:, None], width_px, axis=1).astype(np.float32)


@given(scale=st.floats(0.5, 2.0))
@settings(max_examples=40, deadline=None)
def test_resized_ground_is_still_the_ground_of_that_camera_height(scale):
    image, depth = ground_view()
    _, resized = resize_in_canonical_space(image, depth, scale)
    rows_ratio = resized.shape[0] / depth.shape[0]
    rows = np.arange(resized.shape[0])
    horizon = (40.0 + 0.5) * rows_ratio - 0.5
    seen = np.isfinite(resized[:, 0]) & (rows > horizon + 12)
    mount_m = resized[seen, 0] * (rows[seen] - horizon) / 1000
    # Nearest-neighbour rows are off by at most half a source pixel.
    np.testing.assert_allclose(mount_m, 1.6, rtol=0.15)
    assert abs(np.median(mount_m) - 1.6) < 0.08


@given(seed=st.integers(0, 10_000), gray=st.sampled_from([0.0, 1.0]))
@settings(max_examples=40, deadline=None)
def test_samples_have_the_network_size_and_no_depth_in_the_padding(seed, gray):
    rng = np.random.default_rng(seed)
    image, depth = ground_view(int(rng.integers(40, 160)), int(rng.integers(100, 544)))
    sample = augment(
        rng, image, depth, height_px=160, width_px=544, resize_range=(0.8, 1.25), gray_probability=gray
    )
    assert sample.image.shape == (3, 160, 544)
    assert sample.image.dtype == np.uint8
    assert np.isnan(sample.depth[~sample.content]).all()
    padding = sample.image[:, ~sample.content]
    assert (padding == np.array([[124], [116], [104]])).all()


def test_flip_mirrors_image_and_depth_alike():
    image, depth = ground_view()
    image[:, :100] = 0
    image[:, 100:] = 255
    depth[:, :100] = 7.0
    depth[:, 100:] = 9.0
    for seed in range(8):
        sample = augment(
            np.random.default_rng(seed),
            image,
            depth,
            height_px=96,
            width_px=224,
            resize_range=(1.0, 1.0),
            gray_probability=0.0,
        )
        left, right = sample.depth[50, 20], sample.depth[50, -20]
        assert {float(left), float(right)} == {7.0, 9.0}


def test_same_seed_same_sample():
    image, depth = ground_view()
    first, second = (
        augment(
            np.random.default_rng(5),
            image,
            depth,
            height_px=160,
            width_px=544,
            resize_range=(0.8, 1.25),
            gray_probability=0.3,
        )
        for _ in range(2)
    )
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.depth, second.depth)


def test_gray_has_one_colour():
    image, _ = ground_view()
    rng = np.random.default_rng(0)
    grays = [photometric(rng, image, 1.0) for _ in range(20)]
    assert np.median([np.ptp(gray.astype(int), axis=2).mean() for gray in grays]) < 25


def test_padding_is_centred():
    image, depth = ground_view(100, 300)
    sample = pad_to_network(image, depth, 160, 544)
    rows, columns = np.nonzero(sample.content)
    assert (rows.min(), rows.max()) == (30, 129)
    assert (columns.min(), columns.max()) == (122, 421)
