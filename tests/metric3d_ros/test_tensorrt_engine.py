"""TensorRT plans from ONNX file to maps, on a GPU and a TensorRT that are doubles; see fake_gpu."""

from __future__ import annotations

import gc
import inspect
import json
import logging
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from fake_gpu import FakeDriver, fake_tensorrt
from networks import write_network

from metric3d_ros.engines import tensorrt_plans
from metric3d_ros.engines.agreement import street_picture
from metric3d_ros.engines.cuda_driver import CudaDriver
from metric3d_ros.engines.engine_cache import EngineCache
from metric3d_ros.engines.onnxruntime_engine import OnnxRuntimeEngine, read_onnx_interface
from metric3d_ros.engines.tensorrt_api import PlanTensor
from metric3d_ros.engines.tensorrt_engine import TensorRtEngine
from metric3d_ros.engines.tensorrt_plans import open_tensorrt_engine
from metric3d_ros.errors import EngineError, MissingDependencyError, OutputError

RECORD = json.loads((Path(__file__).parents[1] / "data" / "tensorrt_api.json").read_text())
PICTURE = street_picture(32, 64)


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    """Installs the doubles; ``gpu(version=..., spoil=...)`` changes what is installed."""
    monkeypatch.setenv("METRIC3D_CACHE", str(tmp_path / "cache"))

    def install(version="10.7.0", spoil=None, **driver_options):
        driver = FakeDriver(**driver_options)
        trt = fake_tensorrt(driver, version, spoil)
        monkeypatch.setitem(sys.modules, "tensorrt", trt)
        monkeypatch.setattr(tensorrt_plans, "CudaDriver", lambda: driver)
        return driver, trt

    install()
    return install


@pytest.fixture
def network(tmp_path):
    return write_network(tmp_path / "red.onnx", metadata={"model": "red"})


def plans(folder):
    return sorted(path.name for path in folder.glob("*"))


def test_the_doubles_offer_what_the_real_ones_do():
    methods = {name for name, _ in inspect.getmembers(CudaDriver) if not name.startswith("_")}
    assert methods == {name for name in vars(FakeDriver) if not name.startswith("_")} - {"enqueue"}
    for name in methods:
        real, fake = getattr(CudaDriver, name), getattr(FakeDriver, name)
        if callable(real):
            assert list(inspect.signature(real).parameters) == list(inspect.signature(fake).parameters), name
    trt = fake_tensorrt(FakeDriver(), "8.5.3.1")
    for name, members in RECORD["8.5.3.1"]["classes"].items():
        fake = getattr(trt, name)
        for member, signature in members.items():
            if signature and member != "__init__":
                real = [part.split(":")[0] for part in signature.partition("(")[2].split(", ") if ":" in part]
                if hasattr(fake, member):
                    wanted = list(inspect.signature(getattr(fake, member)).parameters)
                    assert [name.strip() for name in real][: len(wanted)] == wanted, (name, member)


def test_depth_confidence_and_normals_are_those_of_onnx_runtime(gpu, network):
    engine = open_tensorrt_engine(network, "fp32")
    reference = OnnxRuntimeEngine(network).run(PICTURE)
    for picture in (PICTURE, 255 - PICTURE):
        output, reference = engine.run(picture), OnnxRuntimeEngine(network).run(picture)
        np.testing.assert_array_equal(output.depth_canonical, reference.depth_canonical)
        np.testing.assert_array_equal(output.confidence, reference.confidence)
        np.testing.assert_array_equal(output.normals, reference.normals)
    assert engine.model == OnnxRuntimeEngine(network).model
    assert engine.identity == "tensorrt 10.7.0 fp32 (strong types) on Fake GPU red.onnx"


def test_a_network_that_looks_twice_is_told_where_its_looks_part(gpu, tmp_path):
    path = write_network(tmp_path / "twice.onnx", first_row_shape=[1], metadata={"headroom_deg": "6"})
    engine, reference = open_tensorrt_engine(path, "fp32"), OnnxRuntimeEngine(path)
    for first_row in (12, 0, 31):
        found = engine.run(PICTURE, first_row).depth_canonical
        np.testing.assert_array_equal(found, reference.run(PICTURE, first_row).depth_canonical)
        np.testing.assert_array_equal(found[:first_row], PICTURE[:first_row, :, 1])


def test_an_image_is_one_launch_of_a_graph(gpu, network):
    driver, _ = gpu()
    engine = open_tensorrt_engine(network, "fp32")
    before = driver.launches
    engine.run(PICTURE)
    assert driver.launches == before + 1


def test_a_network_that_cannot_be_recorded_runs_without_a_graph(gpu, network, caplog):
    caplog.set_level(logging.INFO)
    driver, _ = gpu(can_record=False)
    engine = open_tensorrt_engine(network, "fp32")
    np.testing.assert_array_equal(engine.run(PICTURE).depth_canonical, PICTURE[..., 0])
    assert driver.launches == 0
    assert "running without a CUDA graph" in caplog.text


def test_maps_are_kept_when_the_next_image_comes(gpu, network):
    engine = open_tensorrt_engine(network, "fp32")
    first = engine.run(PICTURE)
    engine.run(255 - PICTURE)
    np.testing.assert_array_equal(first.depth_canonical, PICTURE[..., 0])


def test_another_thread_may_run_it(gpu, network):
    engine = open_tensorrt_engine(network, "fp32")
    outputs = []
    thread = threading.Thread(target=lambda: outputs.append(engine.run(PICTURE)))
    thread.start()
    thread.join()
    np.testing.assert_array_equal(outputs[0].depth_canonical, PICTURE[..., 0])


def test_the_gpu_gets_everything_back(gpu, network):
    driver, _ = gpu()
    engine = open_tensorrt_engine(network, "fp32")
    assert driver.memory
    assert driver.streams
    del engine
    gc.collect()
    assert not driver.memory
    assert not driver.streams
    assert not driver.graphs


def test_too_little_gpu_memory_is_said_and_all_given_back(gpu, network):
    driver, _ = gpu(memory_bytes=40_000)
    with pytest.raises(EngineError, match="OUT_OF_MEMORY"):
        open_tensorrt_engine(network, "fp32")
    assert not driver.memory
    assert not driver.streams


def test_a_file_of_any_size_is_built_at_one(gpu, tmp_path):
    free = write_network(
        tmp_path / "free.onnx",
        height_px="h",
        width_px="w",
        batch="n",
        inputs=("pixel_values",),
        outputs=("predicted_depth",),
        rank=3,
    )
    engine = open_tensorrt_engine(free, "fp32", (56, 84))
    picture = street_picture(56, 84)
    np.testing.assert_array_equal(engine.run(picture).depth_canonical, picture[..., 0])
    with pytest.raises(EngineError, match="letterbox it first"):
        engine.run(PICTURE)


def test_the_second_time_nothing_is_built(gpu, network, caplog):
    _, trt = gpu()
    open_tensorrt_engine(network, "fp32")
    caplog.set_level(logging.INFO)
    caplog.clear()
    engine = open_tensorrt_engine(network, "fp32")
    assert len(trt.builds) == 1
    assert caplog.text == ""
    np.testing.assert_array_equal(engine.run(PICTURE).depth_canonical, PICTURE[..., 0])


def test_rebuild_builds(gpu, network):
    _, trt = gpu()
    open_tensorrt_engine(network, "fp32")
    open_tensorrt_engine(network, "fp32", rebuild=True)
    assert len(trt.builds) == 2


def test_a_build_says_that_it_takes_long_and_where_it_was_kept(gpu, network, caplog):
    caplog.set_level(logging.INFO)
    open_tensorrt_engine(network, "fp32")
    assert "building the engine of red.onnx fp32 for this GPU with TensorRT 10.7.0: minutes" in caplog.text
    assert "red_32x64_fp32.plan" in caplog.text


def change_network(network, cache, gpu):
    write_network(network, metadata={"model": "red", "note": "trained longer"})


def change_tensorrt(network, cache, gpu):
    gpu(version="10.8.0")


def change_gpu(network, cache, gpu):
    driver, _ = gpu()
    driver.compute_capability = "9.0"


def corrupt_plan(network, cache, gpu):
    plan = cache / "red_32x64_fp32.plan"
    plan.write_bytes(plan.read_bytes()[:-7])


def remove_plan(network, cache, gpu):
    (cache / "red_32x64_fp32.plan").unlink()


def corrupt_sidecar(network, cache, gpu):
    (cache / "red_32x64_fp32.json").write_text("{")


def foreign_sidecar(network, cache, gpu):
    (cache / "red_32x64_fp32.json").write_text('{"engine": "somebody else\'s"}')


STALE = [
    (change_network, "is of another network file"),
    (change_tensorrt, "is of TensorRT 10.7.0, not 10.8.0"),
    (change_gpu, "is for a GPU of compute capability 8.7, not 9.0"),
    (corrupt_plan, "is corrupt: its checksum is not that of its sidecar"),
    (remove_plan, "cannot be read"),
    (corrupt_sidecar, "is corrupt: it does not say what the plan was built for"),
    (foreign_sidecar, "is corrupt: it does not say what the plan was built for"),
]


@pytest.mark.parametrize(("change", "why"), STALE, ids=[change.__name__ for change, _ in STALE])
def test_a_plan_that_is_not_the_one_is_built_again_with_one_line_that_says_why(gpu, network, caplog, change, why):
    open_tensorrt_engine(network, "fp32")
    change(network, EngineCache().folder, gpu)
    caplog.set_level(logging.WARNING)
    caplog.clear()
    engine = open_tensorrt_engine(network, "fp32")
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 1
    assert why in warnings[0]
    np.testing.assert_array_equal(engine.run(PICTURE).depth_canonical, PICTURE[..., 0])
    caplog.clear()
    open_tensorrt_engine(network, "fp32")
    assert not caplog.records


def test_a_plan_that_tensorrt_refuses_is_built_again(gpu, network, caplog, monkeypatch):
    _, trt = gpu()
    open_tensorrt_engine(network, "fp32")
    refused = iter([True])
    deserialize = trt.Runtime.deserialize_cuda_engine

    def refuse_once(self, plan):
        return None if next(refused, False) else deserialize(self, plan)

    monkeypatch.setattr(trt.Runtime, "deserialize_cuda_engine", refuse_once)
    open_tensorrt_engine(network, "fp32")
    assert "building the engine again: TensorRT 10.7.0 cannot load the plan" in caplog.text


def test_sizes_precisions_and_models_do_not_take_each_others_place(gpu, tmp_path):
    _, trt = gpu()
    one = write_network(tmp_path / "one.onnx", metadata={"model": "one/../../x"})
    two = write_network(tmp_path / "two.onnx", height_px=28, width_px=56, metadata={"model": "two"})
    for _ in range(2):
        open_tensorrt_engine(one, "fp32")
        open_tensorrt_engine(one, "fp16")
        open_tensorrt_engine(two, "fp32")
    assert len(trt.builds) == 3
    assert [name for name in plans(EngineCache().folder) if name.endswith(".plan")] == [
        "one_x_32x64_fp16.plan",
        "one_x_32x64_fp32.plan",
        "two_28x56_fp32.plan",
    ]


def nan(values):
    return np.full_like(values, np.nan)


def half_as_far(values):
    return values / 2


@pytest.mark.parametrize(("spoil", "sentence"), [(nan, "no numbers"), (half_as_far, "50.0% off onnxruntime")])
def test_an_engine_that_gives_other_depth_is_not_trusted(gpu, network, spoil, sentence):
    _, trt = gpu(spoil=spoil)
    for _ in range(2):
        with pytest.raises(EngineError, match=sentence):
            open_tensorrt_engine(network, "fp16")
    assert len(trt.builds) == 1, "a rejected engine is not built again at every start"
    assert not [name for name in plans(EngineCache().folder) if name.endswith(".plan")]
    gpu()
    with pytest.raises(EngineError, match="--rebuild tries again"):
        open_tensorrt_engine(network, "fp16")
    assert open_tensorrt_engine(network, "fp16", rebuild=True).run(PICTURE).confidence is not None


TYPES = [
    # TensorRT, precision, half in the file -> strongly typed, FP16 flag, layers asked, identity
    ("10.7.0", "fp32", False, True, False, False, "strong"),
    ("10.7.0", "fp16", True, True, False, False, "strong"),
    ("10.7.0", "fp16", False, False, True, False, "free"),
    ("11.1.0", "fp32", False, True, False, False, "strong"),
    ("11.1.0", "fp16", True, True, False, False, "strong"),
    ("8.5.3.1", "fp32", False, False, False, False, "kept"),
    ("8.5.3.1", "fp16", True, False, True, True, "kept"),
    ("8.5.3.1", "fp16", False, False, True, False, "free"),
]


@pytest.mark.parametrize(("version", "precision", "half", "strong", "flag", "asked", "typing"), TYPES)
def test_types_are_the_files_where_that_can_be(
    gpu, tmp_path, version, precision, half, strong, flag, asked, typing
):
    _, trt = gpu(version=version)
    engine = open_tensorrt_engine(write_network(tmp_path / "red.onnx", half=half), precision)
    network, config = trt.builds[-1]
    flags = trt.NetworkDefinitionCreationFlag
    assert bool(strong and network.flags & (1 << flags.STRONGLY_TYPED)) == strong
    assert ("FP16" in {flag.name for flag in config.flags}) == flag
    assert "TF32" not in {flag.name for flag in config.flags}
    assert any(layer.precision is not None for layer in network.layers) == asked
    if asked:
        kinds = {(layer.precision, layer.asked_type) for layer in network.layers}
        assert kinds == {(trt.DataType.FLOAT,) * 2, (trt.DataType.HALF,) * 2}
    assert f"({typing} types)" in engine.identity


def test_a_precision_that_cannot_be_had_is_said(gpu, tmp_path):
    full, half = (write_network(tmp_path / f"{half}.onnx", half=half) for half in (False, True))
    with pytest.raises(EngineError, match="holds half precision; build it with --precision fp16"):
        open_tensorrt_engine(half, "fp32")
    gpu(version="11.1.0")
    with pytest.raises(EngineError, match=r"all float32 and TensorRT 11\.1\.0 takes precisions from the file"):
        open_tensorrt_engine(full, "fp16")
    assert not EngineCache().entries()


def test_what_tensorrt_cannot_parse_is_said_in_its_words(gpu, tmp_path, monkeypatch):
    _, trt = gpu()
    path = write_network(tmp_path / "red.onnx")
    parse = trt.OnnxParser.parse_from_file

    def with_an_error(self, model):
        parse(self, model)
        self._errors.append(trt.ParserError("No importer registered for op: LayerNormalization"))
        return False

    monkeypatch.setattr(trt.OnnxParser, "parse_from_file", with_an_error)
    with pytest.raises(EngineError, match=r"cannot parse .*red\.onnx: No importer .* LayerNormalization; export"):
        open_tensorrt_engine(path, "fp32")


def test_measurements_are_kept_for_the_next_build_on_this_gpu_alone(gpu, network):
    driver, trt = gpu()
    open_tensorrt_engine(network, "fp32")
    open_tensorrt_engine(network, "fp16")
    assert [config.cache.timings for _, config in trt.builds] == [b"", b"."]
    driver.compute_capability = "9.0"
    open_tensorrt_engine(network, "fp32")
    assert trt.builds[-1][1].cache.timings == b""


def test_measurements_that_tensorrt_refuses_are_dropped(gpu, network):
    folder = EngineCache().folder
    folder.mkdir(parents=True)
    (folder / "timings_10.7.0_8.7.cache").write_bytes(b"bad")
    open_tensorrt_engine(network, "fp32")
    assert (folder / "timings_10.7.0_8.7.cache").read_bytes() == b"."


def test_a_cache_that_cannot_be_written_is_said_before_the_build(gpu, network, monkeypatch, tmp_path):
    _, trt = gpu()
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the folder should be")
    monkeypatch.setenv("METRIC3D_CACHE", str(blocked))
    with pytest.raises(OutputError, match=r"blocked/engines cannot be written to"):
        open_tensorrt_engine(network, "fp32")
    assert not trt.builds


def test_a_full_disk_leaves_nothing_half_written(gpu, network, monkeypatch):
    store = EngineCache.store

    def without_space(self, stored, plan):
        monkeypatch.setattr(Path, "open", full_disk(Path.open))
        return store(self, stored, plan)

    monkeypatch.setattr(EngineCache, "store", without_space)
    with pytest.raises(OutputError, match="No space left on device; free some space"):
        open_tensorrt_engine(network, "fp32")
    monkeypatch.undo()
    assert [name for name in plans(network.parent / "cache" / "engines") if "timings" not in name] == []


def full_disk(really_open):
    def opened(self, mode="r", *arguments, **options):
        if "w" in mode and self.name.startswith(".red"):
            really_open(self, "wb").close()
            raise OSError(28, "No space left on device")
        return really_open(self, mode, *arguments, **options)

    return opened


def test_without_tensorrt_one_sentence_says_so(gpu, network, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(MissingDependencyError, match=r"TensorRT is not installed .*; install it with pip install"):
        open_tensorrt_engine(network, "fp32")


def test_without_a_gpu_tensorrt_itself_says_nothing_useful_so_we_do(gpu, network, monkeypatch):
    _, trt = gpu()

    def nothing(logger):
        raise TypeError("pybind11::init(): factory function returned nullptr")

    monkeypatch.setattr(trt, "Builder", nothing)
    with pytest.raises(EngineError, match="could not make a builder; check the GPU with nvidia-smi"):
        open_tensorrt_engine(network, "fp32")


class PlanOf:
    """A plan with these tensors, and nothing behind them."""

    def __init__(self, *tensors):
        self.tensors = tensors


FLOAT = np.dtype(np.float32)
IMAGE = PlanTensor("image", True, (1, 3, 32, 64), FLOAT)
OTHER_PLANS = [
    PlanOf(IMAGE, PlanTensor("disparity", False, (1, 1, 32, 64), FLOAT)),
    PlanOf(PlanTensor("image", True, (1, 3, 64, 128), FLOAT), PlanTensor("depth", False, (1, 1, 64, 128), FLOAT)),
    PlanOf(PlanTensor("data", True, (1, 3, 32, 64), FLOAT), PlanTensor("depth", False, (1, 1, 32, 64), FLOAT)),
    PlanOf(
        IMAGE, PlanTensor("intrinsics", True, (1, 3, 3), FLOAT), PlanTensor("depth", False, (1, 1, 32, 64), FLOAT)
    ),
]


@pytest.mark.parametrize("plan", OTHER_PLANS)
def test_the_plan_of_another_network_is_refused_before_anything_is_allocated(tmp_path, plan):
    interface = read_onnx_interface(write_network(tmp_path / "red.onnx", outputs=("depth",)))
    driver = FakeDriver()
    with pytest.raises(EngineError, match=r"the plan goes from .* but red from .*; build it again"):
        TensorRtEngine(plan, interface, driver, "another network's")
    assert not driver.memory
