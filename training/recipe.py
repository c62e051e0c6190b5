"""Recipes: every choice of a training run in one YAML file, validated before anything is loaded."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import yaml

from training.errors import RecipeError

# Which values work, and what is said of those that do not.
_RULES: tuple[tuple[tuple[str, ...], Callable[[Any], bool], str], ...] = (
    (("model",), lambda name: name == "nano", "be 'nano', the only network here"),
    (("height_px", "width_px"), lambda size: size > 0 and size % 32 == 0, "be a multiple of 32"),
    (("stages",), lambda stages: bool(stages) and stages[0].first_step == 0, "begin with a stage of first_step 0"),
    (
        ("stages",),
        lambda stages: all(a.first_step < b.first_step for a, b in itertools.pairwise(stages)),
        "be in the order of their first_step",
    ),
    (("steps", "batch_size", "threads", "checkpoint_every_steps"), lambda n: n >= 1, "be at least 1"),
    (("warmup_steps",), lambda n: n >= 0, "be at least 0"),
    (("learning_rate", "max_gradient_norm"), lambda x: x > 0, "be above 0"),
    (("ema_decay", "cooldown_fraction", "gray_probability"), lambda x: 0 <= x <= 1, "lie between 0 and 1"),
    (("widths",), lambda entries: len(entries) == 5 and min(entries) > 0, "have 5 entries above 0"),
    (("depths",), lambda entries: len(entries) == 4 and min(entries) >= 0, "have 4 entries"),
    (("decoder_widths",), lambda entries: len(entries) == 3 and min(entries) > 0, "have 3 entries above 0"),
)


@dataclass(frozen=True)
class Stage:
    """What the network sees from a step on: input size, and the random resize of view and label before it.

    The resize is consistent with canonical space: an image scaled by r has its label scaled by 1 / r.
    """

    first_step: int
    height_px: int
    width_px: int
    resize_range: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.height_px < 32 or self.width_px < 32 or self.height_px % 32 or self.width_px % 32:
            raise RecipeError(
                f"recipe: a stage is {self.height_px}x{self.width_px} px; both must be multiples of 32."
            )
        scales = self.resize_range
        if len(scales) != 2 or not 0 < scales[0] <= scales[1]:
            raise RecipeError(
                f"recipe: resize_range is {list(scales)}; it must be two scales above 0, the smaller first."
            )


@dataclass(frozen=True)
class Recipe:
    """One training run.

    Attributes
    ----------
    model : the network's name.
    seed : of the weights, the order of views and their augmentation.
    height_px, width_px : network input; multiples of 32.
    widths, depths, decoder_widths : the network's channels and blocks (``training.models.nano.Nano``).
    pool : folder of rendered views (``python -m training.simulated_pool``).
    output : folder of the checkpoint, the log and the recipe as it was run.
    steps, batch_size : length of the run.
    stages : what the network sees from which step on. Small windows of shrunken views cost a sixth and teach most:
        in canonical space a shrunken view is one more camera.
    learning_rate, weight_decay, warmup_steps, cooldown_fraction : AdamW; linear warm-up, constant, linear to 0
        over the last fraction of the steps, so that a run may be prolonged without having been planned longer.
    ema_decay : of the averaged weights, which are the ones exported.
    max_gradient_norm : gradients are clipped to this norm.
    mixed_precision : bfloat16 autocast.
    threads : CPU threads of the optimisation.
    l1_weight, silog_weight, scale_weight, gradient_weight, confidence_weight : of the losses.
    gray_probability : how often a view loses its colour.
    checkpoint_every_steps : how often the run can be resumed from.
    """

    model: str
    seed: int
    height_px: int
    width_px: int
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    decoder_widths: tuple[int, ...]
    pool: str
    output: str
    steps: int
    batch_size: int
    stages: tuple[Stage, ...]
    learning_rate: float
    weight_decay: float
    warmup_steps: int
    cooldown_fraction: float
    ema_decay: float
    max_gradient_norm: float
    mixed_precision: bool
    threads: int
    l1_weight: float
    silog_weight: float
    scale_weight: float
    gradient_weight: float
    confidence_weight: float
    gray_probability: float
    checkpoint_every_steps: int

    def __post_init__(self) -> None:
        for names, is_right, rule in _RULES:
            for name in names:
                value = getattr(self, name)
                if not is_right(value):
                    shown = list(value) if isinstance(value, tuple) else value
                    raise RecipeError(f"recipe: {name} is {shown!r}; it must {rule}.")

    def stage_at(self, step: int) -> Stage:
        """What the network sees at a step."""
        return [stage for stage in self.stages if stage.first_step <= step][-1]

    def sha256(self) -> str:
        """Fingerprint of every choice, whatever the file's order and comments."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def to_plain(self) -> dict[str, Any]:
        """The recipe as plain lists, mappings, numbers and texts."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    def to_yaml(self) -> str:
        """The recipe as a YAML document that ``load_recipe`` reads back."""
        return str(yaml.safe_dump(self.to_plain(), sort_keys=False, default_flow_style=None))


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read and validate a recipe file, with ``key=value`` overrides on top.

    Raises
    ------
    RecipeError
        If the file is missing or no YAML mapping, a key is unknown or missing, or a value has the wrong type.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(f"no recipe at {path}; recipes are in training/recipes/.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(f"recipe {path} cannot be read as YAML: {error}.") from None
    if not isinstance(document, Mapping):
        raise RecipeError(f"recipe {path} holds no 'key: value' lines; see training/recipes/nano.yaml.")
    values = {str(key): value for key, value in document.items()}
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator:
            raise RecipeError(f"override {override!r} is not of the form key=value.")
        values[key] = yaml.safe_load(text)
    return recipe_from_values(values)


def recipe_from_values(values: Mapping[str, Any]) -> Recipe:
    """A validated recipe from a plain mapping."""
    recipe: Recipe = _build(Recipe, values)
    return recipe


def _build(kind: Any, values: Mapping[str, Any]) -> Any:
    types = get_type_hints(kind)
    names = [field.name for field in fields(kind)]
    for key in values:
        if key not in names:
            near = difflib.get_close_matches(key, names, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else f"; known keys: {', '.join(names)}."
            raise RecipeError(f"recipe: unknown key '{key}'{hint}")
    missing = [name for name in names if name not in values]
    if missing:
        raise RecipeError(f"recipe: missing {', '.join(missing)}; training/recipes/nano.yaml has them all.")
    return kind(**{name: _typed(name, values[name], types[name]) for name in names})


def _typed(name: str, value: Any, wanted: Any) -> Any:
    if get_origin(wanted) is tuple:
        if not isinstance(value, (list, tuple)):
            raise RecipeError(f"recipe: {name} is {value!r}; it must be a list.")
        return tuple(_typed(name, entry, get_args(wanted)[0]) for entry in value)
    if wanted is Stage and isinstance(value, Mapping):
        return _build(Stage, value)
    if wanted is float and isinstance(value, str):
        # YAML 1.1 reads 1e-3 as text.
        with contextlib.suppress(ValueError):
            return float(value)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        raise RecipeError(f"recipe: {name} is {value!r}; it must be of type {wanted.__name__}.")
    return value
