"""Light, sky and sensor of a world: what turns albedo into an image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from metric3d_ros.datasets.simulated.lookup import look_up
from metric3d_ros.datasets.simulated.noise import fractal_noise

Rgb = NDArray[np.float32]
# Noise cells per unit of slope away from the zenith, and the cosine of the sun's radius with its glare.
_CLOUD_CELLS = 64.0
_SUN_EDGE = 0.99996


@dataclass(frozen=True)
class Lighting:
    """Daylight and camera response.

    Attributes
    ----------
    sun_direction : float64 (3,), unit, towards the sun.
    sun_rgb, ambient_rgb : float32 (3,), linear light from the sun and from the sky.
    zenith_rgb, horizon_rgb : float32 (3,), linear colours of the sky.
    haze_length_m : distance after which 63 % of the light is haze.
    cloud_cover : share of the sky under clouds.
    clouds : float32 (size, size), tiling noise.
    mean_level : image brightness (0 to 1) that the exposure aims at.
    exposure_strength : 0 keeps one exposure for the world, 1 evens every image out.
    contrast, saturation, vignetting, noise_level, blur_px : response of the sensor and lens.
    side_light : float32 (3,), how much more light reaches faces that look that way, as in rooms; None outdoors.
    """

    sun_direction: NDArray[np.float64]
    sun_rgb: Rgb
    ambient_rgb: Rgb
    zenith_rgb: Rgb
    horizon_rgb: Rgb
    haze_length_m: float
    cloud_cover: float
    clouds: Rgb
    mean_level: float
    exposure_strength: float
    contrast: float
    saturation: float
    vignetting: float
    noise_level: float
    blur_px: float
    side_light: Rgb | None = None


def random_lighting(rng: np.random.Generator) -> Lighting:
    """Anything from a hazy overcast morning to a hard summer noon."""
    overcast = rng.random() < 0.15
    elevation, azimuth = math.radians(rng.uniform(24.0, 62.0)), rng.uniform(-math.pi, math.pi)
    warmth = rng.uniform(-0.04, 0.14)
    sun = (rng.uniform(0.1, 0.4) if overcast else rng.uniform(3.5, 7.5)) * np.array(
        [1 + warmth, 1.0, 1 - 1.3 * warmth]
    )
    ambient = (1.2 if overcast else rng.uniform(0.5, 0.8)) * np.array([0.93 - warmth, 0.98, 1.08 + warmth])
    if overcast:
        horizon = rng.uniform(1.4, 2.4) * np.array([1.0, 1.0, 1.02])
        zenith = horizon * rng.uniform(0.7, 1.0)
    else:
        horizon = rng.uniform(2.0, 4.0) * np.array([0.95, 0.98, 1.04])
        zenith = rng.uniform(0.9, 2.2) * np.array([0.42, 0.65, 1.1])
    return Lighting(
        sun_direction=np.array(
            [
                math.cos(elevation) * math.cos(azimuth),
                math.cos(elevation) * math.sin(azimuth),
                math.sin(elevation),
            ]
        ),
        sun_rgb=sun.astype(np.float32),
        ambient_rgb=ambient.astype(np.float32),
        zenith_rgb=zenith.astype(np.float32),
        horizon_rgb=horizon.astype(np.float32),
        haze_length_m=float(10 ** rng.uniform(2.8, 3.8)),
        cloud_cover=0.0 if overcast else float(rng.uniform(0.1, 0.65)),
        clouds=fractal_noise(rng, 256, 4, 6, 0.6),
        mean_level=float(rng.uniform(0.3, 0.42)),
        exposure_strength=float(rng.uniform(0.5, 0.8)),
        contrast=float(rng.uniform(1.0, 1.45)),
        saturation=float(rng.uniform(0.6, 1.1)),
        vignetting=float(rng.uniform(0.0, 0.2)),
        noise_level=float(rng.uniform(0.003, 0.012)),
        blur_px=float(rng.uniform(0.25, 0.5)),
    )


def sky_colour(light: Lighting, directions: NDArray[np.float32]) -> Rgb:
    """Linear sky light (3, n) in unit world directions (3, n)."""
    rise = np.clip(directions[2], 0.0, 1.0)
    blend = rise ** np.float32(0.45)
    towards_sun = np.clip(light.sun_direction.astype(np.float32) @ directions, 0.0, 1.0)
    if light.cloud_cover > 0.0:
        reach = np.float32(_CLOUD_CELLS) / (rise + np.float32(0.15))
        size = np.float32(len(light.clouds))
        noise = look_up(light.clouds, directions[0] * reach % size, directions[1] * reach % size)
        cloud = np.clip((noise - np.float32(1.2 - 2.4 * light.cloud_cover)) * np.float32(0.9), 0.0, 1.0)
        glow = towards_sun**40
        disc = np.float32(40.0) * (towards_sun > _SUN_EDGE)
    else:
        cloud = glow = disc = np.zeros_like(rise)
    cloud_tone = light.horizon_rgb.max() * np.float32(1.15)
    colour = np.empty_like(directions)
    for channel in range(3):
        horizon = light.horizon_rgb[channel]
        clear = horizon + (light.zenith_rgb[channel] - horizon) * blend
        colour[channel] = clear + cloud * (cloud_tone - clear)
        colour[channel] += glow * (light.sun_rgb[channel] * np.float32(0.6)) + disc
    return colour


def expose(light: Lighting, linear: Rgb, edges: NDArray[np.bool_], seed: int | None) -> NDArray[np.uint8]:
    """The 8-bit image (height, width, 3) of linear light (3, height, width).

    ``edges`` marks pixels at silhouettes, which are blended with their neighbours. ``seed`` draws noise;
    without it there is none.
    """
    at = np.flatnonzero(edges)
    planes = np.minimum(linear, np.float32(8.0))
    for channel in range(3):
        flat = planes[channel].ravel()
        flat[at] = np.float32(0.55) * cv2.blur(planes[channel], (3, 3)).ravel()[at] + np.float32(0.45) * flat[at]
        planes[channel] = cv2.GaussianBlur(planes[channel], (3, 3), light.blur_px)
    luminance = np.float32(0.3) * planes[0] + np.float32(0.59) * planes[1] + np.float32(0.11) * planes[2]
    gain = _gain(light, float(np.minimum(luminance, 3.0).mean())) * _vignette(light, *luminance.shape)
    planes *= light.saturation
    planes += (1.0 - light.saturation) * luminance
    planes *= gain
    planes = _tone(planes, light.contrast)
    if seed is not None:
        noise = np.random.default_rng(seed).standard_normal(planes.shape, dtype=np.float32)
        noise *= np.float32(light.noise_level * 255.0)
        planes += noise
    planes += np.float32(0.5)
    return np.asarray(cv2.merge(list(np.clip(planes, 0.0, 255.0, out=planes).astype(np.uint8))))


def _gain(light: Lighting, scene_level: float) -> float:
    usual_level: float = 0.45 ** (1.0 - light.exposure_strength)
    level: float = usual_level * (scene_level + 1e-4) ** light.exposure_strength
    return 1.5 * light.mean_level**2 / level


def _tone(linear: Rgb, contrast: float) -> Rgb:
    """Values from 0 to 255: display gamma, contrast about a middle gray, and a shoulder for the highlights."""
    # The curve is looked up over the square root, which spreads the shadows.
    most = 4.0
    encoded = (np.linspace(0.0, math.sqrt(most), 4096) ** 2) ** (1 / 2.2)
    encoded = 0.42 * (encoded / 0.42) ** contrast
    knee = 0.8
    over = np.maximum(encoded - knee, 0.0)
    curve = np.minimum(encoded, knee) + (1 - knee) * (1 - np.exp(-over / (1 - knee)))
    index = np.sqrt(np.clip(linear, 0.0, most)) * np.float32(4095 / math.sqrt(most))
    return np.asarray(np.take((255.0 * curve).astype(np.float32), index.astype(np.intp)))


def _vignette(light: Lighting, height: int, width: int) -> Rgb:
    x = (np.arange(width, dtype=np.float32) / width - 0.5) * 2
    y = (np.arange(height, dtype=np.float32) / height - 0.5) * 2 * (height / width)
    falloff = light.vignetting * (x[None, :] ** 2 + y[:, None] ** 2)
    return np.asarray(1.0 - falloff, dtype=np.float32)
