from __future__ import annotations

import pytest
import torch

from droid_bridge.device import torch_device
from droid_bridge.errors import DroidBridgeError
from droid_bridge.matching.choice import create_matcher


def test_the_cpu_is_always_there() -> None:
    assert torch_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["cudda", "", "gpu 0"])
def test_an_unknown_device_is_named(name: str) -> None:
    with pytest.raises(DroidBridgeError, match=f"device is '{name}', which torch does not know"):
        torch_device(name)


def test_a_cuda_device_that_is_not_there_is_named() -> None:
    with pytest.raises(DroidBridgeError, match=r"'cuda:63', but torch finds \d+ CUDA devices"):
        torch_device("cuda:63")


@pytest.mark.parametrize("matcher", ["optical_flow", "droid"])
def test_every_matcher_refuses_a_device_that_is_not_there(matcher: str) -> None:
    with pytest.raises(DroidBridgeError, match="'cuda:63'"):
        create_matcher(matcher, device="cuda:63")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")
def test_a_cuda_device_is_found() -> None:
    assert torch_device("cuda").type == "cuda"
