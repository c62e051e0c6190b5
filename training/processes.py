"""The processes of a run: one alone, or those that ``torchrun`` started, and how they share the work."""

from __future__ import annotations

import os

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
from lightning_fabric.strategies.strategy import Strategy

from training.errors import RecipeError
from training.run_recipe import RunRecipe
from training.sharding import shard


def start_fabric(recipe: RunRecipe) -> Fabric:
    """Fabric for this process: alone, or one of those that ``torchrun`` started.

    Raises
    ------
    RecipeError
        If a step's images cannot be dealt out evenly.
    """
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if recipe.batch_size % (processes * recipe.accumulate):
        raise RecipeError(
            f"recipe: batch_size is {recipe.batch_size}, which cannot be dealt out to {processes} processes in "
            f"{recipe.accumulate} parts each; make it a multiple of {processes * recipe.accumulate}."
        )
    per_machine = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    fabric = Fabric(
        accelerator="cuda" if torch.cuda.is_available() else "cpu",
        devices=per_machine,
        num_nodes=processes // per_machine,
        strategy=_strategy(recipe.strategy, processes),
        precision=recipe.precision,  # type: ignore[arg-type]
    )
    fabric.launch()
    return fabric


def _strategy(name: str, processes: int) -> Strategy | str:
    if processes == 1:
        return "auto"
    if name == "fsdp":
        # Fabric's own FSDP strategy refuses CPUs; this one hands the network to the newer kind of sharding.
        return ModelParallelStrategy(shard, data_parallel_size=processes, tensor_parallel_size=1)
    # A branch that no loss looks at has no gradient to exchange.
    return DDPStrategy(find_unused_parameters=True)
