"""Numbers, lists and sizes on a command line, refused where they are out of range."""

from __future__ import annotations

import argparse
import math

from metric3d_ros.engines.engine import MAX_HEADROOM_DEG


def positive_float(text: str) -> float:
    """A finite number above 0."""
    value = from_zero_float(text)
    if value == 0:
        raise argparse.ArgumentTypeError("must be above 0")
    return value


def from_zero_float(text: str) -> float:
    """A finite number from 0 on."""
    value = float(text)
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 on")
    return value


def positive_int(text: str) -> int:
    """A whole number above 0."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return value


def from_zero_int(text: str) -> int:
    """A whole number from 0 on."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def headroom_deg(text: str) -> float:
    """An angle over the principal row, from 0 to below ``MAX_HEADROOM_DEG``."""
    value = from_zero_float(text)
    if value >= MAX_HEADROOM_DEG:
        raise argparse.ArgumentTypeError(f"{text} degrees are not below {MAX_HEADROOM_DEG:g}")
    return value


def add_headroom_flag(parser: argparse.ArgumentParser) -> None:
    """Add ``--headroom-deg`` of whatever runs a depth network."""
    parser.add_argument(
        "--headroom-deg",
        type=headroom_deg,
        metavar="DEG",
        help="what lies higher over the principal row is hidden from the closer look of a network that looks "
        "twice; 0 indoors and where the camera is not level (default: the model's own)",
    )


def lengths_m(text: str) -> tuple[float, ...]:
    """Segment lengths in metres, as ``100,200``."""
    try:
        return tuple(positive_float(length) for length in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is no list of metres such as 100,200") from error


def height_x_width(text: str) -> tuple[int, int]:
    """Size (height, width) in pixels, as ``616x1064``."""
    height, separator, width = text.partition("x")
    if not (separator and height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise argparse.ArgumentTypeError(f"size {text!r} is not HEIGHTxWIDTH, such as 616x1064")
    return int(height), int(width)


def depth_noise(text: str) -> tuple[float, float]:
    """Relative noise of pixels and of whole frames, as ``0.10,0.03``."""
    try:
        pixel, frame = (float(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is not two numbers such as 0.10,0.03") from error
    if not (0 <= pixel < 1 and 0 <= frame < 1):
        raise argparse.ArgumentTypeError(f"'{text}' is not two shares from 0 to below 1")
    return pixel, frame
