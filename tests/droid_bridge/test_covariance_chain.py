"""How covariances add up along the way, against sums over the whole way, and against what odometry gets wrong."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from corridor import frames_of, pose, tracked
from hypothesis import given, settings
from hypothesis import strategies as st

from droid_bridge.covariance_chain import CovarianceChain, ScaleError
from droid_bridge.lie import se3_exp, se3_inverse, se3_log
from droid_bridge.odometry import OdometryConfig, TrackingStatus
from droid_bridge.odometry_update import OdometryUpdate, TrackedPose
from droid_bridge.pose_covariance import PoseInformation
from droid_bridge.scale_process import ScaleProcess

torch.set_num_threads(1)
PROCESS = ScaleProcess()
FORWARD = se3_exp(torch.tensor([0.0, 0.0, -1.0, 0.0, 0.0, 0.0], dtype=torch.float64))
PERIOD_NS = 100_000_000


@dataclass
class Links:
    """A window of three frames, two of them free: what the chain asks of a factor graph."""

    information: PoseInformation | None = None
    poses: list[torch.Tensor] = field(default_factory=list)
    held_poses: int = 1

    @property
    def frames(self) -> list[Any]:
        first = max(0, len(self.poses) - 3)
        return [SimpleNamespace(frame_index=index) for index in range(first, len(self.poses))]

    @property
    def estimate(self) -> Any:
        return SimpleNamespace(camera_from_world=torch.stack(self.poses[-3:]))

    def add(self, step: torch.Tensor, covariance: torch.Tensor) -> None:
        """A keyframe a step further on; each free pose's covariance is given as if the others were known."""
        self.poses.append(step @ self.poses[-1])
        free = len(self.frames) - 1
        joint = torch.block_diag(*[covariance] * free)
        self.information = PoseInformation(torch.linalg.inv(joint), free, 1.0, 1.0)


def driven(steps: list[torch.Tensor], covariance: torch.Tensor, scale_variance: float = 0.0) -> CovarianceChain:
    graph, chain = Links(poses=[torch.eye(4, dtype=torch.float64)]), CovarianceChain(PROCESS)
    chain.begin_map(graph)  # type: ignore[arg-type]
    chain.see(graph, [_tracked(graph, 0)], None, scale_variance)  # type: ignore[arg-type]
    for index, step in enumerate(steps, start=1):
        graph.add(step, covariance)
        chain.adjust(graph)  # type: ignore[arg-type]
        window = [_tracked(graph, index - 1), _tracked(graph, index)]
        chain.see(graph, window, None, scale_variance)  # type: ignore[arg-type]
    return chain


def _tracked(graph: Links, index: int) -> TrackedPose:
    return TrackedPose(index, index * PERIOD_NS, se3_inverse(graph.poses[index]).numpy())


def smallest_eigenvalue(covariance: np.ndarray) -> float:
    return float(np.linalg.eigvalsh(covariance).min())


def test_heading_errors_add_up_as_those_of_the_whole_way_at_once() -> None:
    """Sideways is off by each link's heading error times the way after it; links keep exp(-1/2) of them."""
    count, heading_sigma = 12, 1e-3
    covariance = torch.diag(torch.tensor([1e-6, 1e-6, 1e-6, 1e-8, heading_sigma**2, 1e-8], dtype=torch.float64))
    of_pose = driven([FORWARD] * count, covariance).covariance.of_pose
    way_after = np.arange(count)[::-1]
    # The window of three has two free poses, so the newest is linked to the one before the last.
    links = [*range(count - 2), count - 1]
    alike = np.exp(-0.5 * np.abs(np.subtract.outer(np.arange(len(links)), np.arange(len(links)))))
    lever_m = way_after[links]
    assert of_pose[4, 4] == pytest.approx(heading_sigma**2 * alike.sum(), rel=1e-6)
    sideways = lever_m @ alike @ lever_m * heading_sigma**2 + 1e-6 * alike.sum()
    assert of_pose[0, 0] == pytest.approx(sideways, rel=1e-6)


def test_a_scale_that_is_off_stretches_the_whole_way() -> None:
    nothing = torch.eye(6, dtype=torch.float64) * 1e-14
    of_pose = driven([FORWARD] * 20, nothing, scale_variance=0.03**2).covariance.of_pose
    assert of_pose[2, 2] == pytest.approx((0.03 * 20) ** 2, rel=1e-6)
    assert of_pose[0, 0] < 1e-10


def test_a_scale_that_is_measured_on_the_way_errs_as_a_filter_does() -> None:
    """Many drives with a scale that wanders and is measured; the way is summed with what each filter thought."""
    rng = np.random.default_rng(4)
    drives, steps, walk_variance, measured_variance = 4000, 30, 1e-5, 4e-3
    variance = 0.05**2
    error = np.sqrt(variance) * rng.standard_normal(drives)
    off_m = np.zeros(drives)
    chain = ScaleError(PROCESS)
    chain.measure(variance, torch.eye(4).double(), torch.eye(4).double())
    for _ in range(steps):
        off_m += error
        chain.move(FORWARD)
        variance += walk_variance
        error += np.sqrt(walk_variance) * rng.standard_normal(drives)
        chain.measure(variance, FORWARD, FORWARD)
        gain = variance / (variance + measured_variance)
        error += gain * (np.sqrt(measured_variance) * rng.standard_normal(drives) - error)
        variance *= 1 - gain
        chain.measure(variance, FORWARD, FORWARD)
    assert float(chain.pose[2, 2]) == pytest.approx(off_m.var(), rel=0.1)


@given(seed=st.integers(0, 10_000), steps=st.integers(1, 12), scale_sigma=st.floats(0.0, 0.2))
@settings(max_examples=25, deadline=None)
def test_it_is_symmetric_and_positive_and_grows(seed: int, steps: int, scale_sigma: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    moves = list(se3_exp(0.3 * torch.randn(steps, 6, generator=generator, dtype=torch.float64)))
    root = 1e-2 * torch.randn(6, 8, generator=generator, dtype=torch.float64)
    covariance = root @ root.mT + 1e-8 * torch.eye(6, dtype=torch.float64)
    known = driven(moves, covariance, scale_sigma**2).covariance
    for stated in (known.of_pose, known.of_step):
        np.testing.assert_allclose(stated, stated.T, rtol=1e-6, atol=1e-12)
        assert smallest_eigenvalue(0.5 * (stated + stated.T)) > -1e-9 * np.trace(stated)
    noisier = driven(moves, 4 * covariance, scale_sigma**2).covariance
    assert smallest_eigenvalue(noisier.of_pose - known.of_pose) > -1e-9 * np.trace(noisier.of_pose)


def test_a_world_that_grows_takes_its_errors_along() -> None:
    chain = driven([FORWARD] * 5, 1e-4 * torch.eye(6, dtype=torch.float64), scale_variance=1e-4)
    before = chain.covariance.of_pose
    chain.rescale(3.0)
    size = np.array([3.0] * 3 + [1.0] * 3)
    np.testing.assert_allclose(chain.covariance.of_pose, size[:, None] * before * size, rtol=1e-9)


def test_what_nobody_saw_grows_with_time_and_is_forgotten_once_the_place_is_seen_again() -> None:
    graph, chain = Links(poses=[torch.eye(4, dtype=torch.float64)]), CovarianceChain(PROCESS)
    chain.begin_map(graph)  # type: ignore[arg-type]
    start = _tracked(graph, 0)
    chain.see(graph, [start], None, 1e-4)  # type: ignore[arg-type]
    sigmas_m = []
    for index in range(1, 6):
        chain.coast(replace(start, frame_index=index, stamp_ns=index * PERIOD_NS), 1e-4)
        sigmas_m.append(np.sqrt(chain.covariance.of_pose[0, 0]))
    np.testing.assert_allclose(sigmas_m, [0.5 * 3.0 * (0.1 * k) ** 2 for k in range(1, 6)], rtol=1e-9)
    seen = PoseInformation(1e6 * torch.eye(6, dtype=torch.float64), 1, 1.0, 1.0)
    chain.see(graph, [replace(start, frame_index=6, stamp_ns=6 * PERIOD_NS)], seen, 1e-4)  # type: ignore[arg-type]
    assert np.sqrt(chain.covariance.of_pose[0, 0]) == pytest.approx(1e-3, rel=1e-3)


# --- on the corridor ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drive() -> list[OdometryUpdate]:
    """Noisy images, and depth that is off by whole images and by surfaces."""
    rng = np.random.default_rng(2)
    frames = []
    for frame in frames_of(26):
        assert frame.depth_m is not None
        noise = rng.normal(0, 8, frame.image.shape[:2])[..., None]
        surfaces = cv2.resize(rng.standard_normal((10, 20)).astype(np.float32), (320, 160))
        depth_m = frame.depth_m * np.float32(np.exp(0.03 * rng.standard_normal())) * np.exp(0.1 * surfaces)
        image = np.clip(frame.image + noise, 0, 255).astype(np.uint8)
        frames.append(replace(frame, image=image, depth_m=depth_m.astype(np.float32)))
    return tracked(frames)


def _nees(error: torch.Tensor, covariance: np.ndarray) -> float:
    return float(error.numpy() @ np.linalg.solve(covariance, error.numpy())) / 6


def test_odometry_errs_as_much_as_it_says(drive: list[OdometryUpdate]) -> None:
    """Squared errors per degree of freedom in units of the stated covariance; 1 is as stated, less is careful.

    The share of cells that err independently is set for real images, and on these clean ones the answers are
    two to five times better than stated. Stating a tenth or ten times the sigmas would fail.
    """
    steps, poses = [], []
    for k, update in enumerate(drive):
        true = torch.from_numpy(np.linalg.inv(pose(k)) @ pose(0))
        stated = torch.from_numpy(update.world_from_camera)
        if k > 0:
            true_step = torch.from_numpy(np.linalg.inv(pose(k)) @ pose(k - 1))
            step = torch.from_numpy(update.covariance.now_from_before)
            steps.append(_nees(se3_log(true_step @ se3_inverse(step)), update.covariance.of_step))
            poses.append(_nees(se3_log(true @ stated), update.covariance.of_pose))
    assert 0.02 < np.mean(steps) < 1.5
    assert 0.02 < np.mean(poses) < 1.5
    assert max(steps) < 5


def test_it_grows_along_the_way(drive: list[OdometryUpdate]) -> None:
    assert not drive[0].covariance.of_pose.any(), "the world begins at the first frame"
    middle, end = (drive[k].covariance.of_pose for k in (12, 25))
    assert (np.diag(end)[[0, 2, 3, 4, 5]] > np.diag(middle)[[0, 2, 3, 4, 5]]).all()
    for update in drive[1:]:
        assert smallest_eigenvalue(update.covariance.of_pose) > 0
        assert smallest_eigenvalue(update.covariance.of_step) > 0


def test_what_was_lost_stays_where_a_new_map_had_to_begin() -> None:
    frames = frames_of(22)
    dark = [replace(f, image=np.zeros_like(f.image), depth_m=None) for f in frames[6:13]]
    updates = tracked([*frames[:6], *dark, *frames[13:]], OdometryConfig(max_lost_frames=5))
    sigma_m = [float(np.sqrt(update.covariance.of_pose[0, 0])) for update in updates]
    assert [update.status for update in updates[6:13]] == [TrackingStatus.DEGRADED] * 7
    assert sigma_m[12] > 10 * sigma_m[5]
    assert min(sigma_m[13:]) > 5 * sigma_m[5]
    off_m = np.linalg.norm((np.linalg.inv(pose(0)) @ pose(21) - updates[21].world_from_camera)[:3, 3])
    assert off_m < 4 * np.sqrt(np.trace(updates[21].covariance.of_pose[:3, :3]))


def test_a_blank_image_costs_the_certainty_of_that_image_alone() -> None:
    frames = frames_of(12)
    frames[8] = replace(frames[8], image=np.zeros_like(frames[8].image), depth_m=None)
    turning = [update.covariance.of_velocity()[4, 4] for update in tracked(frames)]
    assert turning[8] > 10 * turning[7]
    assert turning[11] < 0.1 * turning[8]
