"""What every reader gives: frames of one camera, in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.camera import PinholeCamera


@dataclass(frozen=True)
class Frame:
    """One image with its camera and whatever truth the source has.

    Attributes
    ----------
    index : position in the source, from 0.
    stamp_ns : capture time in nanoseconds.
    image : uint8 (height, width, 3), RGB; gray sources repeat their channel.
    camera : the intrinsics of ``image``.
    depth_m : float32 (height, width), metres along the optical axis, NaN where there is no reading; or None.
    world_from_camera : float64 (4, 4), optical camera frame to the source's world; or None.
    depth_confidence : float32 (height, width) from 0 to 1, of ``depth_m`` where its source gives one; or None.
    """

    index: int
    stamp_ns: int
    image: NDArray[np.uint8]
    camera: PinholeCamera
    depth_m: NDArray[np.float32] | None = None
    world_from_camera: NDArray[np.float64] | None = None
    depth_confidence: NDArray[np.float32] | None = None


class FrameSource(Protocol):
    """A recording or a simulation that can be read frame by frame, in any order."""

    @property
    def name(self) -> str:
        """Short name for file names and tables, such as ``kitti_odometry_03``."""

    @property
    def camera(self) -> PinholeCamera:
        """The camera of every frame."""

    @property
    def stamps_ns(self) -> NDArray[np.int64]:
        """Capture times of all frames, without reading an image."""

    @property
    def world_from_camera(self) -> NDArray[np.float64] | None:
        """True poses (frames, 4, 4) where the source has them."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Frame: ...
