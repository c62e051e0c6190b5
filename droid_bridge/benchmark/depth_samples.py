"""What the prior saw: some frames of a recording with their depth, as a picture and as figures."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from droid_bridge.benchmark.jobs import BenchmarkJob, open_source
from droid_bridge.depth_sources import OWN_DEPTH, DepthNoise, NetworkOptions, open_depth
from droid_bridge.errors import DroidBridgeError
from metric3d_ros.atomic_file import replaced_when_done
from metric3d_ros.datasets.frame import Frame
from metric3d_ros.depth_picture import depth_strip
from metric3d_ros.errors import Metric3dError

log = logging.getLogger(__name__)

_SAMPLES = 8
_PICTURES = 4
_WIDEST_PX = 1242
_QUALITY = 82
_DELTA = 1.25


@dataclass(frozen=True)
class DepthAccuracy:
    """Depth against the recording's own, over all pixels that have both in some frames (Eigen et al., 2014).

    Attributes
    ----------
    frames, pixels : how many were compared.
    abs_rel : mean of |depth - truth| / truth.
    delta_1 : share of pixels with max(depth / truth, truth / depth) below 1.25.
    median_ratio : median of depth / truth; 1 is metric.
    """

    frames: int
    pixels: int
    abs_rel: float
    delta_1: float
    median_ratio: float


def sample_depth(job: BenchmarkJob, picture: Path) -> dict[str, Any] | None:
    """Draw a job's prior and give its `DepthAccuracy` as values; None where the recording has no depth.

    What cannot be drawn or compared is left out, and said in the log: it is not worth a drive's result.
    """
    try:
        samples = list(_samples(job))
    except (Metric3dError, DroidBridgeError) as error:
        log.warning("no depth of %s in the report: %s", job.name, error)
        return None
    shown = [given for given, _ in samples[:: _SAMPLES // _PICTURES] if given.depth_m is not None]
    if shown:
        _write_strip(shown, picture)
    return None if job.request.depth in OWN_DEPTH else _accuracy(samples)


def _samples(job: BenchmarkJob) -> Iterator[tuple[Frame, Frame]]:
    """Frames with the prior's depth, and with the recording's own."""
    source = open_source(job, with_depth=True)
    request = job.request
    noise = None if request.depth_noise is None else DepthNoise(*request.depth_noise, request.noise_seed)
    prior = open_depth(request.depth, source, noise, NetworkOptions(request.threads))
    chosen = {round((i + 0.5) / _SAMPLES * len(source) - 0.5) for i in range(_SAMPLES)}
    for index in sorted(chosen):
        frame = source[index]
        yield prior(frame), frame


def _write_strip(frames: list[Frame], path: Path) -> None:
    strip = depth_strip([(frame.image, frame.depth_m) for frame in frames if frame.depth_m is not None])
    scale = min(1.0, _WIDEST_PX / strip.shape[1])
    smaller = cv2.resize(strip, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(".jpg", smaller[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    with replaced_when_done(path) as temporary:
        temporary.write_bytes(encoded.tobytes())


def _accuracy(samples: list[tuple[Frame, Frame]]) -> dict[str, Any] | None:
    ratios: list[NDArray[np.float64]] = []
    for given, own in samples:
        if given.depth_m is None or own.depth_m is None:
            continue
        known = np.isfinite(given.depth_m) & np.isfinite(own.depth_m) & (own.depth_m > 0)
        ratios.append(given.depth_m[known].astype(np.float64) / own.depth_m[known])
    together = np.concatenate(ratios) if ratios else np.empty(0)
    if not together.size:
        return None
    return asdict(
        DepthAccuracy(
            frames=len(ratios),
            pixels=int(together.size),
            abs_rel=float(np.abs(together - 1).mean()),
            delta_1=float((np.maximum(together, 1 / together) < _DELTA).mean()),
            median_ratio=float(np.median(together)),
        )
    )
