"""From plain YAML values to frozen dataclasses, every key and type checked, with the path of what is wrong."""

from __future__ import annotations

import contextlib
import difflib
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from training.errors import RecipeError

Built = TypeVar("Built")


def read_values(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The values of a YAML recipe, ``key=value`` and ``part.key=value`` overrides put in.

    Raises
    ------
    RecipeError
        If the file is missing or no YAML mapping, or an override is none.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(f"no recipe at {path}; recipes are in training/recipes/.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise RecipeError(f"recipe {path} cannot be read as YAML: {reason}; correct that line.") from None
    if not isinstance(document, Mapping):
        raise RecipeError(f"recipe {path} holds no 'key: value' lines; see training/recipes/.")
    values = {str(key): value for key, value in document.items()}
    for override in overrides:
        _override(values, override)
    return values


def _override(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator:
        raise RecipeError(f"override {override!r} is not of the form key=value, such as schedule.steps=1000.")
    *parts, last = key.split(".")
    inside: Any = values
    for part in parts:
        inside = inside.setdefault(part, {}) if isinstance(inside, dict) else _entry(inside, part, override)
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise RecipeError(f"override {override!r} is not YAML: {reason}; quote the value.") from None
    if isinstance(inside, dict):
        inside[last] = value
    else:
        _entry(inside, last, override)
        inside[int(last)] = value


def _entry(inside: Any, part: str, override: str) -> Any:
    """An entry of a list by its number, for overrides such as ``groups.kitti.0.path=FOLDER``."""
    if not isinstance(inside, list):
        raise RecipeError(f"override {override!r} looks into a single value at '{part}'; leave that part out.")
    if not part.isdigit() or int(part) >= len(inside):
        raise RecipeError(f"override {override!r} has '{part}' where a list has entries 0 to {len(inside) - 1}.")
    return inside[int(part)]


def build(kind: type[Built], values: Mapping[str, Any], where: str = "") -> Built:
    """A dataclass from a mapping of its fields' names.

    Raises
    ------
    RecipeError
        If a key is unknown (the nearest is offered) or missing, or a value is of another type.
    """
    hints = get_type_hints(kind)
    known: dict[str, Field[Any]] = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise RecipeError(f"recipe: unknown key '{_at(where, str(key))}'{did_you_mean(str(key), known)}")
    missing = [name for name, field in known.items() if _is_required(field) and name not in values]
    if missing:
        names = ", ".join(_at(where, name) for name in missing)
        raise RecipeError(f"recipe: missing {names}; training/recipes/ shows what belongs there.")
    return kind(**{name: _typed(_at(where, name), values[name], hints[name]) for name in known if name in values})


def did_you_mean(word: str, known: Mapping[str, Any] | Sequence[str]) -> str:
    """The end of a sentence about an unknown word: the nearest known one, or all of them."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(known)}."


def _is_required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _at(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _typed(where: str, value: Any, wanted: Any) -> Any:
    origin = get_origin(wanted)
    if origin in (Union, types.UnionType):
        (inner,) = (choice for choice in get_args(wanted) if choice is not type(None))
        return None if value is None else _typed(where, value, inner)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise RecipeError(f"recipe: {where} is {value!r}; it must be a list.")
        return tuple(_typed(f"{where}[{i}]", entry, get_args(wanted)[0]) for i, entry in enumerate(value))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise RecipeError(f"recipe: {where} is {value!r}; it must hold 'name: value' lines.")
        return {str(key): _typed(_at(where, str(key)), entry, get_args(wanted)[1]) for key, entry in value.items()}
    if is_dataclass(wanted) and isinstance(wanted, type):
        if not isinstance(value, Mapping):
            raise RecipeError(f"recipe: {where} is {value!r}; it must hold 'key: value' lines.")
        return build(wanted, value, where)
    return _plain(where, value, wanted)


def _plain(where: str, value: Any, wanted: type) -> Any:
    if wanted is float and isinstance(value, str):
        # YAML 1.1 reads 1e-3 as text.
        with contextlib.suppress(ValueError):
            return float(value)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        raise RecipeError(f"recipe: {where} is {value!r}; it must be of type {wanted.__name__}.")
    return value
