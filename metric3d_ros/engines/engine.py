"""The protocol every engine keeps: one letterboxed image in, canonical depth out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.canonical import CANONICAL_FOCAL_PX
from metric3d_ros.letterbox import IMAGE_CENTRE

MAX_HEADROOM_DEG = 45.0


@dataclass(frozen=True)
class ModelInfo:
    """What a network file says of itself.

    Attributes
    ----------
    name : the model's name, such as ``nano``.
    input_width_px, input_height_px : the only input size the network takes.
    canonical_focal_px : focal length of the canonical camera its depth is in.
    min_confidence : confidence under which its depth is no reading; -inf, or none given, keeps all.
    gives_confidence : whether it says how sure it is of each pixel.
    placement : where it wants an image in its input: ``image_centre`` or ``principal_row`` (``letterbox``).
    looks_twice : whether it reads the rows over one it is told, and all below, in two looks (``DepthEngine.run``).
    headroom_deg : what lies higher than so far over the principal row misleads it about the rest, so its two looks
        part there; 0 for a single look.
    """

    name: str
    input_width_px: int
    input_height_px: int
    canonical_focal_px: float = CANONICAL_FOCAL_PX
    min_confidence: float = -math.inf
    gives_confidence: bool = False
    placement: str = IMAGE_CENTRE
    looks_twice: bool = False
    headroom_deg: float = 0.0


@dataclass(frozen=True)
class NetworkOutput:
    """Maps of the network's input size.

    Attributes
    ----------
    depth_canonical : float32 (input height, input width), depth in the canonical camera.
    confidence : float32 (input height, input width), the depth's, where the network gives one.
    normals : float32 (input height, input width, 3), surface normals in the camera frame (x right, y down,
        z forward) that point towards the camera, where the network gives them.
    """

    depth_canonical: NDArray[np.float32]
    confidence: NDArray[np.float32] | None = None
    normals: NDArray[np.float32] | None = None


class DepthEngine(Protocol):
    """A loaded network."""

    @property
    def model(self) -> ModelInfo:
        """The network's description."""

    @property
    def identity(self) -> str:
        """The engine, its version and device in a few words, for logs and diagnostics."""

    def run(self, network_image: NDArray[np.uint8], first_row: int = 0) -> NetworkOutput:
        """Depth of one letterboxed RGB image (input height, input width, 3), uint8.

        Parameters
        ----------
        first_row : for a network that looks twice: what lies over this row is hidden from its closer look, which
            has padding there. An overview reads everything. 0 hides nothing.

        Raises
        ------
        EngineError
            If the image has another size, the network looks once and a row is given, or the network fails.
        """
