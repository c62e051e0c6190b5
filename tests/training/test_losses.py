"""The losses against a second, plain numpy version."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training.losses import (
    confidence_loss,
    confidence_target,
    image_scale_loss,
    log_error,
    log_gradient_loss,
    log_l1_loss,
    silog_loss,
)


@pytest.fixture
def images():
    rng = np.random.default_rng(3)
    log_depth = rng.normal(3, 1, size=(3, 1, 17, 23))
    depth = np.exp(rng.normal(3, 1, size=(3, 1, 17, 23)))
    depth[rng.random(depth.shape) < 0.3] = np.nan
    return log_depth.astype(np.float32), depth.astype(np.float32)


def as_tensors(images):
    log_depth, depth = (torch.from_numpy(array) for array in images)
    labelled = torch.isfinite(depth)
    return log_error(log_depth, depth, labelled), labelled


def errors_per_image(images):
    log_depth, depth = (array.astype(np.float64) for array in images)
    return [(p - np.log(t))[np.isfinite(t)] for p, t in zip(log_depth, depth, strict=True)]


def test_log_l1_is_the_mean_over_labelled_pixels(images):
    expected = np.mean(np.abs(np.concatenate(errors_per_image(images))))
    assert float(log_l1_loss(*as_tensors(images))) == pytest.approx(expected, rel=1e-5)


def test_silog_per_image(images):
    expected = np.mean([np.mean(g**2) - 0.5 * np.mean(g) ** 2 for g in errors_per_image(images)])
    assert float(silog_loss(*as_tensors(images))) == pytest.approx(expected, rel=1e-5)


def test_image_scale_is_the_mean_log_error_per_image(images):
    expected = np.mean([abs(np.mean(g)) for g in errors_per_image(images)])
    assert float(image_scale_loss(*as_tensors(images))) == pytest.approx(expected, rel=1e-4)


def test_gradient_loss_pair_by_pair(images):
    log_depth, depth = images
    g = log_depth.astype(np.float64) - np.log(depth.astype(np.float64))
    total = 0.0
    for step in (1, 2, 4, 8):
        sub = g[:, 0, ::step, ::step]
        for change in (np.diff(sub, axis=1), np.diff(sub, axis=2)):
            total += np.nanmean(np.abs(change)) / 4
    assert float(log_gradient_loss(*as_tensors(images))) == pytest.approx(total, rel=1e-5)


def test_confidence_target_is_one_minus_relative_error(images):
    g, labelled = as_tensors(images)
    log_depth, depth = images
    expected = np.clip(1 - np.abs(np.exp(log_depth) - depth) / depth, 0, None)
    np.testing.assert_allclose(confidence_target(g, labelled).numpy(), np.nan_to_num(expected, nan=0.0), atol=1e-4)


def test_confidence_loss_ignores_padding(images):
    g, labelled = as_tensors(images)
    content = torch.ones_like(labelled)
    content[..., :5] = False
    logit = torch.zeros_like(g)
    changed = logit.clone()
    changed[..., :5] = 9.0
    assert float(confidence_loss(logit, g, labelled, content)) == pytest.approx(np.log(2), rel=1e-5)
    assert float(confidence_loss(changed, g, labelled, content)) == pytest.approx(np.log(2), rel=1e-5)


def test_nothing_labelled_gives_zero_and_finite_gradients():
    log_depth = torch.zeros(2, 1, 16, 16, requires_grad=True)
    depth = torch.full((2, 1, 16, 16), float("nan"))
    labelled = torch.isfinite(depth)
    g = log_error(log_depth, depth, labelled)
    total = log_l1_loss(g, labelled) + silog_loss(g, labelled) + log_gradient_loss(g, labelled)
    total.backward()
    assert total.item() == 0
    assert torch.isfinite(log_depth.grad).all()


def test_unlabelled_pixels_get_no_gradient(images):
    log_depth = torch.from_numpy(images[0]).requires_grad_()
    depth = torch.from_numpy(images[1])
    labelled = torch.isfinite(depth)
    g = log_error(log_depth, depth, labelled)
    (log_l1_loss(g, labelled) + log_gradient_loss(g, labelled) + image_scale_loss(g, labelled)).backward()
    assert torch.isfinite(log_depth.grad).all()
    assert (log_depth.grad[~labelled] == 0).all()
    assert (log_depth.grad[labelled] != 0).any()
