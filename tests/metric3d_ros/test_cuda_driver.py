"""Our calls of CUDA's driver, through a C library with the driver's prototypes that works on host memory."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from metric3d_ros.engines.cuda_driver import LIBRARY, CudaDriver
from metric3d_ros.errors import EngineError
from metric3d_ros.run_statistics import GpuMemory

SOURCE = Path(__file__).parents[1] / "cuda_driver_stub.c"


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    path = tmp_path_factory.mktemp("cuda") / "libcuda_stub.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(path), str(SOURCE)], check=True)
    return str(path)


@pytest.fixture
def driver(library):
    return CudaDriver(library)


def pinned(driver, values):
    address = driver.allocate_pinned(values.nbytes)
    ctypes.memmove(address, values.ctypes.data, values.nbytes)
    return address


def read(address, like):
    values = np.empty_like(like)
    ctypes.memmove(values.ctypes.data, address, values.nbytes)
    return values


def test_it_says_what_gpu_it_is(driver):
    assert (driver.device_name, driver.compute_capability) == ("Stub", "8.7")


def test_it_says_how_much_memory_is_used(driver):
    assert driver.memory_bytes() == (5_000_000, 8_000_000)


def test_diagnostics_read_it_and_do_without_where_there_is_no_gpu(library):
    assert GpuMemory(0, library).in_use_mb() == (5.0, 8.0)
    assert GpuMemory(0, "libnone.so").in_use_mb() is None
    assert GpuMemory(7, library).in_use_mb() is None


def test_bytes_go_to_the_gpu_and_back(driver):
    values = np.arange(1000, dtype=np.float32)
    source, device, target = (
        pinned(driver, values),
        driver.allocate(values.nbytes),
        pinned(driver, np.zeros_like(values)),
    )
    stream = driver.create_stream()
    driver.copy_to_device(device, source, values.nbytes, stream)
    driver.copy_to_host(target, device, values.nbytes, stream)
    driver.synchronize(stream)
    np.testing.assert_array_equal(read(target, values), values)
    driver.free(device)
    driver.free_pinned(source)
    driver.free_pinned(target)
    driver.destroy_stream(stream)


def test_a_graph_is_recorded_without_being_done_and_launched_as_often_as_one_likes(driver, library):
    values = np.arange(16, dtype=np.float32)
    source, device, target = (
        pinned(driver, values),
        driver.allocate(values.nbytes),
        pinned(driver, np.zeros_like(values)),
    )
    stream = driver.create_stream()

    def there_and_back():
        driver.copy_to_device(device, source, values.nbytes, stream)
        driver.copy_to_host(target, device, values.nbytes, stream)

    before = ctypes.CDLL(library).stub_destroyed()
    graph = driver.record_graph(stream, there_and_back)
    assert ctypes.CDLL(library).stub_destroyed() == before + 1, "the recording is given back, the graph stays"
    assert not read(target, values).any()
    for factor in (1, 2):
        ctypes.memmove(source, (values * factor).ctypes.data, values.nbytes)
        driver.launch_graph(graph, stream)
        driver.synchronize(stream)
        np.testing.assert_array_equal(read(target, values), values * factor)
    driver.destroy_graph(graph)


def test_a_recording_that_breaks_ends_and_tells_what_broke_it(driver):
    stream = driver.create_stream()

    def broken():
        raise EngineError("the network broke")

    with pytest.raises(EngineError, match="the network broke"):
        driver.record_graph(stream, broken)
    driver.synchronize(stream)


def test_what_the_driver_refuses_is_said_with_its_reason(driver):
    with pytest.raises(EngineError, match="cuMemAlloc_v2 failed with CUDA_ERROR_OUT_OF_MEMORY; check the GPU"):
        driver.allocate(1 << 40)
    with pytest.raises(EngineError, match="cuStreamSynchronize failed with error 1;"):
        driver.synchronize(0)


def test_a_gpu_that_is_not_there(library):
    with pytest.raises(EngineError, match="cuDeviceGet failed with CUDA_ERROR_NO_DEVICE"):
        CudaDriver(library, device=7)


def test_no_driver_and_an_old_one(tmp_path):
    with pytest.raises(EngineError, match=r"libnone\.so is not there, so this machine has no working NVIDIA GPU"):
        CudaDriver("libnone.so")
    with pytest.raises(EngineError, match=r"has no cu.*; update the GPU's driver"):
        CudaDriver("libc.so.6")


@pytest.mark.gpu
def test_the_real_driver():
    try:
        driver = CudaDriver()
    except EngineError as error:
        pytest.skip(f"{LIBRARY}: {error}")
    assert driver.device_name
    assert float(driver.compute_capability) >= 5.0
    used, total = driver.memory_bytes()
    assert 0 < used < total
    values = np.arange(1 << 20, dtype=np.float32)
    source, target = pinned(driver, values), pinned(driver, np.zeros_like(values))
    device, stream = driver.allocate(values.nbytes), driver.create_stream()

    def there_and_back():
        driver.copy_to_device(device, source, values.nbytes, stream)
        driver.copy_to_host(target, device, values.nbytes, stream)

    graph = driver.record_graph(stream, there_and_back)
    driver.launch_graph(graph, stream)
    driver.synchronize(stream)
    np.testing.assert_array_equal(read(target, values), values)
    driver.destroy_graph(graph)
    driver.free(device)
    driver.destroy_stream(stream)
