"""Write tests/data/tensorrt_api.json: which of the names we use TensorRT's Python module has, version by version.

    python3.10 -m venv v && v/bin/pip install tensorrt==8.5.3.1 nvidia-cudnn-cu11==8.9.6.50
    v/bin/python tests/record_tensorrt_api.py module
    python tests/record_tensorrt_api.py sources CLONE v8.6.1 v9.3.0 ...

``module`` reads the names and signatures off the module that is installed, which needs no GPU. ``sources`` reads
the names off the bindings in a clone of github.com/NVIDIA/TensorRT, for versions whose wheels cannot be had.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from tensorrt_calls import used_names

RECORD = Path(__file__).parent / "data" / "tensorrt_api.json"
USES, OPTIONAL = used_names()
NAMES: dict[str, set[str]] = {}
for pair in {(use.owner, use.member) for use in USES} | OPTIONAL:
    NAMES.setdefault(pair[0], set()).add(pair[1])
BINDING = re.compile(r'py::(?:class_|enum_)<[^;{}]*?>\s*(?:\w+\s*)?[({]\s*\w+\s*,\s*"(\w+)"')
MEMBER = re.compile(r'\.(?:def\w*|value)\(\s*"(\w+)"')


def of_module() -> tuple[str, dict[str, dict[str, str]]]:
    import tensorrt

    classes: dict[str, dict[str, str]] = {}
    for name in NAMES.keys() & set(dir(tensorrt)):
        kind = getattr(tensorrt, name)
        for member in NAMES[name] & set(dir(kind)):
            text = getattr(getattr(kind, member), "__doc__", None) or ""
            first = text.strip().splitlines()[0] if text.strip() else ""
            classes.setdefault(name, {})[member] = first if first.startswith(f"{member}(") else ""
    return tensorrt.__version__, classes


def of_sources(clone: Path, tag: str) -> dict[str, dict[str, str]]:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(clone), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    classes: dict[str, dict[str, str]] = {}
    for file in git("ls-tree", "-r", "--name-only", tag, "python/src").split():
        text = git("show", f"{tag}:{file}") if file.endswith(".cpp") else ""
        for binding in BINDING.finditer(text):
            statement = _statement(text[binding.end() :])
            found = {*MEMBER.findall(statement), *(["__init__"] if "py::init" in statement else [])}
            members = NAMES.get(binding[1], set()) & found
            if members:
                classes.setdefault(binding[1], {}).update(dict.fromkeys(members, ""))
    return classes


def _statement(text: str) -> str:
    """The C++ up to the semicolon that ends the statement, lambdas inside it skipped."""
    depth = 0
    for place in re.finditer(r'"(?:\\.|[^"\\])*"|[{}();]', text):
        depth += {"{": 1, "(": 1, "}": -1, ")": -1}.get(place[0], 0)
        if place[0] == ";" and depth <= 0:
            return text[: place.start()]
    return text


def main(arguments: list[str]) -> None:
    record = json.loads(RECORD.read_text()) if RECORD.is_file() else {}
    if arguments[0] == "module":
        version, classes = of_module()
        record[version] = {"from": "the module of the wheel", "classes": classes}
    else:
        for tag in arguments[2:]:
            classes = of_sources(Path(arguments[1]), tag)
            record[tag.removeprefix("v")] = {"from": "the bindings' sources", "classes": classes}
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
