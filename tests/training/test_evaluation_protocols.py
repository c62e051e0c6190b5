"""The protocols on images whose metrics can be worked out by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from metric3d_ros.engines.engine import ModelInfo, NetworkOutput
from metric3d_ros.errors import DatasetError
from metric3d_ros.estimator import MetricDepthEstimator
from training.annotations import Annotation
from training.evaluate import evaluate_annotations, main
from training.evaluation_protocols import PROTOCOLS, judge, summary

CANONICAL = 20.0
KITTI_SIZE, NYU_SIZE = (375, 1242), (480, 640)
KITTI_FOCAL_PX = 721.5


class FlatEngine:
    """A network that answers the same canonical depth everywhere."""

    model = ModelInfo("flat", input_width_px=1064, input_height_px=616)
    identity = "flat"

    def run(self, network_image: np.ndarray, first_row: int = 0) -> NetworkOutput:
        assert network_image.shape == (616, 1064, 3)
        return NetworkOutput(np.full((616, 1064), CANONICAL, np.float32))


def write_pair(
    folder: Path,
    true_m: np.ndarray,
    depth_scale: float,
    focal_px: float,
    rgb_size: tuple[int, int] | None = None,
) -> Annotation:
    cv2.imwrite(str(folder / "rgb.png"), np.full((*(rgb_size or true_m.shape), 3), 80, np.uint8))
    cv2.imwrite(str(folder / "depth.png"), np.round(np.nan_to_num(true_m) * depth_scale).astype(np.uint16))
    height_px, width_px = rgb_size or true_m.shape
    intrinsics = (focal_px, focal_px, width_px / 2, height_px / 2)
    return Annotation(folder / "rgb.png", folder / "depth.png", depth_scale, intrinsics)


def flat_estimator() -> MetricDepthEstimator:
    return MetricDepthEstimator(FlatEngine())


def test_kitti_counts_the_garg_window() -> None:
    """Of 375 x 1242: rows 124 to 341, columns 44 to 1196."""
    counted = np.isfinite(PROTOCOLS["kitti"].counted_truth(np.full(KITTI_SIZE, 10.0, np.float32)))
    rows, columns = np.flatnonzero(counted.any(axis=1)), np.flatnonzero(counted.any(axis=0))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (124, 341, 44, 1196)
    assert counted.sum() == (342 - 124) * (1197 - 44)


def test_kitti_by_hand(tmp_path: Path) -> None:
    """The image is cut to 1154 columns, so it shrinks by 1064 / 1154 and d = 20 * 721.5 * s / 1000 = 13.305 m.

    Half of what counts is at 10 m, half at 20 m; all else is at 40 m and must not be seen.
    """
    true_m = np.full(KITTI_SIZE, 40.0)
    true_m[124:233, 44:1197] = 10.0
    true_m[233:342, 44:1197] = 20.0
    true_m[124, 44:60] = 0.0  # no reading
    true_m[341, 44:60] = 90.0  # farther than 80 m
    annotation = write_pair(tmp_path, true_m, 256.0, KITTI_FOCAL_PX)
    judged = judge(flat_estimator(), annotation, PROTOCOLS["kitti"])
    assert judged is not None
    raw, scaled = judged
    d = CANONICAL * KITTI_FOCAL_PX * (1064 / 1154) / 1000
    assert d == pytest.approx(13.3047, abs=1e-4)
    errors = d - np.array([10.0, 20.0])
    g = np.log(d / np.array([10.0, 20.0]))
    assert raw.abs_rel == pytest.approx((errors[0] / 10 - errors[1] / 20) / 2, rel=1e-4)
    assert raw.rmse_m == pytest.approx(math.sqrt((errors**2).mean()), rel=1e-4)
    assert raw.rmse_log == pytest.approx(math.sqrt((g**2).mean()), rel=1e-4)
    assert raw.log10 == pytest.approx(np.abs(g).mean() / math.log(10), rel=1e-4)
    assert raw.silog == pytest.approx(math.log(2) / 2, rel=1e-4)
    # 13.3 / 10 and 20 / 13.3 are 1.33 and 1.503: both above 1.25 and below 1.5625.
    assert (raw.delta1, raw.delta2, raw.delta3) == (0.0, 1.0, 1.0)
    assert raw.coverage == 1.0
    # Median truth is 15 m between the two halves, so scaling makes the flat depth 15 m.
    assert scaled.abs_rel == pytest.approx((0.5 + 0.25) / 2, rel=1e-4)
    assert scaled.rmse_m == pytest.approx(5.0, rel=1e-4)
    assert scaled.silog == pytest.approx(raw.silog, rel=1e-6)


def test_nyu_by_hand(tmp_path: Path) -> None:
    """480 x 640 grows by 616 / 480, so d = 20 * 518.8 * s / 1000 = 13.32 m.

    A quarter of what counts is beyond 10 m and is left out, the rest is at 8 m.
    """
    true_m = np.full(NYU_SIZE, 3.0)
    true_m[45:471, 41:601] = 8.0
    true_m[45:471, 41:181] = 10.5
    annotation = write_pair(tmp_path, true_m, 6000.0, 518.8)
    judged = judge(flat_estimator(), annotation, PROTOCOLS["nyu"])
    assert judged is not None
    d = CANONICAL * 518.8 * (616 / 480) / 1000
    raw, scaled = judged
    assert raw.abs_rel == pytest.approx(d / 8 - 1, rel=1e-4)
    assert raw.rmse_m == pytest.approx(d - 8, rel=1e-4)
    assert raw.log10 == pytest.approx(math.log10(d / 8), rel=1e-4)
    assert raw.median_ratio == pytest.approx(d / 8, rel=1e-4)
    assert scaled.abs_rel == pytest.approx(0.0, abs=1e-5)


def test_prediction_is_resized_to_the_truth(tmp_path: Path) -> None:
    annotation = write_pair(tmp_path, np.full(NYU_SIZE, 5.0), 6000.0, 259.4, rgb_size=(240, 320))
    judged = judge(flat_estimator(), annotation, PROTOCOLS["nyu"])
    assert judged is not None
    assert judged[0].median_ratio == pytest.approx(CANONICAL * 259.4 * (616 / 240) / 1000 / 5, rel=1e-4)
    assert judged[0].coverage == 1.0


def test_kitti_cuts_image_and_truth_together_or_not_at_all(tmp_path: Path) -> None:
    annotation = write_pair(tmp_path, np.full(KITTI_SIZE, 5.0), 256.0, 700.0, rgb_size=(370, 1226))
    with pytest.raises(DatasetError, match=r"rgb\.png: image is 1226x370 px and its truth 1242x375"):
        judge(flat_estimator(), annotation, PROTOCOLS["kitti"])


def test_images_without_truth_are_counted_apart(tmp_path: Path) -> None:
    for name, depth_m in (("with", 5.0), ("without", 0.0)):
        (tmp_path / name).mkdir()
        write_pair(tmp_path / name, np.full(NYU_SIZE, depth_m), 6000.0, 518.8)
    entry = {"depth_scale": 6000, "cam_in": [518.8, 518.8, 320, 240]}
    entries = [{**entry, "rgb": f"{name}/rgb.png", "depth": f"{name}/depth.png"} for name in ("with", "without")]
    path = tmp_path / "test.json"
    path.write_text(json.dumps({"files": entries}))
    results = evaluate_annotations(flat_estimator(), path, PROTOCOLS["nyu"])
    assert (results["images"], results["images_without_truth"]) == (1, 1)
    assert results["raw"]["median_ratio"] == pytest.approx(CANONICAL * 518.8 * (616 / 480) / 5000, rel=1e-4)
    with pytest.raises(DatasetError, match=r"none of 1 images has truth from 0\.1 to 10 m"):
        summary([None], PROTOCOLS["nyu"])


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The packaged network on a made-up pair: what is printed is what ``judge`` says."""
    annotation = write_pair(tmp_path, np.full(KITTI_SIZE, 12.0), 256.0, KITTI_FOCAL_PX)
    path = tmp_path / "test.json"
    intrinsics = list(annotation.intrinsics_px)
    entry = {"rgb": "rgb.png", "depth": "depth.png", "depth_scale": 256, "cam_in": intrinsics}
    path.write_text(json.dumps({"files": [entry]}))
    command = ["--onnx", "nano", "--threads", "1", "--annotations", str(path)]
    assert main([*command, "--protocol", "kitti", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    estimator = MetricDepthEstimator(
        MetricDepthEstimator.from_model("nano", threads=1).engine, min_confidence=-math.inf
    )
    judged = judge(estimator, annotation, PROTOCOLS["kitti"])
    assert judged is not None
    assert printed["raw"]["abs_rel"] == pytest.approx(judged[0].abs_rel)
    assert printed["median_scaled"]["rmse_m"] == pytest.approx(judged[1].rmse_m)
    assert printed["raw"]["coverage"] == 1.0
    assert main([*command, "--protocol", "kitti"]) == 0
    table = capsys.readouterr().out
    assert f"{judged[0].abs_rel:.3f}" in table
    assert f"{judged[1].rmse_m:.3f}" in table
    assert "median scaled" in table
    assert main(command) == 2
    assert "give --protocol kitti or nyu" in capsys.readouterr().err
    (tmp_path / "depth.png").unlink()
    assert main([*command, "--protocol", "kitti"]) == 2
    assert "depth.png cannot be read" in capsys.readouterr().err
