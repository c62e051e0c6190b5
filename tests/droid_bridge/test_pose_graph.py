from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from droid_bridge.lie import se3_exp, se3_inverse, sim3_exp, sim3_inverse, sim3_log, sim3_scale
from droid_bridge.pose_graph import PoseEdges, ScaleReadings, optimise
from droid_bridge.scale_process import ScaleProcess

SIGMA = np.array([0.01, 0.01, 0.01, 5e-4, 5e-4, 5e-4, 5e-3])


def process(
    frame_sigma: float, error_sigma: float, error_length_m: float, drift_sigma_per_m: float = 1e-9
) -> ScaleProcess:
    return ScaleProcess(
        frame_sigma=frame_sigma,
        error_sigma=error_sigma,
        error_length_m=error_length_m,
        drift_sigma_per_m=drift_sigma_per_m,
        drift_walk_sigma=1e-7,
    )


def ring(nodes: int, radius_m: float = 50.0) -> np.ndarray:
    """camera_from_world of a drive once around, facing along the way."""
    angle = 2 * np.pi * np.arange(nodes) / nodes
    poses = np.tile(np.eye(4), (nodes, 1, 1))
    poses[:, 0, 0] = poses[:, 2, 2] = np.cos(angle)
    poses[:, 0, 2], poses[:, 2, 0] = np.sin(angle), -np.sin(angle)
    centre = radius_m * np.stack([1 - np.cos(angle), 0 * angle, np.sin(angle)], axis=1)
    poses[:, :3, 3] = centre
    return np.linalg.inv(poses)


def centres(camera_from_world: np.ndarray) -> np.ndarray:
    return sim3_inverse(torch.from_numpy(camera_from_world)).numpy()[:, :3, 3]


def chain(truth: np.ndarray, rng: np.random.Generator, bias: np.ndarray | float = 0.0) -> PoseEdges:
    """Odometry along the truth with noise, and a bias (7,) on every edge."""
    first, second = torch.from_numpy(truth[:-1]), torch.from_numpy(truth[1:])
    noise = torch.from_numpy(rng.standard_normal((len(first), 7)) * SIGMA + bias)
    measured = sim3_exp(noise) @ second @ se3_inverse(first)
    count = len(first)
    return PoseEdges(
        np.arange(count),
        np.arange(1, count + 1),
        measured.numpy(),
        np.tile(np.diag(1 / SIGMA**2), (count, 1, 1)),
        np.zeros(count, bool),
    )


def with_loop(edges: PoseEdges, source: int, target: int, target_from_source: np.ndarray) -> PoseEdges:
    return PoseEdges(
        np.append(edges.source, source),
        np.append(edges.target, target),
        np.concatenate([edges.target_from_source, target_from_source[None]]),
        np.concatenate([edges.information, np.diag(1 / (0.5 * SIGMA) ** 2)[None]]),
        np.append(edges.is_loop, True),
    )


def dead_reckoned(truth: np.ndarray, edges: PoseEdges) -> np.ndarray:
    poses = [truth[0]]
    for k in np.flatnonzero(~edges.is_loop):
        poses.append(edges.target_from_source[k] @ poses[-1])
    return np.stack(poses)


def test_a_chain_without_loops_stays_where_it_is() -> None:
    truth = ring(40)
    edges = chain(truth, np.random.default_rng(0))
    start = dead_reckoned(truth, edges)
    result = optimise(start, edges)
    np.testing.assert_allclose(result.camera_from_world, start, atol=1e-8)
    np.testing.assert_allclose(result.chi2, 0, atol=1e-10)


def test_a_loop_takes_most_of_a_growing_scale_away() -> None:
    """The front end's unit grows by half around the ring and its heading turns, and it knows neither."""
    truth = ring(200)
    rng = np.random.default_rng(1)
    unit = np.exp(0.002 * np.arange(200))
    nodes = truth.copy()
    nodes[:, :3] *= unit[:, None, None]
    rigid = truth[1:] @ np.linalg.inv(truth[:-1])
    rigid[:, :3, 3] *= unit[1:, None]
    noise = rng.standard_normal((199, 7)) * SIGMA + np.array([0, 0, 0, 0, 2e-4, 0, 0])
    noise[:, 6] = 0
    measured = sim3_exp(torch.from_numpy(noise)).numpy() @ rigid
    count = np.arange(199)
    information = np.tile(np.diag(1 / SIGMA**2), (199, 1, 1))
    edges = PoseEdges(count, count + 1, measured, information, np.zeros(199, bool))
    closing = (torch.from_numpy(nodes[0]) @ sim3_inverse(torch.from_numpy(nodes[-1]))).numpy()
    start = dead_reckoned(truth, edges)
    result = optimise(start, with_loop(edges, 199, 0, closing))
    before = np.linalg.norm(centres(start) - centres(truth), axis=1).mean()
    after = np.linalg.norm(centres(result.camera_from_world) - centres(truth), axis=1).mean()
    assert before > 10
    assert after < 0.15 * before
    scales = sim3_scale(torch.from_numpy(result.camera_from_world)).numpy()
    np.testing.assert_allclose(scales, unit, rtol=0.05)


def test_the_optimum_is_one() -> None:
    """The cost at the answer is lower than at any place near it."""
    truth = ring(30)
    rng = np.random.default_rng(2)
    edges = with_loop(chain(truth, rng), 29, 0, truth[0] @ np.linalg.inv(truth[29]))
    readings = ScaleReadings(rng.normal(0, 0.05, 30), np.arange(30) * 10.0, process(0.03, 0.1, 30.0, 1e-3))
    result = optimise(dead_reckoned(truth, edges), edges, readings)

    def cost(poses: torch.Tensor, error: np.ndarray, drift: np.ndarray) -> float:
        between = poses[edges.target] @ sim3_inverse(poses[edges.source])
        residual = sim3_log_numpy(between @ sim3_inverse(torch.from_numpy(edges.target_from_source)))
        residual[:, 6] -= np.where(edges.is_loop, 0, 10 * drift[edges.source])
        chi2 = np.einsum("ei,eij,ej->e", residual, edges.information, residual)
        total = float(np.where(edges.is_loop, 9 * np.log1p(chi2 / 9), chi2).sum())
        log_scale = np.log(sim3_scale(poses).numpy())
        width = readings.process.outlier_sigmas
        misfit = (log_scale - readings.log_scale - error) / 0.03
        total += float((width**2 * np.log1p((misfit / width) ** 2)).sum())
        total += (drift[0] / 1e-3) ** 2 + float((np.diff(drift) ** 2 / (10 * 1e-7**2)).sum())
        kept = np.exp(-10 / 30)
        fresh = 0.1 * np.sqrt(1 - kept**2)
        total += float((((error[1:] - kept * error[:-1]) / fresh) ** 2).sum() + (error[0] / 0.1) ** 2)
        return total

    best_poses = torch.from_numpy(result.camera_from_world)
    best = cost(best_poses, result.prior_log_error, result.drift_per_m)
    for trial in range(20):
        direction = rng.standard_normal((30, 7)) * 1e-3
        direction[0, :6] = 0
        shift = rng.standard_normal(30) * 1e-3
        moved = sim3_exp(torch.from_numpy(direction)) @ best_poses
        drift = result.drift_per_m + 1e-6 * rng.standard_normal()
        assert cost(moved, result.prior_log_error + shift, drift) > best, trial


def sim3_log_numpy(similarity: torch.Tensor) -> np.ndarray:
    return sim3_log(similarity).numpy()


def test_a_false_loop_is_outvoted() -> None:
    truth = ring(100)
    edges = chain(truth, np.random.default_rng(3))
    for source in (95, 97, 99):
        edges = with_loop(edges, source, source - 95, truth[source - 95] @ np.linalg.inv(truth[source]))
    false = se3_exp(torch.tensor([3.0, 0, 10.0, 0, 0.4, 0], dtype=torch.float64)).numpy()
    result = optimise(dead_reckoned(truth, edges), with_loop(edges, 70, 20, false))
    error = np.linalg.norm(centres(result.camera_from_world) - centres(truth), axis=1)
    assert error.max() < 0.5
    assert result.chi2[-1] > 100 * result.chi2[-4:-1].max()


def test_readings_that_share_their_error_count_as_one() -> None:
    """A hundred keyframes in ten metres and one far away have the same say in a scale that does not drift."""
    poses = np.tile(np.eye(4), (101, 1, 1))
    travelled_m = np.append(0.1 * np.arange(100), 5000.0)
    poses[:, 2, 3] = -travelled_m
    edges = chain(poses, np.random.default_rng(4))
    edges.target_from_source[:] = poses[1:] @ np.linalg.inv(poses[:-1])
    edges.information[:, 6, 6] = 1 / 1e-5**2
    readings = ScaleReadings(np.append(np.full(100, 0.2), 0.0), travelled_m, process(0.001, 0.1, 1000.0))
    result = optimise(poses, edges, readings)
    log_scale = np.log(sim3_scale(torch.from_numpy(result.camera_from_world)).numpy())
    assert log_scale.mean() == pytest.approx(0.1, abs=0.01)
    independent = ScaleReadings(readings.log_scale, 1e6 * np.arange(101), process(0.001, 0.1, 1000.0))
    log_scale = np.log(sim3_scale(torch.from_numpy(optimise(poses, edges, independent).camera_from_world)).numpy())
    assert log_scale.mean() == pytest.approx(0.2 * 100 / 101, abs=0.005)


def test_the_scale_follows_the_mean_of_a_wandering_network() -> None:
    """Over ten correlation lengths the shared error averages out, and the smooth path keeps its shape."""
    nodes, step_m = 600, 1.0
    rng = np.random.default_rng(5)
    truth = np.tile(np.eye(4), (nodes, 1, 1))
    truth[:, 2, 3] = -step_m * np.arange(nodes)
    edges = chain(truth, rng)
    error = np.zeros(nodes)
    kept = np.exp(-step_m / 30)
    for k in range(1, nodes):
        error[k] = kept * error[k - 1] + 0.1 * np.sqrt(1 - kept**2) * rng.standard_normal()
    tight = PoseEdges(edges.source, edges.target, edges.target_from_source, edges.information * 1.0, edges.is_loop)
    tight.information[:, 6, 6] = 1 / 1e-3**2
    start = dead_reckoned(truth, tight)
    log_scale = np.log(sim3_scale(torch.from_numpy(start)).numpy())
    readings = ScaleReadings(log_scale - error, step_m * np.arange(nodes), process(0.03, 0.1, 30.0))
    result = optimise(start, tight, readings)
    corrected = np.log(sim3_scale(torch.from_numpy(result.camera_from_world)).numpy())
    # What is wrong with the scale is what the correction leaves of the true drift.
    residual = corrected - log_scale
    assert np.abs(residual - residual.mean()).max() < 0.6 * np.abs(error).max()
    assert abs(residual.mean() + error.mean()) < 0.03


def straight(nodes: int, rng: np.random.Generator) -> tuple[PoseEdges, np.ndarray]:
    """A straight drive of a metre a node whose size is known to a thousandth from one node to the next."""
    truth = np.tile(np.eye(4), (nodes, 1, 1))
    truth[:, 2, 3] = -np.arange(nodes)
    edges = chain(truth, rng)
    edges.target_from_source[:] = truth[1:] @ np.linalg.inv(truth[:-1])
    edges.information[:, 6, 6] = 1 / 1e-3**2
    return edges, truth


def log_scales(edges: PoseEdges, start: np.ndarray, readings: ScaleReadings) -> np.ndarray:
    return np.log(sim3_scale(torch.from_numpy(optimise(start, edges, readings).camera_from_world)).numpy())


def test_later_readings_mend_the_start() -> None:
    """Depth that is 10 % short over the first 40 m of 500; the start gets what the whole drive says."""
    edges, start = straight(500, np.random.default_rng(6))
    reading = np.where(np.arange(500) < 40, 0.1, 0.0)
    readings = ScaleReadings(reading, np.arange(500.0), process(0.02, 0.04, 50.0))
    found = log_scales(edges, start, readings)
    assert np.abs(found).max() < 0.03


def test_a_steady_drift_is_found_and_not_taken_for_an_error_of_the_prior() -> None:
    """The map grows by 10 % over 500 m, which a walk of 2 % over that way cannot."""
    edges, start = straight(500, np.random.default_rng(7))
    grown = 2e-4 * np.arange(500)
    for drift_sigma, worst in ((4e-4, 0.015), (1e-9, 0.1)):
        readings = ScaleReadings(grown, np.arange(500.0), process(0.02, 0.05, 50.0, drift_sigma))
        error = np.abs(log_scales(edges, start, readings) - grown).max()
        assert error < worst
    assert error > 0.02, "without the drift the prior is blamed"


def test_single_readings_far_off_hardly_move_the_scale() -> None:
    edges, start = straight(200, np.random.default_rng(8))
    reading = np.zeros(200)
    reading[[20, 21, 22, 90, 150]] = np.log(3)
    readings = ScaleReadings(reading, np.arange(200.0), process(0.02, 0.04, 50.0))
    assert np.abs(log_scales(edges, start, readings)).max() < 0.01


def test_the_ground_sets_the_scale_with_a_prior_that_is_short_and_without_one() -> None:
    """Ground is seen in every third keyframe; the prior is a tenth short all along."""
    edges, start = straight(200, np.random.default_rng(9))
    rng = np.random.default_rng(10)
    height = np.where(np.arange(200) % 3 == 0, 0.05 + 0.02 * rng.standard_normal(200), np.nan)
    height[60:66] = 0.7
    for reading in (np.full(200, 0.15), np.full(200, np.nan)):
        readings = ScaleReadings(reading, np.arange(200.0), process(0.02, 0.12, 50.0), height)
        assert np.abs(log_scales(edges, start, readings) - 0.05).max() < 0.015
    guessed = replace(process(0.02, 0.04, 50.0), told_height_sigma=1.0)
    readings = ScaleReadings(np.full(200, 0.15), np.arange(200.0), guessed, height)
    assert np.abs(log_scales(edges, start, readings) - 0.15).max() < 0.02, (
        "a guessed height says nothing of metres"
    )
    without = ScaleReadings(np.full(200, 0.15), np.arange(200.0), process(0.02, 0.04, 50.0))
    assert log_scales(edges, start, without).min() > 0.13


def test_a_height_that_is_not_told_keeps_the_scale_from_wandering() -> None:
    """A network that is a tenth short on every other stretch of 60 m."""
    edges, start = straight(480, np.random.default_rng(11))
    edges.information[:, 6, 6] = 1 / 1e-2**2
    reading = np.where(np.arange(480) // 60 % 2 == 0, 0.1, 0.0)
    guessed = replace(process(0.02, 0.06, 50.0), told_height_sigma=1.0)
    height = 0.4 + 0.02 * np.random.default_rng(12).standard_normal(480)
    kept, wandering = (
        log_scales(edges, start, ScaleReadings(reading, np.arange(480.0), guessed, heights))
        for heights in (height, None)
    )
    assert np.ptp(kept) < 0.5 * np.ptp(wandering)
    assert kept.mean() == pytest.approx(0.05, abs=0.015)


def test_a_thousand_keyframes_take_well_under_a_second_a_step() -> None:
    truth = ring(1000)
    edges = chain(truth, np.random.default_rng(6), np.array([0, 0, 0, 0, 5e-5, 0, 2e-4]))
    for k in range(10):
        edges = with_loop(edges, 990 + k, k, truth[k] @ np.linalg.inv(truth[990 + k]))
    readings = ScaleReadings(np.zeros(1000), 0.3 * np.arange(1000), process(0.03, 0.1, 30.0))
    start = time.process_time()
    result = optimise(dead_reckoned(truth, edges), edges, readings)
    assert (time.process_time() - start) / result.steps < 0.5
    error = np.linalg.norm(centres(result.camera_from_world) - centres(truth), axis=1)
    assert error.max() < 5
