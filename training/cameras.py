"""Random vehicle cameras: which focal lengths and shapes training sees, and which it must not.

Two bands of focal length and every world seed from ``FIRST_EVALUATION_SEED`` up are held out, so that "unseen
focal length, unseen world" can be measured. 680..760 px holds KITTI's cameras (707 and 721 px).
"""

from __future__ import annotations

import math

import numpy as np

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.simulated.styles import PLAIN, ROOMS

FOCAL_RANGE_PX = (300.0, 2000.0)
HELD_OUT_FOCAL_BANDS_PX = ((680.0, 760.0), (1200.0, 1400.0))
FIRST_EVALUATION_SEED = 1_000_000

WIDTH_RANGE_PX = (600, 2000)
ASPECT_RANGE = (4 / 3, 3.4)
# Cameras on vehicles: a 146 deg pinhole image of 300 px focal length and 2000 px width does not exist.
HORIZONTAL_FOV_RANGE_DEG = (28.0, 105.0)
CENTRE_SHIFT_X = 0.05
# Wide images are cut out of taller sensors, seldom in the middle.
CENTRE_SHIFT_Y = 0.10

CAMERA_HEIGHT_RANGE_M = (1.2, 2.2)
# From a vacuum cleaner to a person's eyes.
ROOM_CAMERA_HEIGHT_RANGE_M = (0.3, 1.8)


def is_held_out(focal_px: float) -> bool:
    """Whether a focal length lies in a band that training does not see."""
    return any(low <= focal_px <= high for low, high in HELD_OUT_FOCAL_BANDS_PX)


def sample_camera(rng: np.random.Generator, focal_bands_px: tuple[tuple[float, float], ...] = ()) -> PinholeCamera:
    """A random camera outside the held-out bands, or inside ``focal_bands_px`` where given."""
    while True:
        if focal_bands_px:
            low, high = focal_bands_px[int(rng.integers(len(focal_bands_px)))]
        else:
            low, high = FOCAL_RANGE_PX
        focal_px = math.exp(rng.uniform(math.log(low), math.log(high)))
        width_px = int(rng.integers(WIDTH_RANGE_PX[0], WIDTH_RANGE_PX[1] + 1))
        fov_deg = 2 * math.degrees(math.atan(width_px / (2 * focal_px)))
        if not focal_bands_px and is_held_out(focal_px):
            continue
        if HORIZONTAL_FOV_RANGE_DEG[0] <= fov_deg <= HORIZONTAL_FOV_RANGE_DEG[1]:
            break
    # Half of the images are long and low like KITTI's: they fill the network's input, the others leave borders.
    aspect = rng.uniform(2.8, ASPECT_RANGE[1]) if rng.random() < 0.5 else rng.uniform(*ASPECT_RANGE)
    height_px = round(width_px / aspect)
    return PinholeCamera(
        width_px=width_px,
        height_px=height_px,
        fx=focal_px,
        fy=focal_px * rng.uniform(0.995, 1.005),
        cx=(width_px - 1) / 2 + width_px * rng.uniform(-CENTRE_SHIFT_X, CENTRE_SHIFT_X),
        cy=(height_px - 1) / 2 + height_px * rng.uniform(-CENTRE_SHIFT_Y, CENTRE_SHIFT_Y),
    )


def sample_camera_height_m(rng: np.random.Generator, style: str = PLAIN) -> float:
    """A camera height above the road, around 1.6 m mostly, low and high seldom; in rooms 0.3 to 1.8 m alike."""
    if style == ROOMS:
        return float(rng.uniform(*ROOM_CAMERA_HEIGHT_RANGE_M))
    height_m = rng.normal(1.62, 0.15) if rng.random() < 0.8 else rng.uniform(*CAMERA_HEIGHT_RANGE_M)
    return float(np.clip(height_m, *CAMERA_HEIGHT_RANGE_M))
