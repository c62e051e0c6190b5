"""One random view of a simulated world, as training, the pool and the figures all take it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.simulated import StreetWorld, render, sample_view
from training.cameras import sample_camera_height_m

# Room for the corners of a street, and for sixteen views that have little in common.
WORLD_LENGTH_M = 120.0


def simulated_view(
    rng: np.random.Generator, world: StreetWorld, camera: PinholeCamera, style: str
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """What a camera sees of a world of ``style`` from a random place and height.

    Returns
    -------
    rgb : uint8 (height, width, 3).
    depth_m : float32 (height, width), NaN in the sky.

    Raises
    ------
    DatasetError
        If the world has no free place for it.
    """
    mount_m = sample_camera_height_m(rng, style)
    world_from_camera = sample_view(rng, world, camera, camera_height_m=(mount_m, mount_m))
    return render(world, camera, world_from_camera, seed=int(rng.integers(2**31)))
