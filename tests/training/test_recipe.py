"""Recipes are validated before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.errors import RecipeError
from training.recipe import load_recipe, recipe_from_values
from training.train import main

NANO = Path(__file__).parents[2] / "training" / "recipes" / "nano.yaml"


def test_the_committed_recipe_is_valid():
    assert load_recipe(NANO).model == "nano"


def test_overrides_change_values_and_fingerprint():
    changed = load_recipe(NANO, ["learning_rate=5e-4", "steps=7"])
    assert (changed.learning_rate, changed.steps) == (5e-4, 7)
    assert changed.sha256() != load_recipe(NANO).sha256()


def test_yaml_round_trip(tmp_path):
    recipe = load_recipe(NANO)
    path = tmp_path / "again.yaml"
    path.write_text(recipe.to_yaml())
    assert load_recipe(path) == recipe


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("learning_rat=1", "did you mean 'learning_rate'"),
        ("height_px=150", "multiple of 32"),
        ("steps=0", "at least 1"),
        ("steps=many", "of type int"),
        ("mixed_precision=1", "of type bool"),
        ("widths=[1,2]", "have 5 entries"),
        ("ema_decay=1.5", "between 0 and 1"),
        ("model=micro", "'nano'"),
        ("stages=[]", "begin with a stage of first_step 0"),
        ("stages=[{first_step: 0, height_px: 96, width_px: 160, resize_range: [2, 1]}]", "the smaller first"),
        ("stages=[{first_step: 0, height_px: 90, width_px: 160, resize_range: [1, 1]}]", "multiples of 32"),
        ("stages=[{first_stp: 0}]", "did you mean 'first_step'"),
        ("steps", "key=value"),
    ],
)
def test_a_bad_value_is_named_and_exits_2(override, says, capsys, tmp_path):
    with pytest.raises(RecipeError, match=says.replace("(", r"\(")):
        load_recipe(NANO, [override])
    assert main([str(NANO), f"output={tmp_path / 'out'}", override]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_missing_key_and_missing_file(tmp_path, capsys):
    with pytest.raises(RecipeError, match="missing model"):
        recipe_from_values({"steps": 3})
    assert main([str(tmp_path / "no.yaml")]) == 2
    assert "no recipe at" in capsys.readouterr().err


def test_no_pool_is_one_sentence(tmp_path, capsys):
    assert main([str(NANO), f"pool={tmp_path / 'empty'}", f"output={tmp_path / 'out'}"]) == 2
    assert "no rendered views" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
