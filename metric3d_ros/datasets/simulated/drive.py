"""A drive through a street world as a source of frames with true depth and poses."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from rich.progress import track

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.frame import Frame
from metric3d_ros.datasets.simulated.camera_path import drive_poses
from metric3d_ros.datasets.simulated.rendered_frames import RenderedFrames
from metric3d_ros.datasets.simulated.rendering import render
from metric3d_ros.datasets.simulated.styles import PLAIN, world_style
from metric3d_ros.datasets.simulated.world import StreetWorld, road_profile, street_line, street_terrain
from metric3d_ros.errors import DatasetError

KITTI_LIKE_CAMERA = PinholeCamera(width_px=1242, height_px=375, fx=721.5, fy=721.5, cx=609.6, cy=172.9)
_PATH_STREAM = 3
_AHEAD_PER_WORKER = 4


@dataclass(frozen=True)
class _DriveOptions:
    seed: int
    length_m: float
    camera: PinholeCamera
    speed_m_per_s: float
    rate_hz: float
    camera_height_m: float
    closed_loop: bool
    setting: str | None
    style: str


class SimulatedDrive(RenderedFrames):
    """A seeded drive; frames are rendered when asked for, and the same whichever way they are asked for.

    Parameters
    ----------
    seed : the world, its light and the drive follow from it.
    length_m : way along the street.
    camera : an undistorted camera.
    speed_m_per_s, rate_hz : their quotient is the mean way between frames.
    camera_height_m : above the road.
    closed_loop : whether the drive ends where it began.
    setting : kind of street, drawn from the seed if not given.
    style : ``plain`` or ``varied`` (:meth:`StreetWorld.generate`).

    Raises
    ------
    DatasetError
        If a number is out of range.
    """

    def __init__(
        self,
        seed: int = 7,
        length_m: float = 400.0,
        camera: PinholeCamera = KITTI_LIKE_CAMERA,
        speed_m_per_s: float = 10.0,
        rate_hz: float = 10.0,
        camera_height_m: float = 1.65,
        closed_loop: bool = False,
        setting: str | None = None,
        style: str = PLAIN,
    ) -> None:
        for name, value in (
            ("speed_m_per_s", speed_m_per_s),
            ("rate_hz", rate_hz),
            ("camera_height_m", camera_height_m),
        ):
            if not value > 0:
                raise DatasetError(f"{name} is {value}; a simulated drive needs a number above 0.")
        if not world_style(style).has_street:
            raise DatasetError(f"style {style!r} has no street to drive along; use plain, varied or kerbed.")
        self._options = _DriveOptions(
            seed, length_m, camera, speed_m_per_s, rate_hz, camera_height_m, closed_loop, setting, style
        )
        line = street_line(seed, length_m, closed_loop)
        profile = road_profile(seed, length_m, closed_loop, setting, style)
        world_from_camera = drive_poses(
            np.random.default_rng([seed, _PATH_STREAM]),
            line,
            profile,
            speed_m_per_s,
            rate_hz,
            camera_height_m,
            street_terrain(seed, line, style),
        )
        stamps_ns = np.rint(np.arange(len(world_from_camera)) * (1e9 / rate_hz)).astype(np.int64)
        super().__init__(f"simulated_{seed}", camera, stamps_ns, world_from_camera)

    @cached_property
    def world(self) -> StreetWorld:
        """The world driven through, generated on first use."""
        o = self._options
        return StreetWorld.generate(o.seed, o.length_m, o.closed_loop, o.setting, style=o.style)

    def _rendered(self, index: int) -> Frame:
        seed = _noise_seed(self._options.seed, index)
        return self._frame(index, *render(self.world, self.camera, self.world_from_camera[index], seed=seed))

    def __iter__(self) -> Iterator[Frame]:
        return self.render_all(workers=1, progress=False)

    def render_all(self, workers: int = 2, progress: bool = True) -> Iterator[Frame]:
        """All frames in order, rendered by ``workers`` processes; ``progress`` shows a bar."""
        frames = self._frames_here() if workers <= 1 else self._frames_from_workers(workers)
        if progress:
            frames = iter(track(frames, description=f"rendering {self.name}", total=len(self)))
        return frames

    def _frames_here(self) -> Iterator[Frame]:
        for index in range(len(self)):
            yield self[index]

    def _frames_from_workers(self, workers: int) -> Iterator[Frame]:
        # Spawned processes share nothing with this one: each rebuilds the world from the seed.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(
            workers, mp_context=context, initializer=_start_worker, initargs=(self._options,)
        ) as pool:
            pending: deque[Future[Frame]] = deque()
            try:
                for index in range(len(self)):
                    pending.append(pool.submit(_render_in_worker, index))
                    if len(pending) > _AHEAD_PER_WORKER * workers:
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            finally:
                for future in pending:
                    future.cancel()


def _noise_seed(seed: int, index: int) -> int:
    return (seed * 1_000_003 + index) & 0x7FFFFFFF


class _Worker:
    """The drive of this process, set once by the pool's initializer."""

    drive: SimulatedDrive


def _start_worker(options: _DriveOptions) -> None:
    cv2.setNumThreads(1)
    o = options
    _Worker.drive = SimulatedDrive(
        o.seed,
        o.length_m,
        o.camera,
        o.speed_m_per_s,
        o.rate_hz,
        o.camera_height_m,
        o.closed_loop,
        o.setting,
        o.style,
    )


def _render_in_worker(index: int) -> Frame:
    return _Worker.drive[index]
