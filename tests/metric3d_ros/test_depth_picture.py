from __future__ import annotations

import cv2
import numpy as np
import pytest

from metric3d_ros.depth_picture import (
    FARTHEST_M,
    NEAREST_M,
    NO_READING_RGB,
    colour_depth,
    colour_normals,
    depth_picture,
    depth_range_m,
    depth_strip,
    encode_png,
    write_png,
)
from metric3d_ros.errors import OutputError


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
    with pytest.raises(OutputError, match="nowhere"):
        write_png(np.zeros((4, 4, 3), np.uint8), tmp_path / "nowhere" / "strip.png")


def test_colours_span_what_the_depth_holds():
    depth_m = np.linspace(0.5, 3.0, 10_000).astype(np.float32).reshape(100, 100)
    nearest_m, farthest_m = depth_range_m(depth_m)
    assert nearest_m == pytest.approx(0.525, abs=0.005)
    assert farthest_m == pytest.approx(2.975, abs=0.005)
    colours = colour_depth(depth_m, nearest_m, farthest_m).reshape(-1, 3)
    assert len(np.unique(colours, axis=0)) > 200


def test_a_flat_wall_does_not_fill_the_colours_with_its_noise():
    nearest_m, farthest_m = depth_range_m(np.full((10, 10), 4.0, np.float32))
    assert farthest_m / nearest_m == pytest.approx(2.0)
    assert nearest_m < 4.0 < farthest_m
    assert depth_range_m(np.full((3, 3), np.nan, np.float32)) == (NEAREST_M, FARTHEST_M)


@pytest.mark.parametrize("shape", [(480, 640), (32, 32), (40, 5000)])
def test_picture_has_a_legend_below(shape):
    depth_m = np.full(shape, 7.0, np.float32)
    picture = depth_picture(depth_m)
    legend = picture[shape[0] :]
    assert picture.shape[1] == shape[1]
    assert 34 <= len(legend) <= 8 * 34
    assert (legend[len(legend) // 2 :] > 100).any()


def test_legend_names_no_unit_where_there_is_none():
    depth_m = np.full((64, 640), 7.0, np.float32)
    metric, unitless = depth_picture(depth_m, "m"), depth_picture(depth_m, "")
    np.testing.assert_array_equal(metric[:64], unitless[:64])
    assert (metric[64:] > 100).sum() > (unitless[64:] > 100).sum()


def test_normals_have_the_usual_colours():
    to_camera, up, right = (0.0, 0.0, -1.0), (0.0, -1.0, 0.0), (1.0, 0.0, 0.0)
    rgb = colour_normals(np.array([[to_camera, up, right, (np.nan,) * 3]], np.float32))[0]
    assert rgb.tolist() == [[128, 128, 255], [128, 255, 128], [255, 128, 128], list(NO_READING_RGB)]


def test_png_keeps_16_bits_and_the_order_of_colours():
    millimetres = np.array([[0, 1, 65535]], np.uint16)
    decoded = cv2.imdecode(np.frombuffer(encode_png(millimetres), np.uint8), cv2.IMREAD_UNCHANGED)
    assert decoded.dtype == np.uint16
    np.testing.assert_array_equal(decoded, millimetres)
    rgb = np.array([[[200, 100, 0]]], np.uint8)
    decoded = cv2.imdecode(np.frombuffer(encode_png(rgb), np.uint8), cv2.IMREAD_COLOR)
    assert decoded[0, 0].tolist() == [0, 100, 200]
