from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from metric3d_ros.errors import CameraError, DatasetError, ImageError
from training.annotations import read_annotations

ENTRY = {"rgb": "images/a.png", "depth": "depth/a.png", "depth_scale": 256.0, "cam_in": [700.0, 710.0, 20.0, 15.0]}


def write_annotations(folder: Path, *entries: object) -> Path:
    path = folder / "test.json"
    path.write_text(json.dumps({"files": list(entries)}))
    return path


def write_images(folder: Path, depth_values: np.ndarray) -> None:
    for name in ("images", "depth"):
        (folder / name).mkdir(exist_ok=True)
    image = np.zeros((*depth_values.shape, 3), np.uint8)
    image[..., 2] = 90
    cv2.imwrite(str(folder / "images" / "a.png"), image)
    cv2.imwrite(str(folder / "depth" / "a.png"), depth_values.astype(np.uint16))


@pytest.mark.parametrize(("depth_scale", "value"), [(256.0, 2560), (6000.0, 60000), (1000, 10000)])
def test_an_entry_is_image_truth_and_camera(tmp_path: Path, depth_scale: float, value: int) -> None:
    values = np.full((30, 40), value)
    values[3, 4] = 0
    write_images(tmp_path, values)
    (annotation,) = read_annotations(
        write_annotations(tmp_path, {**ENTRY, "depth_scale": depth_scale, "sem": "x"})
    )
    rgb, true_m, camera = annotation.read()
    assert rgb[0, 0].tolist() == [90, 0, 0]
    assert np.isnan(true_m[3, 4])
    np.testing.assert_allclose(true_m[np.isfinite(true_m)], 10.0, rtol=1e-6)
    assert (camera.width_px, camera.height_px) == (40, 30)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (700, 710, 20, 15)


def test_root_is_where_paths_start(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    write_images(tmp_path, np.full((30, 40), 2560))
    path = write_annotations(tmp_path / "lists", ENTRY)
    assert read_annotations(path, tmp_path)[0].read()[0].shape == (30, 40, 3)
    with pytest.raises(ImageError, match="cannot be read"):
        read_annotations(path)[0].read()


@pytest.mark.parametrize("key", ["rgb", "depth"])
@pytest.mark.parametrize("name", ["../secret.png", "images/../../secret.png", "/etc/passwd", "link/secret.png"])
def test_paths_do_not_leave_the_root(tmp_path: Path, key: str, name: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.png").write_bytes(b"secret")
    (root / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(DatasetError, match="leads out of"):
        read_annotations(write_annotations(root, {**ENTRY, key: name}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cam_in": None}, r"entry 1 of .* says cam_in is None; metric depth needs \[fx, fy, cx, cy\]"),
        ({"cam_in": [700, 700, 20]}, "cam_in is"),
        ({"cam_in": [700, 700, 20, "15"]}, "cam_in is"),
        ({"cam_in": [700, 700, 20, True]}, "cam_in is"),
        ({"depth_scale": 0}, "depth_scale is 0"),
        ({"depth_scale": None}, "depth_scale is None"),
        ({"depth_scale": float("nan")}, "depth_scale is nan"),
        ({"depth": None}, "says depth is None; give a path relative to"),
        ({"rgb": ""}, "says rgb is ''"),
        ({"rgb": "a\0b"}, "says rgb is"),
    ],
)
def test_bad_entries_are_named(tmp_path: Path, change: dict[str, object], said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        read_annotations(write_annotations(tmp_path, ENTRY, {**ENTRY, **change}))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "are not JSON"),
        ("[]", "list no images"),
        ('{"files": []}', "list no images"),
        ('{"files": [3]}', "is 3"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "test.json"
    path.write_text(content)
    with pytest.raises(DatasetError, match=said):
        read_annotations(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="No such file"):
        read_annotations(tmp_path / "test.json")


def test_a_camera_that_cannot_be_is_named(tmp_path: Path) -> None:
    write_images(tmp_path, np.full((30, 40), 2560))
    (annotation,) = read_annotations(write_annotations(tmp_path, {**ENTRY, "cam_in": [0, 0, 20, 15]}))
    with pytest.raises(CameraError, match=r"cam_in of .*a\.png: camera focal length fx is 0"):
        annotation.read()
