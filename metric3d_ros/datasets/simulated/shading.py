"""Colour of every visible surface point: one deferred pass of texture, shadow, light and haze."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.datasets.simulated.cut_outs import OPENINGS_PER_SET, SHOPS_FROM
from metric3d_ros.datasets.simulated.lighting import Lighting, sky_colour
from metric3d_ros.datasets.simulated.raycast import SKY, Hits
from metric3d_ros.datasets.simulated.road_surface import cover_ground
from metric3d_ros.datasets.simulated.shadows import sunlit_share

if TYPE_CHECKING:
    from metric3d_ros.datasets.simulated.world import StreetWorld

Floats = NDArray[np.float32]
# Walls read the shadow map a little off themselves: it has cells of an eighth of a metre.
_SHADOW_LIFT_M = 0.25
# What hangs over a road hangs higher than this.
_CEILING_M = 4.0


@dataclass(frozen=True)
class View:
    """Points of one kind of surface as the camera sees them, (n,) or, vectors, (3, n).

    ``directions`` are unit vectors from the camera, ``footprint_m`` what a pixel measures at the point.
    """

    patch: NDArray[np.int32]
    points: Floats
    directions: Floats
    footprint_m: Floats
    distance_m: Floats


@dataclass(frozen=True)
class Surface:
    """Surface points waiting for light.

    ``albedo`` and ``normal`` are (3, n); the share of mirrored sky, the share of open sky, the way the point
    is lifted off its surface for the shadow test, and whether it is a leaf are (n,).
    """

    albedo: Floats
    normal: Floats
    gloss: Floats
    openness: Floats
    lift_m: Floats
    leafy: NDArray[np.bool_]


def shade(world: StreetWorld, hits: Hits, focal_px: float, centre: NDArray[np.float64]) -> Floats:
    """Linear light (3, height, width) of one view; ``centre`` is the camera's place in the world."""
    image = np.empty(hits.ray.shape, dtype=np.float32)
    flat_image, flat_patch = image.reshape(3, -1), hits.patch.ravel()
    sky = np.flatnonzero(flat_patch == SKY)
    if len(sky):
        flat_image[:, sky] = sky_colour(world.lighting, _unit(np.take(hits.ray.reshape(3, -1), sky, axis=1))[0])
    for pixels, surface_of in (
        (np.flatnonzero((flat_patch < world.terrain_patches) & (flat_patch != SKY)), _ground_surface),
        (np.flatnonzero(flat_patch >= world.terrain_patches), _patch_surface),
    ):
        if len(pixels):
            view = _view(hits, pixels, focal_px, centre)
            flat_image[:, pixels] = _lit(world, surface_of(world, view), view)
    return image


def opacity(
    world: StreetWorld, hits: Hits, pixels: NDArray[np.intp], focal_px: float, centre: NDArray[np.float64]
) -> Floats:
    """Opacity (n,) of what each of the flat ``pixels`` sees, all of which lie on patches."""
    view = _view(hits, pixels, focal_px, centre)
    a, b = _patch_coordinates(world, view)
    drawn: Floats = _texels(world, view, a, b, _steepness(_slant(world, view)))[3]
    return drawn


def _view(hits: Hits, pixels: NDArray[np.intp], focal_px: float, centre: NDArray[np.float64]) -> View:
    """The points that the flat ``pixels`` see, none of them in the sky."""
    rays = np.take(hits.ray.reshape(3, -1), pixels, axis=1)
    directions, lengths = _unit(rays)
    depth = np.take(hits.depth_m.ravel(), pixels).astype(np.float32)
    return View(
        patch=np.take(hits.patch.ravel(), pixels),
        points=centre.astype(np.float32)[:, None] + depth * rays,
        directions=directions,
        footprint_m=depth * np.float32(1.0 / focal_px),
        distance_m=depth * lengths,
    )


def _lit(world: StreetWorld, surface: Surface, view: View) -> Floats:
    light = world.lighting
    sun = _towards_sun(world, surface, view)
    sky = surface.openness * (np.float32(0.62) + np.float32(0.38) * surface.normal[2])
    if light.side_light is not None:
        sky *= 1.0 + light.side_light @ surface.normal
    haze = 1.0 - np.exp(view.distance_m * np.float32(-1.0 / light.haze_length_m))
    colour = surface.albedo
    for channel in range(3):
        colour[channel] *= sun * light.sun_rgb[channel] + sky * light.ambient_rgb[channel]
    _mirror_sky(light, surface, view, colour)
    for channel in range(3):
        colour[channel] += haze * (light.horizon_rgb[channel] * np.float32(0.45) - colour[channel])
    return colour


def _towards_sun(world: StreetWorld, surface: Surface, view: View) -> Floats:
    """Share (n,) of the sun's light that a surface catches: slant times shadow."""
    direction = world.lighting.sun_direction
    slant = direction.astype(np.float32) @ surface.normal
    # Leaves let light through, so a card of them is never as dark behind as a wall is.
    caught: Floats = np.where(surface.leafy, np.clip(0.4 + 0.6 * slant, 0.1, 1.0), np.maximum(slant, 0.0))
    facing = np.flatnonzero(caught > 0)
    lifted = np.take(view.points + surface.lift_m * surface.normal, facing, axis=1)
    caught[facing] *= sunlit_share(world.shadow_heights, world.cover_grid, direction, lifted)
    return caught


def _mirror_sky(light: Lighting, surface: Surface, view: View, colour: Floats) -> None:
    """Adds what glass and paint mirror of the sky, in place; more at grazing angles."""
    shiny = np.flatnonzero(surface.gloss > 0)
    if not len(shiny):
        return
    normal, incoming = np.take(surface.normal, shiny, axis=1), np.take(view.directions, shiny, axis=1)
    towards = _dot(normal, incoming)
    mirrored = incoming - 2 * towards * normal
    share = surface.gloss[shiny] * (1.0 + 2.0 * (1.0 - np.abs(towards)) ** 4)
    share *= np.clip(mirrored[2] * 3.0, 0.0, 1.0)
    colour[:, shiny] += share * sky_colour(light, mirrored)


def _ground_surface(world: StreetWorld, view: View) -> Surface:
    x, y, _ = view.points
    cover = cover_ground(world, x, y, view.footprint_m)
    slant = np.maximum(np.abs(view.directions[2]), np.float32(1e-3))
    level = _level(cover.texels_per_m * view.footprint_m, slant)
    albedo = world.atlas.sample(cover.texture, cover.u, cover.v, level)[:3]
    tone = _variation(world, x, y, view.footprint_m, 0.8)
    albedo *= tone * cover.factor
    albedo += cover.paint * (np.float32(0.5) * tone - albedo)
    normal = np.zeros_like(view.points)
    normal[2] = 1.0
    nothing = np.zeros_like(x)
    openness = cover.openness * _under_open_sky(world, x, y, nothing)
    return Surface(albedo, normal, nothing, openness, nothing, np.zeros(len(x), dtype=np.bool_))


def _patch_surface(world: StreetWorld, view: View) -> Surface:
    patches, patch = world.patches, view.patch
    a, b = _patch_coordinates(world, view)
    slant = _slant(world, view)
    steepness = _steepness(slant)
    albedo = _texels(world, view, a, b, steepness)[:3]
    _open_windows(world, view, a, b, steepness, albedo)
    albedo *= _of_patches(patches.tint, patch)
    x, y, z = view.points
    albedo *= _variation(world, x + y, z * np.float32(1.3), view.footprint_m, 0.5)
    leafy = np.take(patches.cut_out, patch)
    normal = _of_patches(patches.normal, patch)
    normal *= np.where((slant > 0) & ~leafy, np.float32(-1.0), np.float32(1.0))
    above_ground_m = z - world.terrain.height_m(x, y).astype(np.float32)
    openness = np.minimum(0.65 + np.float32(0.35 / 1.2) * above_ground_m, np.float32(1.0))
    openness *= _under_open_sky(world, x, y, above_ground_m)
    lift_m = np.where(leafy, np.float32(0.08), np.float32(_SHADOW_LIFT_M))
    return Surface(albedo, normal, np.take(patches.gloss, patch), openness, lift_m, leafy)


def _slant(world: StreetWorld, view: View) -> Floats:
    return _dot(_of_patches(world.plane_normals, view.patch), view.directions)


def _steepness(slant: Floats) -> Floats:
    steepness: Floats = np.maximum(np.abs(slant), np.float32(0.05))
    return steepness


def _texels(world: StreetWorld, view: View, a: Floats, b: Floats, steepness: Floats) -> Floats:
    """Linear albedo and opacity (4, n) of the patches' textures."""
    patches, patch = world.patches, view.patch
    u = a * np.take(patches.repeats[:, 0], patch)
    v = (1.0 - b) * np.take(patches.repeats[:, 1], patch)
    level = _level(np.take(world.texels_per_m, patch) * view.footprint_m, steepness)
    return world.atlas.sample(np.take(patches.texture, patch), u, v, level)


def _under_open_sky(world: StreetWorld, x: Floats, y: Floats, above_ground_m: Floats) -> Floats | np.float32:
    """Share (n,) of the sky's light that crowns and bridges overhead let through to what lies under them."""
    if world.overhead is None:
        return np.float32(1.0)
    covered = world.road_grid.sample(world.overhead, x, y, 0.0)
    return np.asarray(np.where(above_ground_m < _CEILING_M, 1.0 - covered, 1.0), dtype=np.float32)


def _patch_coordinates(world: StreetWorld, view: View) -> tuple[Floats, Floats]:
    from_origin = view.points - _of_patches(world.origins, view.patch)
    dual_u, dual_v = world.duals
    return _dot(from_origin, _of_patches(dual_u, view.patch)), _dot(from_origin, _of_patches(dual_v, view.patch))


def _of_patches(vectors: Floats, patch: NDArray[np.int32]) -> Floats:
    """A vector (patches, 3) of each point's patch, (3, n)."""
    gathered = np.empty((3, len(patch)), dtype=np.float32)
    for axis in range(3):
        np.take(np.ascontiguousarray(vectors[:, axis]), patch, out=gathered[axis], mode="clip")
    return gathered


def _dot(first: Floats, second: Floats) -> Floats:
    """Dot products (n,) of vectors (3, n)."""
    product: Floats = first[0] * second[0]
    product += first[1] * second[1]
    product += first[2] * second[2]
    return product


def _unit(vectors: Floats) -> tuple[Floats, Floats]:
    """Vectors (3, n) at unit length, and the lengths (n,) that they had."""
    lengths = np.asarray(np.sqrt(_dot(vectors, vectors)), dtype=np.float32)
    return np.asarray(vectors / lengths, dtype=np.float32), lengths


def _open_windows(world: StreetWorld, view: View, a: Floats, b: Floats, steepness: Floats, albedo: Floats) -> None:
    """Draws windows and doors over the facades, in place; their colour undoes the wall's tint."""
    patches = world.patches
    on_facade = np.flatnonzero(np.take(patches.openings, view.patch) >= 0)
    if not len(on_facade):
        return
    number = view.patch[on_facade]
    across = np.clip(a[on_facade], 0, 0.9999) * patches.bays[:, 0][number]
    upward = np.clip(b[on_facade], 0, 0.9999) * patches.bays[:, 1][number]
    column, storey = across.astype(np.int32), upward.astype(np.int32)
    dice = (column * 73_856_093 ^ storey * 19_349_663 ^ number * 83_492_791) & 0xFFFF
    dice = (dice * 40_503 >> 4) & 0xFFF
    code = patches.openings[number]
    is_shop = code >= SHOPS_FROM
    first = world.first_opening + (code % SHOPS_FROM) * OPENINGS_PER_SET
    pick = np.where(dice % 11 < 2, 4 + (dice % 2), dice % 4)
    pick = np.where(storey > 0, dice % 4, np.where(is_shop, np.where(dice % 5 == 0, 4, 6), pick))
    texture = (first + pick).astype(np.int32)
    level = _level(view.footprint_m[on_facade] * np.float32(256 / 3.0), steepness[on_facade])
    drawn = world.atlas.sample(texture, across - np.floor(across), 1.0 - (upward - np.floor(upward)), level)
    colour = drawn[:3] / np.maximum(_of_patches(patches.tint, number), np.float32(0.05))
    wall = np.take(albedo, on_facade, axis=1)
    albedo[:, on_facade] = wall + drawn[3] * (colour - wall)


def _variation(world: StreetWorld, x: Floats, y: Floats, footprint_m: Floats, strength: float) -> Floats:
    """Stains and tints of several metres (3, n), one on average, which hide the repetition of tiles."""
    name = world.atlas.index["variation"]
    scale = 1.0 / world.atlas.size_m[name]
    level = np.log2(np.maximum(footprint_m * (world.atlas.size_px[name, 0] * scale), np.float32(1.0)))
    texture = np.full(len(x), name, dtype=np.int32)
    tone = world.atlas.sample(texture, x * scale, y * scale, level, smooth=False)[:3]
    return np.float32(1.0 - strength) + np.float32(4.0 * strength) * tone


def _level(texels_per_px: Floats, steepness: Floats) -> Floats:
    """Mip level from the footprint, between its short and its long side where the surface is slanted."""
    return np.log2(np.maximum(texels_per_px, np.float32(1e-6))) - np.float32(0.45) * np.log2(steepness)
