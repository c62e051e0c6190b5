"""A procedural street world: what stands where, under which light, ready to be rendered."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.datasets.simulated.atlas import Atlas, pack
from metric3d_ros.datasets.simulated.centre_line import CentreLine, generate_centre_line
from metric3d_ros.datasets.simulated.ground import GroundGrid, fine_cell_m, grid_around, road_map
from metric3d_ros.datasets.simulated.lighting import Lighting
from metric3d_ros.datasets.simulated.raster import texels_per_m
from metric3d_ros.datasets.simulated.road_surface import COVERS, RoadProfile
from metric3d_ros.datasets.simulated.screens import is_see_through
from metric3d_ros.datasets.simulated.shadows import shadow_heights
from metric3d_ros.datasets.simulated.street_plan import StreetPlan, open_sky_share, overhead_share
from metric3d_ros.datasets.simulated.styles import PLAIN, world_style
from metric3d_ros.datasets.simulated.surfaces import Obstacle, Patches, SurfaceBuilder
from metric3d_ros.datasets.simulated.terrain import Terrain, rolling_terrain

_MARGIN_M = 45.0
_LINE_STREAM, _WORLD_STREAM, _TERRAIN_STREAM = 1, 2, 4


@dataclass(frozen=True)
class StreetWorld:
    """A static world of z-up metres, the ground being z = 0 unless the terrain rolls.

    Make one with :meth:`generate`; the attributes are what rendering and camera paths need.
    """

    seed: int
    setting: str
    line: CentreLine
    profile: RoadProfile
    terrain: Terrain
    terrain_patches: int
    lighting: Lighting
    atlas: Atlas
    patches: Patches
    obstacles: tuple[Obstacle, ...]
    rooms: tuple[Obstacle, ...]
    road_grid: GroundGrid
    road_layers: NDArray[np.float32]
    overhead: NDArray[np.float32] | None
    cover_grid: GroundGrid
    cover: NDArray[np.uint8]
    see_through: NDArray[np.bool_]
    shadow_heights: NDArray[np.float32]
    pavement_texture: int
    paint_wear: float
    first_opening: int
    plane_normals: NDArray[np.float32] = field(repr=False)
    origins: NDArray[np.float32] = field(repr=False)
    duals: tuple[NDArray[np.float32], NDArray[np.float32]] = field(repr=False)
    texels_per_m: NDArray[np.float32] = field(repr=False)

    @classmethod
    def generate(
        cls,
        seed: int,
        length_m: float = 400.0,
        closed_loop: bool = False,
        setting: str | None = None,
        traffic: bool = False,
        style: str = PLAIN,
    ) -> StreetWorld:
        """The world of a seed.

        Parameters
        ----------
        seed : every choice follows from it.
        length_m : how much of the street can be driven.
        closed_loop : whether the street returns to its start.
        setting : one of the style's settings; drawn from the seed if not given.
        traffic : whether cars stand in the lanes as well (for training views, not for drives).
        style : ``plain`` is a level street under a fair sky; ``varied`` adds hills, bridges, closed crowns,
            country lanes, woods, wide roads, people, lorries, any weather and repainted materials; ``kerbed``
            is varied with raised pavements; ``rooms`` is flats, offices, corridors and halls from inside.

        Raises
        ------
        DatasetError
            If the style or setting is unknown, or the length leaves no room for the corners.
        """
        look = world_style(style)
        line = street_line(seed, length_m, closed_loop)
        rng = np.random.default_rng([seed, _WORLD_STREAM])
        setting = look.choose_setting(rng, setting)
        profile = look.profile(rng, setting, line)
        terrain = street_terrain(seed, line, style)
        lighting = look.lighting(rng)
        atlas = pack(look.textures(rng))
        plan = _plan(line, profile)
        builder = SurfaceBuilder(atlas.index, terrain, look.tile_scale(rng))
        terrain_patches = _lay_ground(builder, line)
        look.furnish(rng, builder, plan, setting)
        if traffic:
            look.put_traffic(rng, builder, plan)
        patches = builder.build()
        sky_share = open_sky_share(plan.road_grid, builder.obstacles, terrain)
        dual_u, dual_v = patches.duals
        return cls(
            seed=seed,
            setting=setting,
            line=line,
            profile=profile,
            terrain=terrain,
            terrain_patches=terrain_patches,
            lighting=lighting,
            atlas=atlas,
            patches=patches,
            obstacles=tuple(builder.obstacles),
            rooms=tuple(builder.rooms),
            road_grid=plan.road_grid,
            road_layers=np.dstack([plan.road_layers, sky_share]),
            overhead=overhead_share(plan.road_grid, builder.ceilings) if builder.ceilings else None,
            cover_grid=plan.cover_grid,
            cover=plan.cover,
            see_through=is_see_through(patches, atlas.index),
            shadow_heights=shadow_heights(patches, atlas, plan.cover_grid, lighting.sun_direction),
            pavement_texture=atlas.index[look.pavement(rng, setting, profile)],
            paint_wear=float(rng.uniform(0.5, 1.0)),
            first_opening=atlas.index["window_0_0"],
            plane_normals=patches.plane_normals.astype(np.float32),
            origins=patches.origin.astype(np.float32),
            duals=(dual_u.astype(np.float32), dual_v.astype(np.float32)),
            texels_per_m=texels_per_m(patches, atlas),
        )


def street_line(seed: int, length_m: float, closed_loop: bool) -> CentreLine:
    """The centre line of the world of a seed, without building the world."""
    return generate_centre_line(np.random.default_rng([seed, _LINE_STREAM]), length_m, closed_loop)


def street_terrain(seed: int, line: CentreLine, style: str) -> Terrain:
    """The ground of the world of a seed, without building the world."""
    rng = np.random.default_rng([seed, _TERRAIN_STREAM])
    rolls = rng.random() < world_style(style).rolling_share
    return rolling_terrain(rng, line) if rolls else Terrain.level()


def _lay_ground(builder: SurfaceBuilder, line: CentreLine) -> int:
    """Puts the strips of a rolling ground in; returns how many: none on level ground, which is a plane."""
    if builder.terrain.is_level:
        return 0
    return builder.ground(0.5 * (line.points.min(axis=0) + line.points.max(axis=0)), "grass")


def road_profile(
    seed: int, length_m: float, closed_loop: bool, setting: str | None = None, style: str = PLAIN
) -> RoadProfile:
    """The cross-section of the world of a seed, without building the world.

    Raises
    ------
    DatasetError
        If the style or setting is unknown, or the length leaves no room for the corners.
    """
    look = world_style(style)
    rng = np.random.default_rng([seed, _WORLD_STREAM])
    return look.profile(rng, look.choose_setting(rng, setting), street_line(seed, length_m, closed_loop))


def _plan(line: CentreLine, profile: RoadProfile) -> StreetPlan:
    grid = grid_around(line, _MARGIN_M)
    cover_grid = grid.refined(fine_cell_m(grid))
    return StreetPlan(
        line=line,
        profile=profile,
        road_grid=grid,
        road_layers=road_map(line, grid, profile.period_m),
        cover_grid=cover_grid,
        cover=np.full((cover_grid.rows, cover_grid.columns), COVERS.index("grass"), dtype=np.uint8),
        taken=np.zeros((grid.rows, grid.columns), dtype=np.uint8),
    )
