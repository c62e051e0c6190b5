"""The mixture: which view of which data set sample n of a run is (Metric3D v2, five groups of data sets).

Every group is repeated to the length of the largest and the groups take turns, A B C A B C, or A B B where B has
two turns; inside a group each data set appears in proportion to its size. Each round through a group is a new
permutation of all its views: nothing is seen twice before everything was seen once. Sample n is the same whenever
and wherever it is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from training.errors import TrainingError

PERMUTATIONS_KEPT = 16


@dataclass(frozen=True)
class Place:
    """One view of a mixture.

    Attributes
    ----------
    group, dataset : the group, and the data set inside it.
    index : the view's number in its data set.
    round : how often its group was seen as a whole before.
    """

    group: int
    dataset: int
    index: int
    round: int


class Mixture:
    """The order of samples over groups of data sets.

    Parameters
    ----------
    sizes : per group, the number of views of each of its data sets.
    seed : of the permutations.
    turns : how many samples each group gives in a row; one each where it is empty.

    Raises
    ------
    TrainingError
        If there is no group, or a data set without views.
    """

    def __init__(self, sizes: Sequence[Sequence[int]], seed: int, turns: Sequence[int] = ()) -> None:
        if not sizes or any(not group or min(group) < 1 for group in sizes):
            raise TrainingError(
                f"the mixture has sizes {[list(group) for group in sizes]}; every group needs a data set and "
                "every data set a view."
            )
        self._ends = [np.cumsum(group) for group in sizes]
        self._seed = seed
        self._turns = tuple(turns) or (1,) * len(sizes)
        # The groups of one cycle in order, and each entry's place among its group's own.
        self._cycle = [(group, turn) for group, count in enumerate(self._turns) for turn in range(count)]
        self._permutation = lru_cache(PERMUTATIONS_KEPT)(self._shuffled)

    def epoch_length(self) -> int:
        """Samples until every group has been seen at least once."""
        cycles = [-(-int(ends[-1]) // turns) for ends, turns in zip(self._ends, self._turns, strict=True)]
        return len(self._cycle) * max(cycles)

    def place(self, n: int, attempt: int = 0) -> Place:
        """Where sample ``n`` comes from; ``attempt`` counts the views already found broken in its place."""
        cycle, entry = divmod(n, len(self._cycle))
        group, turn = self._cycle[entry]
        ends = self._ends[group]
        length = int(ends[-1])
        round_, position = divmod(cycle * self._turns[group] + turn, length)
        if attempt:
            position = int(np.random.default_rng([self._seed, n, attempt]).integers(length))
        number = int(self._permutation(group, round_)[position])
        dataset = int(np.searchsorted(ends, number, side="right"))
        return Place(group, dataset, number - (int(ends[dataset - 1]) if dataset else 0), round_)

    def _shuffled(self, group: int, round_: int) -> NDArray[np.intp]:
        rng = np.random.default_rng([self._seed, group, round_, 2])
        return rng.permutation(int(self._ends[group][-1]))
