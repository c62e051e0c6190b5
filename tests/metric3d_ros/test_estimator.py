from __future__ import annotations

import numpy as np
import pytest
from networks import write_network

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.camera_height import KnownCameraHeight, find_ground
from metric3d_ros.engines.engine import ModelInfo, NetworkOutput
from metric3d_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from metric3d_ros.errors import CameraError, EngineError, ImageError
from metric3d_ros.estimator import MetricDepthEstimator
from metric3d_ros.letterbox import PRINCIPAL_ROW
from metric3d_ros.model_zoo import model_path

CAMERA = PinholeCamera(100, 100, 500.0, 520.0, 49.5, 49.5)


def image_of(red: int, green: int = 255) -> np.ndarray:
    return np.dstack([np.full((100, 100), value, np.uint8) for value in (red, green, 0)])


def test_canonical_depth_becomes_metres(channel_network):
    """Red 200 is canonical 200; the image shrinks by 0.32, so d = 200 * 510 * 0.32 / 1000 (mean focal 510)."""
    prediction = MetricDepthEstimator(OnnxRuntimeEngine(channel_network)).predict(image_of(200), CAMERA)
    assert prediction.depth_m.shape == (100, 100)
    assert prediction.depth_m.dtype == np.float32
    np.testing.assert_allclose(prediction.depth_m, 200 * 510 * 0.32 / 1000, rtol=1e-5)


def test_twice_the_focal_length_is_twice_as_far(channel_network):
    estimator = MetricDepthEstimator(OnnxRuntimeEngine(channel_network))
    near = estimator.predict(image_of(100), PinholeCamera(100, 100, 400, 400, 50, 50)).depth_m
    far = estimator.predict(image_of(100), PinholeCamera(100, 100, 800, 800, 50, 50)).depth_m
    np.testing.assert_allclose(far, 2 * near, rtol=1e-6)


def test_padding_never_reaches_the_image(channel_network):
    """The pad colour's canonical depth (124) must not bleed into the image's borders (10)."""
    depth_m = MetricDepthEstimator(OnnxRuntimeEngine(channel_network)).predict(image_of(10), CAMERA).depth_m
    np.testing.assert_allclose(depth_m, depth_m[50, 50], rtol=1e-5)


def test_a_network_may_want_the_principal_row_in_its_middle(tmp_path):
    """Red is canonical depth here: the image's own rows come back wherever they lay in the input."""
    path = write_network(tmp_path / "level.onnx", metadata={"placement": "principal_row"})
    estimator = MetricDepthEstimator(OnnxRuntimeEngine(path))
    image = image_of(200)
    image[:60, :, 0] = 50
    depth_m = estimator.predict(image, PinholeCamera(100, 100, 500, 500, 49.5, 59.5)).depth_m
    # The row of the edge lies in the input's middle, where 60 rows above it fit: the scale is 16 / 60.
    np.testing.assert_allclose(depth_m[:50], 50 * 500 * (16 / 60) / 1000, rtol=1e-5)
    np.testing.assert_allclose(depth_m[70:], 200 * 500 * (16 / 60) / 1000, rtol=1e-5)


class PartedEngine:
    """Remembers at which rows it was told to part its images."""

    def __init__(self, headroom_deg: float, looks_twice: bool = True) -> None:
        self.model = ModelInfo(
            "parted", 100, 100, placement=PRINCIPAL_ROW, looks_twice=looks_twice, headroom_deg=headroom_deg
        )
        self.first_rows: list[int] = []

    def run(self, image: np.ndarray, first_row: int = 0) -> NetworkOutput:
        self.first_rows.append(first_row)
        return NetworkOutput(np.ones(image.shape[:2], dtype=np.float32))


@pytest.mark.parametrize(
    ("asked_deg", "cy", "first_row"),
    [(None, 49.5, 32), (5.0, 49.5, 41), (0.0, 49.5, 0), (30.0, 49.5, 0), (None, 10.0, 0)],
    ids=["the model's own", "the user's", "none", "over the image", "over an image that begins low"],
)
def test_the_looks_part_at_the_headroom_over_the_principal_row(asked_deg, cy, first_row):
    """At 100 px of focal length, 10 degrees are 17.6 rows, 5 are 8.7; a row over the content parts nothing."""
    engine = PartedEngine(headroom_deg=10.0)
    camera = PinholeCamera(100, 100, 100, 100, 49.5, cy)
    MetricDepthEstimator(engine, headroom_deg=asked_deg).predict(image_of(80), camera)
    assert engine.first_rows == [first_row]


def test_what_rises_over_the_headroom_is_read_in_another_look(tmp_path):
    """The network gives red below the row that parts it and green above."""
    path = write_network(
        tmp_path / "twice.onnx",
        first_row_shape=[1],
        metadata={"placement": "principal_row", "headroom_deg": "10", "min_confidence": "0"},
    )
    camera = PinholeCamera(64, 32, 50, 50, 31.5, 15.5)
    image = np.zeros((32, 64, 3), np.uint8)
    image[..., :2] = (200, 100)
    engine = OnnxRuntimeEngine(path)
    depth_m = MetricDepthEstimator(engine).predict(image, camera).depth_m
    # 10 degrees are 8.8 rows over row 15.5.
    np.testing.assert_allclose(depth_m[:7], 100 * 50 / 1000, rtol=1e-5)
    np.testing.assert_allclose(depth_m[7:], 200 * 50 / 1000, rtol=1e-5)
    everything_m = MetricDepthEstimator(engine, headroom_deg=0.0).predict(image, camera).depth_m
    np.testing.assert_allclose(everything_m, 200 * 50 / 1000, rtol=1e-5)


def test_headroom_is_for_networks_that_look_twice():
    engine = PartedEngine(headroom_deg=0.0, looks_twice=False)
    MetricDepthEstimator(engine)
    with pytest.raises(EngineError, match="headroom_deg is 6, but parted looks once; leave it at -1"):
        MetricDepthEstimator(engine, headroom_deg=6.0)


def test_no_reading_is_nan(channel_network):
    engine = OnnxRuntimeEngine(channel_network)
    half = image_of(200)
    half[:50, :, 1] = 0
    depth_m = MetricDepthEstimator(engine).predict(half, CAMERA).depth_m
    assert np.isnan(depth_m[:45]).all()
    assert np.isfinite(depth_m[55:]).all()
    assert np.isfinite(MetricDepthEstimator(engine, min_confidence=0.0).predict(half, CAMERA).depth_m).all()
    assert np.isnan(MetricDepthEstimator(engine, max_depth_m=10.0).predict(image_of(200), CAMERA).depth_m).all()
    assert np.isnan(MetricDepthEstimator(engine).predict(image_of(0), CAMERA).depth_m).all()


def test_a_known_camera_height_gives_depth_its_scale(channel_network):
    """Red is canonical depth: here that of ground, seen by a camera that stands 1.5 m above it."""
    engine = OnnxRuntimeEngine(channel_network)
    camera = PinholeCamera(100, 100, 80.0, 80.0, 49.5, 29.5)
    below_horizon_px = np.maximum(np.arange(100) - camera.cy, 1.0)
    canonical = 1.5 * camera.fy / below_horizon_px * 1000 / (camera.fx * 0.32)
    image = image_of(0)
    image[..., 0] = np.minimum(canonical, 255)[:, None].astype(np.uint8)
    alone_m = MetricDepthEstimator(engine, min_confidence=0.0).predict(image, camera).depth_m
    ground = find_ground(alone_m, camera)
    assert ground is not None
    assert ground.height_m == pytest.approx(1.5, rel=0.05)
    standing = MetricDepthEstimator(engine, min_confidence=0.0, camera_height=KnownCameraHeight(1.2))
    depth_m = standing.predict(image, camera).depth_m
    np.testing.assert_allclose(depth_m, alone_m * 1.2 / ground.height_m, rtol=1e-5)
    # What lies beyond the greatest depth is told after the scale.
    farthest_m = float(np.nanmax(depth_m)) * 1.01
    limited = MetricDepthEstimator(engine, farthest_m, 0.0, KnownCameraHeight(1.2)).predict(image, camera)
    np.testing.assert_array_equal(limited.depth_m, depth_m)


def test_image_and_camera_must_belong_together(channel_network):
    estimator = MetricDepthEstimator(OnnxRuntimeEngine(channel_network))
    with pytest.raises(CameraError, match="100x100 px but its camera is 64x48"):
        estimator.predict(image_of(1), PinholeCamera(64, 48, 50, 50, 32, 24))
    with pytest.raises(ImageError, match="float32"):
        estimator.predict(image_of(1).astype(np.float32), CAMERA)


def test_engine_says_what_it_is(channel_network):
    engine = OnnxRuntimeEngine(channel_network)
    assert engine.model.name == "channels"
    assert (engine.model.input_width_px, engine.model.input_height_px) == (64, 32)
    assert engine.model.min_confidence == 0.5
    assert "onnxruntime" in engine.identity
    assert "channels.onnx" in engine.identity


def test_engine_refuses_an_image_of_another_size(channel_network):
    with pytest.raises(EngineError, match=r"\(10, 10, 3\).*\(32, 64, 3\)"):
        OnnxRuntimeEngine(channel_network).run(np.zeros((10, 10, 3), np.uint8))


def test_files_that_are_no_network_are_refused(tmp_path):
    garbage = tmp_path / "garbage.onnx"
    garbage.write_bytes(b"not a network")
    with pytest.raises(EngineError, match="cannot be loaded"):
        OnnxRuntimeEngine(garbage)
    with pytest.raises(EngineError, match="is not there"):
        OnnxRuntimeEngine(tmp_path / "absent.onnx")


def test_model_names(tmp_path):
    assert model_path("nano").name == "nano.onnx"
    with pytest.raises(EngineError, match=r"'nanoo' is neither a known name \(nano, "):
        model_path("nanoo")


@pytest.fixture
def normals_network(tmp_path):
    return write_network(tmp_path / "red.onnx", metadata={"min_confidence": "0.5"})


def test_normals_come_back_in_the_image_as_unit_vectors(normals_network):
    """The network gives (red, green, -255) / 255: not of length 1, and interpolated on the way back."""
    rgb = image_of(200, green=150)
    rgb[:, 50:] = (0, 255, 0)
    normals = MetricDepthEstimator(OnnxRuntimeEngine(normals_network)).predict(rgb, CAMERA).normals
    assert normals.shape == (100, 100, 3)
    np.testing.assert_allclose(np.linalg.norm(normals[:, :45], axis=-1), 1, rtol=1e-5)
    expected = np.array([200, 150, -255]) / np.linalg.norm([200, 150, -255])
    np.testing.assert_allclose(normals[50, 20], expected, rtol=1e-5)
    assert np.isnan(normals[50, 80]).all(), "there the depth is 0, which is no reading"


def test_a_network_without_normals_gives_none(channel_network):
    prediction = MetricDepthEstimator(OnnxRuntimeEngine(channel_network)).predict(image_of(1), CAMERA)
    assert prediction.normals is None


def test_from_model_takes_an_engine_and_a_size(tmp_path):
    path = write_network(tmp_path / "free.onnx", height_px="h", width_px="w")
    estimator = MetricDepthEstimator.from_model(str(path), 1, engine="onnxruntime_cpu", size_px=(28, 56))
    assert estimator.engine.model.input_width_px == 56
    with pytest.raises(EngineError, match="engine 'best' is not known"):
        MetricDepthEstimator.from_model(str(path), engine="best")


def test_an_image_of_one_pixel(channel_network):
    """1 px becomes 32 x 32 px of the network's input: d = 200 * 1000 * 32 / 1000."""
    camera = PinholeCamera(1, 1, 1000, 1000, 0, 0)
    rgb = np.array([[[200, 255, 0]]], np.uint8)
    depth_m = (
        MetricDepthEstimator(OnnxRuntimeEngine(channel_network), max_depth_m=1e5).predict(rgb, camera).depth_m
    )
    np.testing.assert_allclose(depth_m, [[200 * 32]], rtol=1e-5)


BAD_IMAGES = [
    (np.zeros((100, 100, 3), np.uint16), r"image is uint16 \(100, 100, 3\); give uint8 RGB"),
    (np.zeros((100, 100), np.uint8), r"image is uint8 \(100, 100\); give uint8 RGB"),
    (np.zeros((100, 100, 1), np.uint8), r"image is uint8 \(100, 100, 1\); give uint8 RGB"),
    (np.zeros((100, 100, 4), np.uint8), r"image is uint8 \(100, 100, 4\); give uint8 RGB"),
    (np.zeros((0, 0, 3), np.uint8), r"image is 0x0 px but its camera is 100x100 px"),
]


@pytest.mark.parametrize(("image", "sentence"), BAD_IMAGES)
def test_images_that_are_not_8_bit_rgb(channel_network, image, sentence):
    with pytest.raises((ImageError, CameraError), match=sentence):
        MetricDepthEstimator(OnnxRuntimeEngine(channel_network)).predict(image, CAMERA)


@pytest.mark.parametrize("focal_px", [0.0, -500.0, float("nan"), float("inf")])
def test_no_camera_has_such_a_focal_length(focal_px):
    with pytest.raises(CameraError, match=r"focal length fx is .* px; it must be above 0"):
        PinholeCamera(100, 100, focal_px, 500.0, 49.5, 49.5)
