"""The views of the canonical-space experiment: no focal length is both trained with and judged."""

from __future__ import annotations

import numpy as np
import pytest

from training.canonical_views import FocalLengths, is_unseen_focal, random_camera


@pytest.mark.parametrize(
    "where, lowest_px, highest_px",
    [(FocalLengths.SEEN, 300, 2000), (FocalLengths.BETWEEN, 350, 1850), (FocalLengths.BEYOND, 180, 3000)],
)
def test_training_never_sees_a_focal_length_it_is_judged_at(where, lowest_px, highest_px):
    rng = np.random.default_rng(0)
    cameras = [random_camera(rng, where) for _ in range(200)]
    focal_px = [camera.fx * 3 for camera in cameras]
    assert all(is_unseen_focal(focal) is (where is not FocalLengths.SEEN) for focal in focal_px)
    assert {(camera.width_px, camera.height_px) for camera in cameras} == {(320, 128)}
    assert lowest_px <= min(focal_px) < 1.2 * lowest_px
    assert 0.9 * highest_px < max(focal_px) <= highest_px
    if where is FocalLengths.BEYOND:
        assert not any(300 <= focal <= 2000 for focal in focal_px)
