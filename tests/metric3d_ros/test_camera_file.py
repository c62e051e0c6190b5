from __future__ import annotations

from pathlib import Path

import pytest

from metric3d_ros.camera_file import read_camera_file
from metric3d_ros.errors import CameraError

# What ros2 run camera_calibration writes.
CALIBRATION = """
image_width: 640
image_height: 480
camera_name: narrow_stereo
camera_matrix:
  rows: 3
  cols: 3
  data: [430.1, 0., 306.9, 0., 431.2, 227.2, 0., 0., 1.]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [-0.33, 0.11, -0.0005, 0.0003, 0.]
rectification_matrix:
  rows: 3
  cols: 3
  data: [1., 0., 0., 0., 1., 0., 0., 0., 1.]
projection_matrix:
  rows: 3
  cols: 4
  data: [351.6, 0., 307.7, 0., 0., 398.1, 228.0, 0., 0., 0., 1., 0.]
"""


def write(tmp_path: Path, content: str) -> Path:
    path = tmp_path / "camera.yaml"
    path.write_text(content)
    return path


def test_raw_images_have_k_and_its_distortion(tmp_path: Path) -> None:
    camera = read_camera_file(write(tmp_path, CALIBRATION))
    assert (camera.width_px, camera.height_px) == (640, 480)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (430.1, 431.2, 306.9, 227.2)
    assert camera.distortion_model == "plumb_bob"
    assert camera.distortion == (-0.33, 0.11, -0.0005, 0.0003, 0.0)


def test_rectified_images_have_p_and_none(tmp_path: Path) -> None:
    camera = read_camera_file(write(tmp_path, CALIBRATION), rectified=True)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (351.6, 398.1, 307.7, 228.0)
    assert not camera.is_distorted


def test_a_file_without_distortion_has_none(tmp_path: Path) -> None:
    content = CALIBRATION[: CALIBRATION.index("distortion_model")]
    assert not read_camera_file(write(tmp_path, content)).is_distorted


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("image_width: 640", "", "image_width is None; it must be a whole number"),
        ("image_width: 640", "image_width: 0", "camera size is 0x480"),
        ("image_width: 640", "image_width: yes", "image_width is True"),
        ("camera_matrix:", "camera_metrics:", "has no camera_matrix"),
        ("430.1, 0., 306.9, ", "", "6 numbers in camera_matrix; it takes 3x3"),
        ("430.1", "0", "focal length fx is 0 px"),
        ("430.1", "-430.1", "focal length fx is -430.1 px"),
        ("430.1", "wide", "camera_matrix without a list of numbers"),
        ("430.1, 0., 306.9, 0., 431.2, 227.2, 0., 0., 1.", "", "0 numbers in camera_matrix"),
        ("image_width: 640", "image_width: [", "is not YAML"),
    ],
)
def test_bad_files_are_one_sentence(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = write(tmp_path, CALIBRATION.replace(old, new))
    with pytest.raises(CameraError) as raised:
        read_camera_file(path)
    message = str(raised.value)
    assert said in message
    assert message.count(str(path)) == 1
    assert "\n" not in message


def test_files_that_hold_no_camera(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="No such file"):
        read_camera_file(tmp_path / "missing.yaml")
    with pytest.raises(CameraError, match="holds no keys"):
        read_camera_file(write(tmp_path, "just text"))
    binary = tmp_path / "camera.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CameraError, match="is not YAML"):
        read_camera_file(binary)


def test_yaml_builds_no_objects(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="is not YAML"):
        read_camera_file(write(tmp_path, "!!python/object/apply:os.getcwd []"))
