"""The learned matcher: DROID-SLAM's recurrent operator run on the edges between frames.

On its own it iterates as RAFT does: each step looks up the correlation where the last one put the match. Between
adjustments (``FramePair.goes_on``) it does what DROID-SLAM does: one step from where the adjusted geometry expects
the cells, with the hidden state of the step before and the motion that the adjustment did not follow.

Its weights (0 to 1) are trained through the adjustment, which makes them relative: there an error of one cell at
weight w counts 0.001 w, against dampings without a unit. Our factors want an information, so weight 1 is given the
standard deviation ``sigma_px``, and weight w the information w (8 / sigma_px)^2 per cell^2. Cells beyond
``max_sigma_px`` have no match, as with optical flow; without this every cell would, a sigmoid being never 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from droid_bridge.device import torch_device
from droid_bridge.errors import DroidBridgeError
from droid_bridge.matching.droid_net.correlation import Correlation, OnDemandCorrelation, StoredCorrelation
from droid_bridge.matching.droid_net.network import DroidNet, normalised, own_coords
from droid_bridge.matching.matcher import CELL_PX, FramePair, Match, PairMatch

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
CORRELATIONS = ("stored", "on_demand")


@dataclass(frozen=True)
class DroidMatcherOptions:
    """How the network is run and how its weights are read.

    The numbers of steps are DROID-SLAM's: 8 to start a map, 3 and then 2 for a new keyframe.

    Attributes
    ----------
    cold_updates, guided_updates : steps for a pair of which nothing, or the expected coordinates, are known.
    rematches : rounds of one step and an adjustment that follow for each frame.
    precision : "float32", "bfloat16" or "float16"; "auto" is float16 on CUDA, as DROID-SLAM runs, else float32.
    correlation : "stored" or "on_demand"; "auto" stores where it is looked up again and the memory is the CPU's.
    sigma_px : error of a coordinate of weight 1.
    max_sigma_px : error of the better coordinate from which a cell has no match.
    """

    cold_updates: int = 8
    guided_updates: int = 3
    rematches: int = 2
    precision: str = "auto"
    correlation: str = "auto"
    sigma_px: float = 0.5
    max_sigma_px: float = 3.0

    def __post_init__(self) -> None:
        for name, value, known in (
            ("precision", self.precision, ("auto", *PRECISIONS)),
            ("correlation", self.correlation, ("auto", *CORRELATIONS)),
        ):
            if value not in known:
                raise DroidBridgeError(f"droid matcher {name} is {value!r}; choose one of: {', '.join(known)}.")
        for name, updates in (("cold_updates", self.cold_updates), ("guided_updates", self.guided_updates)):
            if updates < 1:
                raise DroidBridgeError(f"droid matcher {name} is {updates}; it must be at least 1.")
        if self.rematches < 0:
            raise DroidBridgeError(f"droid matcher rematches is {self.rematches}; it must not be negative.")
        if not 0 < self.sigma_px < self.max_sigma_px:
            raise DroidBridgeError(
                f"droid matcher sigma_px is {self.sigma_px:g}; it must be above 0 and below max_sigma_px "
                f"({self.max_sigma_px:g})."
            )


@dataclass(frozen=True, eq=False)
class DroidFeatures:
    """What the encoders keep of a frame: each (128, rows, columns).

    Attributes
    ----------
    features : what is correlated.
    hidden : first hidden state of the edges that leave the frame.
    context : input of each of their steps.
    """

    features: Tensor
    hidden: Tensor
    context: Tensor


@dataclass(frozen=True)
class _EdgeState:
    """Hidden state (128, rows, columns) of an edge, and where it had the match (2, rows, columns), in cells."""

    hidden: Tensor
    coords: Tensor


@dataclass(frozen=True)
class _Edge:
    """One direction of a pair, with what is known of it."""

    source: DroidFeatures
    target: DroidFeatures
    expected: NDArray[np.float32] | None
    state: _EdgeState | None

    @property
    def is_cold(self) -> bool:
        return self.expected is None and self.state is None


class DroidMatcher:
    """Matches both ways with DROID-SLAM's network, all edges of a call at once.

    Parameters
    ----------
    net : the network; it is moved to the device.
    device : "cpu" or "cuda".
    options : how it is run.
    """

    def __init__(self, net: DroidNet, device: str = "cpu", options: DroidMatcherOptions | None = None) -> None:
        self._options = options or DroidMatcherOptions()
        self._device = torch_device(device)
        on_cuda = self._device.type == "cuda"
        precision = self._options.precision
        self._precision = PRECISIONS[("float16" if on_cuda else "float32") if precision == "auto" else precision]
        self._net = net.to(self._device).eval()
        # Only frames that are still somewhere in use can be matched again: the states go with them.
        self._states: WeakKeyDictionary[DroidFeatures, WeakKeyDictionary[DroidFeatures, _EdgeState]]
        self._states = WeakKeyDictionary()
        self.rematches = self._options.rematches

    def prepare(self, image: NDArray[np.uint8]) -> DroidFeatures:
        """Features of a uint8 (height, width, 3) RGB image whose sides are multiples of 8."""
        with torch.inference_mode(), self._autocast():
            encoded = self._net.encode(normalised(image, self._device))
        return DroidFeatures(*(tensor[0].to(self._precision) for tensor in encoded))

    def match(self, pairs: Sequence[FramePair[DroidFeatures]]) -> list[PairMatch]:
        """Match every pair both ways, in the order given."""
        edges = [edge for pair in pairs for edge in self._edges_of(pair)]
        found: dict[int, Match] = {}
        for updates, chosen in self._by_updates(edges).items():
            found.update(zip(chosen, self._run([edges[k] for k in chosen], updates), strict=True))
        return [PairMatch(found[2 * k], found[2 * k + 1]) for k in range(len(pairs))]

    @property
    def remembered_edges(self) -> int:
        """How many edges have a state: those between frames that are still in use somewhere."""
        return sum(len(of_source) for of_source in self._states.values())

    def _edges_of(self, pair: FramePair[DroidFeatures]) -> tuple[_Edge, _Edge]:
        forward = self._state_of(pair.first, pair.second) if pair.goes_on else None
        backward = self._state_of(pair.second, pair.first) if pair.goes_on else None
        return (
            _Edge(pair.first, pair.second, pair.second_from_first, forward),
            _Edge(pair.second, pair.first, pair.first_from_second, backward),
        )

    def _state_of(self, source: DroidFeatures, target: DroidFeatures) -> _EdgeState | None:
        of_source = self._states.get(source)
        return None if of_source is None else of_source.get(target)

    def _by_updates(self, edges: Sequence[_Edge]) -> dict[int, list[int]]:
        """Positions of the edges by how many steps they need."""
        groups: dict[int, list[int]] = {}
        for k, edge in enumerate(edges):
            guided = 1 if edge.state is not None else self._options.guided_updates
            groups.setdefault(self._options.cold_updates if edge.is_cold else guided, []).append(k)
        return groups

    def _run(self, edges: Sequence[_Edge], updates: int) -> list[Match]:
        """Step edges together, keep their states, and read their matches."""
        with torch.inference_mode(), self._autocast():
            hidden = torch.stack([(edge.state or edge.source).hidden for edge in edges])
            context = torch.stack([edge.source.context for edge in edges])
            own = own_coords(hidden.shape[2], hidden.shape[3], self._device)
            expected = torch.stack([self._expected(edge, own) for edge in edges])
            found = torch.stack([e.state.coords if e.state else at for e, at in zip(edges, expected, strict=True)])
            correlation = self._correlation(edges, updates)
            for _ in range(updates):
                motion = torch.cat([expected - own, found - expected], dim=1)
                step = self._net.update(hidden, context, correlation.lookup(expected), motion)
                hidden, found = step.hidden, expected + step.delta
                expected = found
            self._remember(edges, hidden, found)
            return self._judged(found, step.weight, own)

    def _expected(self, edge: _Edge, own: Tensor) -> Tensor:
        """Coordinates (2, rows, columns) to look at first."""
        if edge.expected is not None:
            return torch.from_numpy(edge.expected).to(self._device).permute(2, 0, 1)
        return own if edge.state is None else edge.state.coords

    def _correlation(self, edges: Sequence[_Edge], lookups: int) -> Correlation:
        source = torch.stack([edge.source.features for edge in edges])
        target = torch.stack([edge.target.features for edge in edges])
        kind = self._options.correlation
        is_worth_it = lookups > 1 and self._device.type != "cuda"
        if kind == "stored" or (kind == "auto" and is_worth_it):
            return StoredCorrelation(source, target)
        return OnDemandCorrelation(source, target)

    def _remember(self, edges: Sequence[_Edge], hidden: Tensor, coords: Tensor) -> None:
        """Keep the state of each edge; one that half precision could not hold is forgotten, and starts anew."""
        usable = (torch.isfinite(hidden).flatten(1).all(1) & torch.isfinite(coords).flatten(1).all(1)).tolist()
        for k, edge in enumerate(edges):
            of_source = self._states.setdefault(edge.source, WeakKeyDictionary())
            of_source.pop(edge.target, None)
            if usable[k]:
                # Copies: a view of one edge would keep the whole batch.
                of_source[edge.target] = _EdgeState(hidden[k].to(self._precision, copy=True), coords[k].clone())

    def _judged(self, coords: Tensor, weight: Tensor, own: Tensor) -> list[Match]:
        """Matches of coordinates and network weights (E, 2, rows, columns)."""
        options = self._options
        rows, columns = own.shape[1:]
        last = coords.new_tensor([columns - 1, rows - 1])[:, None, None]
        margin = 0.5 - 0.5 / CELL_PX  # the image goes on beyond the outermost cells' centres
        inside = ((coords >= -margin) & (coords <= last + margin)).all(dim=1, keepdim=True)
        is_finite = (torch.isfinite(coords) & torch.isfinite(weight)).all(dim=1, keepdim=True)
        is_sure = weight.amax(dim=1, keepdim=True) > (options.sigma_px / options.max_sigma_px) ** 2
        information = torch.where(inside & is_finite & is_sure, weight * (CELL_PX / options.sigma_px) ** 2, 0.0)
        coords = torch.where(is_finite, coords, own)
        last_axis = (tensor.permute(0, 2, 3, 1).contiguous().cpu().numpy() for tensor in (coords, information))
        return [Match(*both) for both in zip(*last_axis, strict=True)]

    def _autocast(self) -> torch.autocast:
        is_reduced = self._precision is not torch.float32
        return torch.autocast(self._device.type, dtype=self._precision, enabled=is_reduced)
