"""Which names of TensorRT this project uses, read off its source: (class, member) with how each is called."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

ENGINES = Path(__file__).parents[1] / "metric3d_ros" / "engines"
SOURCES = (ENGINES / "tensorrt_api.py", ENGINES / "tensorrt_log.py")
MODULE = "module"
# What a name of the sources holds, and what a call gives; every name there is one of these or no TensorRT object.
CLASS_OF_NAME = {
    "trt": MODULE,
    "tensorrt": MODULE,
    "builder": "Builder",
    "network": "INetworkDefinition",
    "config": "IBuilderConfig",
    "parser": "OnnxParser",
    "layer": "ILayer",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "profile": "IOptimizationProfile",
    "cache": "ITimingCache",
    "flags": "NetworkDefinitionCreationFlag",
    "self._runtime": "Runtime",
    "self._engine": "ICudaEngine",
    "self._context": "IExecutionContext",
}
CLASS_OF_RESULT = {
    "get_error": "ParserError",
    "get_layer": "ILayer",
    "get_output": "ITensor",
    "get_input": "ITensor",
}
OTHER_NAMES = frozenset(
    {"self", "np", "logging", "functools", "threading", "time", "_log", "request", "error", "logger", "phase"}
    | {"done", "heart", "chosen", "msg", "reasons", "index", "monitor", "started_s", "severity", "parsed", "text"}
)


@dataclass(frozen=True)
class Use:
    """One use of a name: how many positional arguments and which keywords, or None where it is not called."""

    owner: str
    member: str
    arguments: int | None = None
    keywords: tuple[str, ...] = ()


def used_names() -> tuple[set[Use], set[tuple[str, str]]]:
    """The uses, and the (class, member) pairs that the source asks for by hasattr first."""
    uses: set[Use] = set()
    optional: set[tuple[str, str]] = set()
    for source in SOURCES:
        tree = ast.parse(source.read_text())
        calls = _calls(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "hasattr":
                owner, name = _owner(node.args[0]), node.args[1]
                assert isinstance(name, ast.Constant)
                optional.add((owner or "?", name.value))
            if isinstance(node, ast.Attribute):
                owner = _owner(node.value)
                if owner is None:
                    continue
                arguments, keywords = calls.get(id(node), (None, ()))
                is_constructor = owner == MODULE and arguments is not None
                member = (node.attr, "__init__") if is_constructor else (owner, node.attr)
                uses.add(Use(*member, arguments, keywords))
    return uses, optional


def _calls(tree: ast.AST) -> dict[int, tuple[int, tuple[str, ...]]]:
    """How many positional arguments and which keywords each called expression gets, by the expression's id."""
    calls = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_made":
            # _made(function, description, *arguments) calls for its caller.
            calls[id(node.args[0])] = (len(node.args) - 2, ())
        elif isinstance(node, ast.Call):
            calls[id(node.func)] = (len(node.args), tuple(word.arg or "**" for word in node.keywords))
    return calls


def _owner(node: ast.expr) -> str | None:
    """The TensorRT class of an expression; None for what is none of TensorRT's."""
    if isinstance(node, ast.Call):
        function = node.func
        return CLASS_OF_RESULT.get(function.attr) if isinstance(function, ast.Attribute) else None
    text = ast.unparse(node)
    if text in CLASS_OF_NAME:
        return CLASS_OF_NAME[text]
    if isinstance(node, ast.Attribute) and _owner(node.value) == MODULE:
        return node.attr
    root = text.split(".")[0].split("(")[0].split("[")[0]
    is_known = root in OTHER_NAMES or root.startswith(("'", '"', "f'", 'f"'))
    assert is_known, f"is {text} an object of TensorRT? say so in {Path(__file__).name}"
    return None
