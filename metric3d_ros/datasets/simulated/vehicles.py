"""Parked cars and vans: a side profile, a drawing of it for both flanks, and strips across."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from metric3d_ros.datasets.simulated.atlas import Texture
from metric3d_ros.datasets.simulated.cut_outs import drawn
from metric3d_ros.datasets.simulated.surfaces import SurfaceBuilder

_SIZE_PX = 512
_SHIFT = 4
_UNDERBODY_M = 0.27
_LEAN_M = 0.14

Profile = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class CarShape:
    """A body in metres: x forward from the middle, z up; ``outline`` runs from the front foot to the rear foot."""

    name: str
    length_m: float
    width_m: float
    height_m: float
    outline: Profile
    windscreen: int
    rear_window: int
    windows: tuple[Profile, ...]
    wheel_radius_m: float
    axles: tuple[float, float]


SHAPES = (
    CarShape(
        "hatchback", 4.1, 1.76, 1.47,
        ((2.05, 0.25), (2.05, 0.62), (1.9, 0.8), (1.1, 0.95), (0.35, 1.42), (-0.2, 1.47), (-1.3, 1.42),
         (-1.9, 1.0), (-2.05, 0.75), (-2.05, 0.28)),
        3, 6,
        (((0.95, 0.95), (0.3, 1.34), (-0.32, 1.39), (-0.32, 0.95)),
         ((-0.42, 0.95), (-0.42, 1.39), (-1.2, 1.34), (-1.6, 0.98))),
        0.31, (1.3, -1.25),
    ),
    CarShape(
        "saloon", 4.55, 1.8, 1.45,
        ((2.27, 0.25), (2.27, 0.62), (2.1, 0.78), (1.15, 0.93), (0.3, 1.4), (-0.3, 1.45), (-0.95, 1.41),
         (-1.65, 1.02), (-2.2, 0.96), (-2.27, 0.7), (-2.27, 0.28)),
        3, 6,
        (((1.0, 0.93), (0.28, 1.32), (-0.32, 1.37), (-0.32, 0.93)),
         ((-0.42, 0.93), (-0.42, 1.37), (-0.92, 1.33), (-1.45, 1.0))),
        0.32, (1.38, -1.36),
    ),
    CarShape(
        "estate", 4.6, 1.82, 1.52,
        ((2.3, 0.25), (2.3, 0.65), (2.1, 0.82), (1.2, 0.97), (0.4, 1.46), (-0.3, 1.52), (-1.9, 1.46),
         (-2.22, 1.0), (-2.3, 0.75), (-2.3, 0.28)),
        3, 6,
        (((1.05, 0.97), (0.37, 1.38), (-0.3, 1.43), (-0.3, 0.97)),
         ((-0.4, 0.97), (-0.4, 1.43), (-1.15, 1.41), (-1.15, 0.98)),
         ((-1.25, 0.98), (-1.25, 1.41), (-1.8, 1.36), (-2.02, 1.0))),
        0.32, (1.4, -1.38),
    ),
    CarShape(
        "van", 5.0, 1.95, 2.0,
        ((2.5, 0.27), (2.5, 0.8), (2.3, 1.05), (1.75, 1.15), (1.05, 1.85), (0.7, 2.0), (-2.35, 2.0),
         (-2.48, 1.05), (-2.5, 0.75), (-2.5, 0.3)),
        3, 6,
        (((1.55, 1.18), (1.02, 1.75), (0.3, 1.75), (0.3, 1.15)),),
        0.34, (1.6, -1.55),
    ),
)  # fmt: skip
_MORE_SHAPES = (
    CarShape(
        "small", 3.6, 1.63, 1.48,
        ((1.8, 0.25), (1.8, 0.65), (1.65, 0.85), (1.05, 1.0), (0.45, 1.42), (-0.2, 1.48), (-1.35, 1.42),
         (-1.7, 0.98), (-1.8, 0.75), (-1.8, 0.28)),
        3, 6,
        (((0.9, 0.98), (0.38, 1.35), (-0.3, 1.4), (-0.3, 0.98)),
         ((-0.4, 0.98), (-0.4, 1.4), (-1.22, 1.35), (-1.45, 1.0))),
        0.28, (1.15, -1.15),
    ),
    CarShape(
        "off_roader", 4.5, 1.85, 1.68,
        ((2.25, 0.32), (2.25, 0.8), (2.1, 0.98), (1.1, 1.1), (0.4, 1.6), (-0.3, 1.68), (-1.9, 1.62),
         (-2.15, 1.1), (-2.25, 0.85), (-2.25, 0.35)),
        3, 6,
        (((0.98, 1.1), (0.35, 1.52), (-0.3, 1.58), (-0.3, 1.1)),
         ((-0.4, 1.1), (-0.4, 1.58), (-1.15, 1.56), (-1.15, 1.1)),
         ((-1.25, 1.1), (-1.25, 1.56), (-1.8, 1.52), (-1.98, 1.12))),
        0.36, (1.38, -1.35),
    ),
    CarShape(
        "delivery_van", 5.7, 2.02, 2.55,
        ((2.85, 0.3), (2.85, 0.9), (2.65, 1.15), (2.1, 1.3), (1.4, 2.2), (0.9, 2.55), (-2.75, 2.55),
         (-2.83, 1.2), (-2.85, 0.8), (-2.85, 0.35)),
        3, 6,
        (((1.95, 1.32), (1.38, 2.05), (0.7, 2.05), (0.7, 1.3)),),
        0.35, (1.85, -1.75),
    ),
)  # fmt: skip
SHAPES_ON_ANY_ROAD = (*SHAPES[:3], *SHAPES[:3], SHAPES[3], *_MORE_SHAPES)


def car_textures(rng: np.random.Generator) -> dict[str, Texture]:
    """One flank drawing per shape; white where the paint goes."""
    return {f"flank_{shape.name}": _flank(rng, shape) for shape in SHAPES}


def more_car_textures(rng: np.random.Generator) -> dict[str, Texture]:
    """The flanks of the shapes that only varied streets have."""
    return {f"flank_{shape.name}": _flank(rng, shape) for shape in _MORE_SHAPES}


def put_lorry(rng: np.random.Generator, builder: SurfaceBuilder) -> None:
    """A lorry or bus standing at the builder's place, nose along x."""
    length_m, width_m, height_m = rng.uniform(6.5, 12.0), rng.uniform(2.3, 2.55), rng.uniform(2.9, 3.9)
    half_m, side_m, axle_m = 0.5 * length_m, 0.5 * width_m, 0.5
    is_bus = rng.random() < 0.4
    cab_m = 0.0 if is_bus else 2.0
    body, cab = _paint(rng), _paint(rng)
    floor_m = 0.35 if is_bus else 0.9
    builder.box((-half_m, -side_m, floor_m), (half_m - cab_m, side_m, height_m), "paint", (2.0, 2.0), body)
    if is_bus:
        for sign in (-1.0, 1.0):
            start = (sign * half_m * 0.96, -sign * (side_m + 0.01), 1.3)
            builder.patch(start, (-sign * 1.92 * half_m, 0, 0), (0, 0, 1.1), "glass", gloss=0.09, two_sided=True)
    else:
        builder.box(
            (half_m - cab_m, -side_m, 0.45), (half_m, side_m, min(2.8, height_m)), "paint", (2.0, 2.0), cab
        )
    builder.patch((half_m + 0.01, -0.9 * side_m, 1.35), (0, 1.8 * side_m, 0), (0, 0, 0.95), "glass", gloss=0.09)
    builder.patch((-half_m, -0.9 * side_m, 0.5), (length_m, 0, 0), (0, 1.8 * side_m, 0), "paint",
                  tint=(0.02, 0.02, 0.02), two_sided=True)  # fmt: skip
    for x in (half_m - 1.3, -half_m + 1.8, -half_m + 3.0):
        for sign in (-1.0, 1.0):
            start = (x + sign * axle_m, sign * (side_m + 0.02), 0.0)
            builder.patch(start, (-sign * 2 * axle_m, 0, 0), (0, 0, 2 * axle_m), "wheel",
                          normal=(0.0, sign, 0.0), cut_out=True, two_sided=True)  # fmt: skip
    builder.patch((-half_m - 0.01, 0.3, 0.55), (0, -0.6, 0), (0, 0, 0.12), "plate")
    builder.obstacle((-half_m, -side_m, 0.0), (half_m, side_m, height_m))


def park_car(rng: np.random.Generator, builder: SurfaceBuilder, shape: CarShape) -> None:
    """A car standing at the builder's place, nose along x."""
    tint = _paint(rng)
    half_width = 0.5 * shape.width_m
    _add_flanks(builder, shape, tint, half_width)
    for i, (lower, upper) in enumerate(zip(shape.outline[:-1], shape.outline[1:], strict=True)):
        is_glass = i in (shape.windscreen, shape.rear_window)
        lower_inset, upper_inset = _tumblehome(shape, lower[1]), _tumblehome(shape, upper[1])
        width = shape.width_m - 2 * lower_inset
        narrowing = (upper_inset - lower_inset) / width
        builder.patch(
            (lower[0], -half_width + lower_inset, lower[1]),
            (0.0, width, 0.0),
            (upper[0] - lower[0], 0.0, upper[1] - lower[1]),
            "glass" if is_glass else "paint",
            tint=(1.0, 1.0, 1.0) if is_glass else tint,
            insets=(narrowing, narrowing),
            gloss=0.09 if is_glass else 0.03,
        )
    _add_lights(builder, shape)
    builder.patch((-0.45 * shape.length_m, -0.4 * shape.width_m, _UNDERBODY_M), (0.9 * shape.length_m, 0, 0),
                  (0, 0.8 * shape.width_m, 0), "paint", tint=(0.02, 0.02, 0.02), two_sided=True)  # fmt: skip
    half = 0.5 * shape.length_m
    builder.obstacle((-half, -half_width, 0.0), (half, half_width, shape.height_m))


def _tumblehome(shape: CarShape, height_m: float) -> float:
    """How far the flank leans in at a height."""
    return _LEAN_M * height_m / shape.height_m


def _add_flanks(builder: SurfaceBuilder, shape: CarShape, tint: tuple[float, ...], half_width: float) -> None:
    texture = f"flank_{shape.name}"
    for side in (-1.0, 1.0):
        builder.patch(
            (0.5 * shape.length_m, side * half_width, 0.0),
            (-shape.length_m, 0.0, 0.0),
            (0.0, -side * _LEAN_M, shape.height_m),
            texture,
            normal=(0.0, side, 0.1),
            tint=tint,
            gloss=0.02,
            cut_out=True,
            two_sided=True,
        )
        for axle in shape.axles:
            radius = shape.wheel_radius_m
            builder.patch(
                (axle + side * radius, side * (half_width + 0.01), 0.0),
                (-side * 2 * radius, 0.0, 0.0),
                (0.0, 0.0, 2 * radius),
                "wheel",
                normal=(0.0, side, 0.0),
                cut_out=True,
                two_sided=True,
            )


def _add_lights(builder: SurfaceBuilder, shape: CarShape) -> None:
    front, rear = 0.5 * shape.length_m + 0.01, -0.5 * shape.length_m - 0.01
    half_width = 0.5 * shape.width_m
    height_m = 0.3 * shape.height_m + 0.1
    for side in (-1.0, 1.0):
        builder.patch((front, side * half_width * 0.72 - 0.17, height_m), (0, 0.34, 0), (0, 0, 0.14), "paint",
                      tint=(0.9, 0.9, 0.9), gloss=0.1)  # fmt: skip
        builder.patch((rear, side * half_width * 0.78 + 0.16, height_m + 0.05), (0, -0.32, 0), (0, 0, 0.2),
                      "paint", tint=(0.45, 0.015, 0.015), gloss=0.1)  # fmt: skip
    builder.patch((front, -0.26, 0.42), (0, 0.52, 0), (0, 0, 0.11), "plate")
    builder.patch((rear, 0.26, 0.5), (0, -0.52, 0), (0, 0, 0.11), "plate")
    builder.patch((front, -0.5, 0.55), (0, 1.0, 0), (0, 0, 0.07), "paint", tint=(0.03, 0.03, 0.03))


def _paint(rng: np.random.Generator) -> tuple[float, ...]:
    if rng.random() < 0.7:
        gray = float(rng.choice([0.02, 0.05, 0.12, 0.3, 0.5, 0.95]))
        return (gray, gray * rng.uniform(0.95, 1.05), gray * rng.uniform(0.95, 1.12))
    hue = rng.uniform(0.02, 0.12, 3)
    hue[int(rng.choice([0, 0, 2, 2, 1]))] = rng.uniform(0.2, 0.5)
    return tuple(float(v) for v in hue)


def _flank(rng: np.random.Generator, shape: CarShape) -> Texture:
    rgb = np.ones((_SIZE_PX, _SIZE_PX, 3), dtype=np.float32)
    rgb *= (0.85 + 0.3 * np.linspace(1, 0, _SIZE_PX, dtype=np.float32))[:, None, None]
    alpha = np.zeros((_SIZE_PX, _SIZE_PX), dtype=np.float32)
    cv2.fillPoly(alpha, [_pixels(shape, shape.outline)], 1.0, cv2.LINE_AA, _SHIFT)
    rgb[_row(shape, 0.36) :] *= 0.25
    belt = _row(shape, 0.62 * shape.height_m)
    rgb[belt : belt + 4] *= 0.8
    for window in shape.windows:
        cv2.fillPoly(rgb, [_pixels(shape, window)], (0.035, 0.038, 0.042), cv2.LINE_AA, _SHIFT)
    for door_x in (0.95, -0.37, -1.3):
        column = _column(shape, door_x)
        rgb[_row(shape, 0.6 * shape.height_m) : _row(shape, 0.4), column : column + 2] *= 0.35
        rgb[_row(shape, 0.75) : _row(shape, 0.72), column + 8 : column + 30] *= 0.3
    for axle in shape.axles:
        centre = (_column(shape, axle), _row(shape, shape.wheel_radius_m))
        axes = (
            int((shape.wheel_radius_m + 0.07) * _SIZE_PX / shape.length_m),
            int((shape.wheel_radius_m + 0.07) * _SIZE_PX / shape.height_m),
        )
        cv2.ellipse(rgb, centre, axes, 0, 0, 360, (0.01, 0.01, 0.01), -1, cv2.LINE_AA)
    return drawn(rgb, alpha, shape.length_m)


def _column(shape: CarShape, x_m: float) -> int:
    return int((0.5 - x_m / shape.length_m) * _SIZE_PX)


def _row(shape: CarShape, z_m: float) -> int:
    return int((1.0 - z_m / shape.height_m) * _SIZE_PX)


def _pixels(shape: CarShape, outline: Profile) -> NDArray[np.int32]:
    points = np.asarray(outline, dtype=np.float64)
    scaled = np.stack([0.5 - points[:, 0] / shape.length_m, 1.0 - points[:, 1] / shape.height_m], axis=1)
    return (scaled * _SIZE_PX * (1 << _SHIFT)).astype(np.int32)
