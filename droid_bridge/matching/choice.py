"""Matchers by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

from droid_bridge.device import torch_device
from droid_bridge.errors import DroidBridgeError
from droid_bridge.matching.droid_net.droid_pth import cached_droid_pth
from droid_bridge.matching.droid_net.matcher import DroidMatcher
from droid_bridge.matching.droid_net.weights import read_droid_net
from droid_bridge.matching.matcher import Matcher
from droid_bridge.matching.optical_flow import OpticalFlowMatcher

MATCHERS = ("optical_flow", "droid")

# What a matcher keeps of a frame is its own affair: it is only ever handed back to the same matcher.
AnyFeatures: TypeAlias = Any


def create_matcher(name: str, device: str = "cpu", weights: Path | None = None) -> Matcher[AnyFeatures]:
    """The matcher of a name.

    Parameters
    ----------
    name : one of ``MATCHERS``.
    device : torch device of the learned one; optical flow runs on the CPU whatever it is.
    weights : weights of the learned one; None is droid.pth in the cache folder.

    Raises
    ------
    DroidBridgeError
        If the name is unknown, there is no such device, or the weights are missing or wrong.
    """
    torch_device(device)
    if name == "optical_flow":
        return OpticalFlowMatcher()
    if name == "droid":
        return DroidMatcher(read_droid_net(weights or cached_droid_pth()), device)
    raise DroidBridgeError(f"matcher is {name!r}; choose one of: {', '.join(MATCHERS)}.")
