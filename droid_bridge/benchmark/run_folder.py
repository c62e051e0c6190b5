"""The folder of a run: what it was asked for, and what its jobs have left so far."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from droid_bridge.benchmark.jobs import BenchmarkRequest
from droid_bridge.benchmark.outcome import (
    FAILURE_FILE,
    STRIP_FILE,
    TRACK_FOLDER,
    TRUTH_FILE,
    JobOutcome,
    read_json,
    read_outcome,
    versions,
)
from droid_bridge.errors import DroidBridgeError
from droid_bridge.evaluation.scale import scaled
from droid_bridge.offline_tracking import MAP_FILE
from droid_bridge.trajectory import Trajectory, read_tum
from droid_bridge.trajectory_recorder import TUM_FILE
from metric3d_ros.atomic_file import write_json

REQUEST_FILE = "benchmark.json"
VARIANTS = ("with_prior", "without_prior")

# What must stay the same for figures of one run to belong together.
_FIXED = (
    "dataset", "root", "depth", "depth_noise", "noise_seed", "over", "simulated_length_m", "track_arguments",
)  # fmt: skip


@dataclass(frozen=True)
class FinishedJob:
    """An outcome and what is left of its drive.

    Attributes
    ----------
    outcome : the figures.
    estimate : the trajectory, in the world and the metres that its drift was scored in.
    point_cloud : PLY of the dense map in the tracker's own metres, ``outcome.scaled_by`` not applied; or None.
    """

    outcome: JobOutcome
    estimate: Trajectory
    point_cloud: Path | None


@dataclass(frozen=True)
class SequenceResults:
    """What a run has of one sequence.

    Attributes
    ----------
    name : of the sequence.
    truth : the true trajectory, or None.
    jobs : what is finished, with the prior first.
    failures : for each variant that failed, what it said.
    strip : picture of the prior's depth, or None.
    """

    name: str
    truth: Trajectory | None
    jobs: tuple[FinishedJob, ...]
    failures: tuple[str, ...]
    strip: Path | None


@dataclass(frozen=True)
class RunResults:
    """A run as its folder holds it: the request and what each sequence has."""

    request: dict[str, Any]
    sequences: tuple[SequenceResults, ...]


def begin_run(request: BenchmarkRequest) -> None:
    """Make the folder of a run, or go on in it.

    Raises
    ------
    DroidBridgeError
        If it holds a run of other settings, or cannot be written.
    """
    path = request.out / REQUEST_FILE
    before = read_json(path)
    asked: dict[str, Any] = {
        **asdict(request),
        "root": None if request.root is None else str(request.root),
        "out": str(request.out),
        "depth_noise": None if request.depth_noise is None else list(request.depth_noise),
        "track_arguments": list(request.track_arguments),
        "versions": versions(),
    }
    for name in _FIXED:
        if before is not None and before.get(name) != asked[name]:
            raise DroidBridgeError(
                f"{request.out} holds a run with {name} {before.get(name)!r}, and this one has {asked[name]!r}; "
                "choose another --out, or the same settings."
            )
    known = [] if before is None else [name for name in before["sequences"] if name not in request.sequences]
    asked["sequences"] = [*known, *request.sequences]
    write_json(asked, path)


def read_run(run: Path) -> RunResults:
    """What a run's folder holds.

    Raises
    ------
    DroidBridgeError
        If it is not a run's folder, or a file in it is damaged.
    """
    request = read_json(run / REQUEST_FILE)
    if request is None:
        raise DroidBridgeError(
            f"{run} is no benchmark's folder: it has no {REQUEST_FILE}; run the benchmark first."
        )
    return RunResults(request, tuple(_read_sequence(run / name) for name in request["sequences"]))


def _read_sequence(folder: Path) -> SequenceResults:
    jobs, failures = [], []
    for variant in VARIANTS:
        outcome = read_outcome(folder / variant)
        if outcome is not None:
            cloud = folder / variant / TRACK_FOLDER / MAP_FILE
            estimate = _estimate(folder / variant, outcome)
            jobs.append(FinishedJob(outcome, estimate, cloud if cloud.exists() else None))
        elif (failure := read_json(folder / variant / FAILURE_FILE)) is not None:
            failures.append(f"{variant.replace('_', ' ')}: {failure['failure']}")
    return SequenceResults(
        name=folder.name,
        truth=_truth(folder),
        jobs=tuple(jobs),
        failures=tuple(failures),
        strip=folder / STRIP_FILE if (folder / STRIP_FILE).exists() else None,
    )


def _truth(folder: Path) -> Trajectory | None:
    """The truth that either variant has left: each writes its own, so that two at a time do not meet."""
    for variant in VARIANTS:
        if (folder / variant / TRUTH_FILE).exists():
            return read_tum(folder / variant / TRUTH_FILE)
    return None


def _estimate(folder: Path, outcome: JobOutcome) -> Trajectory:
    estimate = read_tum(folder / TRACK_FOLDER / TUM_FILE)
    return estimate if outcome.scaled_by is None else scaled(estimate, outcome.scaled_by)
