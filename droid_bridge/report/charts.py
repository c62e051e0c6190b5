"""The charts of a report as plotly.js takes them: traces and layouts in plain values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from droid_bridge.benchmark.run_folder import FinishedJob, SequenceResults
from droid_bridge.evaluation.alignment import align
from droid_bridge.evaluation.plots import ESTIMATE_COLOURS, GRID_COLOUR, TRUTH_COLOUR, in_first_camera
from droid_bridge.evaluation.scale import scale_over_distance
from droid_bridge.report.summary import Table
from droid_bridge.trajectory import Trajectory

Chart = dict[str, Any]

COLOURS = {True: ESTIMATE_COLOURS[0], False: ESTIMATE_COLOURS[1]}
LABELS = {True: "with prior", False: "no prior"}
_MOST_POINTS = 3000


def top_down_chart(sequence: SequenceResults) -> Chart:
    """The drive from above, truth beneath the estimates; x to the right and z up the page, metres."""
    traces = []
    if sequence.truth is not None:
        traces.append(_path(in_first_camera(sequence.truth, sequence.truth), "ground truth", TRUTH_COLOUR, 5))
    for job in sequence.jobs:
        reference = sequence.truth if sequence.truth is not None else job.estimate
        path_m = in_first_camera(reference, placed(sequence, job))
        traces.append(_path(path_m, LABELS[job.outcome.with_prior], COLOURS[job.outcome.with_prior], 2))
    layout = _layout("x (m)", "z (m)")
    layout["yaxis"] |= {"scaleanchor": "x", "scaleratio": 1}
    return {"data": traces, "layout": layout}


def scale_chart(sequence: SequenceResults) -> Chart | None:
    """The local scale of each estimate over the true distance; None where there is no truth."""
    if sequence.truth is None:
        return None
    traces = []
    for job in sequence.jobs:
        if job.outcome.drift is None:
            continue
        distance_m, scale = scale_over_distance(sequence.truth, job.estimate).curve()
        keep = _thinned(len(distance_m))
        trace = _line(LABELS[job.outcome.with_prior], COLOURS[job.outcome.with_prior], 2)
        trace |= {"x": _rounded(distance_m[keep], 1), "y": _rounded(scale[keep], 4)}
        trace["hovertemplate"] = "%{x:.0f} m: %{y:.3f}"
        traces.append(trace)
    if not traces:
        return None
    layout = _layout("distance along the drive (m)", "scale, estimate / truth (1 is metric)")
    layout["shapes"] = [
        {
            "type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 1, "y1": 1, "layer": "below",
            "line": {"color": TRUTH_COLOUR, "width": 3},
        }
    ]  # fmt: skip
    return {"data": traces, "layout": layout}


def error_chart(table: Table, x_label: str, column: str, y_label: str) -> Chart | None:
    """Drift by length or by speed, one line with the prior and one without; None where nothing is known."""
    at = table.headings.index(column)
    traces = []
    for with_prior in (True, False):
        rows = [row for row in table.rows if row[0] == ("yes" if with_prior else "no")]
        if not rows:
            continue
        trace = _line(LABELS[with_prior], COLOURS[with_prior], 2) | {"mode": "lines+markers"}
        trace |= {"x": [row[1] for row in rows], "y": [round(float(row[at]), 5) for row in rows]}
        trace |= {"customdata": [row[2] for row in rows]}
        trace["hovertemplate"] = "%{x:g}: %{y:.3f} (%{customdata} segments)"
        traces.append(trace)
    if not traces:
        return None
    layout = _layout(x_label, y_label)
    layout["yaxis"]["rangemode"] = "tozero"
    return {"data": traces, "layout": layout}


def placed(sequence: SequenceResults, job: FinishedJob) -> Trajectory:
    """A job's trajectory on the truth's first common pose, or as it is where there is no truth."""
    return job.estimate if sequence.truth is None else align(sequence.truth, job.estimate, "none")


def _path(path_m: NDArray[np.float64], label: str, colour: str, width: int) -> dict[str, Any]:
    keep = _thinned(len(path_m))
    steps_m = np.linalg.norm(np.diff(path_m, axis=0), axis=1)
    distance_m = np.concatenate([[0.0], np.cumsum(steps_m)])
    return _line(label, colour, width) | {
        "x": _rounded(path_m[keep, 0], 2),
        "y": _rounded(path_m[keep, 2], 2),
        "customdata": [
            [int(row), along_m] for row, along_m in zip(keep, _rounded(distance_m[keep], 1), strict=True)
        ],
        "hovertemplate": "pose %{customdata[0]}, %{customdata[1]:.0f} m on<br>x %{x:.1f} m, z %{y:.1f} m",
    }


def _line(label: str, colour: str, width: int) -> dict[str, Any]:
    return {"type": "scatter", "mode": "lines", "name": label, "line": {"color": colour, "width": width}}


def _layout(x_label: str, y_label: str) -> dict[str, Any]:
    axis = {"gridcolor": GRID_COLOUR, "zerolinecolor": GRID_COLOUR, "automargin": True}
    return {
        "xaxis": {**axis, "title": {"text": x_label}},
        "yaxis": {**axis, "title": {"text": y_label}},
        "margin": {"l": 60, "r": 12, "t": 12, "b": 48},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "plot_bgcolor": "white",
        "hovermode": "closest",
        "dragmode": "zoom",
    }


def _thinned(count: int) -> NDArray[np.int64]:
    """Rows to draw: all, or evenly chosen ones with both ends."""
    if count <= _MOST_POINTS:
        return np.arange(count, dtype=np.int64)
    return np.unique(np.linspace(0, count - 1, _MOST_POINTS).round().astype(np.int64))


def _rounded(values: NDArray[np.float64], digits: int) -> list[float]:
    return [round(float(value), digits) for value in values]
