"""One HTML file that needs no network, with PNG and CSV files beside it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import resources
from pathlib import Path
from typing import Any

from droid_bridge.benchmark.run_folder import RunResults, SequenceResults, read_run
from droid_bridge.errors import DroidBridgeError
from droid_bridge.evaluation.plots import plot_scale_over_distance, plot_top_down
from droid_bridge.report.charts import LABELS, Chart, error_chart, placed, scale_chart, top_down_chart
from droid_bridge.report.summary import Table, comparison, detail_table, pooled_table
from metric3d_ros.atomic_file import replaced_when_done

REPORT_FILE = "report.html"
_TEMPLATE = "report.html.j2"


@dataclass(frozen=True)
class _Section:
    """One sequence on the page; charts by the id of their element."""

    name: str
    failures: tuple[str, ...]
    notes: tuple[str, ...]
    charts: dict[str, Chart]
    strip: str | None


def write_report(run_folder: Path) -> list[Path]:
    """Write the report of a run beside its results and give the files: the page first.

    Raises
    ------
    DroidBridgeError
        If the folder is no run's, or jinja2, plotly or matplotlib is not installed.
    """
    run = read_run(run_folder)
    details = detail_table(run)
    by_length, by_speed = pooled_table(run, "per_length"), pooled_table(run, "per_speed")
    page = _render(run, run_folder.name, details, by_length, by_speed)
    written = [
        details.write_csv(run_folder / "summary.csv"),
        by_length.write_csv(run_folder / "drift_by_length.csv"),
        by_speed.write_csv(run_folder / "drift_by_speed.csv"),
    ]
    for sequence in run.sequences:
        written += _write_pictures(sequence, run_folder / sequence.name)
    with replaced_when_done(run_folder / REPORT_FILE) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return [run_folder / REPORT_FILE, *written]


def _render(run: RunResults, title: str, details: Table, by_length: Table, by_speed: Table) -> str:
    try:
        from jinja2 import Environment, StrictUndefined
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise DroidBridgeError(
            f"the report needs jinja2 and plotly ({error}); run pip install 'metric3d_ros[slam]'."
        ) from error
    sections = [_section(number, sequence) for number, sequence in enumerate(run.sequences)]
    overall = _overall_charts(by_length, by_speed)
    charts = {name: chart for section in sections for name, chart in section.charts.items()} | overall
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(
        resources.files("droid_bridge.report").joinpath(_TEMPLATE).read_text(encoding="utf-8")
    )
    return template.render(
        title=title,
        request=run.request,
        comparison=comparison(run),
        details=details,
        overall=overall,
        sections=sections,
        charts=charts,
        versions=run.request["versions"],
        commands=_commands(run),
        written=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        plotly_js=get_plotlyjs(),
    )


def _overall_charts(by_length: Table, by_speed: Table) -> dict[str, Chart]:
    wanted = {
        "length-t": error_chart(by_length, "segment length (m)", "t_rel_percent", "t_rel (%)"),
        "length-r": error_chart(by_length, "segment length (m)", "r_rel_deg_per_100m", "r_rel (deg/100 m)"),
        "speed-t": error_chart(by_speed, "speed (m/s)", "t_rel_percent", "t_rel (%)"),
        "speed-r": error_chart(by_speed, "speed (m/s)", "r_rel_deg_per_100m", "r_rel (deg/100 m)"),
    }
    return {name: chart for name, chart in wanted.items() if chart is not None}


def _section(number: int, sequence: SequenceResults) -> _Section:
    charts: dict[str, Chart] = {}
    if sequence.jobs:
        charts[f"path-{number}"] = top_down_chart(sequence)
    if (scale := scale_chart(sequence)) is not None:
        charts[f"scale-{number}"] = scale
    return _Section(sequence.name, sequence.failures, tuple(_notes(sequence)), charts, _embedded(sequence.strip))


def _notes(sequence: SequenceResults) -> list[str]:
    """What a reader must know of the figures: what is not covered, and what has none."""
    notes = []
    for job in sequence.jobs:
        label, drift = LABELS[job.outcome.with_prior], job.outcome.drift
        if drift is None:
            notes.append(f"{label}: no drift, {job.outcome.no_drift_because}")
        elif drift["frames_matched"] < drift["frames_truth"]:
            notes.append(
                f"{label}: scored on the {drift['frames_matched']} of {drift['frames_truth']} true poses that the "
                f"trajectory has, {drift['covered_length_m']:.0f} of {drift['path_length_m']:.0f} m"
            )
    return notes


def _embedded(picture: Path | None) -> str | None:
    if picture is None:
        return None
    return "data:image/jpeg;base64," + base64.b64encode(picture.read_bytes()).decode("ascii")


def _commands(run: RunResults) -> list[dict[str, Any]]:
    return [
        {"name": job.outcome.name, "command": " ".join(job.outcome.settings["command"][1:])}
        for sequence in run.sequences
        for job in sequence.jobs
    ]


def _write_pictures(sequence: SequenceResults, folder: Path) -> list[Path]:
    if sequence.truth is None or not sequence.jobs:
        return []
    estimates = {LABELS[job.outcome.with_prior]: placed(sequence, job) for job in sequence.jobs}
    scored = {
        LABELS[job.outcome.with_prior]: job.outcome.drift for job in sequence.jobs if job.outcome.drift is not None
    }
    drifts = {label: float(drift["t_rel_percent"]) for label, drift in scored.items()}
    written = [folder / "top_down.png"]
    plot_top_down(sequence.truth, estimates, written[0], t_rel_percent=drifts, title=sequence.name)
    if scored:
        moving = {label: estimate for label, estimate in estimates.items() if label in scored}
        written.append(folder / "scale_over_distance.png")
        plot_scale_over_distance(sequence.truth, moving, written[1], title=sequence.name)
    return written
