"""Fully sharded training (FSDP2): every process keeps a part of each weight, its average and its moments.

Zhao et al., "PyTorch FSDP" (2023), in the form of ``torch.distributed.fsdp.fully_shard``, which runs on CPUs too.
A checkpoint holds whole tensors, so it does not matter how many processes wrote it or how many read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from training.models.vit import Block


def shard(network: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """Deal a network's weights out over the data-parallel part of a mesh, in place.

    A transformer's blocks are gathered one at a time while they compute; what is outside of them as one piece.
    """
    processes = mesh["data_parallel"]
    for module in network.modules():
        if isinstance(module, Block):
            fully_shard(module, mesh=processes)
    fully_shard(network, mesh=processes)
    return network


def whole(value: Any) -> Any:
    """Nested mappings and lists with every dealt-out tensor put together on the CPU.

    All processes must ask for the same tensors in the same order: they all take part.
    """
    if isinstance(value, DTensor):
        return value.full_tensor().cpu()
    if isinstance(value, Mapping):
        return {key: whole(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [whole(entry) for entry in value]
    return value


def dealt_out(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor dealt out over the processes as ``like`` is; itself where that is whole too."""
    if isinstance(like, DTensor):
        return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)
    return tensor


def weights_dealt_out(weights: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Whole weights by name, dealt out as those of a network are."""
    own = network.state_dict()
    return {name: dealt_out(tensor, own[name]) for name, tensor in weights.items()}


def moments_dealt_out(state: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """An optimiser's whole state, its moments dealt out as the parameters they belong to."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    dealt = {
        number: {
            name: dealt_out(value, parameters[number]) if _has_shape_of(value, parameters[number]) else value
            for name, value in entries.items()
        }
        for number, entries in state["state"].items()
        if number < len(parameters)
    }
    return {**state, "state": dealt}


def _has_shape_of(value: Any, parameter: Tensor) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0 and value.shape == parameter.shape
