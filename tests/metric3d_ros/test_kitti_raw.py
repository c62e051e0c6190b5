from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from recordings import (
    CAMERA,
    CAMERA_0_FROM_SCANNER,
    DRIVE,
    HEIGHT_PX,
    P2_BASELINE_M,
    WIDTH_PX,
    textured_image,
    write_kitti_raw,
)

from metric3d_ros.datasets.kitti_raw import KittiRaw
from metric3d_ros.datasets.lidar_depth import depth_from_points
from metric3d_ros.datasets.oxts import world_from_imu
from metric3d_ros.errors import DatasetError, ImageError


def test_frames_have_images_and_exact_stamps(tmp_path: Path) -> None:
    write_kitti_raw(tmp_path)
    source = KittiRaw(tmp_path, DRIVE)
    # 2011-09-26 13:10:51 is 1317042651 s after 1970.
    np.testing.assert_array_equal(source.stamps_ns, 1_317_042_651_000_000_000 + np.array([1, 2, 3]) * 100_000_007)
    assert source.name == f"kitti_raw_{DRIVE}"
    np.testing.assert_array_equal(source[1].image, textured_image(1))
    np.testing.assert_allclose(source.camera.matrix(), CAMERA.matrix(), rtol=1e-9)
    assert source[1].depth_m is None


def test_poses_start_at_identity_and_go_where_the_vehicle_goes(tmp_path: Path) -> None:
    write_kitti_raw(tmp_path)
    poses = KittiRaw(tmp_path, DRIVE).world_from_camera
    assert poses is not None
    np.testing.assert_allclose(poses[0], np.eye(4), atol=1e-12)
    # Heading east with yaw 0 is forward: the optical z axis.
    np.testing.assert_allclose(poses[:, :3, 3], [[0, 0, 0], [0, 0, 1], [0, 0, 2]], atol=1e-6)


def test_turning_left_turns_the_imu_left() -> None:
    poses = world_from_imu(np.array([[49.0, 8.4, 0, 0, 0, 0], [49.0, 8.4, 0, 0, 0, np.pi / 2]]))
    np.testing.assert_allclose(poses[1, :3, :3] @ [1, 0, 0], [0, 1, 0], atol=1e-12)


@pytest.mark.kitti
def test_real_poses_equal_the_reference(shared_data: Path) -> None:
    root = shared_data / "kitti_raw"
    reference = np.loadtxt(root / DRIVE[:10] / DRIVE / "derived" / "poses_cam2_from_oxts.txt")
    poses = KittiRaw(root, DRIVE).world_from_camera
    assert poses is not None
    np.testing.assert_allclose(poses[:, :3], reference.reshape(-1, 3, 4), atol=1e-6)


@pytest.mark.kitti
def test_real_depth_is_that_of_one_scan(shared_data: Path) -> None:
    source = KittiRaw(shared_data / "kitti_raw", DRIVE, depth="lidar")
    depth_m = source[70].depth_m
    assert len(source) == 144
    assert depth_m is not None
    assert depth_m.shape == (375, 1242)
    assert depth_m.dtype == np.float32
    seen = np.isfinite(depth_m)
    assert 10_000 < seen.sum() < 25_000
    assert depth_m[seen].min() > 1
    assert depth_m[seen].max() < 130


def test_scan_is_projected_with_the_calibration(tmp_path: Path) -> None:
    folder = write_kitti_raw(tmp_path)
    (folder / "velodyne_points" / "data").mkdir(parents=True)
    column, row, depth_m = 50, 6, 12.5
    points_in_camera = depth_m * np.array([(column - CAMERA.cx) / CAMERA.fx, (row - CAMERA.cy) / CAMERA.fy, 1])
    points_in_camera_0 = points_in_camera - [P2_BASELINE_M, 0, 0.003]
    near = np.linalg.inv(CAMERA_0_FROM_SCANNER) @ [*points_in_camera_0, 1]
    behind_it = np.linalg.inv(CAMERA_0_FROM_SCANNER) @ [
        *(2 * points_in_camera - [P2_BASELINE_M, 0, 0.003]),
        1,
    ]
    behind_camera = [-5.0, 0, 0]
    scan = np.array([[*behind_it[:3], 0.5], [*near[:3], 0.5], [*behind_camera, 0.5]], dtype="<f4")
    scan.tofile(folder / "velodyne_points" / "data" / "0000000001.bin")

    source = KittiRaw(tmp_path, DRIVE, depth="lidar")
    projected = source[1].depth_m
    assert projected is not None
    assert np.argwhere(np.isfinite(projected)).tolist() == [[row, column]]
    assert projected[row, column] == pytest.approx(depth_m, abs=1e-4)
    without_scan = source[0].depth_m
    assert without_scan is not None
    assert without_scan.shape == (HEIGHT_PX, WIDTH_PX)
    assert np.isnan(without_scan).all()


def test_nearest_point_of_a_pixel_counts_in_any_order() -> None:
    rng = np.random.default_rng(0)
    points = (rng.uniform(2, 60, (500, 1)) * [[0.01, -0.02, 1.0]]).astype(np.float32)
    depth_m = depth_from_points(points, np.eye(4), CAMERA)
    assert np.isfinite(depth_m).sum() == 1
    assert np.nanmin(depth_m) == pytest.approx(points[:, 2].min())


def test_projected_depth_images_come_first(tmp_path: Path) -> None:
    folder = write_kitti_raw(tmp_path)
    (folder / "derived" / "velodyne_depth_02").mkdir(parents=True)
    encoded = np.zeros((HEIGHT_PX, WIDTH_PX), np.uint16)
    encoded[3, 4] = 1284
    cv2.imwrite(str(folder / "derived" / "velodyne_depth_02" / "0000000002.png"), encoded)
    source = KittiRaw(tmp_path, DRIVE, depth="lidar")
    depth_m = source[2].depth_m
    assert depth_m is not None
    assert depth_m[3, 4] == 1284 / 256
    assert np.isfinite(depth_m).sum() == 1


def test_lidar_that_is_not_there_is_named(tmp_path: Path) -> None:
    write_kitti_raw(tmp_path)
    with pytest.raises(DatasetError, match="velodyne_points"):
        KittiRaw(tmp_path, DRIVE, depth="lidar")


def test_cut_scan_costs_that_frame(tmp_path: Path) -> None:
    folder = write_kitti_raw(tmp_path)
    scans = folder / "velodyne_points" / "data"
    scans.mkdir(parents=True)
    (scans / "0000000000.bin").write_bytes(b"\0" * 23)
    source = KittiRaw(tmp_path, DRIVE, depth="lidar")
    with pytest.raises(ImageError, match=r"0000000000\.bin is cut short"):
        source[0]
    assert source[1].image.shape == (HEIGHT_PX, WIDTH_PX, 3)


@pytest.mark.parametrize(
    "file",
    [
        "calib_cam_to_cam.txt",
        "calib_velo_to_cam.txt",
        "calib_imu_to_velo.txt",
        f"{DRIVE}/image_02/timestamps.txt",
        f"{DRIVE}/oxts/data/0000000001.txt",
    ],
)
def test_missing_files_are_named(tmp_path: Path, file: str) -> None:
    write_kitti_raw(tmp_path)
    (tmp_path / DRIVE[:10] / file).unlink()
    with pytest.raises(DatasetError, match=Path(file).name):
        KittiRaw(tmp_path, DRIVE)


def test_missing_image_in_the_middle_is_named(tmp_path: Path) -> None:
    folder = write_kitti_raw(tmp_path)
    (folder / "image_02" / "data" / "0000000001.png").unlink()
    with pytest.raises(DatasetError, match="frame 0000000001 is missing"):
        KittiRaw(tmp_path, DRIVE)


def test_drive_without_oxts_has_no_poses(tmp_path: Path) -> None:
    folder = write_kitti_raw(tmp_path)
    (folder / "oxts").rename(folder / "elsewhere")
    assert KittiRaw(tmp_path, DRIVE).world_from_camera is None


def test_unknown_drive_lists_the_known_and_unsynced_is_refused(tmp_path: Path) -> None:
    folder = write_kitti_raw(tmp_path)
    with pytest.raises(DatasetError, match=DRIVE):
        KittiRaw(tmp_path, "2011_09_26_drive_0099_sync")
    folder.rename(folder.with_name("2011_09_26_drive_0013_extract"))
    with pytest.raises(DatasetError, match="_sync"):
        KittiRaw(tmp_path, "2011_09_26_drive_0013_extract")


def test_drive_name_cannot_leave_the_root(tmp_path: Path) -> None:
    write_kitti_raw(tmp_path / "kitti")
    (tmp_path / "outside").mkdir()
    with pytest.raises(DatasetError):
        KittiRaw(tmp_path / "kitti", "2011_09_26/../../outside")
