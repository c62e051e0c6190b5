"""Doing one job: the tracker in a process of its own, then its score."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from droid_bridge.benchmark.depth_samples import sample_depth
from droid_bridge.benchmark.jobs import BenchmarkJob, open_source
from droid_bridge.benchmark.outcome import (
    FAILURE_FILE,
    METRICS_FILE,
    STRIP_FILE,
    TRACK_FOLDER,
    TRUTH_FILE,
    JobOutcome,
    read_json,
    read_outcome,
    score,
    versions,
    write_outcome,
)
from droid_bridge.benchmark.tracker_process import run_process
from droid_bridge.errors import DroidBridgeError
from droid_bridge.trajectory import Trajectory, read_tum, write_tum
from droid_bridge.trajectory_recorder import TUM_FILE
from metric3d_ros.atomic_file import write_json
from metric3d_ros.datasets.frame import FrameSource
from metric3d_ros.errors import Metric3dError, OutputError

TRACKER: tuple[str, ...] = (sys.executable, "-m", "droid_bridge.cli", "track")
RUN_FILE = "run.json"
LOG_FILE = "track.log"


@dataclass(frozen=True)
class JobResult:
    """A job's outcome, or the sentence that says why it failed; ``was_done`` where it had run before."""

    job: BenchmarkJob
    outcome: JobOutcome | None
    failure: str = ""
    was_done: bool = False


def run_job(job: BenchmarkJob, tracker: tuple[str, ...] = TRACKER) -> JobResult:
    """Do a job, or what is left of it; a failure is returned, not raised, so that others go on.

    ``metrics.json`` in the job's folder marks it as finished, and ``track/`` its tracking: each appears when it
    is whole, so a job that was killed begins again where it has to.
    """
    try:
        done = finished(job)
        if done is not None:
            return JobResult(job, done, was_done=True)
        return JobResult(job, _do(job, tracker))
    except (DroidBridgeError, Metric3dError, OSError) as error:
        return JobResult(job, None, failure=_note_failure(job, str(error)))


def finished(job: BenchmarkJob) -> JobOutcome | None:
    """The outcome of a job that is finished, scored with the lengths that are asked for now."""
    outcome = read_outcome(job.folder)
    return outcome if outcome is not None and outcome.lengths_m == job.request.lengths_m else None


def _do(job: BenchmarkJob, tracker: tuple[str, ...]) -> JobOutcome:
    job.folder.mkdir(parents=True, exist_ok=True)
    (job.folder / FAILURE_FILE).unlink(missing_ok=True)
    source = open_source(job)
    truth = _write_truth(source, job.folder / TRUTH_FILE)
    if not (job.folder / TRACK_FOLDER).is_dir():
        _track(job, tracker)
    accuracy = sample_depth(job, job.sequence_folder / STRIP_FILE) if job.with_prior else None
    outcome = _outcome(job, source, truth, accuracy)
    write_outcome(outcome, job.folder)
    return outcome


def _write_truth(source: FrameSource, path: Path) -> Trajectory | None:
    if source.world_from_camera is None:
        return None
    truth = Trajectory(source.world_from_camera, stamps_ns=source.stamps_ns)
    write_tum(truth, path)
    # Read back, so that a report that knows only the file scores the same numbers.
    return read_tum(path)


def _track(job: BenchmarkJob, tracker: tuple[str, ...]) -> None:
    """Run the tracker into a folder of this attempt, which becomes ``track`` when it ends well."""
    for left_over in job.folder.glob(f".{TRACK_FOLDER}.*"):
        shutil.rmtree(left_over, ignore_errors=True)
    attempt = job.folder / f".{TRACK_FOLDER}.{os.getpid()}"
    attempt.mkdir()
    command = [*tracker, *job.track_arguments(attempt)]
    ended = run_process(command, job.folder / LOG_FILE, job.request.threads)
    if ended.failure:
        raise DroidBridgeError(_said_last(job.folder / LOG_FILE, ended.failure))
    if not (attempt / TUM_FILE).is_file():
        raise DroidBridgeError(f"the tracker left no {TUM_FILE} in {attempt}; see {job.folder / LOG_FILE}.")
    run = {"wall_s": ended.wall_s, "peak_memory_mb": ended.peak_memory_mb, "command": command}
    write_json(run, attempt / RUN_FILE)
    attempt.rename(job.folder / TRACK_FOLDER)


def _said_last(log: Path, failure: str) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    said = lines[-1].removeprefix("droid-bridge: ") if lines else "it said nothing"
    return f"the tracker {failure}: {said} (all of it is in {log})"


def _outcome(
    job: BenchmarkJob, source: FrameSource, truth: Trajectory | None, depth_accuracy: dict[str, Any] | None
) -> JobOutcome:
    folder = job.folder / TRACK_FOLDER
    run = read_json(folder / RUN_FILE) or {}
    track = read_json(folder / METRICS_FILE) or {}
    estimate = read_tum(folder / TUM_FILE)
    scored = score(truth, estimate, job.request.lengths_m, is_metric=job.is_metric)
    return JobOutcome(
        dataset=job.request.dataset,
        sequence=job.sequence,
        with_prior=job.with_prior,
        depth=job.request.depth if job.with_prior else "none",
        depth_noise=job.request.depth_noise if job.with_prior else None,
        over=job.request.over,
        frames=len(source),
        poses=len(estimate),
        wall_s=float(run["wall_s"]),
        frames_per_second=_frames_per_second(track, len(estimate), float(run["wall_s"])),
        peak_memory_mb=float(run["peak_memory_mb"]),
        scaled_by=scored.scaled_by,
        drift=scored.drift,
        t_rel_percent_after_one_scale=scored.t_rel_percent_after_one_scale,
        no_drift_because=scored.no_drift_because,
        lengths_m=job.request.lengths_m,
        depth_accuracy=depth_accuracy,
        track=track,
        settings={"command": run["command"], "versions": versions()},
    )


def _frames_per_second(track: dict[str, Any], poses: int, wall_s: float) -> float:
    told = track.get("frames_per_second")
    return float(told) if isinstance(told, (int, float)) else poses / wall_s


def _note_failure(job: BenchmarkJob, message: str) -> str:
    try:
        write_json({"failure": message}, job.folder / FAILURE_FILE)
    except OutputError as error:
        return f"{message} (and {error})"
    return message
