"""Start a run from an exported network: the weights of an ONNX file put back into a network that can train.

Export folds every batch normalisation into the convolution before it, W' = W g / s and b' = b - m g / s. The
folded W' is put back as the convolution's weight and b' as the normalisation's shift: the outputs are the same.
A normalisation that trains also divides by the statistics of its batch, so these are measured on a few batches
and undone by its gain: with mean m and deviation s of W' x, the gain is s and the shift b' + m.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import onnx
import torch
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from torch import Tensor, nn

from training.errors import TrainingError
from training.models.nano import Nano
from training.onnx_file import convolutions_of_looks


def restore_weights(network: Nano, onnx_file: Path, image: Tensor) -> None:
    """Give a network with batch normalisation the weights of its own folded export; leaves it in eval mode.

    Convolutions are matched in the order in which ``image`` (1, 3, height, width) passes through them, which is
    the order of the traced file. A finer last step that the file has not stays as it was made: silent.

    Raises
    ------
    TrainingError
        If the file cannot be read or its convolutions are of another architecture.
    """
    try:
        graph = onnx.load(onnx_file).graph
    except (OSError, ValueError, DecodeError) as error:
        raise TrainingError(f"network.initial {onnx_file} cannot be read as ONNX: {error}.") from None
    stored = {tensor.name: torch.tensor(onnx.numpy_helper.to_array(tensor)) for tensor in graph.initializer}
    exported = convolutions_of_looks(graph)[0]
    layers = _in_order_of_use(network.eval(), image)
    shapes = [tuple(stored[node.input[1]].shape) for node in exported]
    if len(layers) > len(exported):
        added = _convolutions(network.fine)
        layers = [layer for layer in layers if id(layer[0]) not in added]
    if shapes != [tuple(convolution.weight.shape) for convolution, _ in layers]:
        raise TrainingError(
            f"network.initial {onnx_file} is of another architecture than the recipe; set widths, depths and "
            "decoder_widths to its own, or leave it out."
        )
    with torch.no_grad():
        for node, (convolution, normalisation) in zip(exported, layers, strict=True):
            convolution.weight.copy_(stored[node.input[1]])
            shift = stored[node.input[2]]
            if normalisation is None:
                assert convolution.bias is not None
                convolution.bias.copy_(shift)
                continue
            _set_normalisation(
                normalisation, torch.zeros_like(shift), torch.ones_like(shift) - normalisation.eps, shift
            )


def measure_normalisation(network: nn.Module, images: Iterable[Tensor]) -> None:
    """Set every restored normalisation to the statistics of its input, its outputs staying the same.

    ``images`` are batches (n, 3, height, width) as in training.
    """
    sums: dict[nn.BatchNorm2d, list[Tensor]] = {
        module: [] for module in network.modules() if isinstance(module, nn.BatchNorm2d) and _is_restored(module)
    }

    def measure(module: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
        x = inputs[0].double()
        sums[module].append(torch.stack([x.mean(dim=(0, 2, 3)), (x * x).mean(dim=(0, 2, 3))]))

    hooks = [module.register_forward_pre_hook(measure) for module in sums]
    with torch.inference_mode():
        for batch in images:
            network(batch)
    for hook in hooks:
        hook.remove()
    with torch.no_grad():
        for module, measured in sums.items():
            mean, mean_square = torch.stack(measured).mean(dim=0)
            variance = (mean_square - mean * mean).clamp(min=0)
            _set_normalisation(module, mean.float(), variance.float(), module.bias + mean.float())


def check_sha256(onnx_file: Path, wanted: str) -> None:
    """Make sure that a run starts from the very file its recipe names.

    Raises
    ------
    TrainingError
        If the file is missing or another.
    """
    if not onnx_file.is_file():
        raise TrainingError(
            f"no network.initial at {onnx_file}; docs/nano.md says which file a recipe began with."
        )
    found = hashlib.sha256(onnx_file.read_bytes()).hexdigest()
    if found != wanted:
        raise TrainingError(
            f"network.initial {onnx_file} has sha256 {found}, the recipe wants {wanted}; give that file, or train "
            "from nothing with network.initial=''."
        )


def _is_restored(module: nn.BatchNorm2d) -> bool:
    """Whether a file's shift was put into it: one that is new scales by one and shifts by nothing."""
    return bool((module.bias != 0).any())


def _convolutions(part: nn.Module | None) -> set[int]:
    return set() if part is None else {id(m) for m in part.modules() if isinstance(m, nn.Conv2d)}


def _set_normalisation(module: nn.BatchNorm2d, mean: Tensor, variance: Tensor, shift: Tensor) -> None:
    assert module.running_mean is not None and module.running_var is not None
    module.running_mean.copy_(mean)
    module.running_var.copy_(variance)
    module.weight.copy_(torch.sqrt(variance + module.eps))
    module.bias.copy_(shift)


def _in_order_of_use(network: nn.Module, image: Tensor) -> list[tuple[nn.Conv2d, nn.BatchNorm2d | None]]:
    """Convolutions in the order of the forward pass, each with the normalisation right behind it."""
    used: list[nn.Module] = []
    kinds = (nn.Conv2d, nn.BatchNorm2d)
    hooks = [
        module.register_forward_hook(lambda module, _inputs, _output: used.append(module))
        for module in network.modules()
        if isinstance(module, kinds)
    ]
    with torch.inference_mode():
        network(image)
    for hook in hooks:
        hook.remove()
    layers: list[tuple[nn.Conv2d, nn.BatchNorm2d | None]] = []
    for module, following in zip(used, [*used[1:], None], strict=True):
        if isinstance(module, nn.Conv2d):
            layers.append((module, following if isinstance(following, nn.BatchNorm2d) else None))
    return layers
