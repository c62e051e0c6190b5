"""Where the metric depth of a recording comes from when it is tracked offline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from droid_bridge.errors import DroidBridgeError
from metric3d_ros.datasets.frame import Frame, FrameSource
from metric3d_ros.estimator import MetricDepthEstimator

PNG_PER_METRE = 256.0
_NOISE_GRID_PX = 8  # noise is drawn on a grid of this step and smoothed, as a network errs by regions
_NOISE_BLUR_STEPS = 3.0

OWN_DEPTH = ("truth", "lidar")

DepthSource: TypeAlias = Callable[[Frame], Frame]


@dataclass(frozen=True)
class DepthNoise:
    """Relative noise like a network's.

    Attributes
    ----------
    pixel_sigma : of the pixels, correlated over regions of some dozen pixels.
    frame_sigma : of one factor for the whole image.
    seed : of both; a frame's noise depends on it and on the frame's number alone.
    """

    pixel_sigma: float
    frame_sigma: float
    seed: int = 0

    def applied(self, depth_m: NDArray[np.float32], frame_index: int) -> NDArray[np.float32]:
        """Depth (height, width) with the noise of one frame; what is NaN stays so."""
        rng = np.random.default_rng([self.seed, frame_index])
        height, width = depth_m.shape
        size = (height // _NOISE_GRID_PX + 1, width // _NOISE_GRID_PX + 1)
        regions = cv2.GaussianBlur(rng.standard_normal(size).astype(np.float32), (0, 0), _NOISE_BLUR_STEPS)
        regions = cv2.resize(regions / regions.std(), (width, height))
        frame_factor = 1 + self.frame_sigma * rng.standard_normal()
        return np.asarray(depth_m * (1 + self.pixel_sigma * regions).clip(0.1) * frame_factor, dtype=np.float32)


@dataclass(frozen=True)
class NetworkOptions:
    """How a depth network is run; ``MetricDepthEstimator`` says more.

    Attributes
    ----------
    threads : of the network.
    headroom_deg : what lies higher is hidden from the network's closer look; None takes the model's own.
    """

    threads: int = 1
    headroom_deg: float | None = None

    def node_parameters(self) -> dict[str, str]:
        """The depth node's parameters that say the same, threads left to the node."""
        return {} if self.headroom_deg is None else {"headroom_deg": str(self.headroom_deg)}


def open_depth(
    name: str,
    source: FrameSource,
    noise: DepthNoise | None,
    network: NetworkOptions | None = None,
) -> DepthSource:
    """What gives the frames of a recording their depth.

    Parameters
    ----------
    name : ``none``; ``truth`` or ``lidar`` for the recording's own; a folder of 16-bit PNGs (metres * 256, 0 is no
        reading) named like the images; or a depth network, by its model's name or its ONNX file.
    source : the recording.
    noise : put on top; None for none.
    network : how a network is run; None for one thread and all else its own.

    Raises
    ------
    DroidBridgeError
        If the folder has not one PNG for each image, there is noise but no depth, or something is told to a
        network that there is not.
    Metric3dError
        If there is no such network, or it cannot be loaded.
    """
    network = network or NetworkOptions()
    if network.node_parameters() and not is_network(name):
        raise DroidBridgeError(
            f"--headroom-deg tells a depth network something, but --depth is {name}; leave it out, or name a "
            "network."
        )
    if name == "none":
        if noise is not None:
            raise DroidBridgeError("--depth-noise needs a depth to put it on; give another --depth than none.")
        return _without_depth
    if name in OWN_DEPTH:
        given = _own_depth
    elif Path(name).expanduser().is_dir():
        given = _FolderDepth(Path(name).expanduser(), source)
    else:
        given = _NetworkDepth(
            MetricDepthEstimator.from_model(name, network.threads, headroom_deg=network.headroom_deg)
        )
    return given if noise is None else _NoisyDepth(given, noise)


def is_network(name: str) -> bool:
    """Whether this depth comes from a network, not from the recording or from files."""
    return name not in (*OWN_DEPTH, "none") and not Path(name).expanduser().is_dir()


def _without_depth(frame: Frame) -> Frame:
    return replace(frame, depth_m=None, depth_confidence=None)


def _own_depth(frame: Frame) -> Frame:
    if frame.depth_m is None:
        raise DroidBridgeError(
            f"frame {frame.index} of this recording has no depth of its own; choose another --depth."
        )
    return frame


@dataclass(frozen=True)
class _NetworkDepth:
    estimator: MetricDepthEstimator

    def __call__(self, frame: Frame) -> Frame:
        prediction = self.estimator.predict(frame.image, frame.camera)
        return replace(frame, depth_m=prediction.depth_m, depth_confidence=prediction.confidence)


@dataclass(frozen=True)
class _NoisyDepth:
    given: DepthSource
    noise: DepthNoise

    def __call__(self, frame: Frame) -> Frame:
        frame = self.given(frame)
        if frame.depth_m is None:
            return frame
        return replace(frame, depth_m=self.noise.applied(frame.depth_m, frame.index))


class _FolderDepth:
    def __init__(self, folder: Path, source: FrameSource) -> None:
        image_paths: tuple[Path, ...] | None = getattr(source, "image_paths", None)
        names = [path.stem for path in image_paths] if image_paths else [f"{k:06d}" for k in range(len(source))]
        self._paths = [folder / f"{name}.png" for name in names]
        missing = [path.name for path in self._paths if not path.is_file()]
        if missing:
            raise DroidBridgeError(
                f"{folder} has no {missing[0]} ({len(missing)} of {len(names)} depth images are missing); "
                "name them like the images, 16-bit PNG, metres * 256."
            )

    def __call__(self, frame: Frame) -> Frame:
        path = self._paths[frame.index]
        stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if stored is None or stored.dtype != np.uint16 or stored.ndim != 2:
            found = "no image" if stored is None else f"{stored.dtype} {stored.shape}"
            raise DroidBridgeError(f"{path} is {found}; give a 16-bit PNG of one channel, metres * 256.")
        depth_m = np.where(stored > 0, stored.astype(np.float32) / PNG_PER_METRE, np.float32(np.nan))
        return replace(frame, depth_m=depth_m.astype(np.float32), depth_confidence=None)
