"""Focal lengths out of EXIF data, on values that can be worked out by hand."""

from __future__ import annotations

import io
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from metric3d_ros.exif import (
    CAPTURE_HEIGHT_PX,
    CAPTURE_WIDTH_PX,
    DIGITAL_ZOOM_RATIO,
    EXIF_FOLDER,
    FOCAL_LENGTH_35MM,
    FOCAL_LENGTH_MM,
    SENSOR_RESOLUTION_UNIT,
    SENSOR_RESOLUTION_X,
    exif_focal,
    focal_of_tags,
)

ORIENTATION = 0x0112
INCH, CENTIMETRE, MILLIMETRE, MICROMETRE = 2, 3, 4, 5
SENSOR = {FOCAL_LENGTH_MM: 4.25, SENSOR_RESOLUTION_X: 714, SENSOR_RESOLUTION_UNIT: MILLIMETRE}
CAPTURE = {CAPTURE_WIDTH_PX: 6000, CAPTURE_HEIGHT_PX: 4000}


def photo_bytes(tags: dict[int, object], size_px: tuple[int, int] = (60, 40), kind: str = "JPEG") -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = 1
    exif.get_ifd(EXIF_FOLDER).update(tags)
    file = io.BytesIO()
    Image.new("RGB", size_px).save(file, kind, exif=exif)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_equivalent_is_over_the_diagonal(tmp_path: Path, kind: str) -> None:
    """26 mm of a 43.267 mm diagonal, on a 400 x 300 image whose diagonal is 500 px."""
    path = tmp_path / "photo"
    path.write_bytes(photo_bytes({FOCAL_LENGTH_35MM: 26}, (400, 300), kind))
    found = exif_focal(path)
    assert found.focal_px == pytest.approx(500 * 26 / 43.2666, rel=1e-5)
    assert found.how == "EXIF, 26 mm in 35 mm terms"


def test_three_to_two_agrees_with_the_frame_width() -> None:
    assert focal_of_tags({FOCAL_LENGTH_35MM: 50}, 3600, 2400).focal_px == pytest.approx(5000)


@pytest.mark.parametrize(
    ("unit", "per_unit"), [(INCH, 2540.0 * 2.54), (CENTIMETRE, 2540.0), (MILLIMETRE, 254.0), (MICROMETRE, 0.254)]
)
def test_sensor_resolution_in_every_unit(unit: int, per_unit: float) -> None:
    """254 px/mm over 6000 px is a 23.6 mm sensor; 35 mm in front of it are 8890 px."""
    tags = {FOCAL_LENGTH_MM: 35, SENSOR_RESOLUTION_X: per_unit, SENSOR_RESOLUTION_UNIT: unit, **CAPTURE}
    found = focal_of_tags(tags, 6000, 4000)
    assert found.focal_px == pytest.approx(35 * 254)
    assert found.how == "EXIF, 35 mm on a sensor 23.6 mm long"


def test_no_unit_is_inches() -> None:
    tags = {FOCAL_LENGTH_MM: 35, SENSOR_RESOLUTION_X: 254 * 25.4, **CAPTURE}
    assert focal_of_tags(tags, 6000, 4000).focal_px == pytest.approx(35 * 254)


@given(scale=st.floats(0.05, 1.0), turned=st.booleans(), with_equivalent=st.booleans())
def test_a_resized_or_turned_photo_has_the_focal_length_of_its_size(
    scale: float, turned: bool, with_equivalent: bool
) -> None:
    tags = {FOCAL_LENGTH_MM: 35, SENSOR_RESOLUTION_X: 254, SENSOR_RESOLUTION_UNIT: MILLIMETRE, **CAPTURE}
    if with_equivalent:
        tags[FOCAL_LENGTH_35MM] = 53
    size_px = round(6000 * scale), round(4000 * scale)
    focal_px = focal_of_tags(tags, *(size_px[::-1] if turned else size_px)).focal_px
    assert focal_px is not None
    assert focal_px == pytest.approx(35 * 254 * max(size_px) / 6000)


def test_a_stale_sensor_resolution_gives_way_to_the_equivalent() -> None:
    """Resized to 1500 x 1000 by a program that updated the capture size, but not the sensor's resolution."""
    tags = {
        FOCAL_LENGTH_MM: 35,
        SENSOR_RESOLUTION_X: 254,
        SENSOR_RESOLUTION_UNIT: MILLIMETRE,
        CAPTURE_WIDTH_PX: 1500,
        CAPTURE_HEIGHT_PX: 1000,
        FOCAL_LENGTH_35MM: 53,
    }
    found = focal_of_tags(tags, 1500, 1000)
    assert found.focal_px == pytest.approx(53 * math.hypot(1500, 1000) / 43.2666, rel=1e-5)
    assert "35 mm terms" in found.how


def test_where_both_agree_the_unrounded_one_is_taken() -> None:
    tags = {
        FOCAL_LENGTH_MM: 4.25,
        SENSOR_RESOLUTION_X: 714,
        SENSOR_RESOLUTION_UNIT: MILLIMETRE,
        FOCAL_LENGTH_35MM: 26,
    }
    assert focal_of_tags(tags, 4032, 3024).focal_px == pytest.approx(4.25 * 714)


def test_digital_zoom_lengthens_the_sensor_s_focal_length() -> None:
    tags = {
        FOCAL_LENGTH_MM: 4.25,
        SENSOR_RESOLUTION_X: 714,
        SENSOR_RESOLUTION_UNIT: MILLIMETRE,
        DIGITAL_ZOOM_RATIO: 2,
    }
    assert focal_of_tags(tags, 4032, 3024).focal_px == pytest.approx(2 * 4.25 * 714)


def test_a_cropped_photo_has_no_known_focal_length() -> None:
    found = focal_of_tags({FOCAL_LENGTH_35MM: 50, **CAPTURE}, 2000, 2000)
    assert found.focal_px is None
    assert "6000x4000 px capture that it is only a part of" in found.how


@pytest.mark.parametrize(
    "tags",
    [
        {FOCAL_LENGTH_35MM: 0},
        {FOCAL_LENGTH_35MM: -5},
        {FOCAL_LENGTH_35MM: IFDRational(1, 0)},
        {FOCAL_LENGTH_35MM: "wide"},
        {FOCAL_LENGTH_35MM: (26, 27)},
        {FOCAL_LENGTH_MM: 4.25},
        {FOCAL_LENGTH_MM: 4.25, SENSOR_RESOLUTION_X: 72, SENSOR_RESOLUTION_UNIT: INCH},
        {FOCAL_LENGTH_MM: 4.25, SENSOR_RESOLUTION_X: 714, SENSOR_RESOLUTION_UNIT: 17},
    ],
)
def test_values_that_cannot_be_are_no_focal_length(tags: dict[int, object]) -> None:
    found = focal_of_tags(tags, 4032, 3024)
    assert found.focal_px is None
    assert found.how == "its EXIF data says no usable focal length"


def test_a_photo_without_exif_says_so(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.new("RGB", (60, 40)).save(path)
    assert exif_focal(path).how == "it has no EXIF data"


def test_damaged_exif_never_raises(tmp_path: Path) -> None:
    """Every byte of the block in turn set to 0xff: the focal length is gone or is a number above 0."""
    whole = photo_bytes({FOCAL_LENGTH_35MM: 26, FOCAL_LENGTH_MM: 4.25})
    start = whole.index(b"Exif")
    path = tmp_path / "photo.jpg"
    outcomes = set()
    for offset in range(start, start + 80):
        path.write_bytes(whole[:offset] + b"\xff" + whole[offset + 1 :])
        found = exif_focal(path)
        assert found.focal_px is None or found.focal_px > 0
        outcomes.add(found.focal_px is None)
    assert outcomes == {False, True}


def test_an_image_that_pillow_does_not_open_has_no_focal_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(photo_bytes({FOCAL_LENGTH_35MM: 26}))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    found = exif_focal(path)
    assert found.focal_px is None
    assert "exceeds limit" in found.how


def test_what_is_no_image_has_no_focal_length(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_text("not a photo")
    assert "cannot be read" in exif_focal(path).how
