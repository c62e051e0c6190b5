"""A matcher without weights: dense inverse search optical flow (Kroeger et al., ECCV 2016) as OpenCV has it.

How sure a match is comes from three variances in px^2, added: a floor of the flow itself, what the texture of the
cell leaves open (the inverse of its structure tensor, so an edge is sure across and open along), and the square of
the forward-backward error.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from droid_bridge.matching.matcher import CELL_PX, FramePair, Match, PairMatch

_PATCH_PX = 8
# Nine points are less noisy than five, and the noise of the flow goes straight into its correction.
_LAPLACIAN_STENCIL = np.array([[1, 2, 1], [2, -12, 2], [1, 2, 1]], dtype=np.float32) / 4


@dataclass(frozen=True)
class OpticalFlowOptions:
    """How the flow is searched and judged.

    Attributes
    ----------
    patch_stride_px, search_iterations, smoothing_iterations : effort of the search; the patches are 8 px wide.
    flow_sigma_px : error of the flow on ideal texture.
    texture_gradient : gradient, in gray levels per pixel, at which texture alone leaves an error of one pixel.
    max_round_trip_px : forward-backward error, or sigma of the better coordinate, from which a cell has no match.
    threads : flows computed at the same time; the result does not depend on it.
    """

    patch_stride_px: int = 5
    search_iterations: int = 12
    smoothing_iterations: int = 0
    flow_sigma_px: float = 0.3
    texture_gradient: float = 2.0
    max_round_trip_px: float = 3.0
    threads: int = 2


@dataclass(frozen=True)
class OpticalFlowFeatures:
    """A gray image and what its texture leaves open.

    Attributes
    ----------
    gray : uint8 (height, width).
    texture_variance_px2 : float32 (rows, columns, 2) variance of each coordinate of a match.
    """

    gray: NDArray[np.uint8]
    texture_variance_px2: NDArray[np.float32]


class OpticalFlowMatcher:
    """Matches by dense inverse search, both ways, starting from the expected coordinates where they are given."""

    rematches = 0

    def __init__(self, options: OpticalFlowOptions | None = None) -> None:
        self._options = options or OpticalFlowOptions()
        self._pool = ThreadPoolExecutor(self._options.threads, thread_name_prefix="optical_flow")
        self._per_thread = threading.local()

    def prepare(self, image: NDArray[np.uint8]) -> OpticalFlowFeatures:
        """Features of a uint8 (height, width, 3) RGB image whose sides are multiples of 8."""
        gray = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
        return OpticalFlowFeatures(gray, _texture_variance(gray, self._options.texture_gradient))

    def match(self, pairs: Sequence[FramePair[OpticalFlowFeatures]]) -> list[PairMatch]:
        """Match every pair both ways, in the order given."""
        jobs = []
        for pair in pairs:
            forward = self._pool.submit(self._flow, pair.first, pair.second, pair.second_from_first)
            backward = self._pool.submit(self._flow, pair.second, pair.first, pair.first_from_second)
            jobs.append((pair, forward, backward))
        return [
            PairMatch(
                self._judged(pair.first, pair.second, forward.result(), backward.result()),
                self._judged(pair.second, pair.first, backward.result(), forward.result()),
            )
            for pair, forward, backward in jobs
        ]

    def _flow(
        self,
        source: OpticalFlowFeatures,
        target: OpticalFlowFeatures,
        expected_coords: NDArray[np.float32] | None,
    ) -> NDArray[np.float32]:
        """Flow (height, width, 2) in pixels."""
        if not hasattr(self._per_thread, "search"):
            self._per_thread.search = self._new_search()
        # OpenCV's search goes on from the initial flow of its last call unless it is given one.
        size = (*source.gray.shape, 2)
        initial = np.zeros(size, np.float32) if expected_coords is None else _expected_flow(expected_coords, size)
        return np.asarray(self._per_thread.search.calc(source.gray, target.gray, initial), dtype=np.float32)

    def _new_search(self) -> cv2.DISOpticalFlow:
        search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        # Averaged over wide patches, flow is too large near the vanishing point and too small far from it, which
        # without a prior shrinks the scale metre by metre: on the full image patches cover the least.
        search.setFinestScale(0)
        search.setPatchSize(_PATCH_PX)
        search.setPatchStride(self._options.patch_stride_px)
        search.setGradientDescentIterations(self._options.search_iterations)
        search.setVariationalRefinementIterations(self._options.smoothing_iterations)
        return search

    def _judged(
        self,
        source: OpticalFlowFeatures,
        target: OpticalFlowFeatures,
        flow: NDArray[np.float32],
        way_back: NDArray[np.float32],
    ) -> Match:
        """The flow at the centres of the cells, with the information of each coordinate."""
        cell_flow = _at_cell_centres(flow)
        rows, columns = cell_flow.shape[:2]
        height, width = flow.shape[:2]
        found = _cell_coords(rows, columns) + cell_flow / CELL_PX
        found_px = found * CELL_PX + np.float32(0.5 * (CELL_PX - 1))
        inside = ((found_px >= 0) & (found_px <= [width - 1, height - 1])).all(axis=-1)
        back = cv2.remap(way_back, found_px[..., 0], found_px[..., 1], cv2.INTER_LINEAR)
        round_trip_px2 = np.where(inside, ((cell_flow + back) ** 2).sum(axis=-1), np.inf)
        # A textured cell agrees with anything it is sent to on a blank image.
        in_target = cv2.remap(
            target.texture_variance_px2,
            found[..., 0],
            found[..., 1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return self._weighed(np.maximum(source.texture_variance_px2, in_target), cell_flow, round_trip_px2)

    def _weighed(
        self,
        texture_variance_px2: NDArray[np.float32],
        cell_flow: NDArray[np.float32],
        round_trip_px2: NDArray[np.float32],
    ) -> Match:
        """A match of the flow (rows, columns, 2) at the cells, weighed by its texture and round trip."""
        options = self._options
        bias = _patch_bias(cell_flow)
        known = options.flow_sigma_px**2 + texture_variance_px2 + bias**2
        limit_px2 = options.max_round_trip_px**2
        accepted = (round_trip_px2 < limit_px2) & (known.min(axis=-1) < limit_px2)
        variance = known + np.where(accepted, round_trip_px2, 0)[..., None]
        weight = np.where(accepted[..., None], CELL_PX**2 / variance, 0)
        coords = _cell_coords(*cell_flow.shape[:2]) + (cell_flow - bias) / CELL_PX
        return Match(coords.astype(np.float32), weight.astype(np.float32))


def _cell_coords(rows: int, columns: int) -> NDArray[np.float32]:
    v, u = np.mgrid[:rows, :columns]
    return np.stack([u, v], axis=-1).astype(np.float32)


def _at_cell_centres(flow: NDArray[np.float32]) -> NDArray[np.float32]:
    """Flow at the centre of each cell, which lies between four pixels."""
    low, high = CELL_PX // 2 - 1, CELL_PX // 2
    corners = [flow[a::CELL_PX, b::CELL_PX] for a in (low, high) for b in (low, high)]
    return np.asarray(0.25 * (corners[0] + corners[1] + corners[2] + corners[3]), dtype=np.float32)


def _patch_bias(cell_flow: NDArray[np.float32]) -> NDArray[np.float32]:
    """What averaging over patches adds to the flow (rows, columns, 2): half their variance times its Laplacian.

    A pixel's flow is the mean over the patches that cover it, and a patch's that over its pixels: two boxes.
    """
    box_variance_px2 = (_PATCH_PX**2 - 1) / 12
    laplacian = cv2.filter2D(cell_flow, cv2.CV_32F, _LAPLACIAN_STENCIL, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(0.5 * (2 * box_variance_px2) * laplacian / CELL_PX**2, dtype=np.float32)


def _expected_flow(coords: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.float32]:
    """Flow (height, width, 2) in pixels of expected coordinates (rows, columns, 2) in cells."""
    rows, columns = coords.shape[:2]
    flow = (coords - _cell_coords(rows, columns)) * CELL_PX
    return np.asarray(cv2.resize(flow, (size[1], size[0]), interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def _texture_variance(gray: NDArray[np.uint8], texture_gradient: float) -> NDArray[np.float32]:
    """Variance (rows, columns, 2) in px^2 that the structure tensor of each cell leaves to a match."""
    gx = cv2.Scharr(gray, cv2.CV_32F, 1, 0) / 32
    gy = cv2.Scharr(gray, cv2.CV_32F, 0, 1) / 32
    size = (gray.shape[1] // CELL_PX, gray.shape[0] // CELL_PX)
    least = 0.1  # gray levels per pixel, squared: below it lies the noise of 8-bit images
    gxx = cv2.resize(gx * gx, size, interpolation=cv2.INTER_AREA) + least
    gyy = cv2.resize(gy * gy, size, interpolation=cv2.INTER_AREA) + least
    gxy = cv2.resize(gx * gy, size, interpolation=cv2.INTER_AREA)
    determinant = gxx * gyy - gxy * gxy
    variance = texture_gradient**2 * np.stack([gyy / determinant, gxx / determinant], axis=-1)
    return np.asarray(variance, dtype=np.float32)
