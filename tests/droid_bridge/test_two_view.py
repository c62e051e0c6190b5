from __future__ import annotations

import numpy as np
import pytest
import torch

from droid_bridge.lie import se3_exp, se3_inverse, se3_log
from droid_bridge.matching.matcher import Match
from droid_bridge.projection import CellGrid, reproject_coords
from droid_bridge.two_view import estimate_two_view
from metric3d_ros.camera import PinholeCamera

torch.set_num_threads(1)

GRID = CellGrid.of_camera(PinholeCamera(40, 20, 24.0, 24.0, 19.4, 9.6), torch.device("cpu"))
CELLS = 800


def _match(
    tangent: list[float], inverse_depth: torch.Tensor, noise_cells: float = 0.0, outliers: int = 0
) -> tuple[Match, torch.Tensor]:
    pose = se3_exp(torch.tensor(tangent, dtype=torch.float64))
    coords, _ = reproject_coords(pose[None], inverse_depth[None], GRID)
    rng = np.random.default_rng(0)
    found = coords[0].T.numpy() + noise_cells * rng.standard_normal((CELLS, 2))
    found[:outliers] += rng.uniform(-5, 5, (outliers, 2))
    weight = np.ones((20, 40, 2), dtype=np.float32)
    return Match(found.reshape(20, 40, 2).astype(np.float32), weight), pose


def _street(seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.02 + 0.3 * torch.rand(CELLS, generator=generator)


@pytest.mark.parametrize(
    "tangent",
    [[0.0, 0.0, -1.0, 0.0, 0.02, 0.0], [0.7, 0.0, -0.2, 0.0, 0.0, 0.0], [0.2, 0.1, 1.0, 0.02, -0.03, 0.05]],
    ids=["forward", "sideways", "backward"],
)
def test_pose_and_depths_are_found_up_to_scale(tangent: list[float]) -> None:
    inverse_depth = _street()
    match, pose = _match(tangent, inverse_depth, noise_cells=0.005, outliers=100)
    found = estimate_two_view(match, GRID)
    assert found is not None
    length = torch.linalg.vector_norm(pose[:3, 3])
    expected = pose.clone()
    expected[:3, 3] /= length
    assert float(se3_log(found.second_from_first @ se3_inverse(expected)).abs().max()) < 0.03
    known = torch.isfinite(found.inverse_depth)
    assert float(known.double().mean()) > 0.6
    error = (found.inverse_depth / (inverse_depth * length) - 1)[known].abs()
    assert float(error.median()) < 0.05


def test_scaling_sets_the_median_depth_and_keeps_the_image() -> None:
    match, _ = _match([0.1, 0.0, -1.0, 0.0, 0.0, 0.0], _street())
    found = estimate_two_view(match, GRID)
    assert found is not None
    scaled = found.scaled_to(10.0)
    known = torch.isfinite(scaled.inverse_depth)
    assert float(1 / scaled.inverse_depth[known].median()) == pytest.approx(10.0, rel=1e-5)
    before, _ = reproject_coords(found.second_from_first[None], found.inverse_depth[known][None], _part(known))
    after, _ = reproject_coords(scaled.second_from_first[None], scaled.inverse_depth[known][None], _part(known))
    torch.testing.assert_close(before, after, atol=1e-3, rtol=1e-4)


def _part(known: torch.Tensor) -> CellGrid:
    return CellGrid(GRID.camera, GRID.coords[:, known], GRID.rays[:, known])


def test_no_agreement_is_no_geometry() -> None:
    rng = np.random.default_rng(1)
    noise = rng.uniform(0, 40, (20, 40, 2)).astype(np.float32)
    assert estimate_two_view(Match(noise, np.ones((20, 40, 2), dtype=np.float32)), GRID) is None


def test_a_turn_on_the_spot_is_no_geometry() -> None:
    match, _ = _match([0.0, 0.0, 0.0, 0.01, 0.08, 0.0], _street(), noise_cells=0.02)
    assert estimate_two_view(match, GRID) is None


def test_too_few_matches_are_no_geometry() -> None:
    match, _ = _match([0.0, 0.0, -1.0, 0.0, 0.0, 0.0], _street())
    assert estimate_two_view(Match(match.coords, np.zeros_like(match.weight)), GRID) is None
