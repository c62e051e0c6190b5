"""What sources of rendered frames have in common: a camera on known poses at known times."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.frame import Frame


class RenderedFrames(ABC):
    """A `FrameSource` whose frames are rendered when asked for.

    Parameters
    ----------
    name : short, for file names and tables.
    camera : of every frame.
    stamps_ns, world_from_camera : (frames,) and (frames, 4, 4), see the properties.
    """

    def __init__(
        self,
        name: str,
        camera: PinholeCamera,
        stamps_ns: NDArray[np.int64],
        world_from_camera: NDArray[np.float64],
    ) -> None:
        self._name = name
        self._camera = camera
        self._stamps_ns = stamps_ns
        self._world_from_camera = world_from_camera

    @property
    def name(self) -> str:
        """Short name for file names and tables."""
        return self._name

    @property
    def camera(self) -> PinholeCamera:
        """The camera of every frame."""
        return self._camera

    @property
    def stamps_ns(self) -> NDArray[np.int64]:
        """Capture times of all frames, the first at 0."""
        return self._stamps_ns

    @property
    def world_from_camera(self) -> NDArray[np.float64]:
        """True poses (frames, 4, 4), optical camera frame to the z-up world."""
        return self._world_from_camera

    def __len__(self) -> int:
        return len(self._world_from_camera)

    def __getitem__(self, index: int) -> Frame:
        if not -len(self) <= index < len(self):
            raise IndexError(f"frame {index} of the {len(self)} frames of {self.name}")
        return self._rendered(index % len(self))

    @abstractmethod
    def _rendered(self, index: int) -> Frame:
        """The frame at an index from 0 on."""

    def _frame(self, index: int, rgb: NDArray[np.uint8], depth_m: NDArray[np.float32]) -> Frame:
        """What was rendered for an index, as a frame."""
        return Frame(
            index, int(self._stamps_ns[index]), rgb, self._camera, depth_m, self._world_from_camera[index]
        )
