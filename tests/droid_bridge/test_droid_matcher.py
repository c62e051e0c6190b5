from __future__ import annotations

import gc
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from handmade_droid_net import handmade_net
from numpy.typing import NDArray
from seeded_droid_net import seeded_net

from droid_bridge.errors import DroidBridgeError
from droid_bridge.matching.droid_net.correlation import StoredCorrelation
from droid_bridge.matching.droid_net.matcher import PRECISIONS, DroidFeatures, DroidMatcher, DroidMatcherOptions
from droid_bridge.matching.droid_net.network import DroidNet, own_coords
from droid_bridge.matching.matcher import FramePair, Match, PairMatch

ROWS, COLUMNS = 8, 10
FEW = DroidMatcherOptions(cold_updates=3, guided_updates=2, rematches=1)
GPU = pytest.mark.gpu
CUDA_MISSING = not torch.cuda.is_available()


@pytest.fixture(scope="module")
def net() -> DroidNet:
    return seeded_net()


@pytest.fixture(scope="module")
def matcher(net: DroidNet) -> DroidMatcher:
    return DroidMatcher(net, options=FEW)


def _image(seed: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    noise = rng.uniform(0, 255, (8 * ROWS, 8 * COLUMNS, 3)).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 2.0) * 3 % 256, dtype=np.uint8)


def _own() -> NDArray[np.float32]:
    return np.asarray(own_coords(ROWS, COLUMNS, torch.device("cpu")).permute(1, 2, 0))


def _expected(seed: int) -> NDArray[np.float32]:
    return (_own() + np.random.default_rng(seed).normal(0, 1, (ROWS, COLUMNS, 2))).astype(np.float32)


def _assert_same(found: PairMatch, expected: PairMatch, atol: float = 1e-4) -> None:
    for one, other in ((found.forward, expected.forward), (found.backward, expected.backward)):
        np.testing.assert_allclose(one.coords, other.coords, atol=atol)
        np.testing.assert_allclose(one.weight, other.weight, atol=256 * atol)


def _is_finite(match: Match) -> bool:
    shape = (ROWS, COLUMNS, 2)
    right = match.coords.shape == match.weight.shape == shape and match.coords.dtype == match.weight.dtype
    return bool(right and np.isfinite(match.coords).all() and np.isfinite(match.weight).all())


class TestOneCall:
    """What comes back for the pairs of one call."""

    def test_pairs_of_a_call_do_not_touch_each_other(self, matcher: DroidMatcher) -> None:
        first, second, third = (matcher.prepare(_image(k)) for k in range(3))
        pairs = [
            FramePair(first, second),
            FramePair(second, third, _expected(1), _expected(2)),
            FramePair(third, first, _expected(3), None),
        ]
        together = matcher.match(pairs)
        for pair, found in zip(pairs, together, strict=True):
            _assert_same(found, matcher.match([pair])[0])

    def test_backward_is_the_forward_of_the_swapped_pair(self, matcher: DroidMatcher) -> None:
        first, second = matcher.prepare(_image(0)), matcher.prepare(_image(1))
        found = matcher.match([FramePair(first, second, _expected(1), _expected(2))])[0]
        swapped = matcher.match([FramePair(second, first, _expected(2), _expected(1))])[0]
        _assert_same(found, PairMatch(swapped.backward, swapped.forward))

    def test_no_pairs_are_no_matches(self, matcher: DroidMatcher) -> None:
        assert matcher.match([]) == []

    def test_on_demand_correlation_changes_nothing(self, net: DroidNet, matcher: DroidMatcher) -> None:
        lean = DroidMatcher(net, options=replace(FEW, correlation="on_demand"))
        found = [m.match([FramePair(*(m.prepare(_image(k)) for k in range(2)))])[0] for m in (lean, matcher)]
        _assert_same(*found)

    @pytest.mark.parametrize("precision", ["bfloat16", "float16"])
    def test_half_precision_is_close_enough_to_be_the_same_network(
        self, net: DroidNet, matcher: DroidMatcher, precision: str
    ) -> None:
        half = DroidMatcher(net, options=replace(FEW, precision=precision, correlation="on_demand"))
        features = half.prepare(_image(0))
        assert features.features.dtype == features.hidden.dtype == PRECISIONS[precision]
        found = half.match([FramePair(features, half.prepare(_image(1)))])[0]
        assert _is_finite(found.forward)
        assert _is_finite(found.backward)
        exact = matcher.match([FramePair(matcher.prepare(_image(0)), matcher.prepare(_image(1)))])[0]
        assert np.abs(found.forward.coords - exact.forward.coords).mean() < 0.1

    def test_an_image_of_48_px_has_levels_without_a_cell(self, matcher: DroidMatcher) -> None:
        image = np.ascontiguousarray(_image(0)[:48, :48])
        features = matcher.prepare(image)
        match = matcher.match([FramePair(features, features)])[0].forward
        assert match.coords.shape == (6, 6, 2)
        assert np.isfinite(match.coords).all()


class TestSteps:
    """The recurrence against the network run by hand."""

    def _by_hand(
        self,
        net: DroidNet,
        source: DroidFeatures,
        target: DroidFeatures,
        expected: list[torch.Tensor],
        start: torch.Tensor,
    ) -> torch.Tensor:
        """Coordinates (2, rows, columns) after one step at each of the expected ones."""
        own = own_coords(ROWS, COLUMNS, torch.device("cpu"))[None]
        correlation = StoredCorrelation(source.features[None], target.features[None])
        hidden, found = source.hidden[None], start[None]
        with torch.inference_mode():
            for at in expected:
                looked = found if at is None else at[None]
                motion = torch.cat([looked - own, found - looked], dim=1)
                step = net.update(hidden, source.context[None], correlation.lookup(looked), motion)
                hidden, found = step.hidden, looked + step.delta
        return found[0]

    def test_a_new_pair_looks_where_its_last_step_found_the_match(
        self, net: DroidNet, matcher: DroidMatcher
    ) -> None:
        first, second = matcher.prepare(_image(0)), matcher.prepare(_image(1))
        match = matcher.match([FramePair(first, second)])[0].forward
        own = own_coords(ROWS, COLUMNS, torch.device("cpu"))
        by_hand = self._by_hand(net, first, second, [None] * FEW.cold_updates, own)
        np.testing.assert_allclose(match.coords, by_hand.permute(1, 2, 0), atol=1e-4)

    def test_a_pair_that_goes_on_steps_from_the_geometry_with_its_own_state(
        self, net: DroidNet, matcher: DroidMatcher
    ) -> None:
        first, second = matcher.prepare(_image(0)), matcher.prepare(_image(1))
        start, adjusted = _expected(5), _expected(6)
        matcher.match([FramePair(first, second, start, _own())])
        match = matcher.match([FramePair(first, second, adjusted, _own(), goes_on=True)])[0].forward
        start_t, adjusted_t = (torch.from_numpy(array).permute(2, 0, 1) for array in (start, adjusted))
        steps = [start_t, *[None] * (FEW.guided_updates - 1), adjusted_t]
        by_hand = self._by_hand(net, first, second, steps, start_t)
        np.testing.assert_allclose(match.coords, by_hand.permute(1, 2, 0), atol=1e-4)

    def test_only_going_on_remembers(self, matcher: DroidMatcher) -> None:
        first, second = matcher.prepare(_image(0)), matcher.prepare(_image(1))
        pair = FramePair(first, second, _expected(1), _expected(2))
        once, again = matcher.match([pair])[0], matcher.match([pair])[0]
        on = matcher.match([replace(pair, goes_on=True)])[0]
        _assert_same(once, again)
        assert np.abs(on.forward.coords - once.forward.coords).max() > 1e-2

    def test_going_on_without_a_past_is_a_start(self, matcher: DroidMatcher) -> None:
        first, second = matcher.prepare(_image(0)), matcher.prepare(_image(1))
        pair = FramePair(first, second, _expected(1), _expected(2))
        on = matcher.match([replace(pair, goes_on=True)])[0]
        _assert_same(on, matcher.match([pair])[0])

    def test_the_state_of_a_pair_goes_with_its_frames(self, net: DroidNet) -> None:
        matcher = DroidMatcher(net, options=FEW)
        first, second, third = (matcher.prepare(_image(k)) for k in range(3))
        matcher.match([FramePair(first, second), FramePair(first, third)])
        assert matcher.remembered_edges == 4
        del third
        gc.collect()
        assert matcher.remembered_edges == 2
        del first
        gc.collect()
        assert matcher.remembered_edges == 0


def _constant_net(delta_cells: tuple[float, float], weights: tuple[float, float]) -> DroidNet:
    """A network that corrects every coordinate alike and is as sure of it everywhere."""
    net = seeded_net()
    with torch.no_grad():
        for head, values in (
            (net.update.delta, delta_cells),
            (net.update.weight, torch.logit(torch.tensor(weights))),
        ):
            head[2].weight.zero_()
            head[2].bias.copy_(torch.as_tensor(values))
    return net


@pytest.fixture(scope="module")
def image() -> NDArray[np.uint8]:
    noise = np.random.default_rng(3).uniform(0, 255, (128, 224, 3)).astype(np.float32)
    layers = [cv2.GaussianBlur(noise, (0, 0), blur_px) for blur_px in (1.5, 4.0)]
    gray = sum((layer - layer.mean()) / layer.std() for layer in layers)
    return np.clip(128 + 30 * gray, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def handmade(image: NDArray[np.uint8]) -> DroidMatcher:
    return DroidMatcher(handmade_net(image), options=DroidMatcherOptions(cold_updates=6, guided_updates=4))


HALF_A_CELL_PX = 4


class TestShifts:
    """A network set by hand finds real motion, so signs and axes hold from the image to the match."""

    def _median_motion(
        self,
        matcher: DroidMatcher,
        image: NDArray[np.uint8],
        shift_px: tuple[int, int],
        expected_px: tuple[int, int] | None = None,
    ) -> list[NDArray[np.float32]]:
        """Median motion, in pixels, both ways, of the cells that stay in the image."""
        shifted = np.roll(image, (shift_px[1], shift_px[0]), axis=(0, 1))
        own = np.asarray(own_coords(16, 28, torch.device("cpu")).permute(1, 2, 0))
        pair = FramePair(matcher.prepare(image), matcher.prepare(shifted))
        if expected_px is not None:
            start = np.array(expected_px, dtype=np.float32) / 8
            pair = replace(pair, second_from_first=own + start, first_from_second=own - start)
        found = matcher.match([pair])[0]
        stays = np.s_[3:-3, 10:-10]
        both = (found.forward.coords - own, found.backward.coords - own)
        return [8 * np.median(motion[stays], axis=(0, 1)) for motion in both]

    @pytest.mark.parametrize("shift_px", [(16, -8), (-8, 16)])
    def test_a_shift_of_whole_cells_is_found_both_ways(
        self, handmade: DroidMatcher, image: NDArray[np.uint8], shift_px: tuple[int, int]
    ) -> None:
        forward, backward = self._median_motion(handmade, image, shift_px)
        np.testing.assert_allclose(forward, shift_px, atol=HALF_A_CELL_PX)
        np.testing.assert_allclose(backward, -np.array(shift_px), atol=HALF_A_CELL_PX)

    def test_an_expected_motion_finds_what_a_cold_start_cannot(
        self, handmade: DroidMatcher, image: NDArray[np.uint8]
    ) -> None:
        cold, _ = self._median_motion(handmade, image, (64, -8))
        guided, back = self._median_motion(handmade, image, (64, -8), expected_px=(56, 0))
        assert np.abs(cold - [64, -8]).max() > 16
        np.testing.assert_allclose(guided, [64, -8], atol=HALF_A_CELL_PX)
        np.testing.assert_allclose(back, [-64, 8], atol=HALF_A_CELL_PX)


class TestWeights:
    """What the network's confidence becomes."""

    def _match(self, delta_cells: tuple[float, float], weights: tuple[float, float]) -> Match:
        options = DroidMatcherOptions(cold_updates=1, sigma_px=0.5, max_sigma_px=2.0)
        matcher = DroidMatcher(_constant_net(delta_cells, weights), options=options)
        image = matcher.prepare(_image(0))
        return matcher.match([FramePair(image, image)])[0].forward

    def test_weight_one_is_half_a_pixel(self) -> None:
        match = self._match((0.25, -0.125), (0.999, 0.5))
        np.testing.assert_allclose(match.coords, _own() + np.array([0.25, -0.125]), atol=1e-5)
        np.testing.assert_allclose(1 / np.sqrt(match.weight[2, 3]) * 8, [0.5, 0.5 * np.sqrt(2)], rtol=1e-3)

    def test_the_better_coordinate_decides_whether_there_is_a_match(self) -> None:
        limit = (0.5 / 2.0) ** 2
        assert self._match((0, 0), (0.9 * limit, 0.9 * limit)).matched_share == 0
        assert self._match((0, 0), (0.01 * limit, 1.1 * limit)).matched_share == 1

    def test_cells_that_leave_the_image_have_no_match(self) -> None:
        right, down = self._match((2.4, 0.0), (0.9, 0.9)), self._match((0.0, -1.0), (0.9, 0.9))
        np.testing.assert_array_equal(right.weight.max(axis=(0, 2)) > 0, np.arange(COLUMNS) < COLUMNS - 2)
        np.testing.assert_array_equal(down.weight.max(axis=(1, 2)) > 0, np.arange(ROWS) > 0)

    def test_what_is_not_finite_is_no_match_and_is_forgotten(self) -> None:
        matcher = DroidMatcher(_constant_net((float("nan"), 0.0), (0.9, 0.9)), options=FEW)
        image = matcher.prepare(_image(0))
        match = matcher.match([FramePair(image, image)])[0].forward
        np.testing.assert_array_equal(match.coords, _own())
        assert match.matched_share == 0
        assert matcher.remembered_edges == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"cold_updates": 0},
        {"guided_updates": 0},
        {"rematches": -1},
        {"precision": "int8"},
        {"correlation": "imagined"},
        {"sigma_px": 0.0},
        {"sigma_px": 4.0},
    ],
)
def test_options_that_cannot_work_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(DroidBridgeError, match=next(iter(wrong))):
        DroidMatcherOptions(**wrong)  # type: ignore[arg-type]


@GPU
@pytest.mark.skipif(CUDA_MISSING, reason="no NVIDIA GPU")
@pytest.mark.parametrize("correlation", ["stored", "on_demand"])
@pytest.mark.parametrize(("precision", "atol"), [("float32", 5e-3), ("float16", 0.1)])
def test_cuda_gives_the_matches_of_the_cpu(
    matcher: DroidMatcher, correlation: str, precision: str, atol: float
) -> None:
    on_gpu = DroidMatcher(seeded_net(), "cuda", replace(FEW, correlation=correlation, precision=precision))
    expected, found = (
        m.match([FramePair(m.prepare(_image(0)), m.prepare(_image(1)), _expected(1), _expected(2))])[0]
        for m in (matcher, on_gpu)
    )
    for one, other in ((found.forward, expected.forward), (found.backward, expected.backward)):
        assert np.quantile(np.abs(one.coords - other.coords), 0.95) < atol
        assert np.isfinite(one.weight).all()


@GPU
@pytest.mark.skipif(CUDA_MISSING, reason="no NVIDIA GPU")
def test_on_demand_correlation_saves_the_volumes_on_cuda() -> None:
    edges, cells = 14, 30 * 101
    peaks_bytes = []
    for correlation in ("stored", "on_demand"):
        matcher = DroidMatcher(seeded_net(), "cuda", replace(FEW, correlation=correlation, precision="float16"))
        image = np.random.default_rng(0).integers(0, 256, (240, 808, 3), dtype=np.uint8)
        frames = [matcher.prepare(image) for _ in range(edges // 2 + 1)]
        torch.cuda.reset_peak_memory_stats()
        matcher.match([FramePair(frames[k], frames[k + 1]) for k in range(edges // 2)])
        peaks_bytes.append(torch.cuda.max_memory_allocated())
    assert peaks_bytes[0] - peaks_bytes[1] > 0.6 * 2 * edges * cells**2
