"""Recipes: what is shipped is valid, and what is wrong is said before anything is loaded."""

from __future__ import annotations

import copy
import itertools
import subprocess
import sys
from pathlib import Path

import pytest
from annotated_ground import ground_values
from hypothesis import given
from hypothesis import strategies as st

from training.errors import RecipeError
from training.recipe_parts import ScheduleRecipe
from training.run_recipe import load_run_recipe, run_recipe_from_values

RECIPES = Path(__file__).parents[2] / "training" / "recipes"
SHIPPED = sorted(path.stem for path in RECIPES.glob("*.yaml"))


def values():
    return copy.deepcopy(ground_values(Path("ground.json"), Path("out")))


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_recipes_are_valid_and_survive_their_own_yaml(name, tmp_path):
    recipe = load_run_recipe(RECIPES / f"{name}.yaml")
    again = tmp_path / "again.yaml"
    again.write_text(recipe.to_yaml())
    assert load_run_recipe(again) == recipe
    assert load_run_recipe(again).sha256() == recipe.sha256()


def test_the_papers_recipe_is_the_papers():
    recipe = load_run_recipe(RECIPES / "v2_giant.yaml")
    assert recipe.optimizer.encoder_learning_rate == 8e-6
    assert recipe.schedule.warmup_steps == 1000
    assert len(recipe.groups) == 5
    assert recipe.losses["depth_normal_consistency"] == 0.01


def change(path, value):
    changed = values()
    *parts, last = path
    target = changed
    for part in parts:
        target = target[part]
    target[last] = value
    return changed


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (["batchsize"], 4, "unknown key 'batchsize'; did you mean 'batch_size'?"),
        (["schedule", "warmup"], 4, "unknown key 'schedule.warmup'; did you mean 'warmup_steps'?"),
        (["network", "name"], "vit_smal", "network.name is 'vit_smal'; did you mean 'vit_small'?"),
        (["losses"], {"silgo": 1.0}, "unknown loss 'silgo'; did you mean 'silog'?"),
        (["losses"], {"silog": 0.0}, "give weights of 0 or more, one above 0"),
        (["groups", "ground", 0, "reader"], "annotation", "did you mean 'annotations'?"),
        (["groups", "ground", 0, "kind"], "lider", "did you mean 'lidar'?"),
        (["groups", "ground", 0, "path"], "", "reader annotations has no path"),
        (["groups"], {}, "groups are empty"),
        (["views", 0, "height_px"], 60, "a view is 60x128 px; nano needs multiples of 32"),
        (["views", 0, "resize_range"], [1.2, 0.8], "the smaller first"),
        (["views", 0, "placement"], "principal_rwo", "did you mean 'principal_row'"),
        (["views", 0, "first_step"], 5, "views begin at steps [5]"),
        (["views", 0, "overview_every_steps"], 2, "overview_every_steps is 2 and overview_px []; give a number"),
        (["views", 0, "overview_px"], [32, 64], "give a number of steps with a height and a width, or 0 and none"),
        (["views", 0, "flip_probability"], 1.5, "views.flip_probability is 1.5; it must lie between 0 and 1"),
        (
            ["groups", "ground", 0, "tall_probability"],
            -0.1,
            "tall_probability is -0.1; it must lie between 0 and 1",
        ),
        (["batch_size"], "four", "batch_size is 'four'; it must be of type int"),
        (["batch_size"], 0, "batch_size is 0; it must be above 0"),
        (["canonical"], "image2", "choose one of label, image, none"),
        (["strategy"], "fdsp", "choose one of ddp, fsdp"),
        (["network", "widths"], [8], "nano needs 5, 4 and 3"),
        (["schedule", "steps"], 0, "there must be at least 1"),
        (["optimizer", "betas"], [0.9], "give two numbers"),
        (["turns"], {"grond": 2}, "turns has no group 'grond'; did you mean 'ground'?"),
        (["turns"], {"ground": 0}, "turns.ground is 0; it must be at least 1"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(path, value, sentence):
    with pytest.raises(RecipeError) as error:
        run_recipe_from_values(change(path, value))
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_a_view_has_one_top():
    changed = change(["views", 0, "foreign_top_probability"], 0.5)
    changed["views"][0]["padded_top_probability"] = 0.6
    with pytest.raises(RecipeError, match=r"is 0.5 and padded_top_probability 0.6; .* add up to at most 1"):
        run_recipe_from_values(changed)


def test_every_so_many_steps_the_views_are_overviews():
    changed = values()
    changed["views"][0] |= {"overview_every_steps": 3, "overview_px": [32, 64], "padded_top_probability": 0.5}
    recipe = run_recipe_from_values(changed)
    sizes = [(view.height_px, view.width_px) for view in map(recipe.view_at, range(7))]
    assert sizes == [(32, 64), (64, 128), (64, 128), (32, 64), (64, 128), (64, 128), (32, 64)]
    assert [recipe.view_at(step).padded_top_probability for step in (3, 4)] == [0.0, 0.5]
    changed["views"][0]["overview_px"] = [30, 64]
    with pytest.raises(RecipeError, match="a view is 30x64 px; nano needs multiples of 32"):
        run_recipe_from_values(changed)


def test_a_missing_part_is_named():
    less = values()
    del less["schedule"]["steps"]
    with pytest.raises(RecipeError, match=r"missing schedule\.steps"):
        run_recipe_from_values(less)


def test_overrides_reach_into_parts(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(run_recipe_from_values(values()).to_yaml())
    overrides = ["schedule.steps=9", "canonical=image", "losses.silog=2e-1", "groups.ground.0.path=other.json"]
    recipe = load_run_recipe(path, overrides)
    assert (recipe.schedule.steps, recipe.canonical, recipe.losses["silog"]) == (9, "image", 0.2)
    assert recipe.groups["ground"][0].path == "other.json"
    for override, sentence in (
        ("steps", "not of the form"),
        ("schedule.stepz=3", "did you mean 'steps'"),
        ("seed.x=3", "looks into a single value at 'x'"),
        ("groups.ground.7.path=a", "a list has entries 0 to 0"),
        ("seed=[", "is not YAML"),
    ):
        with pytest.raises(RecipeError, match=sentence):
            load_run_recipe(path, [override])


def test_a_typo_is_told_before_torch_is_asked_for_anything(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("netwrok: {name: nano}\n")
    done = subprocess.run(
        [sys.executable, "-m", "training.train", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.strip() == "train: recipe: unknown key 'netwrok'; did you mean 'network'?"


@given(st.integers(2, 400), st.integers(0, 40), st.floats(0.1, 3), st.floats(0, 0.9))
def test_the_rate_rises_then_falls_and_never_leaves_its_bounds(steps, warmup, power, hold):
    schedule = ScheduleRecipe(steps, warmup, power, 1e-6, hold)
    rates = [schedule.learning_rate(1e-3, step) for step in range(steps)]
    top = max(range(steps), key=lambda step: (rates[step], -step))
    assert all(a <= b for a, b in itertools.pairwise(rates[: top + 1]))
    assert all(a >= b for a, b in itertools.pairwise(rates[top:]))
    assert min(rates) > 0
    assert max(rates) <= 1e-3 * (1 + 1e-9)


def test_poly_decay_is_the_papers():
    schedule = ScheduleRecipe(steps=1000, warmup_steps=100, power=0.9, min_learning_rate=1e-6)
    assert schedule.learning_rate(1e-4, 0) == pytest.approx(1e-6)
    assert schedule.learning_rate(1e-4, 99) == pytest.approx(1e-4)
    assert schedule.learning_rate(1e-4, 550) == pytest.approx(1e-4 * 0.5**0.9)
    assert schedule.learning_rate(1e-4, 999) == 1e-6
