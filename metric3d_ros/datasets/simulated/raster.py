"""Drawing planar patches into a raster: the part that perspective views and shadow maps share.

A patch is given by affine forms of the raster coordinates: what orders hiding, a homogeneous weight, and the
patch coordinates a and b times that weight. Large patches are compared over their bounding box, small ones
all at once, row by row, as flat arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.datasets.simulated.atlas import Atlas
from metric3d_ros.datasets.simulated.surfaces import Patches

_SMALL_BOX_PX = 2500
_PAIRS_AT_ONCE = 250_000
_OPAQUE_FROM = 110
_EDGE_PX = 1e-3


@dataclass(frozen=True)
class Forms:
    """Affine forms of selected patches in raster coordinates, each (n, 3): ``f[0] * x + f[1] * y + f[2]``.

    ``key`` orders what hides what (larger wins); ``weight`` is the homogeneous coordinate by which
    ``a`` and ``b`` are scaled; ``footprint`` is texels per pixel at weight 1;
    ``nearest`` is an upper bound of the key.
    """

    patch: NDArray[np.int32]
    key: NDArray[np.float64]
    weight: NDArray[np.float64]
    a: NDArray[np.float64]
    b: NDArray[np.float64]
    footprint: NDArray[np.float32]
    nearest: NDArray[np.float64]
    left: NDArray[np.int32]
    top: NDArray[np.int32]
    right: NDArray[np.int32]
    bottom: NDArray[np.int32]


def texels_per_m(patches: Patches, atlas: Atlas) -> NDArray[np.float32]:
    """Texels of the finest level per metre (n,), along the denser of the two edges."""
    across = patches.repeats[:, 0] / np.linalg.norm(patches.edge_u, axis=1)
    along = patches.repeats[:, 1] / np.linalg.norm(patches.edge_v, axis=1)
    return np.asarray(atlas.size_px[patches.texture, 0] * np.maximum(across, along), dtype=np.float32)


def draw(
    forms: Forms,
    patches: Patches,
    atlas: Atlas,
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    key: NDArray[np.float32],
    patch: NDArray[np.int32],
) -> None:
    """Draws patches into ``key`` and ``patch`` (rows, columns); ``x`` and ``y`` are the raster coordinates."""
    area = (forms.right - forms.left).astype(np.int64) * (forms.bottom - forms.top)
    for i in np.flatnonzero(area > _SMALL_BOX_PX):
        _draw_large(int(i), forms, patches, atlas, x, y, key, patch)
    small = np.flatnonzero((area > 0) & (area <= _SMALL_BOX_PX))
    # What comes first hides much of the rest, which then costs little.
    small = small[np.argsort(-forms.nearest[small], kind="stable")]
    group = np.cumsum(area[small]) // _PAIRS_AT_ONCE
    for number in np.unique(group):
        _draw_small(small[group == number], forms, patches, atlas, x, y, key, patch)


def _draw_large(
    i: int,
    forms: Forms,
    patches: Patches,
    atlas: Atlas,
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    key: NDArray[np.float32],
    patch: NDArray[np.int32],
) -> None:
    rows, columns = slice(forms.top[i], forms.bottom[i]), slice(forms.left[i], forms.right[i])
    xs, ys = x[columns], y[rows]
    number = forms.patch[i]
    depth_key = _affine(forms.key[i], xs, ys)
    weight = depth_key if forms.weight is forms.key else _affine(forms.weight[i], xs, ys)
    b = _affine(forms.b[i], xs, ys)
    seen = depth_key > key[rows, columns]
    seen &= b >= 0
    seen &= b <= weight
    a = _affine(forms.a[i], xs, ys)
    seen &= a >= np.float32(patches.inset_left[number]) * b
    seen &= a <= weight - np.float32(patches.inset_right[number]) * b
    if patches.cut_out[number]:
        at = np.flatnonzero(seen)
        flat_weight = weight.ravel()[at]
        texture = np.full(len(at), patches.texture[number], dtype=np.int32)
        solid = _is_solid(
            atlas, texture, patches.repeats[number], forms.footprint[i], a.ravel()[at], b.ravel()[at], flat_weight
        )
        seen.ravel()[at[~solid]] = False
    np.copyto(key[rows, columns], depth_key, where=seen)
    np.copyto(patch[rows, columns], number, where=seen)


def _draw_small(
    chosen: NDArray[np.intp],
    forms: Forms,
    patches: Patches,
    atlas: Atlas,
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    key: NDArray[np.float32],
    patch: NDArray[np.int32],
) -> None:
    """All pixels of many patches at once, as flat (patch, pixel) pairs found row by row."""
    owner, row, first, last = _row_spans(chosen, forms, patches, x, y)
    counts = last - first
    starts = np.cumsum(counts) - counts
    span = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    column = np.arange(len(span), dtype=np.int32) + np.take((first - starts).astype(np.int32), span)
    pixel = np.take(row * np.int32(key.shape[1]), span) + column
    xs = np.take(x, column)
    depth_key = _along_spans(forms.key, owner, y[row], span, xs)
    kept = np.flatnonzero(depth_key > np.take(key, pixel))
    span, pixel, xs, depth_key = span[kept], pixel[kept], xs[kept], depth_key[kept]
    number = np.take(forms.patch[owner], span)
    cut = np.flatnonzero(np.take(patches.cut_out, number))
    if len(cut):
        cut_span, cut_xs, cut_number = span[cut], xs[cut], number[cut]
        weight = depth_key[cut]
        if forms.weight is not forms.key:
            weight = _along_spans(forms.weight, owner, y[row], cut_span, cut_xs)
        solid = _is_solid(
            atlas,
            np.take(patches.texture, cut_number),
            np.take(patches.repeats, cut_number, axis=0).T,
            np.take(forms.footprint[owner], cut_span),
            _along_spans(forms.a, owner, y[row], cut_span, cut_xs),
            _along_spans(forms.b, owner, y[row], cut_span, cut_xs),
            weight,
        )
        seen = np.ones(len(span), dtype=np.bool_)
        seen[cut[~solid]] = False
        kept = np.flatnonzero(seen)
        pixel, depth_key, number = pixel[kept], depth_key[kept], number[kept]
    # Of values assigned to one pixel the last stays, so the nearest goes last.
    order = np.argsort(depth_key, kind="stable")
    key.ravel()[pixel[order]] = depth_key[order]
    patch.ravel()[pixel[order]] = number[order]


def _row_spans(
    chosen: NDArray[np.intp], forms: Forms, patches: Patches, x: NDArray[np.float32], y: NDArray[np.float32]
) -> tuple[NDArray[np.intp], NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """Index into the forms, row, first and last (exclusive) column of every row a patch covers.

    The patch is where four affine forms are not negative, so along a row it is one interval.
    """
    heights = forms.bottom[chosen] - forms.top[chosen]
    starts = np.cumsum(heights) - heights
    owner = np.repeat(chosen, heights)
    row = (np.arange(len(owner)) - np.repeat(starts - forms.top[chosen], heights)).astype(np.int32)
    inset_left = patches.inset_left[forms.patch[owner], None]
    inset_right = patches.inset_right[forms.patch[owner], None]
    a, b, weight = forms.a[owner], forms.b[owner], forms.weight[owner]
    low = np.full(len(owner), x[0], dtype=np.float64)
    high = np.full(len(owner), x[-1], dtype=np.float64)
    for border in (b, weight - b, a - inset_left * b, weight - inset_right * b - a):
        slope, rest = border[:, 0], border[:, 1] * y[row] + border[:, 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            crossing = -rest / slope
        low = np.where(slope > 0, np.fmax(low, crossing), low)
        high = np.where(slope < 0, np.fmin(high, crossing), high)
        high = np.where((slope == 0) & (rest < 0), -np.inf, high)
    covered = high >= low - 2 * _EDGE_PX
    owner, row, low, high = owner[covered], row[covered], low[covered], high[covered]
    first = np.maximum(np.ceil(low - x[0] - _EDGE_PX).astype(np.int64), forms.left[owner])
    last = np.minimum(np.floor(high - x[0] + _EDGE_PX).astype(np.int64) + 1, forms.right[owner])
    covered = last > first
    return owner[covered], row[covered], first[covered], last[covered]


def _along_spans(
    forms: NDArray[np.float64],
    owner: NDArray[np.intp],
    y: NDArray[np.float32],
    span: NDArray[np.int32],
    x: NDArray[np.float32],
) -> NDArray[np.float32]:
    """An affine form at pixels of rows ``y`` of patches ``owner``; ``span`` says which row a pixel is of."""
    form = forms[owner]
    slope = form[:, 0].astype(np.float32)
    rest = (form[:, 1] * y + form[:, 2]).astype(np.float32)
    values: NDArray[np.float32] = np.take(slope, span) * x + np.take(rest, span)
    return values


def _is_solid(
    atlas: Atlas,
    texture: NDArray[np.int32],
    repeats: NDArray[np.float32],
    footprint: NDArray[np.float32],
    a: NDArray[np.float32],
    b: NDArray[np.float32],
    weight: NDArray[np.float32],
) -> NDArray[np.bool_]:
    level = np.log2(np.maximum(footprint / weight, 1.0)).astype(np.int32)
    u = a / weight * repeats[0]
    v = (1.0 - b / weight) * repeats[1]
    return atlas.opacity(texture, u, v, level) >= _OPAQUE_FROM


def _affine(form: NDArray[np.float64], x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
    in_x = (form[0] * x).astype(np.float32)
    in_y = (form[1] * y + form[2]).astype(np.float32)
    return np.asarray(in_x[None, :] + in_y[:, None])
