"""The surfaces a world is built of: planar patches with a texture, gathered object by object."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.datasets.simulated.terrain import Terrain

Vector = Sequence[float] | NDArray[np.float64]
WHITE = (1.0, 1.0, 1.0)


def cross(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cross product of two vectors (3,), without the cost of the general one."""
    (a, b, c), (x, y, z) = first, second
    return np.array([b * z - c * y, c * x - a * z, a * y - b * x])


@dataclass(frozen=True)
class Patches:
    """Planar patches as arrays, in world coordinates (metres, z up).

    A patch is the set ``origin + a * edge_u + b * edge_v`` with ``0 <= b <= 1`` and
    ``inset_left * b <= a <= 1 - inset_right * b``: a parallelogram, a trapezoid or a triangle.

    Attributes
    ----------
    origin, edge_u, edge_v : float64 (n, 3).
    inset_left, inset_right : float64 (n,), fractions of ``edge_u`` cut off at the upper edge.
    normal : float32 (n, 3), unit, used for shading and not necessarily that of the plane.
    texture : int32 (n,), index in the atlas.
    repeats : float32 (n, 2), texture tiles along ``edge_u`` and ``edge_v``.
    tint : float32 (n, 3), multiplies the texture.
    gloss : float32 (n,), share of the sky that the surface mirrors.
    cut_out : bool (n,), whether the texture's alpha cuts holes.
    two_sided : bool (n,), whether the patch is seen from behind as well.
    casts_shadow : bool (n,).
    openings : int32 (n,), set of windows and doors drawn over a facade, or -1.
    bays : float32 (n, 2), columns and storeys of those openings.
    """

    origin: NDArray[np.float64]
    edge_u: NDArray[np.float64]
    edge_v: NDArray[np.float64]
    inset_left: NDArray[np.float64]
    inset_right: NDArray[np.float64]
    normal: NDArray[np.float32]
    texture: NDArray[np.int32]
    repeats: NDArray[np.float32]
    tint: NDArray[np.float32]
    gloss: NDArray[np.float32]
    cut_out: NDArray[np.bool_]
    two_sided: NDArray[np.bool_]
    casts_shadow: NDArray[np.bool_]
    openings: NDArray[np.int32]
    bays: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.origin)

    @cached_property
    def plane_normals(self) -> NDArray[np.float64]:
        """Unit normals (n, 3) of the planes, on the outer side."""
        normal = np.cross(self.edge_u, self.edge_v)
        unit: NDArray[np.float64] = normal / np.linalg.norm(normal, axis=1, keepdims=True)
        return unit

    @cached_property
    def duals(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Vectors (n, 3) whose dot products with ``point - origin`` are the patch coordinates a and b."""
        uu = np.einsum("ij,ij->i", self.edge_u, self.edge_u)[:, None]
        uv = np.einsum("ij,ij->i", self.edge_u, self.edge_v)[:, None]
        vv = np.einsum("ij,ij->i", self.edge_v, self.edge_v)[:, None]
        determinant = uu * vv - uv * uv
        return (
            (vv * self.edge_u - uv * self.edge_v) / determinant,
            (uu * self.edge_v - uv * self.edge_u) / determinant,
        )

    @cached_property
    def corners(self) -> NDArray[np.float64]:
        """The four corners (n, 4, 3) in order around the patch."""
        left = self.inset_left[:, None] * self.edge_u
        right = self.inset_right[:, None] * self.edge_u
        low = self.origin
        high = self.origin + self.edge_v
        return np.stack([low, low + self.edge_u, high + self.edge_u - right, high + left], axis=1)


@dataclass(frozen=True)
class Obstacle:
    """The solid part of an object as an upright box: centre, half sizes, heading, heights (metres, radians)."""

    x: float
    y: float
    half_length_m: float
    half_width_m: float
    heading_rad: float
    bottom_m: float
    top_m: float


@dataclass
class SurfaceBuilder:
    """Collects patches and obstacles; objects are described in their own frame inside ``placed``.

    ``terrain`` is what they stand on; ``tile_scale`` stretches the tiles of a texture, by its name.
    """

    texture_index: dict[str, int]
    terrain: Terrain = field(default_factory=Terrain.level)
    tile_scale: dict[str, float] = field(default_factory=dict)
    _rows: list[tuple[object, ...]] = field(default_factory=list)
    obstacles: list[Obstacle] = field(default_factory=list)
    ceilings: list[tuple[Obstacle, float]] = field(default_factory=list)
    rooms: list[Obstacle] = field(default_factory=list)
    _x: float = 0.0
    _y: float = 0.0
    _heading: float = 0.0
    _upright: bool = False

    @contextmanager
    def placed(self, x: float, y: float, heading_rad: float, upright: bool = False) -> Iterator[None]:
        """Coordinates inside are metres forward, left and up of this ground point and heading.

        What is placed leans and bends with the ground under it, unless it is ``upright``: buildings are.
        """
        before = (self._x, self._y, self._heading, self._upright)
        self._x, self._y, self._heading, self._upright = x, y, heading_rad, upright
        try:
            yield
        finally:
            self._x, self._y, self._heading, self._upright = before

    def patch(
        self,
        origin: Vector,
        edge_u: Vector,
        edge_v: Vector,
        texture: str,
        tile_m: tuple[float, float | None] | None = None,
        tint: Vector = WHITE,
        insets: tuple[float, float] = (0.0, 0.0),
        normal: Vector | None = None,
        gloss: float = 0.0,
        cut_out: bool = False,
        two_sided: bool = False,
        casts_shadow: bool = True,
        openings: int = -1,
        bays: tuple[float, float] = (1.0, 1.0),
    ) -> None:
        """One patch; ``tile_m`` is the size of a texture tile, without it one tile covers the patch.

        One tile covers ``edge_v``, however tiles are stretched, where ``tile_m`` says nothing of that direction.
        """
        corner = self._turned(origin) + np.array([self._x, self._y, 0.0])
        u, v = self._turned(edge_u), self._turned(edge_v)
        if not self.terrain.is_level:
            corner, u, v = self._on_terrain(corner, u, v)
        shading_normal = cross(u, v) if normal is None else self._turned(normal)
        length = math.hypot(*shading_normal)
        repeats = (1.0, 1.0)
        if tile_m is not None:
            scale = self.tile_scale.get(texture, 1.0)
            across_m, along_m = tile_m
            repeats = (
                math.hypot(*u) / (scale * across_m),
                1.0 if along_m is None else math.hypot(*v) / (scale * along_m),
            )
        self._rows.append(
            (
                corner, u, v, insets[0], insets[1], shading_normal / length, self.texture_index[texture], repeats,
                tuple(tint), gloss, cut_out, two_sided, casts_shadow, openings, bays,
            )
        )  # fmt: skip

    def ground(self, middle: NDArray[np.float64], texture: str) -> int:
        """The strips of the terrain around a ground point (2,); returns how many there are."""
        strips = self.terrain.strips(middle)
        for corner, u, v in strips:
            up = cross(u, v)
            self._rows.append(
                (
                    corner, u, v, 0.0, 0.0, up / math.hypot(*up), self.texture_index[texture], (1.0, 1.0),
                    WHITE, 0.0, False, False, False, -1, (1.0, 1.0),
                )
            )  # fmt: skip
        return len(strips)

    def box(
        self,
        low: Vector,
        high: Vector,
        texture: str,
        tile_m: tuple[float, float] | None = None,
        tint: Vector = WHITE,
        top: str | None = None,
        gloss: float = 0.0,
        casts_shadow: bool = True,
    ) -> None:
        """Four walls and a lid between two corners of the object's frame."""
        (x0, y0, z0), (x1, y1, z1) = low, high
        up = (0.0, 0.0, z1 - z0)
        options = {"tile_m": tile_m, "tint": tint, "gloss": gloss, "casts_shadow": casts_shadow}
        walls = (
            ((x0, y0, z0), (x1 - x0, 0.0, 0.0)),
            ((x1, y0, z0), (0.0, y1 - y0, 0.0)),
            ((x1, y1, z0), (x0 - x1, 0.0, 0.0)),
            ((x0, y1, z0), (0.0, y0 - y1, 0.0)),
        )
        for origin, edge in walls:
            self.patch(origin, edge, up, texture, **options)  # type: ignore[arg-type]
        self.patch((x0, y0, z1), (x1 - x0, 0, 0), (0, y1 - y0, 0), top or texture, **options)  # type: ignore[arg-type]

    def prism(
        self,
        x: float,
        y: float,
        bottom_m: float,
        top_m: float,
        radius_m: float,
        texture: str,
        tile_m: tuple[float, float],
        tint: Vector = WHITE,
        sides: int = 6,
        taper: float = 0.0,
        gloss: float = 0.0,
    ) -> None:
        """An upright column; ``taper`` is the share of its radius it loses towards the top."""
        angles = 2 * math.pi * np.arange(sides + 1) / sides
        ring = radius_m * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        for here, there in pairwise(ring):
            lean = -0.5 * taper * (here + there)
            self.patch(
                (x + here[0], y + here[1], bottom_m),
                (there[0] - here[0], there[1] - here[1], 0.0),
                (lean[0], lean[1], top_m - bottom_m),
                texture,
                tile_m=tile_m,
                tint=tint,
                insets=(0.5 * taper, 0.5 * taper),
                gloss=gloss,
            )

    def obstacle(self, low: Vector, high: Vector) -> None:
        """Marks the box between two corners of the object's frame as solid."""
        self.obstacles.append(self._upright_box(low, high))

    def room(self, low: Vector, high: Vector) -> None:
        """Marks the box between two corners of the object's frame as the inside of a room."""
        self.rooms.append(self._upright_box(low, high))

    def ceiling(self, low: tuple[float, float], high: tuple[float, float], shade: float) -> None:
        """Marks a rectangle of the object's frame as lying under what takes a share of the sky's light."""
        self.ceilings.append((self._upright_box((*low, 0.0), (*high, 0.0)), shade))

    def _upright_box(self, low: Vector, high: Vector) -> Obstacle:
        centre = self._turned((0.5 * (low[0] + high[0]), 0.5 * (low[1] + high[1]), 0.0))
        x, y = self._x + float(centre[0]), self._y + float(centre[1])
        ground_m = float(self.terrain.height_m(x, y))
        return Obstacle(
            x=x,
            y=y,
            half_length_m=0.5 * abs(high[0] - low[0]),
            half_width_m=0.5 * abs(high[1] - low[1]),
            heading_rad=self._heading,
            bottom_m=ground_m + float(low[2]),
            top_m=ground_m + float(high[2]),
        )

    def build(self) -> Patches:
        """All patches so far as arrays."""
        columns = list(zip(*self._rows, strict=True))
        kinds = (
            np.float64, np.float64, np.float64, np.float64, np.float64, np.float32, np.int32, np.float32,
            np.float32, np.float32, np.bool_, np.bool_, np.bool_, np.int32, np.float32,
        )  # fmt: skip
        return Patches(*(np.asarray(column, dtype=kind) for column, kind in zip(columns, kinds, strict=True)))

    def _on_terrain(
        self, corner: NDArray[np.float64], u: NDArray[np.float64], v: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """A patch lifted onto the ground; three of its corners keep their height above it."""
        up = np.array([0.0, 0.0, 1.0])
        if self._upright:
            return corner + up * self.terrain.height_m(self._x, self._y), u, v
        x, y = np.stack([corner, corner + u, corner + v])[:, :2].T
        height_m = self.terrain.height_m(x, y)
        return (
            corner + up * height_m[0],
            u + up * (height_m[1] - height_m[0]),
            v + up * (height_m[2] - height_m[0]),
        )

    def _turned(self, vector: Vector) -> NDArray[np.float64]:
        cosine, sine = math.cos(self._heading), math.sin(self._heading)
        x, y, z = vector
        return np.array([cosine * x - sine * y, sine * x + cosine * y, z], dtype=np.float64)
