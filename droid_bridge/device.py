"""The torch device of a name, or one sentence on why there is none."""

from __future__ import annotations

import torch

from droid_bridge.errors import DroidBridgeError


def torch_device(name: str) -> torch.device:
    """The device of a name such as "cpu", "cuda" or "cuda:1".

    Raises
    ------
    DroidBridgeError
        If torch knows no such device, or this machine has none.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DroidBridgeError(f"device is {name!r}, which torch does not know; give cpu or cuda.") from error
    if device.type == "cuda":
        found = torch.cuda.device_count()
        if (device.index or 0) >= found:
            raise DroidBridgeError(
                f"device is {name!r}, but torch finds {found} CUDA devices; give cpu, or install torch for CUDA."
            )
    return device
