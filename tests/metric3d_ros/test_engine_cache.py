"""The engine cache by itself; what opening engines does with it is in test_tensorrt_engine."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metric3d_ros.engines.engine_cache import EngineCache, EngineKey, Miss, StoredEngine, onnx_sha256

KEY = EngineKey("ab" * 32, "10.7.0", "8.7", "fp16", 160, 544)


def stored(key=KEY, **changes):
    return StoredEngine(
        **{"key": key, "model": "nano", "device": "Orin", "typing": "free", "build_s": 7.5, **changes}
    )


def test_what_is_stored_is_found(tmp_path):
    cache = EngineCache(tmp_path / "not" / "there" / "yet")
    path = cache.store(stored(relative_error=0.004), b"plan")
    found, plan = cache.lookup("nano", KEY)
    assert plan == b"plan"
    assert dataclasses.replace(found, plan_sha256="") == stored(relative_error=0.004)
    assert path.name == "nano_160x544_fp16.plan"
    assert sorted(file.name for file in cache.folder.iterdir()) == ["nano_160x544_fp16.json", path.name]


def test_nothing_is_a_first_miss_which_needs_no_line_in_the_log(tmp_path):
    found = EngineCache(tmp_path).lookup("nano", KEY)
    assert isinstance(found, Miss)
    assert found.is_first


@pytest.mark.parametrize(
    ("field", "value"), [("onnx_sha256", "cd" * 32), ("tensorrt_version", "10.7.1"), ("compute_capability", "8.9")]
)
def test_a_change_of_any_part_of_the_key_is_a_miss_that_names_both(tmp_path, field, value):
    cache = EngineCache(tmp_path)
    cache.store(stored(), b"plan")
    found = cache.lookup("nano", dataclasses.replace(KEY, **{field: value}))
    assert isinstance(found, Miss)
    assert not found.is_first
    assert getattr(KEY, field)[:12] in found.reason
    assert value[:12] in found.reason


def test_a_plan_moved_to_another_precisions_name_is_a_miss(tmp_path):
    cache = EngineCache(tmp_path)
    path = cache.store(stored(), b"plan")
    for suffix in (".plan", ".json"):
        path.with_suffix(suffix).rename(tmp_path / f"nano_160x544_fp32{suffix}")
    found = cache.lookup("nano", dataclasses.replace(KEY, precision="fp32"))
    assert isinstance(found, Miss)
    assert "is in fp16, not fp32" in found.reason


def test_a_plan_without_its_sidecar_is_not_used(tmp_path):
    cache = EngineCache(tmp_path)
    cache.store(stored(), b"plan").with_suffix(".json").unlink()
    assert isinstance(cache.lookup("nano", KEY), Miss)


def test_a_rejected_engine_has_a_reason_and_no_plan(tmp_path):
    cache = EngineCache(tmp_path)
    cache.store(stored(), b"an older plan")
    path = cache.store(stored(rejected="it gives no numbers"), b"")
    found, plan = cache.lookup("nano", KEY)
    assert (found.rejected, plan) == ("it gives no numbers", b"")
    assert not path.exists()


@given(st.text(max_size=40))
def test_no_model_name_leads_out_of_the_folder(name):
    cache = EngineCache()
    path = cache.plan_path(name, KEY)
    assert path.parent == cache.folder
    assert path.name.endswith("_160x544_fp16.plan")


def test_weights_beside_the_file_are_part_of_its_checksum(tmp_path):
    network = tmp_path / "giant.onnx"
    network.write_bytes(b"graph")
    alone = onnx_sha256(network)
    (tmp_path / "giant.onnx.data").write_bytes(b"weights")
    with_weights = onnx_sha256(network)
    (tmp_path / "giant.onnx.data").write_bytes(b"other weights")
    assert len({alone, with_weights, onnx_sha256(network)}) == 3
