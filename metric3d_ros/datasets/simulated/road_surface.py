"""What covers a ground point: road, marking, kerb, pavement, or what lies beyond it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.datasets.simulated.ground import OFF_ROAD_M

if TYPE_CHECKING:
    from metric3d_ros.datasets.simulated.world import StreetWorld

Floats = NDArray[np.float32]
COVERS = ("grass", "meadow", "paving", "soil", "gravel", "asphalt", "asphalt_patch", "kerb", "side_road")
_DASH_HALF_WIDTH_M = 0.06


@dataclass(frozen=True)
class RoadProfile:
    """Cross-section of the street; sides are (left, right) as the centre line runs, in metres.

    ``dashes`` is the share of the centre marking that is painted (0: none); ``edge_lines`` whether the
    lanes have painted edges; ``kerbed`` whether there is a kerb and a pavement. ``lane_m`` is half of the road
    between the parked cars; it holds ``lanes`` of equal width, with dashes between them.
    """

    lane_m: float
    parking_m: tuple[float, float]
    kerb_m: float
    pavement_m: tuple[float, float]
    dashes: float
    edge_lines: bool
    period_m: float
    lanes: int = 1

    @property
    def lane_middle_m(self) -> float:
        """Distance of the middle of the outermost lane from the centre line."""
        return self.lane_m * (1.0 - 0.5 / self.lanes)

    def kerb_at_m(self, side: int) -> float:
        """Offset of the kerb from the centre line; side 0 is left."""
        return self.lane_m + self.parking_m[side]

    def front_at_m(self, side: int) -> float:
        """Offset at which the plots begin."""
        return self.kerb_at_m(side) + self.kerb_m + self.pavement_m[side]


@dataclass(frozen=True)
class GroundCover:
    """Texture lookups of ground points (n,): tile coordinates, brightness factor, paint share, open sky share."""

    texture: NDArray[np.int32]
    u: Floats
    v: Floats
    texels_per_m: Floats
    factor: Floats
    paint: Floats
    openness: Floats


def cover_ground(world: StreetWorld, x: Floats, y: Floats, footprint_m: Floats) -> GroundCover:
    """Covers of ground points x, y (each (n,)) seen with pixels of ``footprint_m`` (n,) across."""
    profile = world.profile
    layers = np.ascontiguousarray(world.road_grid.sample(world.road_layers, x, y, OFF_ROAD_M).T)
    left, cosine, sine, openness = layers
    openness = np.clip(openness, 0.0, 1.0)
    away = np.abs(left)
    is_left = left > 0
    kerb_at = np.where(is_left, profile.kerb_at_m(0), profile.kerb_at_m(1)).astype(np.float32)
    front_at = np.where(is_left, profile.front_at_m(0), profile.front_at_m(1)).astype(np.float32)
    painted = world.cover_grid.sample(world.cover, x, y, 0, nearest=True)
    names = world.atlas.index
    textures = [names["asphalt" if name == "side_road" else name] for name in COVERS]
    texture = np.array(textures, dtype=np.int32)[painted]
    on_road = away < kerb_at
    on_side_road = painted == COVERS.index("side_road")
    on_kerb = ~on_road & ~on_side_road & (away < kerb_at + profile.kerb_m)
    on_pavement = ~on_road & ~on_side_road & ~on_kerb & (away < front_at)
    texture = np.where(on_road & (painted < 6), names["asphalt"], texture)
    texture = np.where(on_kerb, names["kerb"], texture)
    texture = np.where(on_pavement, world.pavement_texture, texture).astype(np.int32)
    size_m = world.atlas.size_m[texture]
    station = np.arctan2(sine, cosine) * np.float32(profile.period_m / (2 * math.pi))
    along_road = on_kerb | on_pavement
    u = np.asarray(np.where(along_road, station, x) / size_m, dtype=np.float32)
    v = np.asarray(np.where(along_road, left, y) / size_m, dtype=np.float32)
    factor = np.ones(len(x), dtype=np.float32)
    gutter = np.clip(1.0 - np.abs(away - kerb_at + 0.04) / np.maximum(0.06, footprint_m), 0.0, 1.0)
    factor -= (
        np.float32(0.5) * gutter * ((profile.kerb_m > 0) & ~on_side_road) * np.minimum(1.0, 0.06 / footprint_m)
    )
    return GroundCover(
        texture=texture,
        u=u,
        v=v,
        texels_per_m=world.atlas.size_px[texture, 0] / size_m,
        factor=factor,
        paint=_markings(profile, left, away, station, footprint_m) * np.float32(world.paint_wear),
        openness=openness,
    )


def _markings(profile: RoadProfile, left: Floats, away: Floats, station: Floats, footprint_m: Floats) -> Floats:
    paint = np.zeros_like(left)
    if profile.dashes > 0.0:
        half_dash = 0.25 * profile.period_m * profile.dashes
        along = np.abs(np.abs(station) - 0.25 * profile.period_m)
        lengthwise = np.clip((half_dash - along) / np.maximum(3 * footprint_m, 0.02) + 0.5, 0.0, 1.0)
        for lane in range(profile.lanes):
            border_m = np.float32(lane * profile.lane_m / profile.lanes)
            paint += _stripe(np.abs(away - border_m), _DASH_HALF_WIDTH_M, footprint_m) * lengthwise
    if profile.edge_lines:
        paint += _stripe(np.abs(away - (profile.lane_m - 0.18)), _DASH_HALF_WIDTH_M, footprint_m)
    return paint


def _stripe(distance_m: Floats, half_width_m: float, footprint_m: Floats) -> Floats:
    """Share of a pixel's width that a painted stripe covers."""
    width = np.maximum(footprint_m, 0.005)
    low = np.maximum(distance_m - 0.5 * width, -half_width_m)
    high = np.minimum(distance_m + 0.5 * width, half_width_m)
    return np.asarray(np.maximum(high - low, 0.0) / width, dtype=np.float32)
