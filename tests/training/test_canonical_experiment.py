"""The canonical-space experiment: fair cameras, one way back to metres for every variant, and a plot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.model_zoo import model_path
from training.canonical_experiment import (
    CANONICAL_FOCAL_PX,
    NANO_SHAPE,
    VARIANTS,
    draw,
    predicted_m,
    recipe_of,
)
from training.initial_weights import load_initial_weights
from training.label_kind import LabelKind
from training.labelled_view import LabelledView
from training.models.prediction import CanonicalPrediction
from training.trained_network import build_trained_network

LABEL = 30.0


class Constant(nn.Module):
    """A network that says the same of every pixel, and remembers what it was shown."""

    def forward(self, image: torch.Tensor) -> list[CanonicalPrediction]:
        self.shown = image
        depth = torch.full_like(image[:, :1], LABEL)
        return [CanonicalPrediction(depth, depth)]


@pytest.mark.parametrize("name", VARIANTS)
def test_the_way_back_to_metres(name):
    focal_px = 400.0
    camera = PinholeCamera(640, 256, focal_px, focal_px, 319.5, 127.5)
    view = LabelledView(
        np.full((256, 640, 3), 200, np.uint8), np.ones((256, 640), np.float32), camera, LabelKind.DENSE
    )
    recipe = recipe_of(VARIANTS[name], Path("none.json"), Path("out"), steps=10)
    network = Constant()
    found = predicted_m(network, view, recipe)  # type: ignore[arg-type]
    assert found.shape == (256, 640)
    # Shown as it is, label: d f_c / f; shown at the canonical focal length, image: d; else metres.
    expected = {"label": LABEL * focal_px / CANONICAL_FOCAL_PX, "image": LABEL, "none": LABEL}
    np.testing.assert_allclose(found, expected[recipe.canonical], rtol=1e-5)
    shown_px = (160, 416) if recipe.canonical == "image" else (256, 640)
    assert network.shown.shape[2:] == shown_px
    # The letterbox is where it belongs: content white-ish, padding of mean colour.
    assert (network.shown[0, :, shown_px[0] // 2, shown_px[1] // 2] == 200).all()


def test_the_row_of_the_principal_point_lies_in_the_middle_of_the_input():
    image = np.zeros((200, 320, 3), np.uint8)
    image[80] = 255
    camera = PinholeCamera(320, 200, 400.0, 400.0, 159.5, 80.0)
    view = LabelledView(image, np.ones((200, 320), np.float32), camera, LabelKind.DENSE)
    network = Constant()
    predicted_m(network, view, recipe_of(VARIANTS["label"], Path("none.json"), Path("out"), steps=10))  # type: ignore[arg-type]
    assert network.shown.shape[2:] == (256, 320)
    (bright,) = (network.shown[0, 0, :, 0] == 255).nonzero(as_tuple=True)
    assert abs(float(bright[0]) - 127.5) <= 0.5


def test_variants_differ_in_what_they_are_about_alone():
    recipes = {
        name: recipe_of(variant, Path("a"), Path("b"), steps=10).to_plain() for name, variant in VARIANTS.items()
    }
    base = recipes["label"]
    for name, allowed in (
        ("none", {"canonical"}),
        ("image", {"canonical"}),
        ("label_with_rpnl", {"losses"}),
    ):
        assert {key for key in base if base[key] != recipes[name][key]} == allowed


def test_the_packaged_network_can_be_the_start_of_every_variant():
    start = model_path("nano")
    for variant in VARIANTS.values():
        recipe = recipe_of(variant, Path("a"), Path("b"), steps=10, initial=start)
        network = build_trained_network(recipe.network.name, **NANO_SHAPE)
        load_initial_weights(network, recipe.network, [torch.zeros(2, 3, 96, 160)] * 8)


def test_the_plot_is_written_whole(tmp_path):
    measured = {"abs_rel": 0.2, "scale_error": 0.1, "views": [[700.0, 0.1, 0.9], [2300.0, 0.3, 1.2]]}
    results = {name: {"between": measured, "beyond": measured} for name in VARIANTS}
    draw(results, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["plot.png"]
