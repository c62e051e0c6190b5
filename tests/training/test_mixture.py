"""The order of samples: balanced groups, everything once a round, the same whenever it is asked for."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.errors import TrainingError
from training.mixture import Mixture

SIZES = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=3), min_size=1, max_size=4)


@settings(max_examples=50, deadline=None)
@given(SIZES, st.integers(0, 5))
def test_groups_take_turns_and_a_round_sees_everything_once(sizes, seed):
    mixture = Mixture(sizes, seed)
    for group, datasets in enumerate(sizes):
        turns = [mixture.place(turn * len(sizes) + group) for turn in range(2 * sum(datasets))]
        assert {place.group for place in turns} == {group}
        for round_ in (0, 1):
            half = turns[round_ * sum(datasets) : (round_ + 1) * sum(datasets)]
            seen = Counter((place.dataset, place.index) for place in half)
            assert seen == Counter((d, i) for d, size in enumerate(datasets) for i in range(size))
            assert {place.round for place in half} == {round_}


@settings(max_examples=50, deadline=None)
@given(SIZES, st.integers(0, 5), st.data())
def test_a_group_with_more_turns_gives_more_samples_and_still_sees_everything_once(sizes, seed, data):
    turns = data.draw(st.lists(st.integers(1, 4), min_size=len(sizes), max_size=len(sizes)))
    mixture = Mixture(sizes, seed, turns)
    cycle = [mixture.place(n).group for n in range(sum(turns))]
    assert cycle == [group for group, count in enumerate(turns) for _ in range(count)]
    places = [mixture.place(n) for n in range(mixture.epoch_length())]
    for group, datasets in enumerate(sizes):
        first_round = [(p.dataset, p.index) for p in places if p.group == group and p.round == 0]
        assert sorted(first_round) == [(d, i) for d, size in enumerate(datasets) for i in range(size)]


def test_an_epoch_repeats_small_groups_to_the_largest():
    mixture = Mixture([[10, 20], [5]], seed=0)
    assert mixture.epoch_length() == 60
    places = [mixture.place(n) for n in range(60)]
    assert Counter(place.group for place in places) == {0: 30, 1: 30}
    assert Counter(place.dataset for place in places if place.group == 0) == {0: 10, 1: 20}


def test_rounds_have_orders_of_their_own():
    mixture = Mixture([[50]], seed=0)
    orders = [[mixture.place(n + 50 * round_).index for n in range(50)] for round_ in (0, 1)]
    assert orders[0] != orders[1]
    assert [mixture.place(n).index for n in range(50)] == orders[0]
    assert orders[0] != [Mixture([[50]], seed=1).place(n).index for n in range(50)]


def test_another_attempt_is_another_view_of_the_same_group():
    mixture = Mixture([[50], [40]], seed=0)
    places = [mixture.place(7, attempt) for attempt in range(5)]
    assert {place.group for place in places} == {1}
    assert len({place.index for place in places}) > 2


@pytest.mark.parametrize("sizes", [[], [[]], [[3], [4, 0]]])
def test_nothing_to_draw_from_is_refused(sizes):
    with pytest.raises(TrainingError, match="every group needs a data set"):
        Mixture(sizes, seed=0)
