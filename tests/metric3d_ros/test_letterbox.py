from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.errors import CameraError
from metric3d_ros.letterbox import MAX_ROW_SHIFT, Letterbox, near_middle_row_px

SIZE = st.integers(60, 2000)


@given(SIZE, SIZE)
def test_image_fits_and_touches_one_pair_of_borders(width_px, height_px):
    letterbox = Letterbox.fit(width_px, height_px, 544, 160)
    assert letterbox.content_width_px <= 544
    assert letterbox.content_height_px <= 160
    assert letterbox.content_width_px >= 543 or letterbox.content_height_px >= 159
    assert 0 <= 544 - letterbox.content_width_px - 2 * letterbox.left_px <= 1
    assert 0 <= 160 - letterbox.content_height_px - 2 * letterbox.top_px <= 1


def test_padding_is_the_mean_colour_and_content_is_inside():
    letterbox = Letterbox.fit(100, 100, 64, 32)
    padded = letterbox.apply(np.full((100, 100, 3), 7, np.uint8))
    assert padded.shape == (32, 64, 3)
    assert padded[0, 0].tolist() == [124, 116, 104]
    assert (padded[:, letterbox.left_px : letterbox.left_px + 32] == 7).all()


@given(st.integers(100, 1300), st.integers(100, 1300))
def test_a_smooth_map_survives_the_way_there_and_back(width_px, height_px):
    letterbox = Letterbox.fit(width_px, height_px, 544, 160)
    rows, columns = np.indices((height_px, width_px))
    ramp = (40 + 80 * rows / height_px + 80 * columns / width_px).astype(np.uint8)
    network_map = letterbox.apply(np.repeat(ramp[..., None], 3, axis=2))[..., 0].astype(np.float32)
    back = letterbox.remove(network_map)
    assert back.shape == ramp.shape
    tolerance = 2 + 160 * max(1 / letterbox.content_width_px, 1 / letterbox.content_height_px)
    assert np.abs(back - ramp).max() <= tolerance


def test_camera_of_the_network_input_sees_the_same_rays():
    camera = PinholeCamera(1242, 375, 721.5, 721.5, 609.6, 172.9)
    letterbox = Letterbox.fit(1242, 375, 640, 192)
    inside = letterbox.camera(camera)
    assert (inside.width_px, inside.height_px) == (640, 192)
    pixel = (camera.matrix() @ [0.3, 0.1, 1.0])[:2]
    content = np.array([letterbox.content_width_px / 1242, letterbox.content_height_px / 375])
    expected = (pixel + 0.5) * content - 0.5 + [letterbox.left_px, letterbox.top_px]
    np.testing.assert_allclose((inside.matrix() @ [0.3, 0.1, 1.0])[:2], expected, rtol=1e-9)


def test_an_image_too_thin_is_refused():
    with pytest.raises(CameraError, match="5000x4"):
        Letterbox.fit(5000, 4, 544, 160)


@given(SIZE, SIZE, st.floats(-0.5, 1.5))
def test_a_row_may_come_to_lie_in_the_middle(width_px, height_px, share):
    row_px = share * height_px
    letterbox = Letterbox.fit(width_px, height_px, 544, 160, row_px)
    assert 0 <= letterbox.top_px <= 160 - letterbox.content_height_px
    camera = PinholeCamera(width_px, height_px, 500, 500, 0, near_middle_row_px(row_px, height_px))
    assert abs(letterbox.camera(camera).cy - 79.5) <= 1
    assert abs(near_middle_row_px(row_px, height_px) - (height_px - 1) / 2) <= MAX_ROW_SHIFT * height_px + 1e-9
    assert letterbox.content_width_px >= 543 or letterbox.content_height_px >= 159 / (1 + 2 * MAX_ROW_SHIFT) - 1


@given(SIZE, SIZE)
def test_the_middle_row_in_the_middle_is_the_usual_letterbox(width_px, height_px):
    assert Letterbox.fit(width_px, height_px, 544, 160, (height_px - 1) / 2) == Letterbox.fit(
        width_px, height_px, 544, 160
    )
