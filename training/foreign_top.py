"""One view's ground under the upper part of another: tall things must not tell where the ground lies.

Crowns, walls and ceilings fill the upper rows of an image, and in drawn worlds they go with certain pitches,
heights of the camera and kinds of ground. A network that learns so reads a real street under trees too near. Under
a foreign top only the ground itself tells where it lies. It is CutMix (Yun et al. 2019) along a line above the
horizon, with depth for a label: both parts keep their canonical depth, which knows no camera.

Or there is padding: what a network that looks twice (``training.two_looks``) sees in its lower look.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.labelled_view import LabelledView

# How far above the horizon a foreign top ends, as shares of the input's height, and how steeply its edge runs.
GAP_SHARES = (0.03, 0.35)
STEEPEST_EDGE = 0.06
SOFTEST_EDGE_PX = 4.0
# So many foreign tops stand in front of what the view has there, its nearer parts; the others replace it.
MERGED_SHARE = 0.5


def under_foreign_top(
    rng: np.random.Generator, view: LabelledView, other: LabelledView, own_per_foreign_metre: float
) -> LabelledView:
    """``view`` under the rows of ``other`` above a random, slightly tilted line over both horizons.

    Parameters
    ----------
    view, other : two views of one size, both of one kind of label.
    own_per_foreign_metre : factor that makes the depth of ``other`` that of ``view``'s camera (the focal length of
        this camera over that one's, in canonical space).

    Returns
    -------
    The view with the foreign image, depth and sky there, where both have content, and its own camera. Normals,
    regions and planes are its own as well, and missing in the foreign part.
    """
    height_px, width_px = view.depth_m.shape
    level_px = min(view.camera.cy, other.camera.cy) - rng.uniform(*GAP_SHARES) * height_px
    columns = np.arange(width_px, dtype=np.float32) - width_px / 2
    edge_px = level_px + rng.uniform(-STEEPEST_EDGE, STEEPEST_EDGE) * columns
    above_px = edge_px[None, :] - np.arange(height_px, dtype=np.float32)[:, None]
    softness_px = rng.uniform(0.5, SOFTEST_EDGE_PX)
    share: NDArray[np.float32] = np.clip(above_px / softness_px + 0.5, 0, 1).astype(np.float32)
    foreign_depth_m = other.depth_m * np.float32(own_per_foreign_metre)
    if rng.random() < MERGED_SHARE:
        share = share * _is_nearer(foreign_depth_m, view.depth_m)
    for content in (view.content, other.content):
        if content is not None:
            share = share * content
    return _joined(view, other, foreign_depth_m, share)


def under_padding(rng: np.random.Generator, view: LabelledView) -> LabelledView:
    """``view`` with padding, without labels, over a random row above its horizon.

    The row is random, for a pool does not say how far over the horizon an angle lies.
    """
    height_px, width_px = view.depth_m.shape
    first_row = max(0, round(view.camera.cy - rng.uniform(*GAP_SHARES) * height_px))
    return view.cropped(0, first_row, width_px, height_px - first_row).padded(width_px, height_px, first_row)


def _is_nearer(depth_m: NDArray[np.float32], than_m: NDArray[np.float32]) -> NDArray[np.bool_]:
    # What has no depth is far: the sky.
    far_m = np.float32(np.inf)
    nearer = np.where(np.isnan(depth_m), far_m, depth_m) < np.where(np.isnan(than_m), far_m, than_m)
    return np.asarray(nearer)


def _joined(
    view: LabelledView, other: LabelledView, foreign_depth_m: NDArray[np.float32], share: NDArray[np.float32]
) -> LabelledView:
    is_foreign = share > 0.5
    mixed = view.image + share[..., None] * (other.image.astype(np.float32) - view.image)
    labels: dict[str, Any] = {"depth_m": np.where(is_foreign, foreign_depth_m, view.depth_m)}
    for name, own in view.per_pixel().items():
        if name == "sky":
            labels[name] = own & ~is_foreign if other.sky is None else np.where(is_foreign, other.sky, own)
        elif name in ("normal", "regions", "planes"):
            labels[name] = own.copy()
            labels[name][is_foreign] = np.nan if own.dtype == np.float32 else 0
    return replace(view, image=(mixed + np.float32(0.5)).astype(np.uint8), **labels)
