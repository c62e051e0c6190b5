"""Built TensorRT plans on disk, each beside a JSON file that says what it was built from and for.

A plan runs only on the TensorRT version and GPU architecture it was built on, and only stands for the network it
was built from; the sidecar holds all of that, with the plan's own checksum, and a plan is used only if everything
agrees. The plan is written before its sidecar, so a build that was interrupted leaves nothing that looks whole.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from metric3d_ros.atomic_file import atomic_file, make_output_folder
from metric3d_ros.cache_folder import cache_folder
from metric3d_ros.download import file_sha256

SHOWN_SHA256 = 12
# Where ONNX files above 2 GB keep their weights: beside them, by these names' usual endings.
WEIGHT_SUFFIXES = ("_data", ".data")


@dataclass(frozen=True)
class EngineKey:
    """What a plan stands and falls with.

    Attributes
    ----------
    onnx_sha256 : of the network's file and its weights.
    tensorrt_version, compute_capability : what it was built with and for, such as ``10.7.0`` and ``8.7``.
    precision : ``fp16`` or ``fp32``.
    height_px, width_px : the input's size.
    """

    onnx_sha256: str
    tensorrt_version: str
    compute_capability: str
    precision: str
    height_px: int
    width_px: int


@dataclass(frozen=True)
class StoredEngine:
    """What a sidecar says.

    Attributes
    ----------
    key : what the plan was built from and for.
    model : the network's name.
    device : the GPU's name.
    typing : how the plan's types were chosen; see ``tensorrt_api``.
    build_s : how long it took to build.
    relative_error : the 99th percentile of its depth's relative error; see ``agreement``.
    rejected : why the plan was not kept, in a sentence; empty if it was.
    plan_sha256 : checksum of the plan, which ``EngineCache.store`` fills in.
    """

    key: EngineKey
    model: str
    device: str
    typing: str
    build_s: float
    relative_error: float | None = None
    rejected: str = ""
    plan_sha256: str = ""


@dataclass(frozen=True)
class Miss:
    """No plan, and why in a few words; ``is_first`` where there never was one, so that nothing is worth saying."""

    reason: str
    is_first: bool = False


class EngineCache:
    """A folder of plans.

    Parameters
    ----------
    folder : where they are; it is made when something is stored.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder if folder is not None else cache_folder() / "engines"

    def prepare(self) -> None:
        """Make the folder, so that a build does not find after minutes that it cannot be kept.

        Raises
        ------
        OutputError
            If it cannot be made or written to.
        """
        make_output_folder(self.folder)

    def plan_path(self, model: str, key: EngineKey) -> Path:
        """Where the plan of a model, size and precision is; its sidecar has the same name, ``.json``."""
        name = re.sub(r"[^A-Za-z0-9_-]+", "_", model) or "model"
        return self.folder / f"{name}_{key.height_px}x{key.width_px}_{key.precision}.plan"

    def lookup(self, model: str, key: EngineKey) -> tuple[StoredEngine, bytes] | Miss:
        """The plan that is exactly this, or why there is none; a rejected one has no bytes."""
        path = self.plan_path(model, key)
        stored = read_sidecar(path.with_suffix(".json"))
        if isinstance(stored, Miss):
            return stored
        difference = _difference(stored.key, key)
        if difference:
            return Miss(f"{path.name} {difference}")
        if stored.rejected:
            return stored, b""
        try:
            plan = path.read_bytes()
        except OSError as error:
            return Miss(f"{path.name} cannot be read ({error.strerror})")
        if hashlib.sha256(plan).hexdigest() != stored.plan_sha256:
            return Miss(f"{path.name} is corrupt: its checksum is not that of its sidecar")
        return stored, plan

    def store(self, stored: StoredEngine, plan: bytes) -> Path:
        """Keep a plan, or only why it was rejected; returns the plan's path.

        Raises
        ------
        OutputError
            If it cannot be written; then nothing is half-written.
        """
        self.prepare()
        path = self.plan_path(stored.model, stored.key)
        if stored.rejected:
            path.unlink(missing_ok=True)
        else:
            stored = replace(stored, plan_sha256=hashlib.sha256(plan).hexdigest())
            with atomic_file(path) as file:
                file.write(plan)
        with atomic_file(path.with_suffix(".json")) as file:
            file.write((json.dumps(asdict(stored), indent=2) + "\n").encode())
        return path

    def timings(self, key: EngineKey) -> bytes:
        """What TensorRT measured in earlier builds on this GPU; empty if nothing."""
        try:
            return self._timings_path(key).read_bytes()
        except OSError:
            return b""

    def store_timings(self, key: EngineKey, timings: bytes) -> None:
        """Keep what TensorRT measured."""
        self.prepare()
        with atomic_file(self._timings_path(key)) as file:
            file.write(timings)

    def entries(self) -> list[tuple[Path, StoredEngine | Miss]]:
        """Every sidecar in the folder with what it says."""
        return [(path, read_sidecar(path)) for path in sorted(self.folder.glob("*.json"))]

    def _timings_path(self, key: EngineKey) -> Path:
        return self.folder / f"timings_{key.tensorrt_version}_{key.compute_capability}.cache"


def onnx_sha256(path: Path) -> str:
    """Checksum of an ONNX file; where it keeps its weights beside itself, of the checksums of all of them."""
    beside = [path.with_name(path.name + suffix) for suffix in WEIGHT_SUFFIXES]
    checksums = [file_sha256(part) for part in (path, *(weights for weights in beside if weights.is_file()))]
    return checksums[0] if len(checksums) == 1 else hashlib.sha256("".join(checksums).encode()).hexdigest()


def read_sidecar(path: Path) -> StoredEngine | Miss:
    """What a sidecar says, or why it cannot be believed."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Miss("none was built yet", is_first=True)
    except (OSError, UnicodeDecodeError) as error:
        return Miss(f"{path.name} cannot be read ({error})")
    try:
        values = json.loads(text)
        return StoredEngine(**{**values, "key": EngineKey(**values["key"])})
    except (ValueError, TypeError, KeyError):
        return Miss(f"{path.name} is corrupt: it does not say what the plan was built for")


def _difference(found: EngineKey, wanted: EngineKey) -> str:
    """The first thing in which two keys differ, in a few words; empty if nothing."""
    words = {
        "onnx_sha256": "is of another network file",
        "tensorrt_version": "is of TensorRT",
        "compute_capability": "is for a GPU of compute capability",
        "precision": "is in",
        "height_px": "is for a height of",
        "width_px": "is for a width of",
    }
    for field in fields(EngineKey):
        has, wants = getattr(found, field.name), getattr(wanted, field.name)
        if has != wants:
            return f"{words[field.name]} {_shown(has)}, not {_shown(wants)}"
    return ""


def _shown(value: Any) -> str:
    return str(value)[:SHOWN_SHA256]
