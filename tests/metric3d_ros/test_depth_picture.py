from __future__ import annotations

import cv2
import numpy as np
import pytest

from metric3d_ros.depth_picture import NO_READING_RGB, colour_depth, depth_strip, write_png
from metric3d_ros.errors import ImageError


def test_near_is_warm_far_is_cool_and_nothing_is_dark():
    colours = colour_depth(np.array([[2.0, 80.0, np.nan, 0.0]], np.float32))[0].astype(int)
    assert colours[0][0] > colours[0][2]
    assert colours[1][2] > colours[1][0]
    assert tuple(colours[2]) == tuple(colours[3]) == NO_READING_RGB


def test_equal_ratios_are_equal_steps():
    """The scale is logarithmic: 2 to 4 m spans as much colour index as 20 to 40 m."""
    ramp = np.geomspace(2, 80, 512).astype(np.float32)
    colours = colour_depth(ramp[None])[0]
    indices = [int(np.argmin(np.abs(colours.astype(int) - colour_depth(np.float32([[d]]))[0, 0]).sum(1)))
               for d in (2, 4, 20, 40)]  # fmt: skip
    assert indices[1] - indices[0] == pytest.approx(indices[3] - indices[2], abs=4)


def test_strip_shows_every_sample_and_a_legend(tmp_path):
    sample = (np.full((100, 200, 3), 90, np.uint8), np.full((100, 200), 10, np.float32))
    strip = depth_strip([sample] * 3)
    assert strip.shape == (4 * round(100 * 621 / 200) + 34, 2 * 621, 3)
    write_png(strip, tmp_path / "strip.png")
    assert cv2.imread(str(tmp_path / "strip.png")).shape == strip.shape
    assert [path.name for path in tmp_path.iterdir()] == ["strip.png"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ImageError, match="nowhere"):
        write_png(np.zeros((4, 4, 3), np.uint8), tmp_path / "nowhere" / "strip.png")
