"""What gives labelled views: simulated worlds, pools, NYU folders, KITTI."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from metric3d_ros.camera import PinholeCamera
from training.errors import TrainingError
from training.label_kind import LabelKind
from training.labelled_view import LabelledView
from training.pool import VIEWS_PER_SHARD, View, save_shard
from training.view_sources import KittiViews, NyuViews, PoolViews, SimulatedViews, bottom_cropped

DRIVE = "2011_09_26_drive_0013_sync"


def test_simulated_views_are_decided_by_their_number():
    views = SimulatedViews("plain", seed=5, size=2, long_side_px=96)
    view, again = views[1], SimulatedViews("plain", seed=5, size=2, long_side_px=96)[1]
    np.testing.assert_array_equal(view.image, again.image)
    np.testing.assert_array_equal(view.depth_m, again.depth_m)
    assert view.camera == again.camera
    assert view.camera.width_px == 96
    assert view.sky is not None
    np.testing.assert_array_equal(view.sky, np.isnan(view.depth_m))
    assert len(views) == 2
    # Another round of the same worlds shows the same views, a much later one others.
    np.testing.assert_array_equal(views[3].image, view.image)
    assert views[2 * 6 + 1].camera != view.camera


def test_a_pool_keeps_its_canonical_depth(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (32, 64, 3), dtype=np.uint8)
    depth = rng.uniform(5, 500, (32, 64)).astype(np.float16).astype(np.float32)
    depth[:4] = np.nan
    save_shard(tmp_path, 0, [View(image, depth, (2, 1, 60, 30))] * VIEWS_PER_SHARD)
    view = PoolViews(tmp_path)[3]
    assert view.label_per_metre("label") == 1.0
    np.testing.assert_array_equal(view.depth_m, depth[1:31, 2:62])
    assert view.resized(0.5).label_per_metre("label") == 2.0
    # One row of padding lies above: the input's middle, 15.5, is the image's 14.5.
    assert view.camera.cy == 14.5


def test_nyu_frames_are_pairs_in_millimetres(tmp_path):
    room = tmp_path / "kitchen_0001"
    room.mkdir()
    cv2.imwrite(str(room / "rgb_00001.jpg"), np.full((480, 640, 3), 90, np.uint8))
    cv2.imwrite(str(room / "rgb_00002.jpg"), np.full((480, 640, 3), 90, np.uint8))
    cv2.imwrite(str(room / "sync_depth_00001.png"), np.full((480, 640), 2500, np.uint16))
    views = NyuViews(tmp_path)
    assert len(views) == 1
    view = views[0]
    np.testing.assert_allclose(view.depth_m, 2.5)
    assert (view.camera.fx, view.kind) == (pytest.approx(518.857901), LabelKind.DENSE)
    with pytest.raises(TrainingError, match="no NYU frames in"):
        NyuViews(tmp_path / "none")


def test_the_bottom_of_an_image_keeps_its_rays():
    camera = PinholeCamera(100, 60, 80.0, 80.0, 50.0, 30.0)
    view = LabelledView(np.zeros((60, 100, 3), np.uint8), np.ones((60, 100), np.float32), camera, LabelKind.LIDAR)
    cropped = bottom_cropped(view, 40, 60)
    assert cropped.depth_m.shape == (40, 60)
    np.testing.assert_allclose(cropped.camera.rays(), camera.rays()[20:, 20:80], atol=1e-6)
    assert bottom_cropped(view, 400, 600).camera == camera


@pytest.mark.kitti
def test_kitti_frames_come_with_their_scans(shared_data):
    views = KittiViews(shared_data / "kitti_raw", DRIVE, frames=(0, 100), bottom_crop_px=(352, 1216))
    assert len(views) == 100
    view = views[0]
    assert view.image.shape == (352, 1216, 3)
    assert view.kind is LabelKind.LIDAR
    readings = view.depth_m[np.isfinite(view.depth_m)]
    assert readings.size > 5000
    assert 2 < np.median(readings) < 40
    with pytest.raises(TrainingError, match="frames 0 to 9999"):
        KittiViews(shared_data / "kitti_raw", DRIVE, frames=(0, 9999))
