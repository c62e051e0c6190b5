from __future__ import annotations

import numpy as np
import pytest
import torch

from droid_bridge.bundle_adjustment import SolverOptions
from droid_bridge.factor_graph import FactorGraph, WindowFrame
from droid_bridge.keyframes import KeyframeRule, median_motion_px, median_parallax_px
from droid_bridge.lie import se3_exp, se3_inverse, se3_log
from droid_bridge.matching.matcher import Match
from droid_bridge.projection import CellGrid, reproject_coords
from droid_bridge.scale_prior import CellPrior, ScalePriorOptions
from metric3d_ros.camera import PinholeCamera

torch.set_num_threads(1)

ROWS, COLUMNS = 10, 14
GRID = CellGrid.of_camera(PinholeCamera(COLUMNS, ROWS, 9.0, 9.0, 6.4, 4.6), torch.device("cpu"))
TRUE_POSES = torch.stack(
    [
        se3_exp(torch.tensor([0.1 * k, 0.02 * k, -0.6 * k, 0.0, 0.01 * k, 0.0], dtype=torch.float64))
        for k in range(6)
    ]
)


def _true_inverse_depth() -> torch.Tensor:
    return 0.05 + 0.25 * torch.rand(6, ROWS * COLUMNS, generator=torch.Generator().manual_seed(2))


def _match(source: int, target: int) -> Match:
    relative = TRUE_POSES[target] @ se3_inverse(TRUE_POSES[source])
    coords, depth_ratio = reproject_coords(relative[None], _true_inverse_depth()[source][None], GRID)
    visible = (depth_ratio[0] > 0.2).reshape(ROWS, COLUMNS, 1).numpy()
    found = coords[0].T.reshape(ROWS, COLUMNS, 2).numpy().astype(np.float32)
    return Match(found, np.where(visible, 400.0, 0.0).repeat(2, axis=2).astype(np.float32))


def _graph(frames: int, prior_scale: float | None = None, pose_noise: float = 0.0) -> FactorGraph[None]:
    graph: FactorGraph[None] = FactorGraph(GRID, SolverOptions(), ScalePriorOptions(), independent_share=0.1)
    generator = torch.Generator().manual_seed(3)
    inverse_depth = _true_inverse_depth()
    for k in range(frames):
        prior = None
        if prior_scale is not None:
            prior = CellPrior(torch.log(inverse_depth[k] / prior_scale), torch.zeros(ROWS * COLUMNS), 0.05)
        noise = pose_noise * torch.randn(6, generator=generator, dtype=torch.float64) * (k >= 2)
        gray, rgb = np.full((8, 8), k, dtype=np.uint8), np.full((ROWS, COLUMNS, 3), k, dtype=np.uint8)
        graph.add_frame(
            WindowFrame(10 + k, 100 * k, None, prior, gray, rgb),
            se3_exp(noise) @ TRUE_POSES[k],
            inverse_depth[k],
        )
        for other in range(max(0, k - 2), k):
            graph.connect(other, k, _match(other, k))
            graph.connect(k, other, _match(k, other))
    return graph


def _pose_error(graph: FactorGraph[None], first: int = 0) -> float:
    true = TRUE_POSES[first : first + len(graph)]
    return float(se3_log(graph.estimate.camera_from_world @ se3_inverse(true)).abs().max())


def test_optimising_finds_the_poses_again() -> None:
    graph = _graph(5, prior_scale=1.0, pose_noise=0.03)
    assert _pose_error(graph) > 0.02
    graph.optimise(15)
    assert _pose_error(graph) < 2e-3


def test_held_poses_do_not_move() -> None:
    for frames, held in ((2, 1), (3, 1), (4, 2), (6, 3)):
        graph = _graph(frames, prior_scale=1.3, pose_noise=0.02)
        assert graph.held_poses == held
        before = graph.estimate.camera_from_world.clone()
        graph.optimise(3)
        moved = (graph.estimate.camera_from_world - before).abs().amax(dim=(1, 2)) > 0
        assert moved.tolist() == [k >= held for k in range(frames)]


def test_matches_leave_with_their_frames() -> None:
    graph = _graph(5)
    assert graph.factors().source.numel() == 14
    graph.drop_oldest()
    factors = graph.factors()
    assert [frame.frame_index for frame in graph.frames] == [11, 12, 13, 14]
    assert sorted(zip(factors.source.tolist(), factors.target.tolist(), strict=True)) == [
        (i, j) for i in range(4) for j in range(4) if 0 < abs(i - j) <= 2
    ]
    graph.optimise(5)
    assert _pose_error(graph, first=1) < 1e-3


def test_a_pose_outside_is_found_from_one_frame_alone() -> None:
    graph = _graph(3)
    pose, residuals, _ = graph.pose_against(2, _match(2, 3), TRUE_POSES[2], iterations=6, widen=8.0)
    assert float(se3_log(pose @ se3_inverse(TRUE_POSES[3])).abs().max()) < 1e-3
    assert float(residuals[torch.isfinite(residuals)].max()) < 1e-2


def test_rescaling_keeps_every_match_and_what_is_expected_of_the_priors() -> None:
    graph = _graph(4, prior_scale=1.0)
    graph.rescale(2.5, se3_inverse(TRUE_POSES)[0, :3, 3])
    centres = se3_inverse(graph.estimate.camera_from_world)[:, :3, 3]
    true_centres = se3_inverse(TRUE_POSES[:4])[:, :3, 3]
    torch.testing.assert_close(centres - centres[0], 2.5 * (true_centres - true_centres[0]))
    residuals = graph.residual_norms(_match(1, 2), 1, graph.estimate.camera_from_world[2])
    assert float(residuals[torch.isfinite(residuals)].max()) < 1e-3
    for frame, log_scale in zip(graph.frames, graph.estimate.log_scale, strict=True):
        assert frame.prior is not None
        assert frame.prior.expected_log_scale == pytest.approx(np.log(2.5))
        assert float(log_scale) == pytest.approx(np.log(2.5))


@pytest.mark.parametrize("prior_scale", [0.8, 1.25])
def test_the_scale_of_the_priors_is_approached_from_any_start(prior_scale: float) -> None:
    graph = _graph(3, prior_scale=prior_scale)
    graph.optimise(60)
    step_m = torch.linalg.vector_norm(se3_inverse(graph.estimate.camera_from_world)[2, :3, 3])
    true_m = torch.linalg.vector_norm(se3_inverse(TRUE_POSES)[2, :3, 3])
    assert float(step_m / true_m) == pytest.approx(prior_scale, rel=0.02)


def _moved(motion_cells: float, matched_share: float = 1.0) -> Match:
    v, u = np.mgrid[:ROWS, :COLUMNS]
    coords = np.stack([u + motion_cells, v], axis=-1).astype(np.float32)
    weight = np.zeros((ROWS, COLUMNS, 2), dtype=np.float32)
    weight[: round(ROWS * matched_share)] = 1.0
    return Match(coords, weight)


def test_a_keyframe_needs_parallax_or_a_view_that_runs_out() -> None:
    rule = KeyframeRule(min_parallax_px=3.0, max_motion_px=40.0)
    still = np.eye(3)
    assert median_motion_px(_moved(0.5)) == pytest.approx(4.0)
    assert rule.is_keyframe(_moved(0.5), still, GRID.camera, view_left=1.0)
    assert not rule.is_keyframe(_moved(0.1), still, GRID.camera, view_left=1.0)
    assert rule.is_keyframe(_moved(0.1), still, GRID.camera, view_left=0.3)
    assert median_motion_px(_moved(0.5, matched_share=0.0)) == 0.0


def test_a_turn_is_no_parallax() -> None:
    turn = se3_exp(torch.tensor([0.0, 0.0, 0.0, 0.02, -0.1, 0.01], dtype=torch.float64))
    coords, _ = reproject_coords(turn[None], torch.zeros(1, ROWS * COLUMNS), GRID)
    found = coords[0].T.reshape(ROWS, COLUMNS, 2).numpy()
    match = Match(found, np.ones((ROWS, COLUMNS, 2), dtype=np.float32))
    assert median_motion_px(match) > 3.0
    assert median_parallax_px(match, turn[:3, :3].numpy(), GRID.camera) < 1e-2
    rule = KeyframeRule(min_parallax_px=3.0, max_motion_px=1e3)
    assert not rule.is_keyframe(match, turn[:3, :3].numpy(), GRID.camera, view_left=1.0)
