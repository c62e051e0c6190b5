"""Annotation files as labelled views, and what is said of those that are wrong."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from annotated_ground import HEIGHT_PX, WIDTH_PX, write_ground

from metric3d_ros.errors import DatasetError, ImageError, Metric3dError
from training.annotated_views import AnnotatedViews
from training.errors import TrainingError
from training.label_kind import LabelKind


@pytest.fixture
def ground(tmp_path):
    return write_ground(tmp_path, images=2)


def changed(path, **values):
    content = json.loads(path.read_text())
    content["files"][0].update(values)
    path.write_text(json.dumps(content))
    return AnnotatedViews(path, LabelKind.DENSE)


def test_an_entry_is_an_image_with_depth_camera_and_regions(ground):
    view = AnnotatedViews(ground, LabelKind.DENSE, sky_ids=(9,), plane_ids=(1,))[0]
    horizon, focal_px = round(view.camera.cy), view.camera.fx
    assert view.depth_m[horizon + 9, 3] == pytest.approx(focal_px * 1.5 / 10, abs=1 / 256)
    assert view.sky is not None and view.planes is not None and view.regions is not None
    assert view.sky[:horizon].all() and not view.sky[horizon:].any()
    assert (view.planes[horizon:] > 0).all() and (view.regions[:horizon] == 0).all()


def test_normals_and_masks_are_read(ground):
    normal = np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    normal[40:] = (128, 0, 128)  # (0, -1, 0): up, where the camera is
    cv2.imwrite(str(ground.parent / "normal.png"), normal[..., ::-1])
    mask = np.zeros((HEIGHT_PX, WIDTH_PX), np.uint8)
    mask[50:] = 1
    cv2.imwrite(str(ground.parent / "mask.png"), mask)
    view = changed(ground, normal="normal.png", depth_mask="mask.png")[0]
    assert view.normal is not None
    np.testing.assert_allclose(view.normal[50, 5], [0, -1, 0], atol=0.01)
    assert np.isnan(view.normal[10]).all()
    assert np.isnan(view.depth_m[:50]).all() and np.isfinite(view.depth_m[50:]).all()


def test_an_entry_without_rgb_is_named(ground):
    with pytest.raises(DatasetError, match=r"entry 0 of .* says rgb is None"):
        changed(ground, rgb=None)


def test_missing_intrinsics_are_named(ground):
    with pytest.raises(DatasetError, match=r"entry 0 .* says cam_in is None; metric depth needs \[fx"):
        changed(ground, cam_in=None)


@pytest.mark.parametrize(
    "cam_in",
    [[63.5, 25.0, 100.0, 100.0], [100.0, 63.5, 100.0, 25.0], [100.0, 100.0, 25.0, 63.5], [100, 100, 640.0, 320.0]],
    ids=["centre first", "mixed", "centre swapped", "of another size"],
)
def test_swapped_intrinsics_are_seen(ground, cam_in):
    with pytest.raises(TrainingError, match=r"does not fit its 128x64 px; give \[fx, fy, cx, cy\]"):
        changed(ground, cam_in=cam_in)[0]


@pytest.mark.parametrize("label", ["depth", "sem", "normal"])
def test_labels_of_another_size_are_named(ground, label):
    image = np.full((10, 20, 3) if label == "normal" else (10, 20), 300 if label == "depth" else 3)
    cv2.imwrite(str(ground.parent / "small.png"), image.astype(np.uint16 if label == "depth" else np.uint8))
    with pytest.raises(TrainingError, match=r"small.png is 20x10 px but .*0.png is 128x64 px"):
        changed(ground, **{label: "small.png"})[0]


def test_an_empty_file_is_named(ground):
    ground.write_text('{"files": []}')
    with pytest.raises(DatasetError, match="list no images"):
        AnnotatedViews(ground, LabelKind.DENSE)


def test_a_broken_image_costs_itself_only(ground):
    (ground.parent / "0.png").write_bytes(b"\x89PNG cut")
    views = AnnotatedViews(ground, LabelKind.DENSE)
    with pytest.raises(ImageError, match=r"0\.png is cut short"):
        views[0]
    assert views[1].image.shape == (HEIGHT_PX, WIDTH_PX, 3)


def test_every_error_is_one_sentence(ground):
    with pytest.raises(Metric3dError) as error:
        changed(ground, cam_in=[1, 2])
    assert "\n" not in str(error.value)
