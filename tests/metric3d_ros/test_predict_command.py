from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from networks import write_network
from photos import flat_image, the_one_sentence, write_camera, write_image, write_phone_photo, write_png_header
from test_point_cloud import read_ply

from metric3d_ros.cli import main

RESULTS = ["cloud.ply", "depth.png", "depth_m.npy", "depth_mm.png", "normals.png", "prediction.json"]


def predict(network: Path, out: Path, *more: object) -> int:
    return main(["predict", "--model", str(network), "--out", str(out), *map(str, more)])


def description(out: Path, stem: str) -> dict[str, object]:
    return dict(json.loads((out / f"{stem}_prediction.json").read_text()))


def test_every_result_of_one_image(
    channel_network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Canonical depth 200 at a focal length of 80 px, shrunk by half: 200 * 80 * 0.5 / 1000 = 8 m."""
    photo = write_image(tmp_path / "street.png", flat_image(200))
    out = tmp_path / "new" / "out"
    assert predict(channel_network, out, photo, "--focal-px", 80) == 0
    assert sorted(path.name for path in out.iterdir()) == [f"street_{name}" for name in RESULTS]
    depth_m = np.load(out / "street_depth_m.npy")
    assert depth_m.dtype == np.float32
    np.testing.assert_allclose(depth_m, np.full((64, 96), 8.0), rtol=1e-5)
    np.testing.assert_array_equal(cv2.imread(str(out / "street_depth_mm.png"), cv2.IMREAD_UNCHANGED), 8000)
    normals = cv2.imread(str(out / "street_normals.png"))
    np.testing.assert_array_equal(normals[..., ::-1], np.broadcast_to([128, 128, 255], (64, 96, 3)))
    _, vertices = read_ply(out / "street_cloud.ply")
    assert len(vertices) == 64 * 96
    np.testing.assert_allclose(vertices["z"], 8.0, rtol=1e-5)
    np.testing.assert_allclose([vertices["x"].min(), vertices["x"].max()], [-47.5 / 10, 47.5 / 10], rtol=1e-5)
    assert (vertices["red"] == 200).all()
    said = description(out, "street")
    assert (said["is_metric"], said["focal_length"], said["fx"]) == (True, "given", 80.0)
    assert (said["image"], said["model"], said["normals"]) == ("street.png", "channels", "from the depth")
    assert "focal length 80.0 px (given)" in capsys.readouterr().err


def test_an_image_from_indoors_may_be_read_in_one_look(tmp_path: Path) -> None:
    """Red 200, read below the headroom, and green 100, read over it; 6 degrees at 80 px are 8 rows."""
    photo, depths = (
        write_image(tmp_path / "room.png", np.dstack([flat_image(200)[..., 0], flat_image(100)[..., :2]])),
        {},
    )
    network = write_network(tmp_path / "twice.onnx", first_row_shape=[1], metadata={"headroom_deg": "6"})
    for out, more in (("street", ()), ("room", ("--headroom-deg", 0))):
        assert predict(network, tmp_path / out, photo, "--focal-px", 80, *more) == 0
        depths[out] = np.load(tmp_path / out / "room_depth_m.npy")
    np.testing.assert_allclose(depths["room"], 8.0, rtol=1e-5)
    np.testing.assert_allclose(depths["street"][:20], 4.0, rtol=1e-5)
    np.testing.assert_allclose(depths["street"][30:], 8.0, rtol=1e-5)


def test_unknown_focal_length_is_said_and_not_metric(
    channel_network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """60 degrees over 96 px: f = 48 / tan(30 deg)."""
    photo = write_image(tmp_path / "street.png", flat_image(200))
    assert predict(channel_network, tmp_path / "out", photo) == 0
    said = capsys.readouterr().err
    assert "THE DEPTH IS NOT METRIC" in said
    assert "assumed, 60 degrees across the long side, as it has no EXIF data" in said
    described = description(tmp_path / "out", "street")
    assert described["is_metric"] is False
    assert described["fx"] == pytest.approx(48 / np.tan(np.radians(30)))


@pytest.mark.parametrize("orientation", [1, 6])
def test_exif_gives_the_focal_length_of_the_upright_photo(
    channel_network: Path, tmp_path: Path, orientation: int
) -> None:
    photo = write_phone_photo(tmp_path / "phone.jpg", flat_image(200), 26, orientation)
    assert predict(channel_network, tmp_path / "out", photo) == 0
    described = description(tmp_path / "out", "phone")
    assert described["fx"] == pytest.approx(26 * np.hypot(96, 64) / np.hypot(36, 24))
    assert described["is_metric"] is True
    upright = (64, 96) if orientation == 1 else (96, 64)
    assert (described["height_px"], described["width_px"]) == upright
    assert np.load(tmp_path / "out" / "phone_depth_m.npy").shape == upright


def test_camera_file_gives_the_camera(channel_network: Path, tmp_path: Path) -> None:
    photo = write_image(tmp_path / "street.png", flat_image(200))
    camera = write_camera(tmp_path / "camera.yaml", fx=80.0)
    assert predict(channel_network, tmp_path / "out", photo, "--camera", camera) == 0
    described = description(tmp_path / "out", "street")
    assert (described["fx"], described["cx"], described["cy"]) == (80.0, 48.0, 32.0)
    assert described["focal_length"] == str(camera)


def test_a_distorted_photo_is_rectified_unless_it_is(channel_network: Path, tmp_path: Path) -> None:
    """Pincushion distortion: towards the corners a rectified image shows what the raw one does not hold."""
    photo = write_image(tmp_path / "street.png", flat_image(200))
    camera = write_camera(tmp_path / "camera.yaml", k1=0.6)
    assert predict(channel_network, tmp_path / "raw", photo, "--camera", camera) == 0
    assert predict(channel_network, tmp_path / "rectified", photo, "--camera", camera, "--rectified") == 0
    depths = [np.load(tmp_path / name / "street_depth_m.npy") for name in ("raw", "rectified")]
    assert np.isnan(depths[0][0, 0])
    assert np.isfinite(depths[1]).all()
    assert depths[0][32, 48] == depths[1][32, 48]
    assert description(tmp_path / "raw", "street")["focal_length"] == f"{camera}, rectified"


def test_an_unknown_lens_is_refused(
    channel_network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = write_image(tmp_path / "street.png", flat_image(200))
    camera = write_camera(tmp_path / "camera.yaml", k1=0.1)
    camera.write_text(camera.read_text().replace("plumb_bob", "double_sphere"))
    assert predict(channel_network, tmp_path / "out", photo, "--camera", camera) == 2
    assert "distortion model 'double_sphere' is not known" in the_one_sentence(capsys)


def test_unsure_pixels_are_no_points(channel_network: Path, tmp_path: Path) -> None:
    """The network answers from confidence 0.5 on; a cloud from 0.7 on leaves out what is between."""
    rgb = flat_image(200)
    rgb[:, 48:, 1] = 153
    photo = write_image(tmp_path / "street.png", rgb)
    points = []
    for confidence in (0.5, 0.7):
        out = tmp_path / str(confidence)
        assert predict(channel_network, out, photo, "--focal-px", 80, "--min-confidence", confidence) == 0
        points.append(len(read_ply(out / "street_cloud.ply")[1]))
        assert np.isfinite(np.load(out / "street_depth_m.npy")).all()
    assert points[0] == 64 * 96
    assert points[1] == pytest.approx(points[0] / 2, rel=0.05)


def test_median_and_thinning_of_the_cloud(channel_network: Path, tmp_path: Path) -> None:
    rgb = flat_image(100)
    rgb[:, 48:, 0] = 200
    photo = write_image(tmp_path / "street.png", rgb)
    out = tmp_path / "out"
    assert predict(channel_network, out, photo, "--focal-px", 80, "--median", "--cloud-points", 1600) == 0
    _, vertices = read_ply(out / "street_cloud.ply")
    assert len(vertices) == 32 * 48
    between = (vertices["z"] > 4.5) & (vertices["z"] < 7.5)
    assert between.sum() <= 2 * 32


def test_depth_too_far_for_16_bits_is_none_in_the_png_alone(channel_network: Path, tmp_path: Path) -> None:
    """Canonical 250 at a focal length of 800 px, shrunk by half: 100 m."""
    photo = write_image(tmp_path / "street.png", flat_image(250))
    out = tmp_path / "out"
    assert predict(channel_network, out, photo, "--focal-px", 800) == 0
    np.testing.assert_allclose(np.load(out / "street_depth_m.npy"), 100.0, rtol=1e-5)
    assert (cv2.imread(str(out / "street_depth_mm.png"), cv2.IMREAD_UNCHANGED) == 0).all()
    assert description(out, "street")["share_beyond_depth_mm_png"] == 1.0


def test_no_reading_anywhere_is_still_a_result(channel_network: Path, tmp_path: Path) -> None:
    photo = write_image(tmp_path / "street.png", flat_image(200, green=0))
    assert predict(channel_network, tmp_path / "out", photo, "--focal-px", 80) == 0
    assert np.isnan(np.load(tmp_path / "out" / "street_depth_m.npy")).all()
    assert len(read_ply(tmp_path / "out" / "street_cloud.ply")[1]) == 0
    assert description(tmp_path / "out", "street")["median_depth_m"] is None


@pytest.mark.parametrize("bits", [8, 16])
def test_gray_and_16_bit_images(channel_network: Path, tmp_path: Path, bits: int) -> None:
    level = np.full((64, 96), 200, np.uint8) if bits == 8 else np.full((64, 96), 200 * 256, np.uint16)
    photo = write_image(tmp_path / "gray.png", level)
    assert predict(channel_network, tmp_path / "out", photo, "--focal-px", 80) == 0
    np.testing.assert_allclose(np.load(tmp_path / "out" / "gray_depth_m.npy"), 8.0, rtol=1e-5)
    _, vertices = read_ply(tmp_path / "out" / "gray_cloud.ply")
    assert (vertices["green"] == 200).all()


def test_one_bad_file_costs_that_file(
    channel_network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    whole = write_image(folder / "a.png", flat_image(200))
    write_image(folder / "b.jpg", flat_image(100))
    (folder / "cut.png").write_bytes(whole.read_bytes()[:-30])
    write_image(folder / "dot.png", flat_image(9, size_px=(1, 1)))
    out = tmp_path / "out"
    assert predict(channel_network, out, folder, "--focal-px", 80) == 1
    assert {path.name.partition("_")[0] for path in out.iterdir()} == {"a", "b"}
    captured = capsys.readouterr()
    assert "cut.png is cut short" in captured.err
    assert "dot.png is 1x1 px; depth needs at least 32 px a side" in captured.err
    assert "wrote 2 of 4 images" in captured.out
    assert "2 skipped" in captured.out


def test_a_folder_without_one_good_image_is_exit_2(channel_network: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_text("not an image")
    assert predict(channel_network, tmp_path / "out", folder) == 2
    assert list((tmp_path / "out").iterdir()) == []


def test_how_many_images_are_not_metric_is_said(
    channel_network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    phone = write_phone_photo(tmp_path / "a.jpg", flat_image(200), 26)
    plain = write_image(tmp_path / "b.png", flat_image(200))
    assert predict(channel_network, tmp_path / "out", phone, plain) == 0
    said = capsys.readouterr().err
    assert "THE DEPTH OF 1 OF 2 IMAGES IS NOT METRIC" in said
    assert "1 image: focal length 69.3 px (EXIF, 26 mm in 35 mm terms)" in said


def test_images_of_one_name_do_not_overwrite_each_other(
    channel_network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [write_image(tmp_path / name, flat_image(200)) for name in ("a.png", "a.jpg")]
    assert predict(channel_network, tmp_path / "out", *paths, "--focal-px", 80) == 0
    assert (tmp_path / "out" / "a_png_depth.png").exists()
    assert (tmp_path / "out" / "a_jpg_depth.png").exists()
    (tmp_path / "other").mkdir()
    twin = write_image(tmp_path / "other" / "a.png", flat_image(200))
    capsys.readouterr()
    assert predict(channel_network, tmp_path / "more", paths[0], twin) == 2
    assert "would write the same files" in the_one_sentence(capsys)
    assert not (tmp_path / "more").exists()


BAD_INPUT = [
    ("one pixel", ["dot.png"], "dot.png is 1x1 px; depth needs at least 32 px a side"),
    ("focal 0", ["street.png", "--focal-px", "0"], "focal length is 0 px; it must be above 0"),
    ("focal negative", ["street.png", "--focal-px", "-700"], "focal length is -700 px"),
    ("focal nan", ["street.png", "--focal-px", "nan"], "focal length is nan px"),
    ("truncated", ["cut.png"], "cut.png is cut short or not an image"),
    ("claims 3.6 gigapixels", ["huge.png"], "huge.png is too large to decode or damaged"),
    ("damaged", ["damaged.png"], "damaged.png does not decode as an image"),
    ("no image", ["text.png"], "text.png is cut short or not an image"),
    ("missing", ["missing.png"], "there is no image or folder missing.png"),
    ("empty folder", ["empty"], "no images in empty"),
    (
        "other size",
        ["street.png", "--camera", "other.yaml"],
        "is 96x64 px but other.yaml describes 64x96",
    ),
    (
        "camera of focal 0",
        ["street.png", "--camera", "zero.yaml"],
        "camera file zero.yaml: camera focal length",
    ),
    ("no camera file", ["street.png", "--camera", "missing.yaml"], "missing.yaml cannot be read: No such file"),
    ("no points", ["street.png", "--cloud-points", "0"], "--cloud-points is 0; it must be at least 1"),
    ("no model", ["street.png", "--model", "nanoo"], "nanoo"),
    ("no second look", ["street.png", "--headroom-deg", "6"], "headroom_deg is 6, but channels looks once"),
]


@pytest.mark.parametrize(("arguments", "said"), [case[1:] for case in BAD_INPUT], ids=[c[0] for c in BAD_INPUT])
def test_bad_input_is_one_sentence_and_exit_2(
    channel_network: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    whole = write_image(tmp_path / "street.png", flat_image(200))
    write_image(tmp_path / "dot.png", flat_image(9, size_px=(1, 1)))
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:-30])
    write_png_header(tmp_path / "huge.png", (60_000, 60_000))
    write_png_header(tmp_path / "damaged.png", (2**24, 1))
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "empty").mkdir()
    write_camera(tmp_path / "other.yaml", size_px=(64, 96))
    write_camera(tmp_path / "zero.yaml", fx=0.0)
    assert predict(channel_network, tmp_path / "out", *arguments) == 2
    assert said in the_one_sentence(capsys)
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


def test_unreadable_exif_is_said_and_costs_only_the_metres(
    channel_network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = write_phone_photo(tmp_path / "phone.jpg", flat_image(200), 26)
    content = bytearray(photo.read_bytes())
    start = content.index(b"Exif") + 6
    content[start : start + 2] = b"\x00\x00"  # neither II nor MM
    photo.write_bytes(content)
    assert predict(channel_network, tmp_path / "out", photo) == 0
    assert "its EXIF data cannot be read" in capsys.readouterr().err
    assert description(tmp_path / "out", "phone")["is_metric"] is False


@pytest.mark.parametrize("out", ["street.png", "/proc/metric3d"])
def test_output_folder_that_cannot_be_is_exit_2(
    channel_network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], out: str
) -> None:
    photo = write_image(tmp_path / "street.png", flat_image(200))
    assert predict(channel_network, tmp_path / out, photo, "--focal-px", 80) == 2
    assert "cannot be written to" in the_one_sentence(capsys)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes to read-only folders")
def test_read_only_output_folder_is_exit_2(
    channel_network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = write_image(tmp_path / "street.png", flat_image(200))
    (tmp_path / "out").mkdir(mode=0o500)
    assert predict(channel_network, tmp_path / "out", photo, "--focal-px", 80) == 2
    assert "Permission denied" in the_one_sentence(capsys)


def test_results_beside_the_images_are_refused(
    channel_network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    write_image(folder / "a.png", flat_image(200))
    assert predict(channel_network, folder, folder, "--focal-px", 80) == 2
    assert "is the folder of the images" in the_one_sentence(capsys)
    assert [path.name for path in folder.iterdir()] == ["a.png"]


def test_no_space_stops_the_run_and_leaves_whole_results_only(channel_network: Path, tmp_path: Path) -> None:
    """A file size limit fails the write of the point cloud half-way, as a full disk does."""
    small = write_image(tmp_path / "a.png", flat_image(200, size_px=(40, 32)))
    large = write_image(tmp_path / "b.png", flat_image(200, size_px=(200, 100)))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "metric3d_ros.cli", "predict", str(small), str(large), "--focal-px", "80"]
    finished = subprocess.run(
        [*command, "--model", str(channel_network), "--out", str(out)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 2
    assert "metric3d: cannot write" in finished.stderr
    assert "File too large; free some space" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert sorted(path.name for path in out.iterdir()) == [f"a_{name}" for name in RESULTS]


def test_the_packaged_model_on_a_real_size(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    texture = cv2.resize(rng.integers(0, 255, (12, 40, 3), dtype=np.uint8), (1242, 375))
    photo = write_image(tmp_path / "street.png", texture)
    assert main(["predict", str(photo), "--focal-px", "721.5", "--out", str(tmp_path / "out")]) == 0
    depth_m = np.load(tmp_path / "out" / "street_depth_m.npy")
    assert depth_m.shape == (375, 1242)
    assert description(tmp_path / "out", "street")["model"] == "nano"
