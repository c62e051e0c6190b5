"""A drift report as a table for people and as JSON for programs."""

from __future__ import annotations

import json

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from droid_bridge.evaluation.alignment import AlignMethod
from droid_bridge.evaluation.drift import DriftReport

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
    """The report as a rich table: one row per length, one for all, and what it was measured on."""
    table = Table(title=f"Drift of {name}", title_justify="left")
    for heading in ("length (m)", "segments", "t_rel (%)", "r_rel (deg/100 m)"):
        table.add_column(heading, justify="right")
    for row in report.per_length:
        table.add_row(
            f"{row.length_m:g}",
            str(row.segments),
            "-" if row.t_rel_percent is None else f"{row.t_rel_percent:.3f}",
            "-" if row.r_rel_deg_per_100m is None else f"{row.r_rel_deg_per_100m:.4f}",
        )
    table.add_section()
    table.add_row(
        "all",
        str(report.segments),
        f"{report.t_rel_percent:.3f}",
        f"{report.r_rel_deg_per_100m:.4f}",
        style="bold",
    )
    return Group(table, *(Text(line) for line in _summary(report)))


def _summary(report: DriftReport) -> list[str]:
    drift = "undefined" if report.scale_drift is None else f"{report.scale_drift:.4f}"
    alignment = ALIGNMENT_SENTENCES[report.align].format(scale=report.align_scale)
    return [
        f"ATE        {report.ate_m:.3f} m (root mean square)",
        f"scale      {report.scale_start:.4f} at the start, {report.scale_end:.4f} at the end (end/start {drift})",
        f"alignment  {alignment}",
        f"coverage   {report.frames_matched} of {report.frames_truth} true poses ({report.coverage:.1%}), "
        f"{report.frames_estimate} in the estimate",
        f"drive      {report.path_length_m:.1f} m",
    ]
