"""The official checkpoints of Metric3D: read without running code in them, and matched name by name.

An official file is ``{"model_state_dict": ...}``; names begin ``depth_model.``. The released files hold tensors
and plain containers alone, so ``weights_only=True`` reads them as they are. A file the reference trainer wrote
holds its learning rate schedule as well, and in it a dictionary of its configuration library; ``CONFIG_CLASSES``
is the whole list of what is let through for that, and it is read as a plain dictionary: none of that library's
code runs, or need be installed.
"""

from __future__ import annotations

import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.errors import CheckpointError
from training.models import OFFICIAL_NETWORKS, build_network

CONFIG_CLASSES = ("mmcv.utils.config.ConfigDict", "mmengine.config.config.ConfigDict")
PREFIX = "depth_model."
# No forward pass of the network uses these, and its authors' training deletes them before it saves.
ABSENT_FROM_EVERY_FILE = frozenset({"depth_model.encoder.mask_token"})
ABSENT = {
    "vit_giant2": ABSENT_FROM_EVERY_FILE | {"depth_model.encoder.norm.weight", "depth_model.encoder.norm.bias"}
}
NAMES_SHOWN = 3


def load_official_checkpoint(name: str, path: Path, network: nn.Module) -> None:
    """Give ``network``, which is the official network ``name``, the weights of a checkpoint file.

    Raises
    ------
    CheckpointError
        If the file is missing, incomplete, unsafe to read, or not a checkpoint of this network.
    TrainingError
        If no network has that name.
    """
    weights = read_official_weights(name, path)
    # What may be absent is never used; zeros keep two loads of one file alike.
    absent = {key: torch.zeros_like(tensor) for key, tensor in network.state_dict().items() if key not in weights}
    network.load_state_dict({**weights, **absent})


def read_official_weights(name: str, path: Path) -> dict[str, Tensor]:
    """The weights in a checkpoint of the official network ``name``, checked against its names and shapes.

    Raises
    ------
    CheckpointError
        If the file is missing, incomplete, unsafe to read, or not a checkpoint of this network.
    TrainingError
        If no network has that name.
    """
    expected = _official_shapes(name)
    weights = _state_dict(_read(name, path), name, path)
    difference = _difference(expected, weights, ABSENT.get(name, ABSENT_FROM_EVERY_FILE))
    if difference is not None:
        raise CheckpointError(f"{path} is not a checkpoint of {name}: {difference}{_advice(weights)}.")
    return weights


def _read(name: str, path: Path) -> object:
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}; get it: metric3d models fetch {name}.")
    let_through: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
        (OrderedDict, class_name) for class_name in CONFIG_CLASSES
    ]
    try:
        with torch.serialization.safe_globals(let_through):
            # Mapped, the largest file needs its size in memory once instead of twice.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # a broken file makes the reader fail in any way there is
        raise _unreadable(name, path, str(error) or type(error).__name__) from error


def _unreadable(name: str, path: Path, message: str) -> CheckpointError:
    wanted = re.search(r"GLOBAL (\S+)", message)
    if wanted is not None:
        return CheckpointError(
            f"{path} is not safe to read: it asks for {wanted[1]}; get the official file: "
            f"metric3d models fetch {name}."
        )
    reason = message.rpartition("WeightsUnpickler error:")[2].strip().partition("\n")[0].rstrip(".")
    return CheckpointError(
        f"{path} is incomplete or no checkpoint ({reason}); get it again: metric3d models fetch {name}."
    )


def _state_dict(content: object, name: str, path: Path) -> dict[str, Tensor]:
    parts = content if isinstance(content, dict) else {}
    weights = parts.get("model_state_dict")
    if not isinstance(weights, dict) or not all(isinstance(tensor, Tensor) for tensor in weights.values()):
        raise CheckpointError(
            f"{path} holds {_some(map(str, parts)) or type(content).__name__}, not weights under "
            f"model_state_dict; get the official file: metric3d models fetch {name}."
        )
    return {str(key): tensor for key, tensor in weights.items()}


def _official_shapes(name: str) -> dict[str, torch.Size]:
    with torch.device("meta"):
        return {key: tensor.shape for key, tensor in build_network(name).state_dict().items()}


def _difference(
    expected: Mapping[str, torch.Size], weights: Mapping[str, Tensor], may_be_absent: frozenset[str]
) -> str | None:
    missing = [key for key in expected if key not in weights and key not in may_be_absent]
    unknown = [key for key in weights if key not in expected]
    reshaped = [
        f"{key} {tuple(weights[key].shape)} instead of {tuple(shape)}"
        for key, shape in expected.items()
        if key in weights and weights[key].shape != shape
    ]
    parts = [
        f"{what} {_some(keys)}"
        for what, keys in (("it lacks", missing), ("it has unknown", unknown), ("it has", reshaped))
        if keys
    ]
    return "; ".join(parts) or None


def _some(keys: Iterable[str]) -> str:
    names = list(keys)
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


def _advice(weights: Mapping[str, Tensor]) -> str:
    for name in OFFICIAL_NETWORKS:
        if _difference(_official_shapes(name), weights, ABSENT.get(name, ABSENT_FROM_EVERY_FILE)) is None:
            return f"; it is one of {name}"
    if weights and not any(key.startswith(PREFIX) for key in weights):
        return f"; official names begin {PREFIX}"
    return ""
