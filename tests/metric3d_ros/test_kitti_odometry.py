from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from recordings import CAMERA, P2_BASELINE_M, textured_image, turning_poses, write_kitti_odometry

from metric3d_ros.datasets.kitti_odometry import KittiOdometry
from metric3d_ros.errors import DatasetError, ImageError


def test_colour_camera_is_preferred_and_lossless(tmp_path: Path) -> None:
    write_kitti_odometry(tmp_path)
    source = KittiOdometry(tmp_path, "03")
    frame = source[2]
    assert source.camera_number == 2
    assert source.name == "kitti_odometry_03"
    assert len(source) == 5
    np.testing.assert_array_equal(frame.image, textured_image(2))
    np.testing.assert_allclose(frame.camera.matrix(), CAMERA.matrix(), rtol=1e-9)


def test_times_are_exact_nanoseconds(tmp_path: Path) -> None:
    folder = write_kitti_odometry(tmp_path)
    (folder / "times.txt").write_text("0.0\n1.036224e-01\n2.07e-01\n3.1e-01\n4.6e02\n")
    stamps_ns = KittiOdometry(tmp_path, "03").stamps_ns
    np.testing.assert_array_equal(stamps_ns, [0, 103_622_400, 207_000_000, 310_000_000, 460_000_000_000])


def test_missing_times_become_the_period_and_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (write_kitti_odometry(tmp_path) / "times.txt").unlink()
    with caplog.at_level(logging.INFO):
        stamps_ns = KittiOdometry(tmp_path, "03").stamps_ns
    np.testing.assert_array_equal(stamps_ns, np.arange(5) * 103_600_000)
    assert "0.1036" in caplog.text
    assert "times.txt" in caplog.text


def test_poses_of_the_colour_camera_stand_beside_those_of_camera_0(tmp_path: Path) -> None:
    write_kitti_odometry(tmp_path)
    gray = KittiOdometry(tmp_path, "03", camera=0).world_from_camera
    colour = KittiOdometry(tmp_path, "03", camera=2).world_from_camera
    assert gray is not None
    assert colour is not None
    np.testing.assert_allclose(gray, turning_poses(5), atol=1e-12)
    centre_of_2_seen_by_0 = np.linalg.inv(gray[3]) @ colour[3] @ [0, 0, 0, 1]
    # P2 = K [I | t] moves points by t, so the camera stands at -t.
    np.testing.assert_allclose(centre_of_2_seen_by_0[:3], [-P2_BASELINE_M, 0, 0], atol=1e-9)


def test_gray_camera_gives_equal_channels_even_from_a_lossy_file(tmp_path: Path) -> None:
    write_kitti_odometry(tmp_path, suffix=".webp")
    image = KittiOdometry(tmp_path, "03", camera=0)[0].image
    assert (image == image[..., :1]).all()


def test_sequence_without_poses_has_none(tmp_path: Path) -> None:
    write_kitti_odometry(tmp_path)
    (tmp_path / "poses" / "03.txt").unlink()
    source = KittiOdometry(tmp_path, "03")
    assert source.world_from_camera is None
    assert source[0].world_from_camera is None


def test_negative_and_outside_indices_follow_sequences(tmp_path: Path) -> None:
    write_kitti_odometry(tmp_path)
    source = KittiOdometry(tmp_path, "03")
    assert source[-1].index == 4
    with pytest.raises(IndexError):
        source[5]
    assert [frame.index for frame in source] == [0, 1, 2, 3, 4]


def test_missing_frame_in_the_middle_is_named(tmp_path: Path) -> None:
    folder = write_kitti_odometry(tmp_path)
    (folder / "image_2" / "000002.png").unlink()
    with pytest.raises(DatasetError, match="000002"):
        KittiOdometry(tmp_path, "03")


@pytest.mark.parametrize(
    ("file", "camera"), [("calib.txt", "auto"), ("calib.txt", 2), ("image_2", 2), ("image_2/000000.png", 2)]
)
def test_missing_files_are_named(tmp_path: Path, file: str, camera: int | str) -> None:
    missing = write_kitti_odometry(tmp_path, count=1) / file
    missing.rename(tmp_path / "elsewhere")
    with pytest.raises(DatasetError) as error:
        KittiOdometry(tmp_path, "03", camera=camera)
    assert str(missing if missing.suffix != ".png" else missing.parent) in str(error.value)


def test_unknown_sequence_lists_the_known(tmp_path: Path) -> None:
    write_kitti_odometry(tmp_path)
    with pytest.raises(DatasetError, match="has 03"):
        KittiOdometry(tmp_path, "07")


def test_camera_without_calibration_is_named(tmp_path: Path) -> None:
    folder = write_kitti_odometry(tmp_path)
    calib = (folder / "calib.txt").read_text().splitlines()
    (folder / "calib.txt").write_text(calib[0] + "\n")
    with pytest.raises(DatasetError, match="no P2"):
        KittiOdometry(tmp_path, "03", camera=2)
    assert KittiOdometry(tmp_path, "03").camera_number == 0


@pytest.mark.parametrize("name", ["../outside", "/etc", ".."])
def test_sequence_name_cannot_leave_the_root(tmp_path: Path, name: str) -> None:
    write_kitti_odometry(tmp_path / "kitti")
    write_kitti_odometry(tmp_path, sequence="../outside")
    with pytest.raises(DatasetError):
        KittiOdometry(tmp_path / "kitti", name)


def test_linked_image_cannot_leave_the_folder(tmp_path: Path) -> None:
    folder = write_kitti_odometry(tmp_path / "kitti")
    outside = tmp_path / "outside.png"
    (folder / "image_2" / "000001.png").rename(outside)
    (folder / "image_2" / "000001.png").symlink_to(outside)
    with pytest.raises(DatasetError, match="leads out"):
        KittiOdometry(tmp_path / "kitti", "03")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_truncated_image_costs_that_frame_alone(tmp_path: Path, suffix: str) -> None:
    folder = write_kitti_odometry(tmp_path, suffix=suffix)
    broken = folder / "image_2" / f"000000{suffix}"
    broken.write_bytes(broken.read_bytes()[:-40])
    source = KittiOdometry(tmp_path, "03")
    with pytest.raises(ImageError, match="000000"):
        source[0]
    assert source[1].image.shape == (CAMERA.height_px, CAMERA.width_px, 3)


def test_image_of_another_size_is_named(tmp_path: Path) -> None:
    folder = write_kitti_odometry(tmp_path)
    import cv2

    cv2.imwrite(str(folder / "image_2" / "000003.png"), np.zeros((10, 12, 3), np.uint8))
    with pytest.raises(ImageError, match=r"000003\.png is 12x10 px"):
        KittiOdometry(tmp_path, "03")[3]


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("poses/03.txt", "1 2 3\n" * 5, "row 1"),
        ("poses/03.txt", "1 0 0 0 0 1 0 0 0 0 1 nan\n" * 5, "row 1"),
        ("poses/03.txt", "1 0 0 0 0 1 0 0 0 0 1 0\n", "1 poses"),
        ("sequences/03/times.txt", "0\n1\n", "2 times"),
        ("sequences/03/times.txt", "0\n1\nfish\n3\n4\n", "row 3"),
        ("sequences/03/times.txt", "0\n1\n1\n3\n4\n", "do not increase"),
        ("sequences/03/calib.txt", "P2: 1 2 3\n", "12 finite numbers"),
    ],
)
def test_damaged_text_files_are_named(tmp_path: Path, file: str, content: str, said: str) -> None:
    write_kitti_odometry(tmp_path)
    (tmp_path / file).write_text(content)
    with pytest.raises(DatasetError, match=said):
        KittiOdometry(tmp_path, "03")


@pytest.mark.kitti
def test_real_sequence_03(shared_data: Path) -> None:
    source = KittiOdometry(shared_data / "kitti_odometry", "03")
    poses = source.world_from_camera
    assert len(source) == 801
    assert source.camera.fx == pytest.approx(721.5377)
    assert (source.camera.width_px, source.camera.height_px) == (1242, 375)
    assert poses is not None
    path_m = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1).sum()
    assert path_m == pytest.approx(561, abs=1)
    image = source[800].image
    assert image.std() > 20
    assert (image == image[..., :1]).all()
