from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from recordings import CAMERA, textured_image

from metric3d_ros.datasets.image_folder import ImageFolder
from metric3d_ros.errors import DatasetError


def write_images(folder: Path, names: list[str]) -> None:
    for seed, name in enumerate(names):
        cv2.imwrite(str(folder / name), textured_image(seed)[..., ::-1])


def test_names_are_in_natural_order(tmp_path: Path) -> None:
    write_images(tmp_path, ["frame_10.png", "frame_9.png", "frame_1.png"])
    source = ImageFolder(tmp_path, CAMERA)
    assert [path.name for path in source.image_paths] == ["frame_1.png", "frame_9.png", "frame_10.png"]
    np.testing.assert_array_equal(source[2].image, textured_image(0))


def test_rate_gives_the_stamps(tmp_path: Path) -> None:
    write_images(tmp_path, ["a.png", "b.png", "c.png", "d.png"])
    np.testing.assert_array_equal(
        ImageFolder(tmp_path, CAMERA, rate_hz=30.0).stamps_ns, [0, 33_333_333, 66_666_667, 100_000_000]
    )


def test_times_file_wins_over_the_rate(tmp_path: Path) -> None:
    write_images(tmp_path, ["a.png", "b.jpg"])
    (tmp_path / "times.txt").write_text("2011-09-26 13:10:51.168593664\n1317042652.000000001\n")
    np.testing.assert_array_equal(
        ImageFolder(tmp_path, CAMERA).stamps_ns, [1_317_042_651_168_593_664, 1_317_042_652_000_000_001]
    )


def test_jpg_and_webp_are_read(tmp_path: Path) -> None:
    smooth = cv2.GaussianBlur(textured_image(0), (0, 0), 5)
    for name in ("a.jpg", "b.webp", "c.PNG"):
        cv2.imwrite(str(tmp_path / name), smooth[..., ::-1])
    for frame in ImageFolder(tmp_path, CAMERA):
        assert np.abs(frame.image.astype(int) - smooth).max() <= 20


def test_16_bit_png_is_read_as_8_bit(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), (textured_image(3)[..., 0]).astype(np.uint16) * 256)
    image = ImageFolder(tmp_path, CAMERA)[0].image
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image[..., 0], textured_image(3)[..., 0])


@pytest.mark.parametrize(
    ("times", "said"), [("1\n", "1 stamps for 2 images"), ("2\n1\n", "do not increase"), ("-1\n1\n", "row 1")]
)
def test_bad_times_are_refused(tmp_path: Path, times: str, said: str) -> None:
    write_images(tmp_path, ["a.png", "b.png"])
    (tmp_path / "times.txt").write_text(times)
    with pytest.raises(DatasetError, match=said):
        ImageFolder(tmp_path, CAMERA)


def test_camera_of_another_size_is_refused(tmp_path: Path) -> None:
    write_images(tmp_path, ["a.png"])
    with pytest.raises(DatasetError, match="64x24 px but the camera is 32x12"):
        ImageFolder(tmp_path, CAMERA.resized(32, 12))


@pytest.mark.parametrize("rate_hz", [0.0, -1.0, float("nan")])
def test_bad_rate_is_refused(tmp_path: Path, rate_hz: float) -> None:
    write_images(tmp_path, ["a.png"])
    with pytest.raises(DatasetError, match="rate_hz"):
        ImageFolder(tmp_path, CAMERA, rate_hz=rate_hz)


def test_empty_and_missing_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no images in"):
        ImageFolder(tmp_path, CAMERA)
    with pytest.raises(DatasetError, match="no image folder"):
        ImageFolder(tmp_path / "missing", CAMERA)


def test_folder_of_files_that_are_no_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("not a picture")
    with pytest.raises(DatasetError, match="none of the 1 images"):
        ImageFolder(tmp_path, CAMERA)
