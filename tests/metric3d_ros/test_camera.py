from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.errors import CameraError

CAMERAS = st.builds(
    PinholeCamera,
    width_px=st.integers(16, 2000),
    height_px=st.integers(16, 2000),
    fx=st.floats(100, 3000),
    fy=st.floats(100, 3000),
    cx=st.floats(0, 2000),
    cy=st.floats(0, 2000),
)
POINT = st.tuples(st.floats(-5, 5), st.floats(-5, 5), st.floats(1, 50))


def project(camera: PinholeCamera, point: tuple[float, float, float]) -> np.ndarray:
    pixel = camera.matrix() @ np.array(point)
    return pixel[:2] / pixel[2]


@given(CAMERAS, POINT, st.integers(8, 3000), st.integers(8, 3000))
def test_resizing_moves_pixels_as_opencv_does(camera, point, width_px, height_px):
    before = project(camera, point)
    after = project(camera.resized(width_px, height_px), point)
    scale = np.array([width_px / camera.width_px, height_px / camera.height_px])
    np.testing.assert_allclose(after, (before + 0.5) * scale - 0.5, rtol=1e-9, atol=1e-6)


@given(CAMERAS, POINT, st.integers(-50, 50), st.integers(-50, 50))
def test_cropping_moves_pixels_by_the_corner(camera, point, left_px, top_px):
    after = project(camera.cropped(left_px, top_px, 640, 480), point)
    np.testing.assert_allclose(after, project(camera, point) - [left_px, top_px], atol=1e-6)


@given(CAMERAS, POINT)
def test_flipping_mirrors_the_projection(camera, point):
    mirrored = (-point[0], point[1], point[2])
    flipped = project(camera.flipped(), mirrored)
    np.testing.assert_allclose(flipped[0], camera.width_px - 1 - project(camera, point)[0], atol=1e-6)


@given(CAMERAS)
def test_flipping_twice_changes_nothing(camera):
    assert camera.flipped().flipped().cx == pytest.approx(camera.cx, abs=1e-9)


def test_rays_project_back_to_their_pixels():
    camera = PinholeCamera(7, 5, 300.0, 310.0, 2.5, 1.5)
    pixels = camera.rays() @ camera.matrix().T
    expected_x, expected_y = np.meshgrid(np.arange(7), np.arange(5))
    np.testing.assert_allclose(pixels[..., 0], expected_x, atol=1e-4)
    np.testing.assert_allclose(pixels[..., 1], expected_y, atol=1e-4)


def test_resized_camera_agrees_with_a_resized_image():
    """A bright blob keeps its viewing ray when OpenCV resizes the image."""
    camera = PinholeCamera(400, 200, 350.0, 350.0, 199.5, 99.5)
    image = np.zeros((200, 400), np.float32)
    cv2.circle(image, (130, 70), 6, 1.0, -1)
    small = cv2.resize(image, (200, 100), interpolation=cv2.INTER_AREA)
    for picture, model in ((image, camera), (small, camera.resized(200, 100))):
        v, u = (float((picture * grid).sum() / picture.sum()) for grid in np.indices(picture.shape))
        ray = ((u - model.cx) / model.fx, (v - model.cy) / model.fy)
        assert ray == pytest.approx(((130 - 199.5) / 350, (70 - 99.5) / 350), abs=1e-4)


@pytest.mark.parametrize(
    ("change", "named"),
    [({"fx": 0.0}, "fx is 0"), ({"fy": -3.0}, "fy is -3"), ({"fx": float("nan")}, "fx is nan"),
     ({"width_px": 0}, "0x480"), ({"cx": float("inf")}, "inf")],
)  # fmt: skip
def test_impossible_intrinsics_are_named(change, named):
    good = {"width_px": 640, "height_px": 480, "fx": 500.0, "fy": 500.0, "cx": 320.0, "cy": 240.0}
    with pytest.raises(CameraError, match=named):
        PinholeCamera(**(good | change))


def test_matrix_of_another_shape_is_refused():
    with pytest.raises(CameraError, match=r"\(2, 2\)"):
        PinholeCamera.from_matrix(np.eye(2), 640, 480)


def test_projection_matrix_gives_its_intrinsics():
    projection = np.array([[700.0, 0, 600, 45], [0, 710, 170, 0], [0, 0, 1, 0]])
    camera = PinholeCamera.from_matrix(projection, 1242, 375)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (700, 710, 600, 170)
