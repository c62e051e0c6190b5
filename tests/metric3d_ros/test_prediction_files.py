from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from test_point_cloud import read_ply

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.engines.engine import ModelInfo
from metric3d_ros.errors import OutputError
from metric3d_ros.estimator import DepthPrediction
from metric3d_ros.photo_camera import PhotoCamera
from metric3d_ros.prediction_files import CloudOptions, depth_in_mm, normals_of, write_prediction
from metric3d_ros.surface_normals import normals_from_depth

CAMERA = PinholeCamera(64, 48, 50.0, 50.0, 31.5, 23.5)
RGB = np.full((48, 64, 3), 80, np.uint8)


def prediction(normals: np.ndarray | None = None) -> DepthPrediction:
    return DepthPrediction(np.full((48, 64), 3.0, np.float32), None, CAMERA, normals)


def write(folder: Path, predicted: DepthPrediction, **cloud: int) -> list[Path]:
    normals = normals_of(predicted, ModelInfo("any", 64, 48))
    photo = PhotoCamera(CAMERA, True, "given")
    return write_prediction(folder, "a", RGB, predicted, normals, photo, {"image": "a.png"}, CloudOptions(**cloud))


def test_the_network_s_normals_are_taken_where_it_gives_any(tmp_path: Path) -> None:
    slanted = np.broadcast_to(np.float32([0.6, 0.0, -0.8]), (48, 64, 3)).copy()
    write(tmp_path, prediction(slanted))
    assert cv2.imread(str(tmp_path / "a_normals.png"))[0, 0].tolist() == [230, 128, 204]
    _, vertices = read_ply(tmp_path / "a_cloud.ply")
    np.testing.assert_allclose(vertices["nx"], 0.6)
    assert json.loads((tmp_path / "a_prediction.json").read_text())["normals"] == "from the network"


def test_normals_of_an_enlarged_map_are_over_the_network_s_pixels() -> None:
    """A bilinear map is flat inside each cell and bent at its borders; over whole cells it is a slope."""
    coarse = np.linspace(4, 5, 16, dtype=np.float32) * np.ones((12, 1), np.float32)
    coarse[:, ::2] += 0.03
    depth_m = np.asarray(cv2.resize(coarse, (64, 48), interpolation=cv2.INTER_LINEAR), dtype=np.float32)
    predicted = DepthPrediction(depth_m, None, CAMERA)
    found = normals_of(predicted, ModelInfo("coarse", 16, 12))
    np.testing.assert_array_equal(found, normals_from_depth(depth_m, CAMERA, step_px=4))
    fine = normals_from_depth(depth_m, CAMERA)
    assert found[10:-10, 10:-10, 0].std() < 0.5 * fine[10:-10, 10:-10, 0].std()


@pytest.mark.parametrize("last", ["depth_mm.png", "cloud.ply", "prediction.json"])
def test_a_disk_that_fills_up_leaves_none_of_the_files(tmp_path: Path, last: str) -> None:
    (tmp_path / f".a_{last}.{os.getpid()}.part").symlink_to("/dev/full")
    with pytest.raises(OutputError, match=f"cannot write .*a_{last}: No space left on device"):
        write(tmp_path, prediction())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("max_points", [1, 100, 3071, 3072])
def test_a_cloud_is_thinned_evenly(tmp_path: Path, max_points: int) -> None:
    write(tmp_path, prediction(), max_points=max_points)
    _, vertices = read_ply(tmp_path / "a_cloud.ply")
    assert max_points / 4 <= len(vertices) <= max_points
    assert len(np.unique(vertices["x"])) * len(np.unique(vertices["y"])) == len(vertices)


def test_millimetres_are_rounded_and_end_at_16_bits() -> None:
    depth_m = np.float32([[0.0014, 0.0016, 65.535, 65.54, np.nan, np.inf, -1.0]])
    assert depth_in_mm(depth_m).tolist() == [[1, 2, 65535, 0, 0, 0, 0]]
