"""A labelled view varied at random into one network input: geometry first, then what cameras and weather do.

The order is the paper's (Metric3D v2): canonical image, resize, crop, edge mask, flip, colours, weather, blur,
JPEG. Colours come from kornia; each draw is seeded, so that a sample is the same whenever it is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from kornia.augmentation import (
    ColorJiggle,
    RandomGaussianBlur,
    RandomGrayscale,
    RandomMotionBlur,
    RandomRain,
)
from numpy.typing import NDArray
from torch import nn

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.letterbox import PADDING_RGB, PRINCIPAL_ROW, Letterbox, near_middle_row_px
from training.augment import jpeg, photometric
from training.labelled_view import LabelledView
from training.recipe_parts import PhotometricRecipe, ViewRecipe

MAX_EDGE_MASK_PX = 50
# Of 255: brightness up to 32 either way.
BRIGHTNESS = 32 / 255
CONTRAST = SATURATION = 0.5
HUE_TURN_DEG = 18.0
JPEG_QUALITY = (5, 60)
# How many times as high things become over a plane a little above the horizon, so that far ground stays below it.
TALL_FACTORS = (0.5, 2.5)
TALL_FROM_DEG = 1.5
RAIN_DROPS = (50, 500)


def varied_view(
    rng: np.random.Generator,
    view: LabelledView,
    recipe: ViewRecipe,
    colours: Photometric,
    canonical_image_px: float | None,
    tall_probability: float = 0.0,
) -> LabelledView:
    """One variation at the network's size.

    ``canonical_image_px`` is CSTM_image's focal length, if any. ``tall_probability`` is how often things are made
    taller or lower; the cameras must be nearly level.
    """
    if canonical_image_px is not None:
        view = view.in_canonical_image(canonical_image_px)
    view = view.resized(_scale(rng, view, recipe))
    # No draw where there is no such choice: samples of recipes without it stay as they were.
    if tall_probability and rng.random() < tall_probability:
        view = _taller(rng, view)
    view, top_px = _random_crop(rng, view, recipe)
    if rng.random() < recipe.edge_mask_probability:
        view = _edge_masked(rng, view)
    if rng.random() < recipe.flip_probability:
        view = view.flipped()
    image = colours(view.image, int(rng.integers(2**31)))
    return replace(view, image=image).padded(recipe.width_px, recipe.height_px, top_px)


def _scale(rng: np.random.Generator, view: LabelledView, recipe: ViewRecipe) -> float:
    scale = 1.0
    if recipe.fit:
        scale = Letterbox.for_camera(view.camera, recipe.width_px, recipe.height_px, recipe.placement).scale
    if rng.random() < recipe.resize_probability:
        scale *= float(rng.uniform(recipe.resize_range[0], recipe.resize_range[1]))
    return scale


def _taller(rng: np.random.Generator, view: LabelledView) -> LabelledView:
    """Trees, houses and posts of other heights: how high they look must not tell how far away they stand."""
    row_px = round(view.camera.row_over_horizon(TALL_FROM_DEG))
    low, high = np.log(TALL_FACTORS)
    return view.stretched_above(row_px, math.exp(rng.uniform(low, high)))


def _random_crop(
    rng: np.random.Generator, view: LabelledView, recipe: ViewRecipe
) -> tuple[LabelledView, int | None]:
    """A window no larger than the network's input, and how many of the input's rows lie above it (None: centred).

    A smaller view stays whole. With ``principal_row`` the rows are those that the input has around it.
    """
    camera = view.camera
    width_px = min(recipe.width_px, camera.width_px)
    if recipe.placement == PRINCIPAL_ROW:
        first_row = first_row_px(camera, recipe.height_px)
        top = max(first_row, 0)
        height_px = min(first_row + recipe.height_px, camera.height_px) - top
        rows_above: int | None = max(-first_row, 0)
    else:
        height_px = min(recipe.height_px, camera.height_px)
        top = int(rng.integers(camera.height_px - height_px + 1))
        rows_above = None
    left = int(rng.integers(camera.width_px - width_px + 1))
    return view.cropped(left, top, width_px, height_px), rows_above


def first_row_px(camera: PinholeCamera, height_px: int) -> int:
    """The row of an image in the first row of an input so high, with the principal point's row in the middle.

    It is negative where the input begins above the image.
    """
    return round(near_middle_row_px(camera.cy, camera.height_px) - (height_px - 1) / 2)


def _edge_masked(rng: np.random.Generator, view: LabelledView) -> LabelledView:
    """A border of mean colour without depth, each side of its own width, as letterboxed images have it."""
    height_px, width_px = view.depth_m.shape
    limits = [min(MAX_EDGE_MASK_PX, side // 8) + 1 for side in (height_px, height_px, width_px, width_px)]
    top, bottom, left, right = (int(rng.integers(limit)) for limit in limits)
    inside = np.zeros((height_px, width_px), dtype=np.bool_)
    inside[top : height_px - bottom, left : width_px - right] = True
    mean = np.array(PADDING_RGB, dtype=np.uint8)
    labels: dict[str, Any] = {}
    for name, array in view.per_pixel().items():
        empty = np.asarray(np.nan if array.dtype == np.float32 else 0, dtype=array.dtype)
        labels[name] = np.where(inside if array.ndim == 2 else inside[..., None], array, empty)
    image = np.where(inside[..., None], view.image, mean)
    return replace(view, image=image, **{**labels, "content": inside})


class Photometric:
    """Changes of colours, weather, blur and JPEG, each with its own probability.

    Parameters
    ----------
    recipe : the probabilities.
    """

    def __init__(self, recipe: PhotometricRecipe) -> None:
        turn = HUE_TURN_DEG / 360
        self._jpeg = recipe.jpeg
        self._drawn, self._drawn_gray = recipe.drawn, recipe.drawn_gray
        self._steps = nn.Sequential(
            RandomGrayscale(p=recipe.gray),
            ColorJiggle(brightness=(1 - BRIGHTNESS, 1 + BRIGHTNESS), p=recipe.brightness),
            ColorJiggle(contrast=(1 - CONTRAST, 1 + CONTRAST), p=recipe.contrast),
            ColorJiggle(saturation=(1 - SATURATION, 1 + SATURATION), p=recipe.saturation),
            ColorJiggle(hue=(-turn, turn), p=recipe.hue),
            RandomRain(number_of_drops=RAIN_DROPS, p=recipe.weather),
            RandomGaussianBlur((5, 5), (0.5, 2.0), p=recipe.blur / 2),
            RandomMotionBlur((3, 9), 90.0, 0.5, p=recipe.blur / 2),
        )

    def __call__(self, image: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
        """The image (h, w, 3) varied; image and seed decide the result."""
        rng = np.random.default_rng(seed)
        if rng.random() < self._drawn:
            return photometric(rng, image, self._drawn_gray)
        with _seeded(seed), torch.inference_mode():
            pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 255
            changed = self._steps(pixels)[0].clamp(0, 1).permute(1, 2, 0) * 255 + 0.5
            varied: NDArray[np.uint8] = changed.numpy().astype(np.uint8)
            if float(torch.rand(())) < self._jpeg:
                varied = jpeg(varied, int(torch.randint(*JPEG_QUALITY, ())))
        return varied


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Torch's and numpy's global generators, which kornia draws from, for the time being."""
    state = np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
