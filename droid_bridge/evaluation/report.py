"""A drift report as a table for people and as JSON for programs."""

from __future__ import annotations

import json

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from droid_bridge.evaluation.alignment import AlignMethod
from droid_bridge.evaluation.drift import DriftReport, LengthDrift, SpeedDrift

ALIGNMENT_SENTENCES: dict[AlignMethod, str] = {
    "none": "metres as estimated; only the first common pose was put on the truth's",
    "scale": "scaled by {scale:.4f} about the first common pose",
    "se3": "rotated and moved onto the truth (SE(3)), scale kept",
    "sim3": "rotated, moved and scaled by {scale:.4f} onto the truth (Sim(3))",
}


def report_json(report: DriftReport) -> str:
    """The report as indented JSON; its keys are the fields of `DriftReport`."""
    return json.dumps(report.to_json(), indent=2, allow_nan=False)


def report_table(report: DriftReport, name: str) -> RenderableType:
    """The report as rich tables: one row per length and one for all, one per speed, and what was measured."""
    lengths = _table(f"Drift of {name}", "length (m)")
    for by_length in report.per_length:
        lengths.add_row(f"{by_length.length_m:g}", *_cells(by_length))
    lengths.add_section()
    lengths.add_row(
        "all",
        str(report.segments),
        f"{report.t_rel_percent:.3f}",
        f"{report.r_rel_deg_per_100m:.4f}",
        style="bold",
    )
    speeds = _table("Drift by speed", "speed (m/s)")
    for by_speed in report.per_speed:
        speeds.add_row(f"{by_speed.from_m_per_s:g} to {by_speed.to_m_per_s:g}", *_cells(by_speed))
    return Group(lengths, speeds, *(Text(line) for line in _summary(report)))


def _table(title: str, first_heading: str) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in (first_heading, "segments", "t_rel (%)", "r_rel (deg/100 m)"):
        table.add_column(heading, justify="right")
    return table


def _cells(row: LengthDrift | SpeedDrift) -> tuple[str, str, str]:
    if row.t_rel_percent is None or row.r_rel_deg_per_100m is None:
        return str(row.segments), "-", "-"
    return str(row.segments), f"{row.t_rel_percent:.3f}", f"{row.r_rel_deg_per_100m:.4f}"


def _summary(report: DriftReport) -> list[str]:
    drift = "undefined" if report.scale_drift is None else f"{report.scale_drift:.4f}"
    alignment = ALIGNMENT_SENTENCES[report.align].format(scale=report.align_scale)
    others = ", ".join(
        f"{method} {'-' if error_m is None else f'{error_m:.3f}'}"
        for method, error_m in report.ate_by_align_m.items()
    )
    return [
        f"ATE        {report.ate_m:.3f} m (root mean square); by alignment: {others}",
        f"RPE        {_rpe(report)}",
        f"scale      {report.scale_start:.4f} at the start, {report.scale_end:.4f} at the end (end/start {drift})",
        f"alignment  {alignment}",
        f"coverage   {report.frames_matched} of {report.frames_truth} true poses ({report.coverage:.1%}), "
        f"{report.frames_estimate} in the estimate{_partial(report)}",
        f"drive      {report.path_length_m:.1f} m",
        f"boresight  {_boresight(report)}",
    ]


def _boresight(report: DriftReport) -> str:
    if report.boresight_deg is None:
        return "none: the camera does not travel in one direction"
    up_deg, right_deg, _ = report.boresight_deg
    return (
        f"the camera looks {abs(up_deg):.2f} deg {'up' if up_deg >= 0 else 'down'} and {abs(right_deg):.2f} deg "
        f"{'right' if right_deg >= 0 else 'left'} of where the truth has it; "
        f"without this turn t_rel is {report.t_rel_percent_after_boresight:.3f} %"
    )


def _rpe(report: DriftReport) -> str:
    if report.rpe is None:
        return "none: too few common poses"
    return (
        f"{report.rpe.translation_rmse_m:.4f} m, {report.rpe.rotation_rmse_deg:.4f} deg "
        f"over {report.rpe.delta_frames} frame(s) (root mean square)"
    )


def _partial(report: DriftReport) -> str:
    if report.frames_matched == report.frames_truth:
        return ""
    return (
        f"; scored on these alone, {report.covered_length_m:.1f} m of the drive: "
        "segments with an end that the estimate lacks do not count"
    )
