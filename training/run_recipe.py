"""The recipe of a run: every choice in one YAML file, validated before anything is loaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from metric3d_ros.canonical import CANONICAL_FOCAL_PX
from training.errors import RecipeError
from training.loss_terms import LOSS_TERMS
from training.recipe_parts import (
    DatasetRecipe,
    NetworkRecipe,
    OptimizerRecipe,
    PhotometricRecipe,
    ScheduleRecipe,
    ViewRecipe,
    require_above_zero,
    require_shares,
)
from training.recipe_values import build, did_you_mean, read_values
from training.trained_network import stride_of

CANONICAL_CHOICES = ("label", "image", "none")
PRECISIONS = ("32-true", "bf16-mixed")
STRATEGIES = ("ddp", "fsdp")


@dataclass(frozen=True)
class RunRecipe:
    """One training run.

    Attributes
    ----------
    network, photometric, optimizer, schedule : see their classes.
    views : what the network sees, stage by stage; small views of shrunken images cost least and teach most first.
    groups : the mixture: per group its data sets; groups weigh the same whatever their sizes.
    turns : how many samples in a row a group gives in place of one, by the group's name.
    losses : weight of each loss by name (``training.loss_terms.LOSS_TERMS``).
    output : folder of the checkpoint, the logs and the recipe as it was run.
    canonical : ``label`` (CSTM_label), ``image`` (CSTM_image) or ``none`` (plain metres, for comparison).
    canonical_focal_px : of the canonical camera; 1000 is what the official networks have.
    seed : of the weights, the order of the views, their variation and what losses draw.
    batch_size : images of one step, over all processes.
    accumulate : in how many parts a process takes its share of them.
    precision : ``32-true`` or ``bf16-mixed``.
    strategy : how several processes share the work: ``ddp`` (each has all weights) or ``fsdp`` (each has a part).
    max_gradient_norm, ema_decay : gradients are clipped to this norm; of the averaged weights, which are exported.
    max_unreadable_share : more broken samples than this end the run.
    workers : processes that read and vary images; 0 for none.
    threads : CPU threads of the optimisation; 0 leaves that to torch.
    checkpoint_every_steps, log_every_steps, picture_every_steps : how often each is written; pictures never at 0.
    """

    network: NetworkRecipe
    views: tuple[ViewRecipe, ...]
    groups: dict[str, tuple[DatasetRecipe, ...]]
    losses: dict[str, float]
    optimizer: OptimizerRecipe
    schedule: ScheduleRecipe
    output: str
    batch_size: int
    checkpoint_every_steps: int
    turns: dict[str, int] = field(default_factory=dict)
    photometric: PhotometricRecipe = field(default_factory=PhotometricRecipe)
    canonical: str = "label"
    canonical_focal_px: float = CANONICAL_FOCAL_PX
    seed: int = 0
    accumulate: int = 1
    precision: str = "bf16-mixed"
    strategy: str = "ddp"
    max_gradient_norm: float = 2.5
    ema_decay: float = 0.999
    max_unreadable_share: float = 0.01
    workers: int = 2
    threads: int = 0
    log_every_steps: int = 10
    picture_every_steps: int = 0

    def __post_init__(self) -> None:
        self._check_choices()
        self._check_numbers()
        self._check_data()

    def _check_choices(self) -> None:
        for name in self.losses:
            if name not in LOSS_TERMS:
                raise RecipeError(f"recipe: unknown loss '{name}'{did_you_mean(name, LOSS_TERMS)}")
        if not self.losses or min(self.losses.values()) < 0 or not max(self.losses.values()) > 0:
            raise RecipeError(f"recipe: losses are {self.losses}; give weights of 0 or more, one above 0.")
        for name, choices in (
            ("canonical", CANONICAL_CHOICES),
            ("precision", PRECISIONS),
            ("strategy", STRATEGIES),
        ):
            if getattr(self, name) not in choices:
                raise RecipeError(
                    f"recipe: {name} is '{getattr(self, name)}'; choose one of {', '.join(choices)}."
                )

    def _check_numbers(self) -> None:
        require_above_zero(self, "", ("batch_size", "accumulate", "checkpoint_every_steps", "log_every_steps"))
        require_above_zero(self, "", ("max_gradient_norm", "canonical_focal_px"))
        require_shares(self, "", ("ema_decay", "max_unreadable_share"))
        stride_px = stride_of(self.network.name)
        overviews = [view.as_overview() for view in self.views if view.overview_every_steps]
        for view in (*self.views, *overviews):
            if view.height_px % stride_px or view.width_px % stride_px or min(view.height_px, view.width_px) < 1:
                raise RecipeError(
                    f"recipe: a view is {view.height_px}x{view.width_px} px; {self.network.name} needs multiples "
                    f"of {stride_px}."
                )
        starts = [view.first_step for view in self.views]
        if starts != sorted(set(starts)) or starts[:1] != [0]:
            raise RecipeError(
                f"recipe: views begin at steps {starts}; the first must be 0, the others must follow."
            )

    def _check_data(self) -> None:
        if not self.groups or not all(self.groups.values()):
            raise RecipeError("recipe: groups are empty; give at least one group with one data set.")
        for name, count in self.turns.items():
            if name not in self.groups:
                raise RecipeError(f"recipe: turns has no group '{name}'{did_you_mean(name, self.groups)}")
            if count < 1:
                raise RecipeError(f"recipe: turns.{name} is {count}; it must be at least 1.")
        readers = {dataset.reader for group in self.groups.values() for dataset in group}
        if "pool" in readers and (self.canonical, self.canonical_focal_px) != ("label", CANONICAL_FOCAL_PX):
            raise RecipeError(
                f"recipe: canonical is '{self.canonical}' at {self.canonical_focal_px:g} px but a pool's labels "
                f"are canonical at {CANONICAL_FOCAL_PX:g} px already; use reader simulated."
            )

    def view_at(self, step: int) -> ViewRecipe:
        """What the network sees at a step."""
        stage = [view for view in self.views if view.first_step <= step][-1]
        is_overview = stage.overview_every_steps > 0 and step % stage.overview_every_steps == 0
        return stage.as_overview() if is_overview else stage

    def sha256(self) -> str:
        """Fingerprint of every choice, whatever the file's order and comments."""
        return hashlib.sha256(json.dumps(self.to_plain(), sort_keys=True).encode()).hexdigest()

    def to_plain(self) -> dict[str, Any]:
        """The recipe as plain lists, mappings, numbers and texts."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    def to_yaml(self) -> str:
        """The recipe as a YAML document that ``load_run_recipe`` reads back."""
        return str(yaml.safe_dump(self.to_plain(), sort_keys=False))


def load_run_recipe(path: Path, overrides: Sequence[str] = ()) -> RunRecipe:
    """Read and validate a recipe file, with ``key=value`` overrides on top.

    Raises
    ------
    RecipeError
        If the file cannot be read, a key is unknown or missing, or a value cannot work.
    """
    return build(RunRecipe, read_values(path, overrides))


def run_recipe_from_values(values: dict[str, Any]) -> RunRecipe:
    """A validated recipe from a plain mapping."""
    return build(RunRecipe, values)
