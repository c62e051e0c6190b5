"""The tables of a report, and their CSV files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from droid_bridge.benchmark.outcome import JobOutcome
from droid_bridge.benchmark.run_folder import RunResults
from droid_bridge.report.published import PUBLISHED, SEQUENCES
from metric3d_ros.atomic_file import replaced_when_done

OUR_NAMES = {True: "this run, with the prior", False: "this run, no prior (scale of the first tenth given)"}

_DETAIL_HEADINGS = (
    "sequence", "prior", "t_rel_percent", "r_rel_deg_per_100m", "ate_m", "ate_scale_m", "ate_se3_m", "ate_sim3_m",
    "rpe_m", "rpe_deg", "scale_start", "scale_end", "coverage", "scaled_by", "path_length_m", "poses",
    "frames_per_second", "peak_memory_mb", "depth_abs_rel", "depth_delta_1", "depth_median_ratio",
)  # fmt: skip


@dataclass(frozen=True)
class Table:
    """Headings and rows of cells that are text, numbers, or None for nothing."""

    headings: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def write_csv(self, path: Path) -> Path:
        """Write the table as CSV, whole or not at all, and give the path."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.headings)
        writer.writerows(self.rows)
        with replaced_when_done(path) as temporary:
            temporary.write_text(text.getvalue(), encoding="utf-8")
        return path


@dataclass(frozen=True)
class ComparisonRow:
    """One system of the comparison.

    Attributes
    ----------
    system : its name.
    is_ours : whether this run measured it.
    drifts : for each column (t_rel percent, r_rel degrees per 100 m), or None.
    mean : over the columns that have one, or None.
    """

    system: str
    is_ours: bool
    drifts: tuple[tuple[float, float] | None, ...]
    mean: tuple[float, float] | None


@dataclass(frozen=True)
class Comparison:
    """Published systems beside ours; ``sequences`` are the columns."""

    sequences: tuple[str, ...]
    rows: tuple[ComparisonRow, ...]


def outcomes_of(run: RunResults) -> list[JobOutcome]:
    """All finished jobs of a run."""
    return [job.outcome for sequence in run.sequences for job in sequence.jobs]


def comparison(run: RunResults) -> Comparison:
    """Our drift beside what is published; the published rows only where the run is of KITTI odometry."""
    is_kitti = run.request["dataset"] == "kitti_odometry"
    measured = [sequence.name for sequence in run.sequences]
    sequences = tuple(sorted({*SEQUENCES, *measured})) if is_kitti else tuple(measured)
    rows = [
        _row(published.system, False, [published.drift(name) for name in sequences])
        for published in (PUBLISHED if is_kitti else ())
    ]
    for with_prior in (True, False):
        found = {
            outcome.sequence: (outcome.drift["t_rel_percent"], outcome.drift["r_rel_deg_per_100m"])
            for outcome in outcomes_of(run)
            if outcome.with_prior == with_prior and outcome.drift is not None
        }
        if found:
            rows.append(_row(OUR_NAMES[with_prior], True, [found.get(name) for name in sequences]))
    return Comparison(sequences, tuple(rows))


def _row(system: str, is_ours: bool, drifts: Sequence[tuple[float, float] | None]) -> ComparisonRow:
    known = [drift for drift in drifts if drift is not None]
    mean = None
    if known:
        mean = (sum(t for t, _ in known) / len(known), sum(r for _, r in known) / len(known))
    return ComparisonRow(system, is_ours, tuple(drifts), mean)


def detail_table(run: RunResults) -> Table:
    """Every figure of every job."""
    return Table(_DETAIL_HEADINGS, tuple(_detail_row(outcome) for outcome in outcomes_of(run)))


def _detail_row(outcome: JobOutcome) -> tuple[Any, ...]:
    drift = outcome.drift or {}
    ate, rpe = drift.get("ate_by_align_m") or {}, drift.get("rpe") or {}
    return (
        outcome.sequence,
        "yes" if outcome.with_prior else "no",
        drift.get("t_rel_percent"),
        drift.get("r_rel_deg_per_100m"),
        *(ate.get(method) for method in ("none", "scale", "se3", "sim3")),
        rpe.get("translation_rmse_m"),
        rpe.get("rotation_rmse_deg"),
        *(drift.get(key) for key in ("scale_start", "scale_end", "coverage")),
        outcome.scaled_by,
        drift.get("path_length_m"),
        outcome.poses,
        outcome.frames_per_second,
        outcome.peak_memory_mb,
        *((outcome.depth_accuracy or {}).get(key) for key in ("abs_rel", "delta_1", "median_ratio")),
    )


def pooled_table(run: RunResults, what: str) -> Table:
    """Drift by length or by speed over all sequences, each segment counted once.

    Parameters
    ----------
    run : the results.
    what : ``per_length`` or ``per_speed``.
    """
    unit = "length_m" if what == "per_length" else "speed_m_per_s"
    rows = []
    for with_prior in (True, False):
        entries = [
            entry
            for outcome in outcomes_of(run)
            if outcome.with_prior == with_prior and outcome.drift is not None
            for entry in outcome.drift[what]
            if entry["segments"]
        ]
        for at in sorted({_position(entry) for entry in entries}):
            rows.append(("yes" if with_prior else "no", at, *_pooled(e for e in entries if _position(e) == at)))
    return Table(("prior", unit, "segments", "t_rel_percent", "r_rel_deg_per_100m"), tuple(rows))


def _position(entry: dict[str, Any]) -> float:
    """A length, or the middle of a bin of speed."""
    if "length_m" in entry:
        return float(entry["length_m"])
    return 0.5 * (float(entry["from_m_per_s"]) + float(entry["to_m_per_s"]))


def _pooled(entries: Iterable[dict[str, Any]]) -> tuple[int, float, float]:
    chosen = list(entries)
    segments = sum(int(entry["segments"]) for entry in chosen)
    t_rel, r_rel = (
        sum(entry["segments"] * entry[key] for entry in chosen) / segments
        for key in ("t_rel_percent", "r_rel_deg_per_100m")
    )
    return segments, t_rel, r_rel
