"""Model names to network files."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from metric3d_ros.errors import EngineError

PACKAGED_MODELS = {"nano": "nano.onnx"}


def model_path(name_or_file: str) -> Path:
    """The ONNX file of a packaged model's name, or the file itself where a path is given.

    Raises
    ------
    EngineError
        If it is neither a known name nor an existing file.
    """
    if name_or_file in PACKAGED_MODELS:
        return Path(str(resources.files("metric3d_ros") / "models" / PACKAGED_MODELS[name_or_file]))
    path = Path(name_or_file).expanduser()
    if path.is_file():
        return path
    known = ", ".join(sorted(PACKAGED_MODELS))
    raise EngineError(f"model {name_or_file!r} is neither a known name ({known}) nor an existing ONNX file.")
