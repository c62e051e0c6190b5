"""Which engine is taken, and what is said of the others."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from fake_gpu import FakeDriver, fake_tensorrt
from networks import write_network

from metric3d_ros.engines import choice, tensorrt_plans
from metric3d_ros.engines.agreement import compare, require_agreement, require_finite, street_picture
from metric3d_ros.engines.choice import CHOICES, EngineRequest, open_engine
from metric3d_ros.engines.engine import NetworkOutput
from metric3d_ros.engines.onnxruntime_engine import CUDA, TENSORRT, OnnxRuntimeEngine
from metric3d_ros.errors import EngineError, MissingDependencyError

PICTURE = street_picture(32, 64)


@pytest.fixture
def request_of_red(tmp_path, monkeypatch):
    monkeypatch.setenv("METRIC3D_CACHE", str(tmp_path / "cache"))
    return EngineRequest(write_network(tmp_path / "red.onnx"), threads=1)


@pytest.fixture
def no_gpu(monkeypatch):
    def refuse():
        raise EngineError(
            "libcuda.so.1 is not there, so this machine has no working NVIDIA GPU; install its driver."
        )

    monkeypatch.setattr(choice, "CudaDriver", refuse)
    monkeypatch.setattr(tensorrt_plans, "CudaDriver", refuse)


@pytest.fixture
def gpu(monkeypatch):
    driver = FakeDriver()
    monkeypatch.setattr(choice, "CudaDriver", lambda: driver)
    monkeypatch.setattr(tensorrt_plans, "CudaDriver", lambda: driver)
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt(driver))
    return driver


def test_without_a_gpu_auto_takes_the_cpu_and_says_why_once(no_gpu, request_of_red, caplog):
    caplog.set_level(logging.INFO)
    engine = open_engine(request_of_red)
    np.testing.assert_array_equal(engine.run(PICTURE).depth_canonical, PICTURE[..., 0])
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert lines[0].startswith("engine onnxruntime_cpu: onnxruntime ")
    assert lines[1].startswith("  not tensorrt, onnxruntime_tensorrt, onnxruntime_cuda: libcuda.so.1 is not there")


def test_with_a_gpu_auto_takes_tensorrt(gpu, request_of_red, caplog):
    caplog.set_level(logging.INFO)
    assert open_engine(request_of_red).identity.startswith("tensorrt 10.7.0 fp32")
    assert "engine tensorrt: tensorrt 10.7.0 fp32" in caplog.text


def test_auto_goes_on_where_tensorrt_is_missing_or_not_to_be_trusted(gpu, request_of_red, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt(gpu, spoil=lambda values: values * np.nan))
    assert open_engine(request_of_red).identity.startswith("onnxruntime")
    assert (
        "not tensorrt: tensorrt 10.7.0 fp32 (strong types) on Fake GPU red.onnx gives values that are no"
        in caplog.text
    )
    assert "not onnxruntime_tensorrt: onnxruntime" in caplog.text
    caplog.clear()
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    open_engine(request_of_red)
    assert "not tensorrt: TensorRT is not installed or does not load" in caplog.text


def test_auto_with_a_file_that_nothing_runs_says_what_is_wrong_with_the_file(gpu, tmp_path):
    path = write_network(tmp_path / "other.onnx", outputs=("disparity",))
    with pytest.raises(EngineError, match=r"other\.onnx goes from image to disparity"):
        open_engine(EngineRequest(path))


@pytest.mark.parametrize("name", ["tensorrt", "onnxruntime_tensorrt", "onnxruntime_cuda"])
def test_who_asks_for_a_gpu_engine_gets_that_or_a_sentence(no_gpu, request_of_red, name):
    with pytest.raises(EngineError, match="no working NVIDIA GPU"):
        open_engine(request_of_red, name)


def test_who_asks_for_tensorrt_without_it_gets_a_sentence(gpu, request_of_red, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(MissingDependencyError, match="pip install tensorrt"):
        open_engine(request_of_red, "tensorrt")


def test_unknown_engines_and_precisions(request_of_red):
    with pytest.raises(EngineError, match=f"engine 'trt' is not known; choose one of {', '.join(CHOICES)}"):
        open_engine(request_of_red, "trt")
    with pytest.raises(EngineError, match="precision 'int8' is not known; use fp32 or fp16"):
        open_engine(EngineRequest(request_of_red.onnx_file, precision="int8"))


class Session:
    """ONNX Runtime as its GPU wheel has it: notes what it is asked for, and may fall back without a word."""

    asked: list

    def __init__(self, started: str, really):
        self.started, self.really, self.asked = started, really, []

    def __call__(self, path, options, providers):
        self.asked.append(providers)
        session = self.really(path, options, providers=["CPUExecutionProvider"])
        session.get_providers = lambda: [self.started, "CPUExecutionProvider"]
        return session


@pytest.fixture
def onnxruntime_gpu(gpu, monkeypatch):
    def install(started):
        session = Session(started, onnxruntime.InferenceSession)
        monkeypatch.setattr(
            onnxruntime, "get_available_providers", lambda: [TENSORRT, CUDA, "CPUExecutionProvider"]
        )
        monkeypatch.setattr(onnxruntime, "InferenceSession", session)
        monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None, raising=False)
        return session

    return install


def test_the_tensorrt_provider_keeps_its_plans_by_the_networks_checksum(onnxruntime_gpu, request_of_red, tmp_path):
    session = onnxruntime_gpu(TENSORRT)
    other = EngineRequest(write_network(tmp_path / "other.onnx", metadata={"note": "other"}), precision="fp16")
    for request in (request_of_red, other):
        open_engine(request, "onnxruntime_tensorrt")
    (first, *fallbacks), (second, *_) = session.asked
    assert first[0] == second[0] == TENSORRT
    assert fallbacks == [CUDA, "CPUExecutionProvider"]
    assert [options["trt_fp16_enable"] for _, options in (first, second)] == ["0", "1"]
    folders = {options["trt_engine_cache_path"] for _, options in (first, second)}
    assert len(folders) == 2
    assert all(folder.startswith(str(tmp_path / "cache")) and Path(folder).is_dir() for folder in folders)


def test_a_provider_that_falls_back_without_a_word_is_found_out(onnxruntime_gpu, request_of_red):
    onnxruntime_gpu("CPUExecutionProvider")
    with pytest.raises(EngineError, match="could not start its CUDAExecutionProvider; install the CUDA, cuDNN"):
        open_engine(request_of_red, "onnxruntime_cuda")


def test_a_provider_that_is_not_in_this_onnxruntime(gpu, request_of_red):
    if CUDA in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has the CUDA provider")
    with pytest.raises(EngineError, match="built without CUDAExecutionProvider; replace it by onnxruntime-gpu"):
        open_engine(request_of_red, "onnxruntime_cuda")


class Spoiled:
    """An engine whose depth is another one's, changed."""

    def __init__(self, engine, change):
        self.model, self.identity, self._engine, self._change = engine.model, "spoiled engine", engine, change

    def run(self, network_image, first_row=0):
        output = self._engine.run(network_image, first_row)
        return NetworkOutput(self._change(output.depth_canonical), output.confidence, output.normals)


def with_one_nan(depth):
    depth = depth.copy()
    depth[3, 5] = np.nan
    return depth


def test_trust_needs_every_value_to_be_a_number_and_99_percent_to_be_close(request_of_red):
    reference = OnnxRuntimeEngine(request_of_red.onnx_file)
    assert require_agreement(reference, reference, "fp32").relative_error == 0
    close = require_agreement(Spoiled(reference, lambda depth: depth * np.float32(1.009)), reference, "fp32")
    assert close.relative_error == pytest.approx(0.009, rel=1e-3)
    far = Spoiled(reference, lambda depth: depth * np.float32(1.03))
    with pytest.raises(
        EngineError, match=r"spoiled engine is 3\.0% off onnxruntime .* more than 1%; use another engine"
    ):
        require_agreement(far, reference, "fp32")
    require_agreement(far, reference, "fp16")
    with pytest.raises(EngineError, match=r"more than 5%; use --precision fp32"):
        require_agreement(Spoiled(reference, lambda depth: depth * np.float32(0.9)), reference, "fp16")
    for precision in ("fp32", "fp16"):
        with pytest.raises(EngineError, match="spoiled engine gives values that are no numbers"):
            require_agreement(Spoiled(reference, with_one_nan), reference, precision)
    with pytest.raises(EngineError, match="no numbers"):
        require_finite(Spoiled(reference, with_one_nan))


def test_one_pixel_in_two_hundred_may_be_off_but_not_three_in_a_hundred():
    depth = np.full((10, 20), 10, np.float32)
    other = depth.copy()
    other.flat[0] = 1000
    assert compare(NetworkOutput(other), NetworkOutput(depth)).relative_error == 0
    other.flat[:6] = 20
    assert compare(NetworkOutput(other), NetworkOutput(depth)).relative_error == 1


def test_the_picture_is_the_same_every_time_and_has_something_in_it():
    picture = street_picture(160, 544)
    assert picture.dtype == np.uint8
    assert picture.shape == (160, 544, 3)
    np.testing.assert_array_equal(picture, street_picture(160, 544))
    assert picture.reshape(-1, 3).std(axis=0).min() > 20
    assert street_picture(1, 1).shape == (1, 1, 3)
