from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from photos import flat_image, the_one_sentence, write_image, write_phone_photo
from recordings import CAMERA, made_up_drive

from metric3d_ros.cli import main
from metric3d_ros.datasets.rosbag import write_source


@pytest.mark.parametrize("name", ["street.png", "street.bmp"])
def test_depth_of_an_image(channel_network: Path, tmp_path: Path, name: str) -> None:
    """Canonical 200 at a focal length of 80 px, shrunk by half: 8 m."""
    photo = write_image(tmp_path / name, flat_image(200))
    out, npy = tmp_path / "depth.png", tmp_path / "depth_m.npy"
    command = ["depth", str(photo), "--model", str(channel_network), "--out", str(out)]
    assert main([*command, "--focal", "80", "--npy", str(npy)]) == 0
    np.testing.assert_allclose(np.load(npy), np.full((64, 96), 8.0), rtol=1e-5)
    assert cv2.imread(str(out)).shape == (64, 96, 3)


def test_exif_stands_in_for_the_flag_and_nothing_else_does(
    channel_network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    phone = write_phone_photo(tmp_path / "phone.jpg", flat_image(200), 26)
    plain = write_image(tmp_path / "plain.png", flat_image(200))
    command = ["depth", "--model", str(channel_network), "--out", str(tmp_path / "depth.png")]
    assert main([*command, str(plain)]) == 2
    assert "says nothing of its camera; give its focal length with --focal" in the_one_sentence(capsys)
    assert main([*command, str(plain), "--focal", "-3"]) == 2
    assert "focal length is -3 px" in the_one_sentence(capsys)
    assert not (tmp_path / "depth.png").exists()
    assert main([*command, str(phone)]) == 0


@pytest.mark.parametrize("flags", [[], ["--reference"]])
def test_strip_of_a_bag(channel_network: Path, tmp_path: Path, flags: list[str]) -> None:
    bag, out = tmp_path / "drive.mcap", tmp_path / "strip.png"
    write_source(made_up_drive(), bag, progress=False)
    command = ["depth", str(bag), "--model", str(channel_network), "--out", str(out), "--frames", "2"]
    assert main([*command, *flags]) == 0
    tile_height_px = 2 * round(CAMERA.height_px * 621 / CAMERA.width_px)
    assert cv2.imread(str(out)).shape == (tile_height_px + 34, 2 * 621, 3)
