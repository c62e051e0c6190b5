"""The names we call TensorRT by against a record of what its versions offer; no TensorRT is needed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tensorrt_calls import MODULE, Use, used_names

RECORD = json.loads((Path(__file__).parents[1] / "data" / "tensorrt_api.json").read_text())
INTROSPECTED = "8.5.3.1"
# Asked for by the presence of another name: only where there is no strong typing are layers asked to keep types.
WITHOUT_STRONG_TYPING = {
    ("BuilderFlag", "FP16"),
    ("BuilderFlag", "PREFER_PRECISION_CONSTRAINTS"),
    ("ILayer", "precision"),
    ("ILayer", "set_output_type"),
    ("ILayer", "type"),
    ("LayerType", "CONSTANT"),
}
# A base class that the sources' bindings declare in a way the record does not read.
NOT_IN_SOURCES = {"ILogger"}
USES, OPTIONAL = used_names()
GUARDED_CLASSES = {member for owner, member in OPTIONAL if owner == MODULE}


def has(version: str, owner: str, member: str) -> bool:
    return member in RECORD[version]["classes"].get(owner, {})


def is_strongly_typed(version: str) -> bool:
    return has(version, "NetworkDefinitionCreationFlag", "STRONGLY_TYPED")


def required(version: str) -> set[Use]:
    left_out = set(OPTIONAL) | (WITHOUT_STRONG_TYPING if is_strongly_typed(version) else set())
    if "IProgressMonitor" not in RECORD[version]["classes"]:
        left_out.add(("IBuilderConfig", "progress_monitor"))
    return {
        use
        for use in USES
        if use.owner != MODULE
        and use.owner not in GUARDED_CLASSES
        and (use.owner, use.member) not in left_out
        and not (use.owner in NOT_IN_SOURCES and version != INTROSPECTED)
    }


def test_the_record_spans_the_versions_we_claim():
    majors = {int(version.split(".")[0]) for version in RECORD}
    assert majors == {8, 9, 10, 11}
    assert {"8.5.3.1"} <= set(RECORD)
    assert [version for version in RECORD if not is_strongly_typed(version)] == ["8.5.3.1", "8.6.1"]


@pytest.mark.parametrize("version", RECORD)
def test_every_name_we_use_is_there(version):
    missing = {(use.owner, use.member) for use in required(version) if not has(version, use.owner, use.member)}
    assert not missing


def test_the_collector_sees_the_calls_that_matter():
    names = {(use.owner, use.member) for use in USES}
    assert {
        ("Builder", "build_serialized_network"),
        ("OnnxParser", "parse_from_file"),
        ("ParserError", "desc"),
        ("IExecutionContext", "execute_async_v3"),
        ("IExecutionContext", "set_tensor_address"),
        ("ICudaEngine", "get_tensor_mode"),
        ("ITensor", "dtype"),
        ("DataType", "HALF"),
    } <= names
    assert ("NetworkDefinitionCreationFlag", "STRONGLY_TYPED") in OPTIONAL
    assert len(names) > 40


def test_no_call_goes_by_the_index_of_a_binding():
    assert not [use for use in USES if "binding" in use.member]


CALLS = [use for use in USES if use.arguments is not None and use.owner not in GUARDED_CLASSES]


@pytest.mark.parametrize("use", sorted(CALLS, key=str), ids=str)
def test_every_call_fits_the_signature_of_the_real_module(use):
    names, needed = parameters(RECORD[INTROSPECTED]["classes"][use.owner][use.member])
    is_unbound = use.owner == "ILogger"
    given = use.arguments - (1 if is_unbound else 0)
    assert set(use.keywords) <= set(names)
    assert needed <= given + len(use.keywords) <= len(names)


def parameters(signature: str) -> tuple[list[str], int]:
    """Parameter names after self, and how many have no default."""
    inside = re.fullmatch(r"\w+\((.*)\)(?: -> .*)?", signature)
    assert inside, signature
    parts = re.split(r", (?=\w+:)", inside[1])[1:]
    return [part.split(":")[0] for part in parts], sum(" = " not in part for part in parts)
