from __future__ import annotations

import numpy as np
import pytest

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.simulated import SimulatedDrive, StreetWorld
from metric3d_ros.datasets.simulated.camera_path import is_inside_any
from metric3d_ros.errors import DatasetError

SMALL = PinholeCamera(width_px=310, height_px=94, fx=180.0, fy=180.0, cx=152.0, cy=43.0)


@pytest.fixture(scope="module")
def drive() -> SimulatedDrive:
    return SimulatedDrive(seed=7, length_m=60.0, camera=SMALL)


def test_poses_are_rigid_and_about_a_metre_apart(drive: SimulatedDrive) -> None:
    poses = drive.world_from_camera
    rotations = poses[:, :3, :3]
    np.testing.assert_allclose(
        rotations @ rotations.transpose(0, 2, 1), np.tile(np.eye(3), (len(poses), 1, 1)), atol=1e-12
    )
    np.testing.assert_allclose(np.linalg.det(rotations), 1.0, atol=1e-12)
    steps = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    assert abs(steps.mean() - 1.0) < 0.03
    assert steps.min() > 0.85 and steps.max() < 1.15


def test_the_camera_looks_where_it_drives(drive: SimulatedDrive) -> None:
    poses = drive.world_from_camera
    ways = np.diff(poses[:, :3, 3], axis=0)
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    forward = poses[:-1, :3, 2]
    assert np.einsum("ij,ij->i", ways, forward).min() > np.cos(np.radians(4.0))
    assert (poses[:, 2, 1] < -0.99).all(), "the image's y axis points to the ground"


def test_speed_and_rate_give_the_spacing_and_the_stamps() -> None:
    drive = SimulatedDrive(seed=3, length_m=80.0, camera=SMALL, speed_m_per_s=6.0, rate_hz=20.0)
    steps = np.linalg.norm(np.diff(drive.world_from_camera[:, :3, 3], axis=0), axis=1)
    assert abs(steps.mean() - 0.3) < 0.01
    assert drive.stamps_ns[0] == 0
    assert set(np.diff(drive.stamps_ns)) == {50_000_000}


@pytest.mark.parametrize("seed", range(8))
def test_a_closed_loop_returns_to_its_start(seed: int) -> None:
    drive = SimulatedDrive(seed=seed, length_m=300.0, camera=SMALL, closed_loop=True)
    poses = drive.world_from_camera
    gap = np.linalg.inv(poses[0]) @ poses[-1]
    assert np.linalg.norm(gap[:3, 3]) < 0.05
    assert np.degrees(np.arccos(np.clip((np.trace(gap[:3, :3]) - 1) / 2, -1, 1))) < 0.5
    half_way = np.linalg.norm(poses[len(poses) // 2, :3, 3] - poses[0, :3, 3])
    assert half_way > 40.0


def test_an_open_drive_does_not_return() -> None:
    poses = SimulatedDrive(seed=1, length_m=300.0, camera=SMALL).world_from_camera
    assert np.linalg.norm(poses[-1, :3, 3] - poses[0, :3, 3]) > 80.0


def test_frames_carry_what_the_drive_promises(drive: SimulatedDrive) -> None:
    frame = drive[-1]
    assert frame.index == len(drive) - 1
    assert frame.image.shape == (94, 310, 3) and frame.image.dtype == np.uint8
    assert frame.depth_m is not None and frame.depth_m.dtype == np.float32
    np.testing.assert_array_equal(frame.world_from_camera, drive.world_from_camera[-1])
    assert frame.stamp_ns == drive.stamps_ns[-1]
    with pytest.raises(IndexError):
        drive[len(drive)]


def test_the_same_seed_gives_the_same_bytes_whatever_the_worker_count() -> None:
    here = list(SimulatedDrive(seed=5, length_m=6.0, camera=SMALL).render_all(workers=1, progress=False))
    there = list(SimulatedDrive(seed=5, length_m=6.0, camera=SMALL).render_all(workers=2, progress=False))
    assert [f.index for f in there] == list(range(len(here)))
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.depth_m, other.depth_m)


def test_other_seeds_are_other_streets(drive: SimulatedDrive) -> None:
    other = SimulatedDrive(seed=8, length_m=60.0, camera=SMALL)
    assert np.abs(drive[5].image.astype(int) - other[5].image).mean() > 5.0


@pytest.mark.parametrize("seed", range(5))
def test_the_drive_runs_through_nothing(seed: int) -> None:
    drive = SimulatedDrive(seed=seed, length_m=60.0, camera=SMALL)
    for pose in drive.world_from_camera:
        assert not is_inside_any(drive.world.obstacles, tuple(pose[:3, 3]), 0.5)


def test_unusable_numbers_are_refused_in_one_sentence() -> None:
    with pytest.raises(DatasetError, match="speed_m_per_s is 0"):
        SimulatedDrive(speed_m_per_s=0.0)
    with pytest.raises(DatasetError, match="closed loop of 50 m"):
        SimulatedDrive(length_m=50.0, closed_loop=True)
    with pytest.raises(DatasetError, match="setting 'lunar'"):
        StreetWorld.generate(seed=1, length_m=50.0, setting="lunar")
