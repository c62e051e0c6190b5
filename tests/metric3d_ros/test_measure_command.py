from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from photos import flat_image, the_one_sentence, write_image, write_phone_photo

from metric3d_ros.cli import main
from metric3d_ros.measure_command import LINE_RGB, draw_measurement, length_text
from metric3d_ros.measurement import Measurement


def measure(network: Path, *more: object) -> int:
    return main(["measure", "--model", str(network), *map(str, more)])


def test_metres_between_two_pixels(
    channel_network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At 8 m and f = 80 px, 40 px are 4 m; green 230 is confidence 0.902, so each end's depth may be off by 0.098
    of 8 m: symmetric about the axis, alike errors make 0.098 * 4 m."""
    photo = write_image(tmp_path / "street.png", flat_image(200, green=230))
    out = tmp_path / "line.png"
    line = "--from", "27.5,31.5", "--to", "67.5,31.5"
    assert measure(channel_network, photo, "--focal-px", 80, *line, "--out", out) == 0
    said = capsys.readouterr().out
    assert said.startswith("4.00 m +- 0.39 m between the two pixels, focal length 80.0 px (given).")
    assert "from: -2.000 right, 0.000 down, 8.000 ahead of the camera" in said
    picture = cv2.imread(str(out))[..., ::-1]
    assert picture.shape == (64, 96, 3)
    assert tuple(picture[31, 40]) == LINE_RGB


def test_a_photo_with_exif_needs_no_flag(
    channel_network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    photo = write_phone_photo(tmp_path / "phone.jpg", flat_image(200), 26)
    assert measure(channel_network, photo, "--from", "10,10", "--to", "80,50") == 0
    assert "EXIF, 26 mm" in capsys.readouterr().out
    assert (tmp_path / "phone_measured.png").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "1,1", "--to", "5,5"], "nothing in it can be measured in metres; give --focal-px or --camera"),
        (["--focal-px", "80", "--from", "1,1", "--to", "96,5"], "pixel 96,5 is outside the image"),
        (["--focal-px", "80", "--from", "1,1", "--to", "90,5"], "pixel 90,5 has no depth"),
        (["--focal-px", "0", "--from", "1,1", "--to", "5,5"], "focal length is 0 px"),
        (
            ["--focal-px", "80", "--from", "1,1", "--to", "5,5", "--out", "no/where.png"],
            "cannot write no/where.png",
        ),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(
    channel_network: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    rgb = flat_image(200)
    rgb[:, 80:, 1] = 0
    write_image(tmp_path / "street.png", rgb)
    before = sorted(tmp_path.iterdir())
    assert measure(channel_network, "street.png", *arguments) == 2
    assert said in the_one_sentence(capsys)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("pixel", ["5", "5,", "a,b", "5;6"])
def test_a_pixel_that_is_none_is_exit_2(pixel: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["measure", "street.png", "--from", pixel, "--to", "1,1"])
    assert exit_info.value.code == 2
    assert "is not U,V" in capsys.readouterr().err


def test_how_a_length_is_said() -> None:
    here = np.zeros(3)
    for length_m, uncertainty_m, said in (
        (12.345, 1.26, "12.3 m +- 1.3 m"),
        (9.24, 1.0, "9.2 m +- 1.0 m"),
        (250.4, 31.0, "250 m +- 31 m"),
        (0.4567, 0.051, "45.7 cm +- 5.1 cm"),
        (0.4567, 0.0021, "45.67 cm +- 0.21 cm"),
        (2.0, None, "2 m"),
        (0.0, 0.0, "0 cm"),
    ):
        assert length_text(Measurement(length_m, uncertainty_m, here, here)) == said


@pytest.mark.parametrize("size_px", [(32, 32), (900, 600), (4000, 3000)])
@pytest.mark.parametrize("ends", [((0, 0), (31, 31)), ((31, 0), (31, 31))])
def test_the_line_is_drawn_at_every_size_and_the_image_is_kept(
    size_px: tuple[int, int], ends: tuple[tuple[float, float], tuple[float, float]]
) -> None:
    rgb = flat_image(100, size_px=size_px)
    scaled = [(u * (size_px[0] - 1) / 31, v * (size_px[1] - 1) / 31) for u, v in ends]
    picture = draw_measurement(rgb, scaled[0], scaled[1], "1.23 m +- 0.45 m")
    assert (rgb == flat_image(100, size_px=size_px)).all()
    assert picture.shape == rgb.shape
    drawn = (picture == LINE_RGB).all(axis=-1)
    middle = [round(sum(end[axis] for end in scaled) / 2) for axis in (0, 1)]
    assert drawn[middle[1], middle[0]]
    assert drawn.mean() < 0.5
