"""A procedural street world: what stands where, under which light, ready to be rendered."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.datasets.simulated.atlas import Atlas, Texture, pack
from metric3d_ros.datasets.simulated.centre_line import CentreLine, generate_centre_line
from metric3d_ros.datasets.simulated.cut_outs import leaf_textures, opening_textures, street_furniture_textures
from metric3d_ros.datasets.simulated.ground import GroundGrid, fine_cell_m, grid_around, road_map
from metric3d_ros.datasets.simulated.layout import SETTINGS, furnish, put_traffic
from metric3d_ros.datasets.simulated.lighting import Lighting, random_lighting
from metric3d_ros.datasets.simulated.materials import ground_textures, wall_textures
from metric3d_ros.datasets.simulated.raster import texels_per_m
from metric3d_ros.datasets.simulated.road_surface import COVERS, RoadProfile
from metric3d_ros.datasets.simulated.shadows import shadow_heights
from metric3d_ros.datasets.simulated.street_plan import StreetPlan, open_sky_share
from metric3d_ros.datasets.simulated.surfaces import Obstacle, Patches, SurfaceBuilder
from metric3d_ros.datasets.simulated.vehicles import car_textures
from metric3d_ros.errors import DatasetError

_MARGIN_M = 45.0
_LINE_STREAM, _WORLD_STREAM = 1, 2


@dataclass(frozen=True)
class StreetWorld:
    """A static world of z-up metres, the ground being z = 0.

    Make one with :meth:`generate`; the attributes are what rendering and camera paths need.
    """

    seed: int
    setting: str
    line: CentreLine
    profile: RoadProfile
    lighting: Lighting
    atlas: Atlas
    patches: Patches
    obstacles: tuple[Obstacle, ...]
    road_grid: GroundGrid
    road_layers: NDArray[np.float32]
    cover_grid: GroundGrid
    cover: NDArray[np.uint8]
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
    ) -> StreetWorld:
        """The world of a seed.

        Parameters
        ----------
        seed : every choice follows from it.
        length_m : how much of the street can be driven.
        closed_loop : whether the street returns to its start.
        setting : ``suburban``, ``urban``, ``country`` or ``avenue``; drawn from the seed if not given.
        traffic : whether cars stand in the lanes as well (for training views, not for drives).

        Raises
        ------
        DatasetError
            If the setting is unknown or the length leaves no room for the corners.
        """
        if setting is not None and setting not in SETTINGS:
            raise DatasetError(f"setting {setting!r} is unknown; use one of {', '.join(SETTINGS)}.")
        line = street_line(seed, length_m, closed_loop)
        rng = np.random.default_rng([seed, _WORLD_STREAM])
        setting = str(rng.choice(SETTINGS)) if setting is None else setting
        profile = _random_profile(rng, setting, line)
        lighting = random_lighting(rng)
        atlas = pack(_textures(rng))
        plan = _plan(line, profile)
        builder = SurfaceBuilder(atlas.index)
        furnish(rng, builder, plan, setting)
        if traffic:
            put_traffic(rng, builder, plan)
        patches = builder.build()
        sky_share = open_sky_share(plan.road_grid, builder.obstacles)
        dual_u, dual_v = patches.duals
        return cls(
            seed=seed,
            setting=setting,
            line=line,
            profile=profile,
            lighting=lighting,
            atlas=atlas,
            patches=patches,
            obstacles=tuple(builder.obstacles),
            road_grid=plan.road_grid,
            road_layers=np.dstack([plan.road_layers, sky_share]),
            cover_grid=plan.cover_grid,
            cover=plan.cover,
            shadow_heights=shadow_heights(patches, atlas, plan.cover_grid, lighting.sun_direction),
            pavement_texture=atlas.index[_pavement(rng, setting)],
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


def _random_profile(rng: np.random.Generator, setting: str, line: CentreLine) -> RoadProfile:
    parking = {"urban": 0.85, "suburban": 0.6, "avenue": 0.3, "country": 0.0}[setting]
    kerbed = setting != "country" or rng.random() < 0.3
    return RoadProfile(
        lane_m=float(rng.uniform(2.9, 3.5)),
        parking_m=(2.1 if rng.random() < parking else 0.0, 2.1 if rng.random() < parking else 0.0),
        kerb_m=0.15 if kerbed else 0.0,
        pavement_m=(float(rng.uniform(1.4, 2.8)), float(rng.uniform(1.4, 2.8))) if kerbed else (0.6, 0.6),
        dashes=float(rng.choice([0.0, 0.4, 0.5, 0.66])),
        edge_lines=bool(rng.random() < (0.7 if setting == "country" else 0.15)),
        period_m=line.length_m / max(1, round(line.length_m / 12.0)),
    )


def road_profile(seed: int, length_m: float, closed_loop: bool, setting: str | None = None) -> RoadProfile:
    """The cross-section of the world of a seed, without building the world."""
    rng = np.random.default_rng([seed, _WORLD_STREAM])
    setting = str(rng.choice(SETTINGS)) if setting is None else setting
    return _random_profile(rng, setting, street_line(seed, length_m, closed_loop))


def _textures(rng: np.random.Generator) -> dict[str, Texture]:
    return {
        **ground_textures(rng),
        **wall_textures(rng),
        **leaf_textures(rng),
        **street_furniture_textures(rng),
        **car_textures(rng),
        **opening_textures(rng),
    }


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


def _pavement(rng: np.random.Generator, setting: str) -> str:
    if setting == "country":
        return str(rng.choice(["grass", "gravel"]))
    return str(rng.choice(["paving", "paving", "paving", "asphalt"]))
