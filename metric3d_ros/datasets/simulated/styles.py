"""The styles of worlds: what a street of each is laid out with, painted with and lit by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from metric3d_ros.datasets.simulated.atlas import Texture
from metric3d_ros.datasets.simulated.centre_line import CentreLine
from metric3d_ros.datasets.simulated.cut_outs import leaf_textures, opening_textures, street_furniture_textures
from metric3d_ros.datasets.simulated.indoor_textures import indoor_textures
from metric3d_ros.datasets.simulated.layout import SETTINGS, furnish, put_traffic
from metric3d_ros.datasets.simulated.lighting import Lighting, random_lighting
from metric3d_ros.datasets.simulated.materials import ground_textures, wall_textures
from metric3d_ros.datasets.simulated.repaint import repainted, stretched_walls
from metric3d_ros.datasets.simulated.road_surface import RoadProfile
from metric3d_ros.datasets.simulated.rooms import ROOM_SETTINGS, furnish_rooms, room_light
from metric3d_ros.datasets.simulated.screens import screen_textures
from metric3d_ros.datasets.simulated.street_plan import StreetPlan
from metric3d_ros.datasets.simulated.surfaces import SurfaceBuilder
from metric3d_ros.datasets.simulated.varied_street import (
    VARIED_SETTINGS,
    furnish_kerbed,
    furnish_varied,
    put_varied_traffic,
    varied_profile,
)
from metric3d_ros.datasets.simulated.vehicles import car_textures, more_car_textures
from metric3d_ros.datasets.simulated.weather import any_weather
from metric3d_ros.errors import DatasetError

PLAIN, VARIED, KERBED, ROOMS = "plain", "varied", "kerbed", "rooms"


@dataclass(frozen=True)
class WorldStyle:
    """How the worlds of a style are made; every function draws from the generator it is given.

    Attributes
    ----------
    settings : kinds of street.
    rolling_share : share of the worlds whose ground is not level.
    profile : cross-section of the street, of a setting and a centre line.
    lighting : daylight and camera response.
    textures : every texture by name.
    tile_scale : by how much the tiles of a texture are larger than drawn.
    furnish : puts everything beside and over the street.
    put_traffic : puts vehicles into the lanes.
    pavement : name of the texture of the pavements.
    has_street : whether there is a street to drive along.
    """

    settings: tuple[str, ...]
    rolling_share: float
    profile: Callable[[np.random.Generator, str, CentreLine], RoadProfile]
    lighting: Callable[[np.random.Generator], Lighting]
    textures: Callable[[np.random.Generator], dict[str, Texture]]
    tile_scale: Callable[[np.random.Generator], dict[str, float]]
    furnish: Callable[[np.random.Generator, SurfaceBuilder, StreetPlan, str], None]
    put_traffic: Callable[[np.random.Generator, SurfaceBuilder, StreetPlan], None]
    pavement: Callable[[np.random.Generator, str, RoadProfile], str]
    has_street: bool = True

    def choose_setting(self, rng: np.random.Generator, setting: str | None) -> str:
        """The setting asked for, or a random one.

        Raises
        ------
        DatasetError
            If the style has no such setting.
        """
        if setting is not None and setting not in self.settings:
            raise DatasetError(f"setting {setting!r} is unknown; use one of {', '.join(self.settings)}.")
        return str(rng.choice(self.settings)) if setting is None else setting


def world_style(name: str) -> WorldStyle:
    """The style of a name.

    Raises
    ------
    DatasetError
        If there is none.
    """
    if name not in STYLES:
        raise DatasetError(f"style {name!r} is unknown; use one of {', '.join(STYLES)}.")
    return STYLES[name]


def _plain_profile(rng: np.random.Generator, setting: str, line: CentreLine) -> RoadProfile:
    parking = {"urban": 0.85, "suburban": 0.6, "avenue": 0.3}.get(setting, 0.0)
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


def _textures(rng: np.random.Generator) -> dict[str, Texture]:
    return {
        **ground_textures(rng),
        **wall_textures(rng),
        **leaf_textures(rng),
        **street_furniture_textures(rng),
        **car_textures(rng),
        **opening_textures(rng),
    }


def _varied_textures(rng: np.random.Generator) -> dict[str, Texture]:
    return {**repainted(rng, {**_textures(rng), **more_car_textures(rng)}), **screen_textures(rng)}


def _room_textures(rng: np.random.Generator) -> dict[str, Texture]:
    return repainted(rng, {**_textures(rng), **indoor_textures(rng)})


def _no_traffic(_rng: np.random.Generator, _builder: SurfaceBuilder, _plan: StreetPlan) -> None:
    """Rooms have no lanes."""


def _as_drawn(_rng: np.random.Generator) -> dict[str, float]:
    return {}


def _pavement(rng: np.random.Generator, is_paved: bool) -> str:
    return str(rng.choice(["paving", "paving", "paving", "asphalt"] if is_paved else ["grass", "gravel"]))


_VARIED = WorldStyle(
    settings=VARIED_SETTINGS,
    rolling_share=0.75,
    profile=varied_profile,
    lighting=any_weather,
    textures=_varied_textures,
    tile_scale=stretched_walls,
    furnish=furnish_varied,
    put_traffic=put_varied_traffic,
    pavement=lambda rng, _setting, profile: _pavement(rng, profile.kerb_m > 0),
)

STYLES: Mapping[str, WorldStyle] = {
    PLAIN: WorldStyle(
        settings=SETTINGS,
        rolling_share=0.0,
        profile=_plain_profile,
        lighting=random_lighting,
        textures=_textures,
        tile_scale=_as_drawn,
        furnish=furnish,
        put_traffic=put_traffic,
        pavement=lambda rng, setting, _profile: _pavement(rng, setting != "country"),
    ),
    VARIED: _VARIED,
    KERBED: replace(_VARIED, furnish=furnish_kerbed),
    ROOMS: WorldStyle(
        settings=ROOM_SETTINGS,
        rolling_share=0.0,
        profile=_plain_profile,
        lighting=room_light,
        textures=_room_textures,
        tile_scale=_as_drawn,
        furnish=furnish_rooms,
        put_traffic=_no_traffic,
        pavement=lambda rng, _setting, _profile: _pavement(rng, is_paved=False),
        has_street=False,
    ),
}
