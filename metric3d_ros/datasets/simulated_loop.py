"""A simulated drive that comes back: once around a block, and on past its start."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.frame import Frame
from metric3d_ros.datasets.simulated import SimulatedDrive, render
from metric3d_ros.datasets.simulated.drive import KITTI_LIKE_CAMERA
from metric3d_ros.datasets.simulated.rendered_frames import RenderedFrames
from metric3d_ros.errors import DatasetError

OVERLAP_M = 60.0
_BESIDE_M = (0.25, -0.03, 0.4)  # right, down and forward of the first visit
_CHANGE_OVER_M = 15.0


class SimulatedLoop(RenderedFrames):
    """Once around a simulated block and its first stretch again, a hand's breadth beside the first visit.

    A loop is closed by seeing a place again, and a lap alone ends where it would begin to.

    Parameters
    ----------
    seed, length_m, camera : of the lap; see `SimulatedDrive`.
    overlap_m : how far the drive goes on past its start; the change to beside takes the first 15 m of it.

    Raises
    ------
    DatasetError
        If the overlap is not above 0 m and below the lap, or `SimulatedDrive` refuses the rest.
    """

    def __init__(
        self,
        seed: int = 7,
        length_m: float = 400.0,
        camera: PinholeCamera = KITTI_LIKE_CAMERA,
        overlap_m: float = OVERLAP_M,
    ) -> None:
        if not 0 < overlap_m < length_m:
            raise DatasetError(
                f"the loop's overlap is {overlap_m:g} m on a lap of {length_m:g} m; give more than 0 and less."
            )
        self._seed = seed
        self._drive = SimulatedDrive(seed, length_m, camera, closed_loop=True)
        self._lap = len(self._drive) - 1
        lap = self._drive.world_from_camera[: self._lap]
        world_from_camera = np.concatenate([lap, _beside(lap, overlap_m)])
        period_ns = int(self._drive.stamps_ns[1] - self._drive.stamps_ns[0])
        stamps_ns = np.arange(len(world_from_camera), dtype=np.int64) * period_ns
        super().__init__(f"{self._drive.name}_loop", camera, stamps_ns, world_from_camera)

    @property
    def lap_frames(self) -> int:
        """How many frames the lap has; the frame of this number stands where the first did."""
        return self._lap

    def render_all(self, workers: int = 2, progress: bool = True) -> Iterator[Frame]:
        """All frames in order, the lap rendered by ``workers`` processes; ``progress`` shows a bar."""
        for frame in self._drive.render_all(workers, progress):
            if frame.index < self._lap:
                yield frame
        for index in range(self._lap, len(self)):
            yield self._rendered(index)

    def _rendered(self, index: int) -> Frame:
        if index < self._lap:
            return self._drive[index]
        pose = self.world_from_camera[index]
        return self._frame(index, *render(self._drive.world, self.camera, pose, seed=self._seed + index))


def _beside(lap: NDArray[np.float64], overlap_m: float) -> NDArray[np.float64]:
    """The first poses (frames, 4, 4) of a lap again, drifting to beside themselves."""
    steps_m = np.linalg.norm(np.diff(lap[:, :3, 3], axis=0), axis=1)
    travelled_m = np.concatenate([[0.0], np.cumsum(steps_m)])
    again = lap[travelled_m <= overlap_m].copy()
    share = np.clip(travelled_m[: len(again)] / _CHANGE_OVER_M, 0, 1)
    eased = share**2 * (3 - 2 * share)
    again[:, :3, 3] += np.einsum("nij,j,n->ni", again[:, :3, :3], np.array(_BESIDE_M), eased)
    return again
