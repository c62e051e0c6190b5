from __future__ import annotations

import numpy as np
import pytest

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from metric3d_ros.errors import CameraError, EngineError, ImageError
from metric3d_ros.estimator import MetricDepthEstimator
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
    with pytest.raises(EngineError, match=r"'nanoo' is neither a known name \(nano\)"):
        model_path("nanoo")
