"""Whether an engine may be trusted: one picture through it and through ONNX Runtime on the CPU.

Half precision has given networks NaN, and depth that looks right and is not, without a word from the runtime.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.engines.engine import DepthEngine, ModelInfo, NetworkOutput
from metric3d_ros.errors import EngineError

PERCENTILE = 99.0
# A sound float32 engine is orders better, and sound mixed precision stays below 0.01.
MAX_RELATIVE_ERROR = {"fp32": 0.01, "fp16": 0.05}
# Depth below this share of the median is compared with that share: relative errors near 0 say nothing.
SMALL_DEPTH_SHARE = 0.01
GRAIN = 8.0
# Where a network that looks twice parts the picture: over its horizon, through its blocks.
FIRST_ROW_SHARE = 0.4


@dataclass(frozen=True)
class Agreement:
    """How far an engine's depth is from the reference's.

    Attributes
    ----------
    finite : whether every value of every map is a number.
    relative_error : the 99th percentile over pixels of |depth - reference| / |reference|.
    """

    finite: bool
    relative_error: float


def street_picture(height_px: int, width_px: int) -> NDArray[np.uint8]:
    """A picture with what depth networks look for: sky, a road that narrows, blocks that stand on it, texture.

    Returns
    -------
    RGB (height, width, 3) uint8, the same for the same size.
    """
    down, across = np.meshgrid(
        np.linspace(-1, 1, height_px, dtype=np.float32),
        np.linspace(-1, 1, width_px, dtype=np.float32),
        indexing="ij",
    )
    picture = np.empty((height_px, width_px, 3), np.float32)
    picture[...] = (np.float32(190) + 40 * down)[..., None] + np.array([-20, 0, 25], np.float32)
    below_horizon = down > 0
    nearness = np.maximum(down, 1e-3)
    is_road = below_horizon & (np.abs(across) < 0.1 + 0.8 * nearness)
    stripes = np.where(np.sin(3.0 / nearness) > 0, 25.0, 0.0).astype(np.float32)
    picture[below_horizon] = (70, 95, 55)
    picture[is_road] = (95, 95, 98)
    picture += (stripes * below_horizon)[..., None]
    for left, right, top, bottom, colour in (
        (-0.95, -0.55, -0.7, 0.45, (150, 90, 70)),
        (0.5, 0.98, -0.5, 0.35, (200, 185, 160)),
        (-0.12, 0.1, -0.08, 0.16, (40, 50, 120)),
    ):
        inside = (across > left) & (across < right) & (down > top) & (down < bottom)
        picture[inside] = colour
    picture += np.random.default_rng(0).normal(0, GRAIN, picture.shape).astype(np.float32)
    return np.clip(picture, 0, 255).astype(np.uint8)


def street_run(model: ModelInfo) -> tuple[NDArray[np.uint8], int]:
    """What to run a model on, picture and first row, so that every look it has has something to see."""
    first_row = round(FIRST_ROW_SHARE * model.input_height_px) if model.looks_twice else 0
    return street_picture(model.input_height_px, model.input_width_px), first_row


def compare(candidate: NetworkOutput, reference: NetworkOutput) -> Agreement:
    """How far one engine's maps are from another's for the same picture."""
    maps = (candidate.depth_canonical, candidate.confidence, candidate.normals)
    depth = reference.depth_canonical.astype(np.float64)
    smallest = max(SMALL_DEPTH_SHARE * float(np.median(np.abs(depth))), float(np.finfo(np.float32).tiny))
    error = np.abs(candidate.depth_canonical - depth) / np.maximum(np.abs(depth), smallest)
    return Agreement(
        finite=all(bool(np.isfinite(values).all()) for values in maps if values is not None),
        relative_error=_percentile(error),
    )


def _percentile(error: NDArray[np.float64]) -> float:
    error = np.where(np.isfinite(error), error, np.inf)
    # "higher" takes one of the values: between two infinite ones there is nothing.
    return float(np.percentile(error, PERCENTILE, method="higher"))


def require_agreement(candidate: DepthEngine, reference: DepthEngine, precision: str) -> Agreement:
    """Run one picture through both engines.

    Raises
    ------
    EngineError
        If the candidate gives values that are no numbers, or another depth than the reference.
    """
    street = street_run(reference.model)
    agreement = compare(candidate.run(*street), reference.run(*street))
    remedy = "use --precision fp32" if precision == "fp16" else "use another engine"
    if not agreement.finite:
        raise EngineError(f"{candidate.identity} gives values that are no numbers; {remedy}.")
    limit = MAX_RELATIVE_ERROR[precision]
    if not agreement.relative_error <= limit:
        raise EngineError(
            f"{candidate.identity} is {agreement.relative_error:.1%} off {reference.identity} at the "
            f"{PERCENTILE:.0f}th percentile of depth, more than {limit:.0%}; {remedy}."
        )
    return agreement


def require_finite(engine: DepthEngine) -> None:
    """Run one picture.

    Raises
    ------
    EngineError
        If the engine fails on it or gives values that are no numbers.
    """
    output = engine.run(*street_run(engine.model))
    if not compare(output, output).finite:
        raise EngineError(f"{engine.identity} gives values that are no numbers; use another engine.")
