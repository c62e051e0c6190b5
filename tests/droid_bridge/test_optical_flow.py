from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from droid_bridge.matching.matcher import FramePair, Match
from droid_bridge.matching.optical_flow import OpticalFlowMatcher

MATCHER = OpticalFlowMatcher()


def _texture(seed: int = 0, height: int = 160, width: int = 320) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    gray = np.zeros((height, width), dtype=np.float32)
    for blur_px in (1.5, 4.0, 12.0):
        layer = cv2.GaussianBlur(rng.uniform(0, 1, (height, width)).astype(np.float32), (0, 0), blur_px)
        gray += (layer - layer.mean()) / layer.std()
    gray = 128 + (gray - gray.mean()) / gray.std() * 45
    return np.repeat(np.clip(gray, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def _shifted(image: NDArray[np.uint8], right_px: float, down_px: float) -> NDArray[np.uint8]:
    move = np.array([[1, 0, right_px], [0, 1, down_px]], dtype=np.float32)
    size = (image.shape[1], image.shape[0])
    return np.asarray(
        cv2.warpAffine(image, move, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT), dtype=np.uint8
    )


def _match(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> tuple[Match, Match]:
    both = MATCHER.match([FramePair(MATCHER.prepare(first), MATCHER.prepare(second))])[0]
    return both.forward, both.backward


def _motion_px(match: Match) -> NDArray[np.float32]:
    v, u = np.mgrid[: match.coords.shape[0], : match.coords.shape[1]]
    return 8 * (match.coords - np.stack([u, v], axis=-1)).astype(np.float32)


def test_a_shift_is_found_both_ways_to_a_fraction_of_a_pixel() -> None:
    image = _texture()
    forward, backward = _match(image, _shifted(image, 6.4, -2.7))
    inner = slice(3, -3)
    error = np.abs(_motion_px(forward)[inner, inner] - [6.4, -2.7])
    assert np.median(error) < 0.1
    assert np.abs(np.median(_motion_px(backward)[inner, inner], axis=(0, 1)) - [-6.4, 2.7]).max() < 0.1
    assert forward.matched_share > 0.8


def test_an_expected_motion_finds_what_a_cold_start_cannot() -> None:
    image = _texture(1)
    first, second = MATCHER.prepare(image), MATCHER.prepare(_shifted(image, 90.0, 0.0))
    v, u = np.mgrid[:20, :40]
    own = np.stack([u, v], axis=-1).astype(np.float32)
    expected = own + np.array([84 / 8, 0], dtype=np.float32)
    back = own - np.array([84 / 8, 0], dtype=np.float32)
    guided = MATCHER.match([FramePair(first, second, expected, back)])[0].forward
    cold = MATCHER.match([FramePair(first, second)])[0].forward
    left = np.s_[2:-2, 2:22]
    guided_error = np.linalg.norm(_motion_px(guided)[left] - [90, 0], axis=-1)
    cold_error = np.linalg.norm(_motion_px(cold)[left] - [90, 0], axis=-1)
    assert np.median(guided_error) < 0.5
    assert np.mean(cold_error < 1) < 0.5


def test_a_cold_start_does_not_remember_an_earlier_expectation() -> None:
    image = _texture(6)
    pair = FramePair(MATCHER.prepare(image), MATCHER.prepare(_shifted(image, 5.0, 0.0)))
    fresh = OpticalFlowMatcher().match([pair])[0]
    misled = np.full((20, 40, 2), 30.0, dtype=np.float32)
    for _ in range(4):
        MATCHER.match([FramePair(pair.first, pair.second, misled, misled)])
    np.testing.assert_array_equal(MATCHER.match([pair])[0].forward.coords, fresh.forward.coords)


def test_cells_that_leave_the_image_have_no_weight() -> None:
    image = _texture(2)
    forward, _ = _match(image, _shifted(image, 24.0, 0.0))
    assert forward.weight[:, -2:].max() == 0
    assert np.median(forward.weight[3:-3, 3:-6].min(axis=-1)) > 0


def test_texture_decides_the_weight_of_each_coordinate() -> None:
    stripes = np.repeat(_texture(7)[:1], 160, axis=0)
    stripes[80:] = 128
    forward, _ = _match(stripes, _shifted(stripes, 2.0, 0.0))
    along_x, along_y = np.median(forward.weight[2:8, 4:-4], axis=(0, 1))
    assert along_x > 5 * along_y
    assert np.median(forward.weight[13:18, 4:-4]) < 0.05 * along_x


def test_an_occluded_region_does_not_match() -> None:
    image, other = _texture(3), _texture(4)
    second = image.copy()
    second[40:120, 100:220] = other[40:120, 100:220]
    forward, _ = _match(image, second)
    inside = forward.weight[6:14, 14:26].max(axis=-1) > 0
    outside = forward.weight[:, :10].max(axis=-1) > 0
    assert inside.mean() < 0.4
    assert outside.mean() > 0.95


@pytest.mark.parametrize("level", [0, 255])
def test_blank_images_give_finite_matches_of_little_weight(level: int) -> None:
    blank = np.full((64, 96, 3), level, dtype=np.uint8)
    forward, backward = _match(blank, blank)
    for match in (forward, backward):
        assert np.isfinite(match.coords).all()
        assert np.isfinite(match.weight).all()
        assert match.weight.max() < 2


def test_repeats_give_the_same_numbers() -> None:
    image = _texture(5)
    second = _shifted(image, 3.3, 1.1)
    again = [_match(image, second)[0] for _ in range(3)]
    for other in again[1:]:
        np.testing.assert_array_equal(other.coords, again[0].coords)
        np.testing.assert_array_equal(other.weight, again[0].weight)
