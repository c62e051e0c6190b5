"""``metric3d measure``: metres between two pixels of an image."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from metric3d_ros.depth_picture import write_png
from metric3d_ros.errors import CameraError
from metric3d_ros.measurement import Measurement, Pixel, measure
from metric3d_ros.photo import Photo, add_photo_flags, camera_knowledge, open_estimator, read_photo

LINE_RGB = (255, 220, 0)
OUTLINE_RGB = (0, 0, 0)
# Line and letters are drawn for a picture this large, and grow with larger ones.
DRAWN_FOR_PX = 900.0
FRACTION_BITS = 4


def add_measure_command(subcommands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register ``measure``."""
    parser = subcommands.add_parser(
        "measure",
        help="metres between two pixels of an image",
        description="Metres between two pixels of one image, the error to expect from the network's confidence, "
        "and a picture with the line drawn. Pixels count from the top left, 0,0, of the upright image.",
    )
    parser.add_argument("image", type=Path, metavar="IMAGE")
    parser.add_argument("--from", dest="start", type=_pixel, required=True, metavar="U,V", help="first pixel")
    parser.add_argument("--to", dest="end", type=_pixel, required=True, metavar="U,V", help="second pixel")
    parser.add_argument(
        "--out", type=Path, metavar="PNG", help="picture to write (default: IMAGE_measured.png, in this folder)"
    )
    add_photo_flags(parser)
    parser.set_defaults(run=run_measure)


def run_measure(arguments: argparse.Namespace) -> int:
    """Measure, say it, and write the picture; returns the exit code."""
    photo = read_photo(arguments.image, camera_knowledge(arguments))
    if not photo.camera.is_metric:
        raise CameraError(
            f"{photo.path} has no known focal length ({photo.camera.source}), so nothing in it can be measured in "
            "metres; give --focal-px or --camera."
        )
    start, end = photo.pixel_of(*arguments.start), photo.pixel_of(*arguments.end)
    measurement = measure(photo.predicted_by(open_estimator(arguments)), start, end)
    out = arguments.out or Path(f"{photo.path.stem}_measured.png")
    write_png(draw_measurement(photo.rgb, start, end, length_text(measurement)), out)
    _say(photo, measurement)
    print(f"wrote {out}")
    return 0


def length_text(measurement: Measurement) -> str:
    """The length as it is said: ``9.2 m +- 1.0 m``, in centimetres below 1 m.

    The error has two digits, and the length as many decimals as the error.
    """
    unit, factor = ("cm", 100.0) if measurement.length_m < 1.0 else ("m", 1.0)
    length = measurement.length_m * factor
    if not measurement.uncertainty_m:
        return f"{length:.3g} {unit}"
    uncertainty = measurement.uncertainty_m * factor
    decimals = max(0, 1 - math.floor(math.log10(uncertainty)))
    return f"{length:.{decimals}f} {unit} +- {uncertainty:.{decimals}f} {unit}"


def draw_measurement(rgb: NDArray[np.uint8], start: Pixel, end: Pixel, text: str) -> NDArray[np.uint8]:
    """The image with the line between two pixels, its ends, and the text beside its middle."""
    picture = rgb.copy()
    scale = max(1.0, max(rgb.shape[:2]) / DRAWN_FOR_PX)
    thin, thick = round(2 * scale), round(5 * scale)
    ends = [tuple(round(value * 2**FRACTION_BITS) for value in pixel) for pixel in (start, end)]
    for colour, width in ((OUTLINE_RGB, thick), (LINE_RGB, thin)):
        cv2.line(picture, ends[0], ends[1], colour, width, cv2.LINE_AA, FRACTION_BITS)
    for end_16 in ends:
        radius = round(6 * scale) << FRACTION_BITS
        cv2.circle(picture, end_16, radius, OUTLINE_RGB, thick, cv2.LINE_AA, FRACTION_BITS)
        cv2.circle(picture, end_16, radius, LINE_RGB, thin, cv2.LINE_AA, FRACTION_BITS)
    _draw_text(picture, text, ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2), scale)
    return picture


def _draw_text(picture: NDArray[np.uint8], text: str, beside: Pixel, scale: float) -> None:
    height_px, width_px = picture.shape[:2]
    font, margin_px = cv2.FONT_HERSHEY_SIMPLEX, round(12 * scale)
    size = 0.7 * scale
    natural_px = cv2.getTextSize(text, font, size, round(2 * scale))[0][0]
    # A small picture gets smaller letters rather than half a number.
    size *= min(1.0, (width_px - 4) / natural_px)
    (text_px, ascent_px), descent_px = cv2.getTextSize(text, font, size, round(2 * scale))
    left_px = int(np.clip(beside[0] + margin_px, 2, max(2, width_px - text_px - 2)))
    base_px = int(np.clip(beside[1] - margin_px, ascent_px + 2, max(ascent_px + 2, height_px - descent_px - 2)))
    for colour, width in ((OUTLINE_RGB, round(5 * scale)), (LINE_RGB, round(2 * scale))):
        cv2.putText(picture, text, (left_px, base_px), font, size, colour, width, cv2.LINE_AA)


def _say(photo: Photo, measurement: Measurement) -> None:
    focal = f"focal length {photo.camera.intrinsics.fx:.1f} px ({photo.camera.source})"
    print(f"{length_text(measurement)} between the two pixels, {focal}.")
    for name, point in (("from", measurement.start_m), ("to", measurement.end_m)):
        print(f"{name}: {point[0]:.3f} right, {point[1]:.3f} down, {point[2]:.3f} ahead of the camera, in metres")
    if measurement.uncertainty_m is None:
        print("The network gives no confidence, so the error of this length is not known.")
    else:
        print("+- is the error to expect if each end's depth is off by the share that its confidence announces.")


def _pixel(text: str) -> Pixel:
    u, separator, v = text.partition(",")
    try:
        if separator:
            return float(u), float(v)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"pixel {text!r} is not U,V, such as 320,240")
