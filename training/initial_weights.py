"""What a run starts from: an official checkpoint, another run, or an exported nano."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from torch import Tensor

from training.errors import CheckpointError
from training.models.nano import Nano
from training.official_checkpoint import load_official_checkpoint
from training.recipe_parts import NetworkRecipe
from training.run_checkpoint import load_run, load_weights
from training.trained_network import TrainedNetwork
from training.warm_start import check_sha256, measure_normalisation, restore_weights

BATCHES_MEASURED = 8


def load_initial_weights(network: TrainedNetwork, choice: NetworkRecipe, images: Iterable[Tensor]) -> None:
    """Give a network the weights its recipe names; nothing where it names none.

    Parameters
    ----------
    images : batches (n, 3, height, width) of raw RGB as in training, drawn only for an exported nano, whose
        normalisation has to be measured anew.

    Raises
    ------
    CheckpointError, TrainingError
        If the file is missing, another than the recipe says, or of another architecture.
    """
    if not choice.initial:
        return
    path = checked_start(choice)
    if path.suffix == ".pth":
        load_official_checkpoint(choice.name, path, network.network)
    elif path.suffix == ".pt":
        load_weights(network, load_run(path).averaged, str(path))
    elif path.suffix == ".onnx" and isinstance(network.network, Nano):
        batches = [image.float() for image, _ in zip(images, range(BATCHES_MEASURED), strict=False)]
        restore_weights(network.network, path, batches[0][:1])
        measure_normalisation(network.network, batches)
    else:
        raise CheckpointError(
            f"{choice.name} cannot start from {path}; give an official .pth, a run's .pt or, for nano, its .onnx."
        )


def checked_start(choice: NetworkRecipe) -> Path:
    """The file of initial weights that a recipe names, if it is there and the one that is meant.

    Raises
    ------
    CheckpointError, TrainingError
        If it is missing, or another than the recipe says.
    """
    path = Path(choice.initial or "")
    if choice.initial_sha256:
        check_sha256(path, choice.initial_sha256)
    if not path.is_file():
        raise CheckpointError(f"no initial weights at {path}; correct network.initial.")
    return path
