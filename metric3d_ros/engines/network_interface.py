"""What goes into and comes out of a depth network's file, in the two dialects there are.

Files of ``training.export`` take ``image`` and give ``depth`` and, where the network has them, ``confidence`` and
``normals``. The community's exports of Metric3D v2 take ``pixel_values`` and give ``predicted_depth`` and
``predicted_normal``. Both take raw RGB from 0 to 255, (1, 3, H, W). Files of ours that look twice also take
``first_row``, where their looks part (``DepthEngine.run``). The community's ``normal_confidence`` is the
concentration of its normals, not a confidence of its depth, so it is not read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.canonical import CANONICAL_FOCAL_PX
from metric3d_ros.engines.engine import MAX_HEADROOM_DEG, ModelInfo, NetworkOutput
from metric3d_ros.errors import EngineError
from metric3d_ros.letterbox import IMAGE_CENTRE, PLACEMENTS

CHANNELS = 3
RANK_OF_IMAGE_BATCH = 4
FIRST_ROW_SHAPE = (1,)
# What Metric3D v2 was trained at, and what a file of free size is run at where nobody says otherwise.
FREE_SIZE_PX = (616, 1064)
# Patches are 14 px and the decoder halves their grid: other sizes give maps that are smaller than their image.
FREE_SIZE_MULTIPLE_PX = 28


@dataclass(frozen=True)
class TensorNames:
    """The names of a dialect; None where it has no such tensor."""

    image: str
    depth: str
    confidence: str | None
    normals: str | None
    first_row: str | None = None


DIALECTS = (
    TensorNames(image="image", depth="depth", confidence="confidence", normals="normals", first_row="first_row"),
    TensorNames(image="pixel_values", depth="predicted_depth", confidence=None, normals="predicted_normal"),
)


@dataclass(frozen=True)
class NetworkInterface:
    """A network file's description: its model, the names of its tensors, and whether its size is free.

    Attributes
    ----------
    model : the model, with the size it is run at.
    names : the tensors that are fed and read; those that the file does not have are None.
    has_free_size : whether the file takes images of other sizes too.
    """

    model: ModelInfo
    names: TensorNames
    has_free_size: bool = False

    @property
    def image_shape(self) -> tuple[int, int, int, int]:
        """The shape of the network's input (1, 3, height, width)."""
        return (1, CHANNELS, self.model.input_height_px, self.model.input_width_px)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The tensors to ask for."""
        names = (self.names.depth, self.names.confidence, self.names.normals)
        return tuple(name for name in names if name is not None)

    @property
    def input_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor to feed."""
        first_row = {} if self.names.first_row is None else {self.names.first_row: FIRST_ROW_SHAPE}
        return {self.names.image: self.image_shape, **first_row}

    def feeds(self, network_image: NDArray[np.uint8], first_row: int = 0) -> dict[str, NDArray[np.float32]]:
        """The network's inputs for a letterboxed RGB image (height, width, 3) uint8 (``DepthEngine.run``).

        Raises
        ------
        EngineError
            If the image has another size, or the network looks once and a row is given.
        """
        feeds = {self.names.image: self._image_batch(network_image)}
        if self.names.first_row is not None:
            feeds[self.names.first_row] = np.full(FIRST_ROW_SHAPE, first_row, dtype=np.float32)
        elif first_row:
            raise EngineError(
                f"{self.model.name} looks once, not over and under row {first_row}; leave headroom_deg at -1."
            )
        return feeds

    def _image_batch(self, network_image: NDArray[np.uint8]) -> NDArray[np.float32]:
        expected = (*self.image_shape[2:], CHANNELS)
        if network_image.shape != expected:
            raise EngineError(
                f"network image has shape {network_image.shape}, {self.model.name} takes {expected}; "
                "letterbox it first."
            )
        return np.ascontiguousarray(network_image.transpose(2, 0, 1)[None], dtype=np.float32)

    def network_output(self, maps: Mapping[str, NDArray[Any]]) -> NetworkOutput:
        """The maps of one image, of tensors (1, [channels,] height, width) of any float type.

        Raises
        ------
        EngineError
            If a map is not of the input's size.
        """
        depth = self._map(maps, self.names.depth, 1)
        normals = None if self.names.normals is None else self._map(maps, self.names.normals, CHANNELS)
        return NetworkOutput(
            depth_canonical=depth[0],
            confidence=None if self.names.confidence is None else self._map(maps, self.names.confidence, 1)[0],
            normals=None if normals is None else np.ascontiguousarray(normals.transpose(1, 2, 0)),
        )

    def _map(self, maps: Mapping[str, NDArray[Any]], name: str, channels: int) -> NDArray[np.float32]:
        values = maps[name]
        expected = (channels, *self.image_shape[2:])
        if values.size != np.prod(expected) or values.shape[-2:] != expected[1:]:
            raise EngineError(
                f"{self.model.name} gave {name} of shape {values.shape} for an input of {self.image_shape}; "
                f"run it at multiples of {FREE_SIZE_MULTIPLE_PX} px, or export it again."
            )
        return np.asarray(values.reshape(expected), dtype=np.float32)


def read_interface(
    inputs: Mapping[str, Sequence[Any]],
    outputs: Sequence[str],
    metadata: Mapping[str, str],
    source: str,
    size_px: tuple[int, int] | None = None,
) -> NetworkInterface:
    """The interface of a network file.

    Parameters
    ----------
    inputs : shape of every input by name; a dimension that is no positive integer is free.
    outputs : names of the outputs.
    metadata : what the file says of itself; see ``training.export``.
    source : the file, for messages.
    size_px : (height, width) to run it at; None takes the file's own, or ``FREE_SIZE_PX`` where that is free.

    Raises
    ------
    EngineError
        If it is no depth network, or does not take that size.
    """
    names = _dialect(inputs, outputs, source)
    if names.first_row is not None:
        _require_first_row(inputs[names.first_row], source)
    height_px, width_px, is_free = _size(inputs[names.image], size_px, source)
    return NetworkInterface(
        model=ModelInfo(
            name=metadata.get("model") or source.rsplit("/", 1)[-1].removesuffix(".onnx"),
            input_height_px=height_px,
            input_width_px=width_px,
            canonical_focal_px=_number(metadata, "canonical_focal_px", CANONICAL_FOCAL_PX, source, above=0.0),
            min_confidence=_number(metadata, "min_confidence", -math.inf, source),
            gives_confidence=names.confidence is not None,
            placement=_placement(metadata, source),
            looks_twice=names.first_row is not None,
            headroom_deg=_headroom_deg(metadata, source, looks_twice=names.first_row is not None),
        ),
        names=names,
        has_free_size=is_free,
    )


def _dialect(inputs: Mapping[str, Sequence[Any]], outputs: Sequence[str], source: str) -> TensorNames:
    """The names of the file's dialect, without those of tensors that it does not have."""
    there = {*inputs, *outputs}
    for names in DIALECTS:
        confidence, normals, first_row = (
            name if name in there else None for name in (names.confidence, names.normals, names.first_row)
        )
        wanted = {names.image} if first_row is None else {names.image, first_row}
        if {*inputs} == wanted and names.depth in outputs:
            return replace(names, confidence=confidence, normals=normals, first_row=first_row)
    known = " or ".join(f"{names.image} to {names.depth}" for names in DIALECTS)
    raise EngineError(
        f"{source} goes from {_listed(list(inputs))} to {_listed(outputs)}, which is no depth network ({known}); "
        "export it with training.export."
    )


def _size(shape: Sequence[Any], size_px: tuple[int, int] | None, source: str) -> tuple[int, int, bool]:
    is_image = len(shape) == RANK_OF_IMAGE_BATCH and all(
        not _is_fixed(length) or length == wanted for length, wanted in zip(shape, (1, CHANNELS), strict=False)
    )
    if not is_image:
        raise EngineError(
            f"{source} takes an input of shape {tuple(shape)}, not one RGB image (1, 3, H, W); "
            "export it with training.export."
        )
    is_free = not all(_is_fixed(length) for length in shape[2:])
    asked = size_px or FREE_SIZE_PX
    sizes = [length if _is_fixed(length) else wanted for length, wanted in zip(shape[2:], asked, strict=True)]
    height_px, width_px = (int(length) for length in sizes)
    if size_px is not None and (height_px, width_px) != size_px:
        raise EngineError(
            f"{source} takes {height_px}x{width_px} px only, not {size_px[0]}x{size_px[1]}; "
            "leave the size out or export it at that size."
        )
    if is_free and (
        min(height_px, width_px) < 1 or height_px % FREE_SIZE_MULTIPLE_PX or width_px % FREE_SIZE_MULTIPLE_PX
    ):
        raise EngineError(
            f"{source} cannot be run at {height_px}x{width_px} px; "
            f"height and width must be multiples of {FREE_SIZE_MULTIPLE_PX}, such as 616x1064."
        )
    return height_px, width_px, is_free


def _is_fixed(length: Any) -> bool:
    return isinstance(length, int) and length > 0


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "nothing"


def _placement(metadata: Mapping[str, str], source: str) -> str:
    placement = metadata.get("placement", IMAGE_CENTRE)
    if placement not in PLACEMENTS:
        raise EngineError(
            f"{source} says placement is {placement!r}; it must be {' or '.join(PLACEMENTS)}: export it again."
        )
    return placement


def _require_first_row(shape: Sequence[Any], source: str) -> None:
    if tuple(shape) != FIRST_ROW_SHAPE:
        raise EngineError(
            f"{source} takes a first_row of shape {tuple(shape)}, not one number {FIRST_ROW_SHAPE}; "
            "export it with training.run_export."
        )


def _headroom_deg(metadata: Mapping[str, str], source: str, *, looks_twice: bool) -> float:
    angle_deg = _number(metadata, "headroom_deg", 0.0, source)
    if angle_deg > 0 and not looks_twice:
        raise EngineError(
            f"{source} says headroom_deg is {angle_deg:g} but has no input first_row, so it looks once: "
            "export it again."
        )
    if not 0 <= angle_deg < MAX_HEADROOM_DEG:
        raise EngineError(
            f"{source} says headroom_deg is {angle_deg:g}; it must be from 0 to below {MAX_HEADROOM_DEG:g}: "
            "export it again."
        )
    return angle_deg


def _number(
    metadata: Mapping[str, str], key: str, default: float, source: str, above: float | None = None
) -> float:
    """A number of the metadata; with ``above``, a finite one above that."""
    text = metadata.get(key)
    if text is None:
        return default
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if math.isnan(number) or (above is not None and not above < number < math.inf):
        wanted = "a number" if above is None else f"a number above {above:g}"
        raise EngineError(f"{source} says {key} is {text!r}; it must be {wanted}: export it again.")
    return number
