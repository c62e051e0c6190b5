"""A pool holds what training may see, complete shards only, the same whenever they are rendered."""

from __future__ import annotations

import numpy as np
import pytest

from training import simulated_pool
from training.cameras import FIRST_EVALUATION_SEED, ROOM_CAMERA_HEIGHT_RANGE_M, is_held_out
from training.errors import TrainingError
from training.pool import VIEWS_PER_SHARD, Pool, View, save_shard
from training.simulated_pool import render_shard


def any_view(value: int) -> View:
    image = np.full((32, 64, 3), value, dtype=np.uint8)
    return View(image, np.full((32, 64), 4.0, dtype=np.float32), (0, 0, 64, 32))


def test_rendered_views_keep_to_what_training_may_see(monkeypatch):
    seeds, cameras = [], []

    class Stop(Exception):
        pass

    def remember(seed, **_):
        seeds.append(seed)

    def camera(rng):
        cameras.append(real_camera(rng))
        raise Stop

    real_camera = simulated_pool.sample_camera
    monkeypatch.setattr(simulated_pool.StreetWorld, "generate", remember)
    monkeypatch.setattr(simulated_pool, "sample_camera", camera)
    for number in range(50):
        with pytest.raises(Stop):
            simulated_pool.render_views(np.random.default_rng(number), 64, 192, "varied")
    assert max(seeds) < FIRST_EVALUATION_SEED
    assert not any(is_held_out(c.fx) for c in cameras)


def test_cameras_in_rooms_are_mounted_at_any_robots_height(monkeypatch):
    mounts = []

    def remember(_rng, _world, _camera, camera_height_m):
        mounts.append(camera_height_m[0])
        return np.eye(4)

    def nothing_seen(_world, camera, _pose, seed):
        size = (camera.height_px, camera.width_px)
        return np.full((*size, 3), seed % 255, np.uint8), np.ones(size, np.float32)

    monkeypatch.setattr("training.simulated_view.sample_view", remember)
    monkeypatch.setattr("training.simulated_view.render", nothing_seen)
    monkeypatch.setattr(simulated_pool.StreetWorld, "generate", lambda **_: None)
    for number in range(10):
        simulated_pool.render_views(np.random.default_rng(number), 64, 192, "rooms")
    low, high = ROOM_CAMERA_HEIGHT_RANGE_M
    assert low <= min(mounts) < 0.5
    assert 1.6 < max(mounts) <= high


def test_a_shard_is_the_same_whenever_it_is_rendered(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        render_shard(tmp_path / name, 3, 7, 64, 192, "varied")
    one, other = Pool(tmp_path / "one"), Pool(tmp_path / "other")
    for index in (0, 9):
        for first, second in zip(one[index], other[index], strict=True):
            np.testing.assert_array_equal(first, second)


def test_an_incomplete_shard_does_not_count(tmp_path):
    with pytest.raises(TrainingError, match="no rendered views in"):
        Pool(tmp_path)
    save_shard(tmp_path, 0, [any_view(k) for k in range(VIEWS_PER_SHARD)])
    np.save(tmp_path / "000001_image.npy", np.zeros(3))
    pool = Pool(tmp_path)
    assert len(pool) == VIEWS_PER_SHARD
    assert pool[5][0].mean() == 5
    with pytest.raises(TrainingError, match="shard 1 has 1 views; it must have 16"):
        save_shard(tmp_path, 1, [any_view(0)])
