"""Checkpoints of a run: all it needs to go on as if it had never stopped, and the averaged weights to export."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from metric3d_ros.atomic_file import atomic_file
from metric3d_ros.errors import OutputError
from training.errors import CheckpointError
from training.run_recipe import RunRecipe, run_recipe_from_values
from training.trained_network import TrainedNetwork, build_trained_network

FORMAT = "metric3d_ros run 1"
KEYS_SHOWN = 2


@dataclass(frozen=True)
class RunCheckpoint:
    """A run after ``step`` steps.

    Attributes
    ----------
    recipe : the run's choices.
    step, skipped_steps : steps done, and how many of them moved nothing because they were not finite.
    samples, unreadable : samples drawn, and how many of them were broken.
    minutes : wall time.
    network, averaged, optimizer : state dicts; ``averaged`` is the exponential moving average.
    """

    recipe: RunRecipe
    step: int
    skipped_steps: int
    samples: int
    unreadable: int
    minutes: float
    network: dict[str, Tensor]
    averaged: dict[str, Tensor]
    optimizer: dict[str, Any]


def save_run(path: Path, checkpoint: RunCheckpoint) -> None:
    """Write a checkpoint; the one before stays whole until this one is.

    Raises
    ------
    CheckpointError
        If it cannot be written (a full disk, a read-only folder).
    """
    content = {**checkpoint.__dict__, "recipe": checkpoint.recipe.to_plain(), "format": FORMAT}
    try:
        with atomic_file(path) as file:
            torch.save(content, file)
    except (OutputError, RuntimeError) as error:
        kept = "the last good one is still there" if path.exists() else "there is none yet"
        reason = str(error).rstrip(".").partition("\n")[0]
        raise CheckpointError(f"checkpoint {path} was not written, {kept}: {reason}.") from None


def load_run(path: Path) -> RunCheckpoint:
    """Read a checkpoint without running any code it may hold.

    Raises
    ------
    CheckpointError
        If the file is missing, cut short, or no checkpoint of a run.
    """
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}; train one: python -m training.train RECIPE.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise CheckpointError(f"{path} is not a checkpoint that is safe to read: {reason}.") from None
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
        raise CheckpointError(f"{path} is no checkpoint of a run; give one that training.train wrote.")
    return RunCheckpoint(**{**content, "recipe": run_recipe_from_values(content["recipe"])})


def build_from(recipe: RunRecipe) -> TrainedNetwork:
    """The untrained network of a recipe."""
    choice = recipe.network
    return build_trained_network(choice.name, choice.widths, choice.depths, choice.decoder_widths)


def averaged_network(checkpoint: RunCheckpoint) -> TrainedNetwork:
    """The network with its averaged weights, ready for inference.

    Raises
    ------
    CheckpointError
        If the weights are of another architecture than the checkpoint's recipe.
    """
    network = build_from(checkpoint.recipe)
    load_weights(network, checkpoint.averaged, "the checkpoint")
    return network.eval()


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], what: str) -> None:
    """Give a network weights that must be all of its own and no others.

    Raises
    ------
    CheckpointError
        If names or shapes differ; the message names the first that do.
    """
    check_weights(network, weights, what)
    network.load_state_dict(dict(weights))


def check_weights(network: nn.Module, weights: Mapping[str, Tensor], what: str) -> None:
    """Make sure that weights are all of a network's own and no others.

    Raises
    ------
    CheckpointError
        If names or shapes differ; the message names the first that do.
    """
    wanted = network.state_dict()
    different = [name for name in wanted if name not in weights or weights[name].shape != wanted[name].shape]
    different += [name for name in weights if name not in wanted]
    if different:
        shown = ", ".join(different[:KEYS_SHOWN])
        raise CheckpointError(
            f"{what} is of another architecture than the recipe ({len(different)} weights differ, such as "
            f"{shown}); give the recipe it was trained with, or another output folder."
        )
