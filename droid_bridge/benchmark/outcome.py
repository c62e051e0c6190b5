"""What one job of a benchmark leaves behind, and the scores in it."""

from __future__ import annotations

import json
import math
import os
import platform
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from droid_bridge.errors import DroidBridgeError, TrajectoryError
from droid_bridge.evaluation.drift import evaluate_drift
from droid_bridge.evaluation.scored_path import scored
from droid_bridge.trajectory import Trajectory
from metric3d_ros.atomic_file import write_json

METRICS_FILE = "metrics.json"
FAILURE_FILE = "failure.json"
TRUTH_FILE = "truth_tum.txt"
STRIP_FILE = "depth_strip.jpg"
TRACK_FOLDER = "track"

_PACKAGES = ("metric3d_ros", "numpy", "torch", "opencv-python-headless", "onnxruntime", "scipy")


@dataclass(frozen=True)
class JobOutcome:
    """One finished job; the fields are the keys of its ``metrics.json``.

    Attributes
    ----------
    dataset, sequence, with_prior, depth, depth_noise, over : which job; see `BenchmarkRequest`.
    frames : images in the recording.
    poses : poses in the trajectory.
    wall_s : seconds from the start of the tracker to its end.
    frames_per_second : ``poses`` over the tracker's own time, or over ``wall_s`` where it does not say.
    peak_memory_mb : the tracker's largest resident set, 10^6 bytes.
    scaled_by : factor from the first tenth of the truth, where the scale is free (no prior); else None.
    drift : `DriftReport` as JSON, nothing aligned; or None.
    t_rel_percent_after_one_scale : drift where the whole trajectory may be scaled once; or None.
    no_drift_because : why there is none: no truth, or a drive that has no segment.
    lengths_m : the segment lengths asked for.
    depth_accuracy : of the prior, where the recording has depth of its own; see `DepthAccuracy`.
    track : the tracker's own ``metrics.json``.
    settings : command and versions.
    """

    dataset: str
    sequence: str
    with_prior: bool
    depth: str
    depth_noise: tuple[float, float] | None
    over: str
    frames: int
    poses: int
    wall_s: float
    frames_per_second: float
    peak_memory_mb: float
    scaled_by: float | None
    drift: dict[str, Any] | None
    t_rel_percent_after_one_scale: float | None
    no_drift_because: str
    lengths_m: tuple[float, ...]
    depth_accuracy: dict[str, Any] | None
    track: dict[str, Any]
    settings: dict[str, Any]

    @property
    def name(self) -> str:
        """The job in a word or three, such as ``03 with prior``."""
        return f"{self.sequence} {'with' if self.with_prior else 'without'} prior"


@dataclass(frozen=True)
class Score:
    """The drift of one trajectory; see `JobOutcome` for the fields."""

    scaled_by: float | None
    drift: dict[str, Any] | None
    t_rel_percent_after_one_scale: float | None = None
    no_drift_because: str = ""


def score(
    truth: Trajectory | None, estimate: Trajectory, lengths_m: tuple[float, ...], *, is_metric: bool
) -> Score:
    """The drift of an estimate: as it is where it is metric, else after one factor from the first tenth."""
    if truth is None:
        return Score(None, None, no_drift_because="the recording has no true poses.")
    try:
        path = scored(truth, estimate, is_metric, lengths_m)
    except TrajectoryError as error:
        return Score(None, None, no_drift_because=str(error))
    try:
        once_scaled = evaluate_drift(truth, estimate, "scale", lengths_m).t_rel_percent
    except TrajectoryError:
        once_scaled = None  # a path that no positive scale puts on the truth
    return Score(path.scaled_once_by, path.report.to_json(), once_scaled)


def read_outcome(folder: Path) -> JobOutcome | None:
    """The outcome in a job's folder, or None where the job is not finished."""
    values = read_json(folder / METRICS_FILE)
    if values is None:
        return None
    try:
        noise = values["depth_noise"]
        tuples = {"lengths_m": tuple(values["lengths_m"]), "depth_noise": noise and tuple(noise)}
        return JobOutcome(**(values | tuples))
    except (KeyError, TypeError) as error:
        raise DroidBridgeError(
            f"{folder / METRICS_FILE} is of another version ({error}); remove it, or choose another --out."
        ) from error


def write_outcome(outcome: JobOutcome, folder: Path) -> None:
    """Write ``metrics.json``, which marks the job as finished; what is not finite becomes null."""
    write_json(_finite(asdict(outcome)), folder / METRICS_FILE)


def read_json(path: Path) -> dict[str, Any] | None:
    """An object of a JSON file; None where there is no file.

    Raises
    ------
    DroidBridgeError
        If it holds something else.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DroidBridgeError(f"{path} cannot be read as JSON ({error}); remove it and run again.") from error
    if not isinstance(values, dict):
        raise DroidBridgeError(f"{path} holds no JSON object; remove it and run again.")
    return values


def versions() -> dict[str, str]:
    """Versions of what has a say in the figures, and the machine."""
    found = {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    found["cpu_cores"] = str(os.cpu_count())
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
