"""Several benchmarks in one file: what a table of results is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from droid_bridge.benchmark.jobs import DATASETS, SIMULATED_LENGTH_M, VARIANTS, BenchmarkRequest, Over
from droid_bridge.errors import DroidBridgeError
from droid_bridge.evaluation.segments import KITTI_LENGTHS_M


@dataclass(frozen=True)
class PlanSettings:
    """What a plan leaves to who runs it.

    Attributes
    ----------
    root : the folder that the plan's folders are in; None where it has none.
    out : each benchmark gets a folder in it, named as in the plan.
    over : offline or ros.
    threads : of each job.
    """

    root: Path | None
    out: Path
    over: Over = "offline"
    threads: int = 1


def read_plan(path: Path, settings: PlanSettings) -> tuple[BenchmarkRequest, ...]:
    """The benchmarks of a YAML file that maps names to their settings.

    ``dataset`` and ``sequences`` must be given; ``folder`` (below the root), ``depth``, ``depth_noise``,
    ``noise_seed``, ``prior`` (both, with, without), ``lengths_m``, ``simulated_length_m`` and ``track_arguments``
    may be. See `BenchmarkRequest`.

    Raises
    ------
    DroidBridgeError
        If it cannot be read, or a setting is unknown or none that a benchmark can have; the message names it.
    """
    try:
        plan = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        why = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise DroidBridgeError(f"plan {path} cannot be read: {why}; give a YAML file of benchmarks.") from error
    if not isinstance(plan, dict) or not plan:
        raise DroidBridgeError(f"plan {path} names no benchmark; give a mapping of names to settings.")
    return tuple(_request(path, str(name), values, settings) for name, values in plan.items())


def _request(path: Path, name: str, values: Any, settings: PlanSettings) -> BenchmarkRequest:
    entry = _Entry(path, name, values)
    dataset = entry.choice("dataset", DATASETS, None)
    folder = entry.text("folder", "") if dataset == "simulated" else entry.text("folder", None)
    root = None
    if folder:
        if settings.root is None:
            raise DroidBridgeError(
                f"{name} in {path} is in folder {folder}; give --root DIR, the folder above it."
            )
        root = (settings.root / folder).resolve()
        if not root.is_dir():
            raise DroidBridgeError(f"{name} in {path}: there is no folder {root}; check --root.")
    request = BenchmarkRequest(
        dataset=dataset,
        root=root,
        sequences=entry.texts("sequences", None),
        out=(settings.out / name).resolve(),
        depth=entry.text("depth", "nano"),
        depth_noise=entry.noise("depth_noise"),
        noise_seed=int(entry.number("noise_seed", 0)),
        over=settings.over,
        with_prior=VARIANTS[entry.choice("prior", tuple(VARIANTS), "both")],
        lengths_m=entry.lengths_m("lengths_m", KITTI_LENGTHS_M),
        simulated_length_m=entry.number("simulated_length_m", SIMULATED_LENGTH_M),
        track_arguments=entry.texts("track_arguments", ()),
        threads=settings.threads,
    )
    entry.require_all_known()
    return request


class _Entry:
    """One benchmark of a plan; each setting is read once, by its kind, and complaints name it."""

    def __init__(self, path: Path, name: str, values: Any) -> None:
        self._where = f"{name} in {path}"
        if not isinstance(values, Mapping):
            raise DroidBridgeError(f"{self._where} is no mapping; give its settings, such as dataset: simulated.")
        if Path(name).name != name or name.startswith("."):
            raise DroidBridgeError(f"{self._where} cannot name a folder; give a plain name.")
        self._left = {str(key): value for key, value in values.items()}

    def text(self, key: str, default: str | None) -> str:
        value = self._take(key, default)
        if not isinstance(value, str):
            raise self._error(key, value, "text")
        return value

    def choice(self, key: str, choices: tuple[str, ...], default: str | None) -> Any:
        value = self._take(key, default)
        if value not in choices:
            raise self._error(key, value, " or ".join(choices))
        return value

    def texts(self, key: str, default: tuple[str, ...] | None) -> tuple[str, ...]:
        value = self._take(key, default)
        if not (isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)):
            raise self._error(key, value, 'a list of texts, such as ["03"]')
        return tuple(value)

    def number(self, key: str, default: float) -> float:
        value = self._take(key, default)
        if not _is_number(value):
            raise self._error(key, value, "a number from 0 on")
        return float(value)

    def lengths_m(self, key: str, default: tuple[float, ...]) -> tuple[float, ...]:
        value = self._take(key, default)
        if not (isinstance(value, (list, tuple)) and value and all(_is_number(item) for item in value)):
            raise self._error(key, value, "a list of metres, such as [100, 200]")
        return tuple(float(item) for item in value)

    def noise(self, key: str) -> tuple[float, float] | None:
        value = self._left.pop(key, None)
        if value is None:
            return None
        if not (isinstance(value, list) and len(value) == 2 and all(_is_number(v) and v < 1 for v in value)):
            raise self._error(key, value, "two shares from 0 to below 1, such as [0.10, 0.03]")
        return float(value[0]), float(value[1])

    def require_all_known(self) -> None:
        """Refuse what nothing has read."""
        for key in self._left:
            raise DroidBridgeError(f"{self._where} has an unknown setting {key!r}; remove it, or check its name.")

    def _take(self, key: str, default: Any) -> Any:
        if key not in self._left and default is None:
            raise DroidBridgeError(f"{self._where} has no {key}; give it.")
        return self._left.pop(key, default)

    def _error(self, key: str, value: Any, wanted: str) -> DroidBridgeError:
        return DroidBridgeError(f"{self._where} has {key} {value!r}; give {wanted}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < float("inf")
