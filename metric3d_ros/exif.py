"""The focal length that a photo's EXIF data tells, in pixels of the file as it is."""

from __future__ import annotations

import math
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

EXIF_FOLDER = 0x8769
FOCAL_LENGTH_MM = 0x920A
FOCAL_LENGTH_35MM = 0xA405
CAPTURE_WIDTH_PX = 0xA002
CAPTURE_HEIGHT_PX = 0xA003
SENSOR_RESOLUTION_X = 0xA20E
SENSOR_RESOLUTION_UNIT = 0xA210
DIGITAL_ZOOM_RATIO = 0xA404

MM_PER_UNIT = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
# CIPA DCG-001: the equivalent focal length has the diagonal field of view of a 36 x 24 mm frame.
DIAGONAL_35MM = math.hypot(36.0, 24.0)
# The long side of what is sold as a camera, from an endoscope to medium format; else a tag is wrong.
SENSOR_LONG_SIDE_MM = (1.0, 70.0)
# Rounding an equivalent to whole millimetres costs 4 % at 13 mm; more than this is another thing than rounding.
LARGEST_DISAGREEMENT = 0.1
ASPECT_TOLERANCE = 0.02
# What Pillow lets through when a file's EXIF block is damaged or its image is larger than it opens.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    OverflowError,
    struct.error,
    Image.DecompressionBombError,
)


@dataclass(frozen=True)
class ExifFocal:
    """What EXIF says of the focal length.

    Attributes
    ----------
    focal_px : in pixels of the stored image, either way up; None where EXIF does not tell.
    how : which tags it comes from, or why there is none, as part of a sentence.
    """

    focal_px: float | None
    how: str


@dataclass(frozen=True)
class _Tags:
    """The tags that matter, as numbers; None where absent, zero or unreadable."""

    focal_mm: float | None
    equivalent_mm: float | None
    capture_px: tuple[float, float] | None
    sensor_px_per_mm: float | None
    digital_zoom: float


def exif_focal(path: Path) -> ExifFocal:
    """The focal length of a photo from its EXIF data; a file that is no image or has no EXIF has none.

    Two ways lead there: the focal length in millimetres with the sensor's resolution, and the 35 mm equivalent,
    which CIPA DCG-001 defines over the diagonal. The first is exact where its tags are right; programs that
    resize a photo often leave them stale, so where both exist and differ by more than 10 % the second is taken,
    which no resizing can spoil. A photo of another shape than its capture was cropped, and has no known one.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                exif = image.getexif()
                folder = dict(exif.get_ifd(EXIF_FOLDER))
                has_block = "exif" in image.info
    except _DAMAGE as error:
        return ExifFocal(None, f"its EXIF data cannot be read ({error})")
    if not exif:
        return ExifFocal(None, "its EXIF data cannot be read" if has_block else "it has no EXIF data")
    return focal_of_tags(folder, *image.size)


def focal_of_tags(exif: dict[int, Any], width_px: int, height_px: int) -> ExifFocal:
    """The focal length that EXIF tags (number to value) tell of a stored image of this size."""
    tags = _read_tags(exif)
    if tags.capture_px is not None and _is_cropped(tags.capture_px, (width_px, height_px)):
        width, height = tags.capture_px
        return ExifFocal(None, f"its EXIF data is of a {width:g}x{height:g} px capture that it is only a part of")
    by_equivalent = _by_equivalent(tags, width_px, height_px)
    by_sensor = _by_sensor(tags, width_px, height_px)
    if by_equivalent is not None and by_sensor is not None:
        disagreement = abs(math.log(by_sensor[0] / by_equivalent[0]))
        return ExifFocal(*(by_sensor if disagreement < math.log(1 + LARGEST_DISAGREEMENT) else by_equivalent))
    found = by_sensor or by_equivalent
    if found is not None:
        return ExifFocal(*found)
    return ExifFocal(None, "its EXIF data says no usable focal length")


def _by_equivalent(tags: _Tags, width_px: int, height_px: int) -> tuple[float, str] | None:
    if tags.equivalent_mm is None:
        return None
    focal_px = tags.equivalent_mm * math.hypot(width_px, height_px) / DIAGONAL_35MM
    return focal_px, f"EXIF, {tags.equivalent_mm:g} mm in 35 mm terms"


def _by_sensor(tags: _Tags, width_px: int, height_px: int) -> tuple[float, str] | None:
    if tags.focal_mm is None or tags.sensor_px_per_mm is None:
        return None
    capture_long_px = max(tags.capture_px or (width_px, height_px))
    sensor_long_mm = capture_long_px / tags.sensor_px_per_mm
    if not SENSOR_LONG_SIDE_MM[0] <= sensor_long_mm <= SENSOR_LONG_SIDE_MM[1]:
        return None
    resized = max(width_px, height_px) / capture_long_px
    focal_px = tags.focal_mm * tags.sensor_px_per_mm * tags.digital_zoom * resized
    return focal_px, f"EXIF, {tags.focal_mm:g} mm on a sensor {sensor_long_mm:.1f} mm long"


def _is_cropped(capture_px: tuple[float, float], stored_px: tuple[int, int]) -> bool:
    # A program may have turned the photo upright without telling the tags, so only the shape is compared.
    capture_aspect = max(capture_px) / min(capture_px)
    stored_aspect = max(stored_px) / min(stored_px)
    one_pixel = 1.0 / min(stored_px)
    return abs(stored_aspect / capture_aspect - 1) > max(ASPECT_TOLERANCE, one_pixel)


def _read_tags(exif: dict[int, Any]) -> _Tags:
    width_px, height_px = _positive(exif, CAPTURE_WIDTH_PX), _positive(exif, CAPTURE_HEIGHT_PX)
    per_unit = _positive(exif, SENSOR_RESOLUTION_X)
    unit_mm = MM_PER_UNIT.get(int(_positive(exif, SENSOR_RESOLUTION_UNIT) or 2))
    return _Tags(
        focal_mm=_positive(exif, FOCAL_LENGTH_MM),
        equivalent_mm=_positive(exif, FOCAL_LENGTH_35MM),
        capture_px=None if width_px is None or height_px is None else (width_px, height_px),
        sensor_px_per_mm=None if per_unit is None or unit_mm is None else per_unit / unit_mm,
        digital_zoom=_positive(exif, DIGITAL_ZOOM_RATIO) or 1.0,
    )


def _positive(exif: dict[int, Any], tag: int) -> float | None:
    try:
        value = float(exif[tag])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return value if math.isfinite(value) and value > 0 else None
