from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from droid_bridge.matching.droid_net.correlation import OnDemandCorrelation, StoredCorrelation

CHANNELS = 16


def _features(edges: int, rows: int, columns: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    source, target = torch.randn(2, edges, CHANNELS, rows, columns, generator=generator)
    return source, target


def _coords(edges: int, rows: int, columns: int, spread: float, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1000 + seed)
    return spread * torch.randn(edges, 2, rows, columns, generator=generator) + torch.tensor([columns, rows])[
        :, None, None
    ].div(2)


def _bilinear(image: torch.Tensor, column: float, row: float) -> float:
    """A value of an image (rows, columns), zero outside, by the definition."""
    left, top = math.floor(column), math.floor(row)
    total = 0.0
    for v in (top, top + 1):
        for u in (left, left + 1):
            if 0 <= v < image.shape[0] and 0 <= u < image.shape[1]:
                total += float(image[v, u]) * (1 - abs(column - u)) * (1 - abs(row - v))
    return total


def _by_definition(
    source: torch.Tensor, target: torch.Tensor, coords: torch.Tensor, cell: tuple[int, int]
) -> list:
    """The 196 values of one source cell of one edge, by loops over a pooled volume."""
    v, u = cell
    volume = torch.einsum("c,cvu->vu", source[:, v, u], target) / 16
    values = []
    for level in range(4):
        if level:
            rows, columns = (size // 2 * 2 for size in volume.shape)
            volume = volume[:rows, :columns].reshape(rows // 2, 2, columns // 2, 2).mean(dim=(1, 3))
        column, row = (float(value) / 2**level for value in coords[:, v, u])
        values += [_bilinear(volume, column + dx, row + dy) for dx in range(-3, 4) for dy in range(-3, 4)]
    return values


@pytest.mark.parametrize(("rows", "columns"), [(9, 14), (5, 3), (1, 20)])
@pytest.mark.parametrize("kind", [StoredCorrelation, OnDemandCorrelation])
def test_a_lookup_is_what_its_definition_says(
    kind: type[StoredCorrelation] | type[OnDemandCorrelation], rows: int, columns: int
) -> None:
    source, target = _features(2, rows, columns, seed=0)
    coords = _coords(2, rows, columns, spread=3.0, seed=0)
    found = kind(source, target).lookup(coords)
    for edge, v, u in ((0, 0, 0), (1, rows - 1, columns // 2), (1, rows // 2, columns - 1)):
        expected = _by_definition(source[edge], target[edge], coords[edge], (v, u))
        torch.testing.assert_close(found[edge, :, v, u], torch.tensor(expected), atol=1e-4, rtol=0)


@settings(max_examples=30, deadline=None)
@given(
    edges=st.integers(1, 3),
    rows=st.integers(1, 17),
    columns=st.integers(1, 17),
    max_values=st.integers(1, 5000),
    spread=st.sampled_from([0.0, 2.0, 1e3, 1e6]),
    seed=st.integers(0, 99),
)
def test_on_demand_equals_stored(
    edges: int, rows: int, columns: int, max_values: int, spread: float, seed: int
) -> None:
    source, target = _features(edges, rows, columns, seed)
    coords = _coords(edges, rows, columns, spread, seed)
    stored = StoredCorrelation(source, target).lookup(coords)
    on_demand = OnDemandCorrelation(source, target, max_values).lookup(coords)
    assert stored.shape == (edges, 196, rows, columns)
    torch.testing.assert_close(on_demand, stored, atol=1e-5, rtol=0)


def test_far_outside_there_is_nothing_alike() -> None:
    source, target = _features(1, 8, 8, seed=1)
    assert not StoredCorrelation(source, target).lookup(torch.full((1, 2, 8, 8), -500.0)).any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_features_keep_exact_coordinates(dtype: torch.dtype) -> None:
    source, target = (features.to(dtype) for features in _features(1, 16, 160, seed=2))
    coords = _coords(1, 16, 160, spread=30.0, seed=2)
    half = OnDemandCorrelation(source, target).lookup(coords)
    exact = OnDemandCorrelation(source.float(), target.float()).lookup(coords)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, exact, atol=0.02 * float(exact.abs().max()), rtol=0)
