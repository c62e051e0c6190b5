"""The matches of a global adjustment: thousands of pairs of keyframes, on disk and read one frame at a time."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from droid_bridge.errors import DroidBridgeError
from droid_bridge.expected_motion import expected_coords
from droid_bridge.lie import se3_inverse
from droid_bridge.matching.matcher import FramePair, Match, Matcher
from droid_bridge.projection import CellGrid

_PAIRS_AT_ONCE = 4


class KeyframeMatches:
    """Where the cells of keyframes were found in others; a context, whose file goes when it ends.

    Parameters
    ----------
    pairs : (first, second) node numbers; both directions of each are kept.
    nodes : how many keyframes there are.
    cells : of a grid.
    folder : where the file is made; None takes the system's temporary folder.
    """

    def __init__(self, pairs: Sequence[tuple[int, int]], nodes: int, cells: int, folder: Path | None) -> None:
        self.pairs = tuple(pairs)
        edges = sorted([*self.pairs, *((second, first) for first, second in self.pairs)])
        self._row = {edge: row for row, edge in enumerate(edges)}
        self._target = torch.tensor([target for _, target in edges], dtype=torch.long)
        self._first_row = np.searchsorted([source for source, _ in edges], np.arange(nodes + 1))
        try:
            self._folder = tempfile.TemporaryDirectory(prefix="matches_", dir=folder, ignore_cleanup_errors=True)
            self._coords = self._array("coords", (len(edges), 2, cells), "float32")
            self._weight = self._array("weight", (len(edges), 2, cells), "float32")
        except OSError as error:
            raise DroidBridgeError(
                f"the matches of a global adjustment cannot be kept in {folder or tempfile.gettempdir()}: "
                f"{error.strerror}; make room there, or set TMPDIR to a folder with more."
            ) from error

    def _array(self, name: str, shape: tuple[int, ...], dtype: str) -> NDArray[np.float32]:
        path = Path(self._folder.name) / f"{name}.npy"
        return np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)

    def find(
        self,
        matcher: Matcher[Any],
        gray_of: Callable[[int], NDArray[np.uint8]],
        camera_from_world: Tensor,
        inverse_depth: Tensor,
        grid: CellGrid,
    ) -> None:
        """Match every pair, from where the poses (nodes, 4, 4) and depths (nodes, cells) expect the cells.

        ``gray_of`` gives the working image of a node.
        """
        features: dict[int, Any] = {}
        for start in range(0, len(self.pairs), _PAIRS_AT_ONCE):
            chosen = self.pairs[start : start + _PAIRS_AT_ONCE]
            needed = {node for pair in chosen for node in pair}
            features = {node: known for node, known in features.items() if node in needed}
            for node in needed - set(features):
                features[node] = matcher.prepare(np.repeat(gray_of(node)[..., None], 3, axis=2))
            first, second = (torch.tensor([pair[side] for pair in chosen]) for side in (0, 1))
            second_from_first = camera_from_world[second] @ se3_inverse(camera_from_world[first])
            to_second = expected_coords(second_from_first, inverse_depth[first], grid)
            to_first = expected_coords(se3_inverse(second_from_first), inverse_depth[second], grid)
            found = matcher.match(
                [FramePair(features[i], features[j], to_second[n], to_first[n]) for n, (i, j) in enumerate(chosen)]
            )
            for (i, j), match in zip(chosen, found, strict=True):
                self._keep(i, j, match.forward)
                self._keep(j, i, match.backward)

    def _keep(self, source: int, target: int, match: Match) -> None:
        row = self._row[source, target]
        self._coords[row] = match.coords.reshape(-1, 2).T
        self._weight[row] = match.weight.reshape(-1, 2).T

    def of(self, source: int) -> tuple[Tensor, Tensor, Tensor]:
        """Target nodes (e,), coordinates (e, 2, cells) and weights (e, 2, cells) of a keyframe's matches."""
        rows = slice(int(self._first_row[source]), int(self._first_row[source + 1]))
        return (
            self._target[rows],
            torch.from_numpy(np.array(self._coords[rows])),
            torch.from_numpy(np.array(self._weight[rows])),
        )

    def matched_share(self, source: int, target: int) -> float:
        """Share of the cells of a keyframe that were found in another."""
        weight = self._weight[self._row[source, target]]
        return float(np.count_nonzero(weight.max(axis=0)) / weight.shape[1])

    def __enter__(self) -> KeyframeMatches:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()
