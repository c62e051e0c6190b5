"""Checkpoints: everything a run needs to go on, and the averaged weights that are exported."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training.errors import CheckpointError
from training.models.nano import Nano
from training.recipe import Recipe, recipe_from_values


@dataclass(frozen=True)
class Checkpoint:
    """A run after ``step`` steps.

    Attributes
    ----------
    recipe : the run's choices.
    step, skipped_steps, minutes : steps done, how many of them were skipped as not finite, and wall time.
    network, averaged, optimizer : state dicts; ``averaged`` is the exponential moving average.
    """

    recipe: Recipe
    step: int
    skipped_steps: int
    minutes: float
    network: dict[str, Tensor]
    averaged: dict[str, Tensor]
    optimizer: dict[str, Any]


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; the one before stays whole until this one is.

    Raises
    ------
    CheckpointError
        If it cannot be written (a full disk, a read-only folder).
    """
    content = {
        "recipe": checkpoint.recipe.to_plain(),
        "step": checkpoint.step,
        "skipped_steps": checkpoint.skipped_steps,
        "minutes": checkpoint.minutes,
        "network": checkpoint.network,
        "averaged": checkpoint.averaged,
        "optimizer": checkpoint.optimizer,
    }
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        torch.save(content, partial)
        partial.replace(path)
    except (OSError, RuntimeError) as error:
        partial.unlink(missing_ok=True)
        raise CheckpointError(f"checkpoint {path} could not be written: {error}.") from None


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint without running any code it may hold.

    Raises
    ------
    CheckpointError
        If the file is missing, is no checkpoint, or lacks a part.
    """
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}; train one: python -m training.train RECIPE.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path} is not a checkpoint that is safe to read: {error}.") from None
    try:
        return Checkpoint(**{**content, "recipe": recipe_from_values(content["recipe"])})
    except (TypeError, KeyError):
        raise CheckpointError(f"{path} is not a checkpoint of this trainer; see training/train.py.") from None


def build_network(recipe: Recipe) -> Nano:
    """The untrained network a recipe describes."""
    w, d, up = recipe.widths, recipe.depths, recipe.decoder_widths
    return Nano((w[0], w[1], w[2], w[3], w[4]), (d[0], d[1], d[2], d[3]), (up[0], up[1], up[2]))


def averaged_network(checkpoint: Checkpoint) -> Nano:
    """The network with its averaged weights, ready for inference.

    Raises
    ------
    CheckpointError
        If the weights belong to another architecture.
    """
    network = build_network(checkpoint.recipe)
    try:
        network.load_state_dict(checkpoint.averaged)
    except RuntimeError as error:
        first_line = str(error).splitlines()[-1].strip()
        raise CheckpointError(f"the checkpoint's weights are of another architecture: {first_line}") from None
    return network.eval()
