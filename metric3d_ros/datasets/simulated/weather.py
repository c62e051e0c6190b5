"""Kinds of daylight and exposure beyond those of a fair day: white skies, low sun, dusk, hard shadow, glare."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from metric3d_ros.datasets.simulated.lighting import Lighting, random_lighting


def any_weather(rng: np.random.Generator) -> Lighting:
    """Daylight of any kind, and a camera that exposes it well or badly."""
    light = random_lighting(rng)
    kind = str(rng.choice(["fair", "white", "low sun", "dusk", "hard"], p=[0.25, 0.25, 0.2, 0.1, 0.2]))
    if kind == "white":
        light = _white_sky(rng, light)
    elif kind == "low sun":
        light = _lower_sun(rng, light)
    elif kind == "dusk":
        light = _dusk(rng, light)
    elif kind == "hard":
        light = replace(light, sun_rgb=(light.sun_rgb + 2.0) * 1.3, ambient_rgb=light.ambient_rgb * 0.6)
    return replace(
        light,
        mean_level=float(rng.uniform(0.22, 0.5)),
        exposure_strength=float(rng.uniform(0.4, 0.95)),
        contrast=float(rng.uniform(0.8, 1.6)),
        saturation=float(rng.uniform(0.3, 1.2)),
        vignetting=float(rng.uniform(0.0, 0.3)),
        blur_px=float(rng.uniform(0.25, 0.8)),
    )


def _white_sky(rng: np.random.Generator, light: Lighting) -> Lighting:
    """Full cloud: no sun, the sky brighter than anything under it, burnt out more often than not."""
    tone = np.array([1.0, 1.0, rng.uniform(0.98, 1.08)])
    horizon = rng.uniform(1.5, 4.5) * tone
    return replace(
        light,
        sun_rgb=(rng.uniform(0.0, 0.3) * tone).astype(np.float32),
        ambient_rgb=(rng.uniform(0.8, 1.3) * tone).astype(np.float32),
        horizon_rgb=horizon.astype(np.float32),
        zenith_rgb=(horizon * rng.uniform(0.6, 1.1)).astype(np.float32),
        cloud_cover=0.0,
        haze_length_m=float(10 ** rng.uniform(2.5, 3.8)),
    )


def _lower_sun(rng: np.random.Generator, light: Lighting) -> Lighting:
    """Morning or evening: long shadows, warm light, glare when the camera turns towards it."""
    elevation = math.radians(rng.uniform(10.0, 24.0))
    azimuth = math.atan2(light.sun_direction[1], light.sun_direction[0])
    level = math.cos(elevation)
    direction = np.array([level * math.cos(azimuth), level * math.sin(azimuth), math.sin(elevation)])
    warm = np.array([1.15, 0.95, rng.uniform(0.6, 0.9)], dtype=np.float32)
    return replace(
        light, sun_direction=direction, sun_rgb=light.sun_rgb * warm, horizon_rgb=light.horizon_rgb * warm
    )


def _dusk(rng: np.random.Generator, light: Lighting) -> Lighting:
    """After sunset: light from the sky alone, bluish below, orange or violet at the horizon."""
    cool = np.array([0.8, 0.9, 1.2]) * rng.uniform(0.3, 0.7)
    glow = rng.uniform(0.8, 2.0) * np.array([1.2, rng.uniform(0.7, 1.0), rng.uniform(0.6, 1.1)])
    return replace(
        light,
        sun_rgb=np.zeros(3, dtype=np.float32),
        ambient_rgb=cool.astype(np.float32),
        horizon_rgb=glow.astype(np.float32),
        zenith_rgb=(0.5 * cool).astype(np.float32),
        noise_level=float(rng.uniform(0.01, 0.03)),
    )
