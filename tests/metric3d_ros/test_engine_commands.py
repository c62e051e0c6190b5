"""``metric3d engine``, on machines without a GPU and on one that is a double."""

from __future__ import annotations

import json
import sys

import pytest
from fake_gpu import FakeDriver, fake_tensorrt
from networks import write_network

from metric3d_ros import engine_commands
from metric3d_ros.cli import main
from metric3d_ros.engines import choice, tensorrt_plans
from metric3d_ros.errors import EngineError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("METRIC3D_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path / "cache" / "engines"


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    def refuse():
        raise EngineError(
            "libcuda.so.1 is not there, so this machine has no working NVIDIA GPU; install its driver."
        )

    for module in (choice, tensorrt_plans, engine_commands):
        monkeypatch.setattr(module, "CudaDriver", refuse)


@pytest.fixture
def gpu(no_gpu, monkeypatch):
    driver = FakeDriver()
    for module in (choice, tensorrt_plans, engine_commands):
        monkeypatch.setattr(module, "CudaDriver", lambda: driver)
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt(driver))
    return driver


@pytest.fixture
def network(tmp_path):
    return str(write_network(tmp_path / "red.onnx", metadata={"model": "red"}))


def test_build_then_info(gpu, network, cache, capsys):
    assert main(["engine", "build", network, "--precision", "fp16"]) == 0
    assert "ready: tensorrt 10.7.0 fp16 (free types) on Fake GPU red.onnx" in capsys.readouterr().out
    assert main(["engine", "info"]) == 0
    shown = capsys.readouterr().out
    assert "GPU: Fake GPU, compute capability 8.7" in shown
    for word in ("red_32x64_fp16", "TensorRT 10.7.0, Fake GPU (8.7)", "ready"):
        assert word in shown
    gpu.compute_capability = "9.0"
    (cache / "broken.json").write_text("[]")
    main(["engine", "info"])
    shown = capsys.readouterr().out
    assert "not for this machine" in shown
    assert "unusable: broken.json is corrupt" in shown
    (cache / "red_32x64_fp16.plan").unlink()
    main(["engine", "info"])
    assert "unusable: the plan is gone" in capsys.readouterr().out


def test_info_without_anything(capsys):
    assert main(["engine", "info"]) == 0
    shown = capsys.readouterr().out
    assert "TensorRT: no. libcuda.so.1 is not there" in shown
    assert "no TensorRT engines in" in shown


BAD_BUILDS = [
    (["nano"], "no working NVIDIA GPU; install its driver"),
    (["nanoo"], "model 'nanoo' is neither a known name"),
]


@pytest.mark.parametrize(("arguments", "sentence"), BAD_BUILDS)
def test_a_build_that_cannot_be_is_one_sentence_and_exit_code_2(arguments, sentence, cache, capsys):
    assert main(["engine", "build", *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert sentence in error
    assert len(error.splitlines()) == 1
    assert not cache.exists()


def test_an_engine_of_another_size(gpu, network, cache, capsys):
    assert main(["engine", "build", network, "--size", "616x1064"]) == 2
    assert (
        "takes 32x64 px only, not 616x1064; leave the size out or export it at that size"
        in capsys.readouterr().err
    )
    assert not cache.exists()


def test_a_network_with_other_inputs(gpu, tmp_path, cache, capsys):
    other = write_network(tmp_path / "other.onnx", inputs=("image", "intrinsics"))
    assert main(["engine", "build", str(other)]) == 2
    assert (
        "goes from image, intrinsics to depth, confidence, normals, which is no depth network"
        in capsys.readouterr().err
    )
    assert not cache.exists()


@pytest.mark.parametrize("size", ["616", "axb", "0x28", "-28x28", "616x"])
def test_a_size_that_is_none(network, size, capsys):
    with pytest.raises(SystemExit) as left:
        main(["engine", "build", network, f"--size={size}"])
    assert left.value.code == 2
    assert "is not HEIGHTxWIDTH, such as 616x1064" in capsys.readouterr().err


def test_a_cache_folder_that_cannot_be_written(gpu, network, tmp_path, monkeypatch, capsys):
    (tmp_path / "blocked").write_text("")
    monkeypatch.setenv("METRIC3D_CACHE", str(tmp_path / "blocked"))
    assert main(["engine", "build", network]) == 2
    assert "blocked/engines cannot be written to" in capsys.readouterr().err


def test_bench_times_what_works_and_says_what_does_not(gpu, network, tmp_path, capsys):
    out = tmp_path / "bench.json"
    assert main(["engine", "bench", network, "--runs", "3", "--threads", "1", "--out", str(out)]) == 0
    rows = {(row["name"], row["precision"]): row for row in json.loads(out.read_text())}
    assert len(rows) == 6
    for name in (("tensorrt", "fp32"), ("tensorrt", "fp16"), ("onnxruntime_cpu", "file")):
        assert rows[name]["median_ms"] > 0
        assert rows[name]["p90_ms"] >= rows[name]["median_ms"]
        assert rows[name]["relative_error"] == 0
        assert not rows[name]["fallen_out"]
    shown = capsys.readouterr().out
    assert "x CPU" in shown
    if rows["onnxruntime_cuda", "file"]["fallen_out"]:
        assert "not onnxruntime_cuda file: onnxruntime" in shown


def test_bench_of_what_does_not_run_here(network, tmp_path, capsys):
    assert main(["engine", "bench", network, "--engines", "tensorrt"]) == 2
    assert "none of tensorrt runs here" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["engine", "bench", network, "--runs", "0"])
