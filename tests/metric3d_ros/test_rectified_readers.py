"""Readers whose images have lens distortion: TUM RGB-D, EuRoC and KITTI's unsynchronised drives."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import CAMERA_0_FROM_SCANNER, FrameList, textured_image, turning_poses

from metric3d_ros import bag_topics
from metric3d_ros.camera import PinholeCamera
from metric3d_ros.cli import main
from metric3d_ros.datasets.detection import open_recording
from metric3d_ros.datasets.euroc import Euroc
from metric3d_ros.datasets.frame import Frame
from metric3d_ros.datasets.image_folder import ImageFolder
from metric3d_ros.datasets.kitti_detection import open_kitti
from metric3d_ros.datasets.kitti_raw import KittiRaw
from metric3d_ros.datasets.kitti_raw_unsynced import KittiRawUnsynced
from metric3d_ros.datasets.oxts import EARTH_RADIUS_M
from metric3d_ros.datasets.rectified_frames import RectifiedFrames
from metric3d_ros.datasets.rosbag import BagReader, write_source
from metric3d_ros.datasets.timed_poses import TimedPoses
from metric3d_ros.datasets.tum_rgbd import TumRgbd
from metric3d_ros.errors import CameraError, DatasetError, ImageError
from metric3d_ros.quaternion import quaternion_from_rotation

START_NS = 1_305_031_102_175_304_000
PERIOD_NS = 33_333_000
FRAMES = 6
DOT_RAYS = np.array([[-0.35, -0.2, 1.0], [0.0, 0.0, 1.0], [0.3, 0.22, 1.0]])


def dots(width_px: int, height_px: int, centres: np.ndarray) -> np.ndarray:
    """A gray image with a soft dot at each centre (x, y)."""
    y, x = np.mgrid[:height_px, :width_px]
    image = sum(np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 18.0) for cx, cy in centres)
    return np.repeat((255 * np.clip(image, 0, 1)).astype(np.uint8)[..., None], 3, axis=2)


def seen_through(k: np.ndarray, distortion: tuple[float, ...], rays: np.ndarray) -> np.ndarray:
    """Where OpenCV's own projection puts rays in a distorted image, (rays, 2) pixels."""
    return cv2.projectPoints(rays, np.zeros(3), np.zeros(3), k, np.array(distortion))[0][:, 0]


def assert_dots_are_where_a_pinhole_sees_them(image: np.ndarray, camera: PinholeCamera, rays: np.ndarray) -> None:
    for ray in rays:
        x, y = camera.matrix()[:2] @ (ray / ray[2])
        left, top = round(x) - 8, round(y) - 8
        patch = image[top : top + 17, left : left + 17, 0].astype(float)
        rows, columns = np.mgrid[top : top + 17, left : left + 17]
        found = (columns * patch).sum() / patch.sum(), (rows * patch).sum() / patch.sum()
        assert found == pytest.approx((x, y), abs=0.35)


def truth_rows(stamps_ns: np.ndarray, poses: np.ndarray, order: str) -> list[list[str]]:
    rows = []
    for stamp_ns, pose in zip(stamps_ns, poses, strict=True):
        x, y, z, w = quaternion_from_rotation(pose[:3, :3])
        quaternion = (w, x, y, z) if order == "wxyz" else (x, y, z, w)
        rows.append([str(stamp_ns), *(f"{value:.12f}" for value in (*pose[:3, 3], *quaternion))])
    return rows


def write_tum(
    folder: Path,
    images: list[np.ndarray],
    *,
    truth_offset_ns: int = 0,
    truth_frames: slice = slice(None),
    depth_m: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """A TUM RGB-D recording; gives stamps and true poses of the images."""
    (folder / "rgb").mkdir(parents=True)
    stamps_ns = START_NS + np.arange(len(images)) * PERIOD_NS
    poses = turning_poses(len(images))

    def seconds(stamp_ns: int) -> str:
        return f"{stamp_ns // 10**9}.{stamp_ns % 10**9:09d}"

    lines = ["# color images", "# timestamp filename"]
    for stamp_ns, image in zip(stamps_ns, images, strict=True):
        cv2.imwrite(str(folder / "rgb" / f"{stamp_ns}.png"), image[..., ::-1])
        lines.append(f"{seconds(int(stamp_ns))} rgb/{stamp_ns}.png")
    (folder / "rgb.txt").write_text("\n".join(lines) + "\n")
    chosen = truth_rows(stamps_ns[truth_frames] + truth_offset_ns, poses[truth_frames], "xyzw")
    truth = ["# ground truth", *(" ".join([seconds(int(row[0])), *row[1:]]) for row in chosen)]
    (folder / "groundtruth.txt").write_text("\n".join(truth) + "\n")
    if depth_m is not None:
        (folder / "depth").mkdir()
        cv2.imwrite(str(folder / "depth" / "0.png"), np.round(depth_m * 5000).astype(np.uint16))
        (folder / "depth.txt").write_text(f"{seconds(int(stamps_ns[1]) + 9_000_000)} depth/0.png\n")
    return stamps_ns, poses


def small_camera() -> PinholeCamera:
    return PinholeCamera(64, 24, 40.0, 41.0, 31.5, 11.25)


def test_tum_frames_have_exact_stamps_images_and_poses(tmp_path: Path) -> None:
    images = [textured_image(i) for i in range(FRAMES)]
    stamps_ns, poses = write_tum(tmp_path / "desk", images)
    source = TumRgbd(tmp_path / "desk", small_camera())
    assert source.name == "tum_rgbd_desk"
    np.testing.assert_array_equal(source.stamps_ns, stamps_ns)
    np.testing.assert_array_equal(source[3].image, images[3])
    assert source.camera == small_camera()
    assert source.world_from_camera is not None
    np.testing.assert_allclose(source.world_from_camera, poses, atol=1e-9)
    assert source[3].depth_m is None


def test_tum_truth_is_interpolated_and_frames_without_it_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = [textured_image(i) for i in range(FRAMES)]
    with caplog.at_level(logging.INFO):
        stamps_ns, poses = write_tum(tmp_path / "desk", images, truth_offset_ns=PERIOD_NS // 2)
        source = TumRgbd(tmp_path / "desk", small_camera())
    np.testing.assert_array_equal(source.stamps_ns, stamps_ns[1:])
    np.testing.assert_array_equal(source[0].image, images[1])
    assert "1 of 6 frames have no true pose" in caplog.text
    assert source.world_from_camera is not None
    between = 0.5 * (poses[:-1, :3, 3] + poses[1:, :3, 3])
    np.testing.assert_allclose(source.world_from_camera[:, :3, 3], between, atol=1e-6)


def test_tum_site_has_its_camera_and_lens(tmp_path: Path) -> None:
    k = np.array([[517.3, 0, 318.6], [0, 516.5, 255.3], [0, 0, 1]])
    distortion = (0.2624, -0.9531, -0.0054, 0.0026, 1.1633)
    raw = dots(640, 480, seen_through(k, distortion, DOT_RAYS))
    depth_m = np.full((480, 640), 2.0)
    depth_m[:, :300] = 0.0
    write_tum(tmp_path / "rgbd_dataset_freiburg1_desk", [raw, raw, raw], depth_m=depth_m)
    source = TumRgbd(tmp_path / "rgbd_dataset_freiburg1_desk", depth="sensor")
    assert source.camera == PinholeCamera(640, 480, 517.3, 516.5, 318.6, 255.3)
    assert_dots_are_where_a_pinhole_sees_them(source[0].image, source.camera, DOT_RAYS)
    # Depth is 9 ms from the second frame and more than 20 ms from the others.
    assert source[0].depth_m is None and source[2].depth_m is None
    found = source[1].depth_m
    assert found is not None
    assert np.isnan(found[240, 100])
    assert found[240, 400] == pytest.approx(2.0)


def test_tum_recording_of_an_unknown_camera_asks_for_it(tmp_path: Path) -> None:
    write_tum(tmp_path / "kitchen", [textured_image(0), textured_image(1)])
    with pytest.raises(DatasetError, match="--camera-file"):
        TumRgbd(tmp_path / "kitchen")
    wrong_size = TumRgbd(tmp_path / "kitchen", PinholeCamera(65, 24, 40, 40, 32, 12))
    with pytest.raises(ImageError, match="64x24 px but its calibration is of 65x24"):
        wrong_size[0]


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("rgb.txt", None, r"rgb\.txt is missing"),
        ("rgb.txt", "# only a comment\n", "has no rows"),
        ("rgb.txt", "now rgb/0.png\n", "row 1 of .* does not start with a time"),
        ("rgb.txt", "1.0 ../outside.png\n", "leads out of"),
        ("groundtruth.txt", "1305031102.1 0 0 0 0 0 0\n", "row 1 of .* is not"),
        ("groundtruth.txt", "1305031102.1 0 0 0 0 0 0 0\n", "row 1 of .* is not"),
        ("groundtruth.txt", "5.0 0 0 0 0 0 0 1\n", "take both from the same recording"),
        ("groundtruth.txt", "5.0 0 0 0 0 0 0 1\n4.0 0 0 0 0 0 0 1\n", "go back in time"),
    ],
)
def test_bad_tum_files_are_named(tmp_path: Path, file: str, content: str | None, said: str) -> None:
    write_tum(tmp_path / "desk", [textured_image(0), textured_image(1)])
    (tmp_path / "desk" / file).unlink()
    if content is not None:
        (tmp_path / "desk" / file).write_text(content)
    with pytest.raises(DatasetError, match=said):
        TumRgbd(tmp_path / "desk", small_camera())


EUROC_K = np.array([[458.654, 0, 367.215], [0, 457.296, 248.375], [0, 0, 1]])
EUROC_D = (-0.28340811, 0.07395907, 0.00019359, 1.76187114e-05)
BODY_FROM_CAMERA = np.array([[0, -1, 0, -0.02], [1, 0, 0, -0.06], [0, 0, 1, 0.01], [0, 0, 0, 1.0]])


def write_euroc(folder: Path, count: int = FRAMES, sensor: dict[str, object] | None = None) -> np.ndarray:
    """A EuRoC recording whose body turns and moves; gives the camera's true poses."""
    camera = folder / "mav0" / "cam0"
    (camera / "data").mkdir(parents=True)
    stamps_ns = 1_403_636_579_763_555_584 + np.arange(count) * 50_000_000
    image = dots(752, 480, seen_through(EUROC_K, EUROC_D, DOT_RAYS))
    lines = ["#timestamp [ns],filename"]
    for stamp_ns in stamps_ns:
        cv2.imwrite(str(camera / "data" / f"{stamp_ns}.png"), image[..., 0])
        lines.append(f"{stamp_ns},{stamp_ns}.png")
    (camera / "data.csv").write_text("\r\n".join(lines) + "\r\n")
    described: dict[str, object] = {
        "sensor_type": "camera",
        "T_BS": {"cols": 4, "rows": 4, "data": BODY_FROM_CAMERA.ravel().tolist()},
        "rate_hz": 20,
        "resolution": [752, 480],
        "camera_model": "pinhole",
        "intrinsics": [458.654, 457.296, 367.215, 248.375],
        "distortion_model": "radial-tangential",
        "distortion_coefficients": list(EUROC_D),
    }
    (camera / "sensor.yaml").write_text(yaml.safe_dump(described | (sensor or {})))
    bodies = turning_poses(count)
    truth = folder / "mav0" / "state_groundtruth_estimate0"
    truth.mkdir()
    rows = [",".join([*row, "0", "0", "0"]) for row in truth_rows(stamps_ns, bodies, "wxyz")]
    (truth / "data.csv").write_text("\n".join(["#timestamp, p_RS_R_x [m]", *rows]) + "\n")
    return bodies @ BODY_FROM_CAMERA


@pytest.mark.parametrize("given", ["recording", "mav0"])
def test_euroc_is_rectified_with_the_cameras_poses(tmp_path: Path, given: str) -> None:
    poses = write_euroc(tmp_path / "MH_01_easy")
    source = Euroc(tmp_path / "MH_01_easy" if given == "recording" else tmp_path / "MH_01_easy" / "mav0")
    assert source.name == "euroc_MH_01_easy"
    assert source.stamps_ns[1] == 1_403_636_579_813_555_584
    assert source.world_from_camera is not None
    np.testing.assert_allclose(source.world_from_camera, poses, atol=1e-9)
    assert not source.camera.is_distorted
    frame = source[2]
    assert_dots_are_where_a_pinhole_sees_them(frame.image, frame.camera, DOT_RAYS)
    assert (frame.image == frame.image[..., :1]).all()


@pytest.mark.parametrize(
    ("sensor", "said"),
    [
        ({"distortion_model": "equidistant"}, "radial-tangential"),
        ({"intrinsics": [458.0]}, "intrinsics"),
        ({"T_BS": {"data": [1, 2]}}, "T_BS"),
    ],
)
def test_bad_euroc_calibration_is_named(tmp_path: Path, sensor: dict[str, object], said: str) -> None:
    write_euroc(tmp_path / "MH_01_easy", 2, sensor)
    with pytest.raises(DatasetError, match=said):
        Euroc(tmp_path / "MH_01_easy")


def test_what_is_no_euroc_or_lacks_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="mav0/cam0"):
        Euroc(tmp_path)
    write_euroc(tmp_path, 2)
    (tmp_path / "mav0" / "cam0" / "data.csv").write_text("12ms,a.png\n")
    with pytest.raises(DatasetError, match="must be nanoseconds"):
        Euroc(tmp_path)


UNSYNCED = "2011_09_26_drive_0013_extract"
RAW_K = np.array([[959.791, 0, 696.0217], [0, 956.9251, 224.1806], [0, 0, 1]])
RAW_D = (-0.3691481, 0.1968681, 0.001353473, 0.000567759, -0.0677077)
R_RECT = cv2.Rodrigues(np.array([0.002, 0.012, -0.009]))[0]
P_RECT = np.array([[721.5377, 0, 609.5593, 44.85728], [0, 721.5377, 172.854, 0.2163791], [0, 0, 1, 0.002745884]])


def write_unsynced(root: Path, images: int = 4, first_oxts_late_ns: int = 0) -> np.ndarray:
    """An unsynchronised drive at 10 m/s to the east; gives the images' stamps."""
    date, folder = root / UNSYNCED[:10], root / UNSYNCED[:10] / UNSYNCED
    (folder / "image_02" / "data").mkdir(parents=True)
    (folder / "oxts" / "data").mkdir(parents=True)
    rays_in_raw = DOT_RAYS @ R_RECT  # rectified_from_raw is R_RECT, so rows times it are its inverse
    image = dots(1392, 512, seen_through(RAW_K, RAW_D, rays_in_raw))

    def stamp(ns: int) -> str:
        return f"2011-09-26 13:10:{51 + ns // 10**9:02d}.{ns % 10**9:09d}"

    image_ns = 200_000_007 + np.arange(images) * 103_000_000
    for index in range(images):
        cv2.imwrite(str(folder / "image_02" / "data" / f"{index:010d}.png"), image)
    (folder / "image_02" / "timestamps.txt").write_text("\n".join(stamp(int(ns)) for ns in image_ns) + "\n")
    oxts_ns = 150_000_000 + first_oxts_late_ns + np.arange(60) * 10_000_000
    for index, ns in enumerate(oxts_ns):
        east = 10.0 * ns / 1e9 / (EARTH_RADIUS_M * np.cos(np.radians(49.0))) * 180 / np.pi
        record = [49.0, 8.4 + east, 110.0, 0.0, 0.0, 0.0] + [0.0] * 24
        (folder / "oxts" / "data" / f"{index:010d}.txt").write_text(" ".join(f"{v:.15g}" for v in record))
    (folder / "oxts" / "timestamps.txt").write_text("\n".join(stamp(int(ns)) for ns in oxts_ns) + "\n")
    values = {
        "S_02": [1392, 512], "K_02": RAW_K, "D_02": RAW_D, "R_rect_00": np.eye(3), "R_rect_02": R_RECT,
        "P_rect_02": P_RECT, "S_rect_02": [1242, 375],
    }  # fmt: skip
    write = {"calib_cam_to_cam.txt": values}
    write["calib_velo_to_cam.txt"] = {"R": CAMERA_0_FROM_SCANNER[:3, :3], "T": CAMERA_0_FROM_SCANNER[:3, 3]}
    write["calib_imu_to_velo.txt"] = {"R": np.eye(3), "T": [-0.8, 0.3, -0.8]}
    for name, entries in write.items():
        lines = [f"{key}: " + " ".join(f"{v:.12e}" for v in np.ravel(value)) for key, value in entries.items()]
        (date / name).write_text("\n".join(lines))
    return 1_317_042_651_000_000_000 + image_ns


def test_unsynced_drive_is_rectified_as_kitti_does_and_posed_between_records(tmp_path: Path) -> None:
    stamps_ns = write_unsynced(tmp_path)
    source = open_kitti(tmp_path, drive=UNSYNCED)
    assert isinstance(source, KittiRawUnsynced)
    np.testing.assert_array_equal(source.stamps_ns, stamps_ns)
    assert source.camera == PinholeCamera(1242, 375, 721.5377, 721.5377, 609.5593, 172.854)
    frame = source[1]
    assert frame.image.shape == (375, 1242, 3)
    assert_dots_are_where_a_pinhole_sees_them(frame.image, frame.camera, DOT_RAYS)
    assert source.world_from_camera is not None
    # 103 ms at 10 m/s, forward is the optical z; images lie between the records.
    np.testing.assert_allclose(source.world_from_camera[:, :3, 3], [[0, 0, 1.03 * i] for i in range(4)], atol=1e-4)


def test_unsynced_frames_before_the_first_record_are_left_out(tmp_path: Path) -> None:
    stamps_ns = write_unsynced(tmp_path, first_oxts_late_ns=100_000_000)
    source = KittiRawUnsynced(tmp_path, UNSYNCED)
    np.testing.assert_array_equal(source.stamps_ns, stamps_ns[1:])
    np.testing.assert_allclose(source.world_from_camera[0], np.eye(4), atol=1e-12)  # type: ignore[index]


def test_unsynced_drive_has_no_lidar_depth_and_is_no_synced_one(tmp_path: Path) -> None:
    write_unsynced(tmp_path)
    with pytest.raises(DatasetError, match="take the _sync drive"):
        open_kitti(tmp_path, drive=UNSYNCED, depth="lidar")
    with pytest.raises(DatasetError, match="unsynchronised"):
        KittiRaw(tmp_path, UNSYNCED)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.001, 0.999))
def test_interpolated_pose_is_a_rigid_share_of_the_way(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    poses = np.tile(np.eye(4), (2, 1, 1))
    for pose in poses:
        pose[:3, :3] = cv2.Rodrigues(rng.normal(size=3))[0]
        pose[:3, 3] = rng.normal(size=3)
    between_ns = round(share * 50_000_000)
    found = TimedPoses(np.array([0, 50_000_000]), poses).at(np.array([between_ns]))[0]
    np.testing.assert_allclose(found[:3, :3] @ found[:3, :3].T, np.eye(3), atol=1e-9)
    whole = np.linalg.norm(cv2.Rodrigues(poses[0, :3, :3].T @ poses[1, :3, :3])[0])
    part = np.linalg.norm(cv2.Rodrigues(poses[0, :3, :3].T @ found[:3, :3])[0])
    assert part == pytest.approx(between_ns / 50_000_000 * whole, abs=1e-6)


def test_nothing_is_interpolated_over_a_gap() -> None:
    stamps_ns = np.array([0, 50, 400, 450]) * 10**6
    truth = TimedPoses(stamps_ns, np.tile(np.eye(4), (4, 1, 1)))
    asked_ns = np.array([-1, 0, 25, 50, 200, 400, 449, 450, 451]) * 10**6
    assert truth.covers(asked_ns).tolist() == [False, True, True, True, False, True, True, True, False]


@pytest.mark.parametrize("images", ["raw", "png"])
@pytest.mark.parametrize("kind", ["tum", "euroc"])
def test_bag_from_recording_holds_the_same_frames(
    tmp_path: Path, kind: str, images: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / ("rgbd_dataset_freiburg2_xyz" if kind == "tum" else "V1_01_easy")
    if kind == "tum":
        image = cv2.resize(textured_image(1), (640, 480))
        write_tum(folder, [image] * 3)
        source: TumRgbd | Euroc = TumRgbd(folder)
    else:
        write_euroc(folder, 3)
        source = Euroc(folder)
    out = tmp_path / "drive.mcap"
    assert main(["bag", f"from-{kind}", str(folder), "--images", images, "--out", str(out)]) == 0
    assert "3 frames" in capsys.readouterr().out
    with BagReader(out) as frames:
        assert frames.image_topic == (bag_topics.IMAGE if images == "raw" else bag_topics.COMPRESSED_IMAGE)
        np.testing.assert_array_equal(frames.stamps_ns, source.stamps_ns)
        assert frames.camera == source.camera
        for position in range(3):
            np.testing.assert_array_equal(frames[position].image, source[position].image)
        assert source.world_from_camera is not None and frames.world_from_camera is not None
        # A bag's world is the first camera.
        expected = np.linalg.inv(source.world_from_camera[0]) @ source.world_from_camera
        np.testing.assert_allclose(frames.world_from_camera, expected, atol=1e-9)


@pytest.mark.parametrize("command", ["from-tum", "from-euroc"])
def test_missing_recording_is_one_sentence_and_exit_2(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bag", command, str(tmp_path / "nowhere"), "--out", str(tmp_path / "a.mcap")]) == 2
    error = capsys.readouterr().err
    assert "check the path" in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_path_says_which_recording_it_is(tmp_path: Path) -> None:
    tum, euroc = tmp_path / "rgbd_dataset_freiburg3_office", tmp_path / "V2_01_easy"
    write_tum(tum, [cv2.resize(textured_image(1), (640, 480))] * 3, depth_m=np.full((480, 640), 1.5))
    write_euroc(euroc, 2)
    write_unsynced(tmp_path / "raw")
    assert main(["bag", "from-euroc", str(euroc), "--out", str(tmp_path / "drive.mcap")]) == 0
    for path, kind in (
        (tum, TumRgbd),
        (euroc, Euroc),
        (euroc / "mav0", Euroc),
        (tmp_path / "raw", KittiRawUnsynced),
        (tmp_path / "drive.mcap", BagReader),
    ):
        assert type(open_recording(path)) is kind
    with_depth = open_recording(tum, depth="own")[1].depth_m
    assert with_depth is not None and np.nanmedian(with_depth) == pytest.approx(1.5)
    with pytest.raises(DatasetError, match="no depth of its own"):
        open_recording(euroc, depth="own")
    with pytest.raises(DatasetError, match="there is no"):
        open_recording(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="is no KITTI"):
        open_recording(tmp_path / "raw" / UNSYNCED[:10] / UNSYNCED / "oxts")


def test_a_folder_of_images_needs_their_camera(tmp_path: Path) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), cv2.resize(textured_image(number), (752, 480)))
    with pytest.raises(DatasetError, match="give --camera-file"):
        open_recording(tmp_path)
    camera = PinholeCamera(752, 480, 458.654, 457.296, 367.215, 248.375, "plumb_bob", EUROC_D)
    source = open_recording(tmp_path, camera=camera, rate_hz=20.0)
    assert not source.camera.is_distorted
    assert not source[1].camera.is_distorted
    np.testing.assert_array_equal(source.stamps_ns, [0, 50_000_000, 100_000_000])
    plain = dataclasses.replace(camera, distortion_model="", distortion=())
    assert type(open_recording(tmp_path, camera=plain)) is ImageFolder


def test_raw_images_of_a_bag_are_rectified_with_their_depth(tmp_path: Path) -> None:
    camera = PinholeCamera(752, 480, 458.654, 457.296, 367.215, 248.375, "plumb_bob", EUROC_D)
    centres = seen_through(EUROC_K, EUROC_D, DOT_RAYS)
    depth_m = np.full((480, 752), np.nan, dtype=np.float32)
    for number, (x, y) in enumerate(centres):
        depth_m[round(y) - 3 : round(y) + 4, round(x) - 3 : round(x) + 4] = 2.0 + number
    frame = Frame(0, START_NS, dots(752, 480, centres), camera, depth_m, np.eye(4))
    write_source(FrameList([frame]), tmp_path / "rect.mcap", progress=False)
    with BagReader(tmp_path / "rect.mcap") as bag:
        assert not bag.camera.is_distorted, "this project's own bags are rectified"
    source = RectifiedFrames(FrameList([frame]))
    assert source.camera == PinholeCamera(752, 480, 458.654, 457.296, 367.215, 248.375)
    found = source[0]
    assert found.camera == source.camera
    assert_dots_are_where_a_pinhole_sees_them(found.image, found.camera, DOT_RAYS)
    assert found.depth_m is not None
    for number, ray in enumerate(DOT_RAYS):
        x, y = (round(value) for value in source.camera.matrix()[:2] @ ray)
        assert found.depth_m[y, x] == 2.0 + number
    with pytest.raises(CameraError, match="not known"):
        RectifiedFrames(
            FrameList([dataclasses.replace(frame, camera=dataclasses.replace(camera, distortion_model="ftheta"))])
        )
