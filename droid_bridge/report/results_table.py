"""Runs as one Markdown table: what docs/results.md shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from droid_bridge.benchmark.outcome import JobOutcome
from droid_bridge.benchmark.run_folder import RunResults, SequenceResults

_HEADINGS = (
    "drive", "prior", "t_rel %", "t_rel % after one scale", "r_rel °/100 m", "ATE m", "Sim(3) ATE m",
    "scale start, end", "end / start", "frames in / out", "frames/s", "peak memory MB",
)  # fmt: skip
_DATASETS = {"kitti_odometry": "KITTI", "kitti_raw": "KITTI raw", "recordings": "", "simulated": "simulated"}


def section_of(over: str) -> str:
    """The section of a page that holds the results offline, or over ROS."""
    return f"results {over}"


def results_table(runs: Sequence[RunResults]) -> str:
    """A row for each finished job and each failure of the runs, in their order."""
    lines = [_row(_HEADINGS), _row(["---"] * len(_HEADINGS))]
    for run in runs:
        for sequence in run.sequences:
            lines += [_row(_cells(sequence, job.outcome)) for job in sequence.jobs]
            lines += [
                _row([_drive(run.request["dataset"], sequence, None), f"failed, {failure}", *_missing(2)])
                for failure in sequence.failures
            ]
    return "\n".join(lines)


def _cells(sequence: SequenceResults, outcome: JobOutcome) -> list[str]:
    frames = f"{_frames_in(outcome)} / {outcome.poses}"
    machine = [frames, f"{outcome.frames_per_second:.1f}", f"{outcome.peak_memory_mb:.0f}"]
    head = [_drive(outcome.dataset, sequence, outcome.drift), _prior(outcome)]
    drift = outcome.drift
    if drift is None:
        return [*head, *_missing(len(head) + len(machine)), *machine]
    return [
        *head,
        f"{drift['t_rel_percent']:.2f}",
        _number(outcome.t_rel_percent_after_one_scale),
        f"{drift['r_rel_deg_per_100m']:.2f}",
        f"{drift['ate_m']:.2f}",
        _number(drift["ate_by_align_m"]["sim3"]),
        f"{drift['scale_start']:.3f}, {drift['scale_end']:.3f}",
        f"{drift['scale_end'] / drift['scale_start']:.3f}" if drift["scale_start"] else "-",
        *machine,
    ]


def _missing(known: int) -> list[str]:
    return ["-"] * (len(_HEADINGS) - known)


def _drive(dataset: str, sequence: SequenceResults, drift: dict[str, Any] | None) -> str:
    name = f"{_DATASETS[dataset]} {sequence.name}".strip()
    return name if drift is None else f"{name}, {drift['path_length_m']:.0f} m"


def _prior(outcome: JobOutcome) -> str:
    prior = outcome.depth
    if outcome.depth_noise is not None:
        pixel, frame = outcome.depth_noise
        prior += f", noise {pixel:.0%} / {frame:.0%}"
    settings = outcome.track.get("settings", {})
    height_m = settings.get("camera_height")
    if height_m is not None:
        return f"{prior}, camera {height_m:g} m high"
    return f"{prior}, camera keeps its height" if settings.get("keeps_height") else prior


def _frames_in(outcome: JobOutcome) -> int:
    """Frames that the tracker was given: over ROS it says, and ``--max-frames`` makes it fewer than there are."""
    return int(outcome.track.get("frames", outcome.frames))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
