"""The real engines on a real GPU: ``make test-gpu``. Each test says what it lacks where it is skipped."""

from __future__ import annotations

import logging

import numpy as np
import onnxruntime
import pytest
from networks import write_network

from metric3d_ros.engines.agreement import MAX_RELATIVE_ERROR, compare, street_picture
from metric3d_ros.engines.bench import bench
from metric3d_ros.engines.choice import EngineRequest, open_engine
from metric3d_ros.engines.cuda_driver import CudaDriver
from metric3d_ros.engines.engine_cache import EngineCache
from metric3d_ros.engines.onnxruntime_engine import CUDA, TENSORRT, OnnxRuntimeEngine
from metric3d_ros.engines.tensorrt_api import tensorrt_version
from metric3d_ros.engines.tensorrt_plans import open_tensorrt_engine
from metric3d_ros.errors import EngineError, MissingDependencyError
from metric3d_ros.model_zoo import model_path

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(1800)]


@pytest.fixture(autouse=True)
def gpu(monkeypatch, tmp_path):
    monkeypatch.setenv("METRIC3D_CACHE", str(tmp_path / "cache"))
    try:
        return CudaDriver()
    except EngineError as error:
        pytest.skip(str(error))


@pytest.fixture
def tensorrt():
    try:
        return tensorrt_version()
    except MissingDependencyError as error:
        pytest.skip(str(error))


def require_provider(name):
    if name not in onnxruntime.get_available_providers():
        pytest.skip(f"this onnxruntime has no {name}")


def takes_half_by_flag(version):
    return int(version.partition(".")[0]) < 11


def test_a_network_whose_depth_is_known(tensorrt, tmp_path):
    """Red is the depth: what comes back must be the picture's red, to the bit, image after image."""
    engine = open_tensorrt_engine(write_network(tmp_path / "red.onnx", outputs=("depth",)), "fp32")
    for picture in (street_picture(32, 64), 255 - street_picture(32, 64)):
        np.testing.assert_array_equal(engine.run(picture).depth_canonical, picture[..., 0])


def test_a_mixed_precision_file_keeps_its_types(tensorrt, tmp_path):
    engine = open_tensorrt_engine(write_network(tmp_path / "half.onnx", outputs=("depth",), half=True), "fp16")
    picture = street_picture(32, 64)
    np.testing.assert_array_equal(engine.run(picture).depth_canonical, picture[..., 0])


def test_a_file_of_free_size(tensorrt, tmp_path):
    free = write_network(tmp_path / "free.onnx", height_px="h", width_px="w", outputs=("depth",))
    engine = open_tensorrt_engine(free, "fp32", (56, 84))
    picture = street_picture(56, 84)
    np.testing.assert_array_equal(engine.run(picture).depth_canonical, picture[..., 0])


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_nano_is_built_once_and_agrees_with_onnx_runtime(tensorrt, precision, caplog):
    if precision == "fp16" and not takes_half_by_flag(tensorrt):
        pytest.skip(f"TensorRT {tensorrt} takes half from the file alone, and nano's is float32")
    caplog.set_level(logging.INFO)
    built = open_tensorrt_engine(model_path("nano"), precision)
    assert "building the engine" in caplog.text
    caplog.clear()
    loaded = open_tensorrt_engine(model_path("nano"), precision)
    assert "building the engine" not in caplog.text
    reference = OnnxRuntimeEngine(model_path("nano"))
    for seed in range(3):
        picture = np.random.default_rng(seed).integers(0, 255, (160, 544, 3), np.uint8)
        expected = reference.run(picture)
        for engine in (built, loaded):
            agreement = compare(engine.run(picture), expected)
            assert agreement.finite
            assert agreement.relative_error <= MAX_RELATIVE_ERROR[precision]


def test_a_corrupt_plan_with_a_right_checksum_is_built_again(tensorrt, tmp_path, monkeypatch, caplog):
    network = write_network(tmp_path / "red.onnx", metadata={"model": "red"})
    open_tensorrt_engine(network, "fp32")
    lookup = EngineCache.lookup

    def corrupt(self, model, key):
        stored, plan = lookup(self, model, key)
        return stored, plan[: len(plan) // 2]

    monkeypatch.setattr(EngineCache, "lookup", corrupt)
    picture = street_picture(32, 64)
    np.testing.assert_array_equal(
        open_tensorrt_engine(network, "fp32").run(picture).depth_canonical, picture[..., 0]
    )
    assert "building the engine again" in caplog.text


def test_auto_takes_tensorrt(tensorrt):
    assert open_engine(EngineRequest(model_path("nano"))).identity.startswith("tensorrt")


@pytest.mark.parametrize(("name", "provider"), [("onnxruntime_cuda", CUDA), ("onnxruntime_tensorrt", TENSORRT)])
def test_onnx_runtimes_providers(name, provider):
    require_provider(provider)
    engine = open_engine(EngineRequest(model_path("nano")), name)
    picture = street_picture(160, 544)
    agreement = compare(engine.run(picture), OnnxRuntimeEngine(model_path("nano")).run(picture))
    assert agreement.finite
    assert agreement.relative_error <= MAX_RELATIVE_ERROR["fp32"]
    assert provider in engine.identity


def test_tensorrt_is_faster_than_the_cpu(tensorrt):
    rows = list(bench(EngineRequest(model_path("nano")), ["tensorrt", "onnxruntime_cpu"], ["fp32"], runs=50))
    print(rows)
    assert rows[0].median_ms < rows[1].median_ms


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_vit_small_with_seeded_weights(tensorrt, tmp_path, precision):
    export = pytest.importorskip("training.export", reason="torch is not installed")
    path = tmp_path / "vit_small.onnx"
    assert export.main(["vit_small", "--seeded", "0", "--size", "308x532", "--out", str(path)]) == 0
    if precision == "fp16":
        mixed_precision = pytest.importorskip("training.mixed_precision")
        mixed = tmp_path / "vit_small_mixed.onnx"
        assert mixed_precision.main([str(path), "--out", str(mixed)]) == 0
        path = mixed
    engine = open_tensorrt_engine(path, precision)
    picture = street_picture(308, 532)
    output = engine.run(picture)
    assert output.normals is not None
    assert compare(output, OnnxRuntimeEngine(path).run(picture)).relative_error <= MAX_RELATIVE_ERROR[precision]
