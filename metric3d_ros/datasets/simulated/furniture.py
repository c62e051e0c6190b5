"""Street furniture: lamps, signs, fences, garden walls, cabinets, bins."""

from __future__ import annotations

import numpy as np

from metric3d_ros.datasets.simulated.surfaces import SurfaceBuilder

_STEEL = (0.45, 0.47, 0.47)


def put_lamp(rng: np.random.Generator, builder: SurfaceBuilder) -> None:
    """A street lamp; its arm reaches towards +y."""
    height_m = rng.uniform(5.5, 9.0)
    builder.prism(0, 0, 0, height_m, 0.08, "paint", (1, 1), _STEEL, taper=0.4, sides=7)
    builder.box((-0.04, 0.0, height_m - 0.06), (0.04, 1.3, height_m + 0.02), "paint", (1, 1), _STEEL)
    builder.box((-0.12, 1.1, height_m - 0.1), (0.12, 1.7, height_m + 0.04), "paint", (1, 1), (0.3, 0.3, 0.32))
    builder.obstacle((-0.1, -0.1, 0), (0.1, 0.1, height_m))


def put_sign(rng: np.random.Generator, builder: SurfaceBuilder) -> None:
    """A road sign on a pole, facing -x."""
    builder.prism(0, 0, 0, 2.9, 0.035, "paint", (1, 1), _STEEL, sides=5)
    face = str(rng.choice(["sign_round", "sign_round", "sign_board"]))
    size_m = rng.uniform(0.55, 0.75)
    low_m = 2.9 - size_m
    builder.patch((-0.05, size_m / 2, low_m), (0, -size_m, 0), (0, 0, size_m), face, cut_out=True)
    builder.patch(
        (-0.045, -size_m / 2, low_m), (0, size_m, 0), (0, 0, size_m), face, tint=(0.3, 0.3, 0.3), cut_out=True
    )
    builder.obstacle((-0.1, -0.4, 0), (0.1, 0.4, 3.0))


def put_poster_board(rng: np.random.Generator, builder: SurfaceBuilder) -> None:
    """An advertising board on two feet, facing -x and +x."""
    width_m, height_m = rng.uniform(1.4, 3.6), rng.uniform(1.2, 2.4)
    for y in (-0.4 * width_m, 0.4 * width_m):
        builder.prism(0.1, y, 0, 0.9 + height_m, 0.05, "paint", (1, 1), _STEEL, sides=5)
    builder.patch((0, 0.5 * width_m, 0.9), (0, -width_m, 0), (0, 0, height_m), "poster")
    builder.patch((0.02, -0.5 * width_m, 0.9), (0, width_m, 0), (0, 0, height_m), "poster", tint=(0.4, 0.4, 0.4))
    builder.obstacle((-0.1, -0.5 * width_m, 0), (0.2, 0.5 * width_m, 1.0 + height_m))


def put_fence(rng: np.random.Generator, builder: SurfaceBuilder, length_m: float) -> None:
    """A picket or wire-mesh fence along x."""
    if rng.random() < 0.5:
        height_m = rng.uniform(0.9, 1.2)
        tint = np.full(3, rng.uniform(0.4, 1.5))
        _fence_panel(builder, length_m, height_m, "pickets", (1.2, height_m), tint)
        post, spacing_m = "wood", 2.4
    else:
        height_m = rng.uniform(1.2, 2.0)
        _fence_panel(builder, length_m, height_m, "mesh", (0.5, 0.5), np.array([0.7, 1.0, 0.8]))
        post, spacing_m = "paint", 2.5
    for x in np.arange(0.0, length_m + 0.1, spacing_m):
        builder.prism(x, 0.0, 0.0, height_m + 0.08, 0.05, post, (0.5, 1.0), (0.35, 0.38, 0.36), sides=4)
    builder.obstacle((0, -0.1, 0), (length_m, 0.1, height_m))


def _fence_panel(
    builder: SurfaceBuilder,
    length_m: float,
    height_m: float,
    texture: str,
    tile_m: tuple[float, float],
    tint: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> None:
    builder.patch(
        (0, 0, 0.05), (length_m, 0, 0), (0, 0, height_m), texture, tile_m, tint, cut_out=True, two_sided=True
    )


def put_wall(rng: np.random.Generator, builder: SurfaceBuilder, length_m: float) -> None:
    """A garden wall along x."""
    height_m = rng.uniform(0.5, 1.8)
    material = str(rng.choice(["stone", "plaster", "brick", "concrete"]))
    tint = np.full(3, rng.uniform(0.7, 1.1))
    builder.box((0, -0.15, 0), (length_m, 0.15, height_m), material, (2.4, 2.4), tint)
    builder.box((-0.05, -0.2, height_m), (length_m + 0.05, 0.2, height_m + 0.08), "concrete", (4, 4))
    builder.obstacle((0, -0.2, 0), (length_m, 0.2, height_m + 0.08))


def put_cabinet(rng: np.random.Generator, builder: SurfaceBuilder) -> None:
    """An electricity cabinet or a row of bins."""
    if rng.random() < 0.5:
        builder.box((-0.5, -0.2, 0), (0.5, 0.2, rng.uniform(0.9, 1.3)), "paint", (1, 1), (0.5, 0.52, 0.5))
        builder.obstacle((-0.5, -0.2, 0), (0.5, 0.2, 1.3))
        return
    for x in (-0.65, 0.0, 0.65):
        tint = [(0.05, 0.05, 0.05), (0.05, 0.2, 0.06), (0.35, 0.25, 0.03)][int(rng.integers(3))]
        builder.box((x - 0.28, -0.35, 0.02), (x + 0.28, 0.35, 1.05), "paint", (1, 1), tint)
    builder.obstacle((-1.0, -0.4, 0), (1.0, 0.4, 1.1))


def put_person(rng: np.random.Generator, builder: SurfaceBuilder) -> None:
    """Somebody standing or walking, facing x: legs, trunk, arms and head of a body 1.2 to 1.95 m tall."""
    height_m = float(np.clip(rng.normal(1.72, 0.1), 1.2, 1.95))
    stride_m = rng.uniform(0.0, 0.3)
    trousers, jacket = rng.uniform(0.03, 0.5, 3), rng.uniform(0.03, 0.9, 3)
    skin = rng.uniform(0.15, 0.6) * np.array([1.0, 0.75, 0.6])
    hip_m, shoulder_m = 0.48 * height_m, 0.82 * height_m
    for y, x in ((-0.09, -0.5 * stride_m), (0.09, 0.5 * stride_m)):
        builder.prism(x, y, 0.0, hip_m, 0.09, "paint", (1, 1), trousers, sides=5)
    builder.prism(0.0, 0.0, hip_m, shoulder_m, 0.19, "paint", (1, 1), jacket, sides=6)
    for y in (-0.24, 0.24):
        builder.prism(0.0, y, hip_m - 0.05, shoulder_m, 0.06, "paint", (1, 1), jacket, sides=4)
    builder.prism(0.0, 0.0, shoulder_m, height_m, 0.1, "paint", (1, 1), skin, sides=6)
    builder.obstacle((-0.3, -0.3, 0.0), (0.3, 0.3, height_m))
