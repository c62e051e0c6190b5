"""Reads the weights of DroidNet, and says in one sentence what is wrong with a file that does not hold them."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor

from droid_bridge.errors import DroidBridgeError
from droid_bridge.matching.droid_net.droid_pth import DROID_PTH, check_droid_pth
from droid_bridge.matching.droid_net.network import DroidNet

_PARALLEL_PREFIX = "module."  # left by the DataParallel that the network was trained in
_HEADS = tuple(f"update.{head}.2.{kind}" for head in ("weight", "delta") for kind in ("weight", "bias"))
_HEAD_OUTPUTS = 2  # the published heads have a third, unused output


def read_droid_net(path: Path, is_published: bool = True) -> DroidNet:
    """DroidNet with the weights of a file, in evaluation mode on the CPU.

    Parameters
    ----------
    path : a state dict as DROID-SLAM saves it, with or without the prefix ``module.`` and the third head output.
    is_published : refuse anything but the published droid.pth; False takes weights that were trained anew.

    Raises
    ------
    DroidBridgeError
        If the file is not there, not the published one where it has to be, or does not hold DroidNet.
    """
    if is_published:
        check_droid_pth(path)
    net = DroidNet()
    state = _adapted(_read(path))
    _check_state(state, net, path)
    net.load_state_dict(state)
    return net.eval()


def _read(path: Path) -> dict[str, Tensor]:
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise DroidBridgeError(f"there are no weights at {path}; give the file of a DroidNet.") from error
    except (UnpicklingError, RuntimeError, EOFError, ValueError, LookupError, OSError) as error:
        raise DroidBridgeError(f"{path} cannot be read as PyTorch weights; give a state dict.") from error
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise DroidBridgeError(f"{path} holds no state dict of tensors; give the weights of a DroidNet.")
    return loaded


def _adapted(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state with the names and the head outputs of ``DroidNet``."""
    plain = {str(name).removeprefix(_PARALLEL_PREFIX): value for name, value in state.items()}
    return {name: value[:_HEAD_OUTPUTS] if name in _HEADS else value for name, value in plain.items()}


def _check_state(state: dict[str, Tensor], net: DroidNet, path: Path) -> None:
    expected = net.state_dict()
    missing, unknown = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    if missing or unknown:
        first = f"lacks {missing[0]}" if missing else f"has {unknown[0]}"
        raise DroidBridgeError(
            f"{path} holds another network than DroidNet: it {first} ({len(missing)} parameters missing, "
            f"{len(unknown)} unknown); give {DROID_PTH} of DROID-SLAM."
        )
    for name, value in expected.items():
        if state[name].shape != value.shape:
            raise DroidBridgeError(
                f"{path} has {name} of shape {tuple(state[name].shape)} instead of {tuple(value.shape)}; "
                f"give {DROID_PTH} of DROID-SLAM."
            )
        if not bool(torch.isfinite(state[name]).all()):
            raise DroidBridgeError(f"{path} has values in {name} that are not finite; give other weights.")
