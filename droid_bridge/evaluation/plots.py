"""Pictures of an evaluation: the drive from above, and scale over distance."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from droid_bridge.errors import DroidBridgeError, TrajectoryError
from droid_bridge.evaluation.alignment import AlignMethod, align
from droid_bridge.evaluation.scale import scale_over_distance
from droid_bridge.trajectory import Trajectory
from metric3d_ros.atomic_file import replaced_when_done

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRUTH_COLOUR = "#444444"
# Okabe and Ito's colours: told apart in print and by colour-blind readers.
ESTIMATE_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GRID_COLOUR = "#DDDDDD"
PLOT_SUFFIXES = (".png", ".pdf", ".svg")
DOTS_PER_INCH = 150


def plot_top_down(
    truth: Trajectory,
    estimates: Mapping[str, Trajectory],
    file: str | Path,
    align_method: AlignMethod = "none",
    *,
    t_rel_percent: Mapping[str, float] | None = None,
    title: str = "",
) -> None:
    """Draw the drive from above in the frame of the truth's first camera: x to the right, z up the page.

    Parameters
    ----------
    truth : the ground truth; its line is drawn beneath the others.
    estimates : label to estimate, each in metres.
    file : .png, .pdf or .svg; written whole or not at all.
    align_method : how each estimate is put into the truth's world, as in `find_alignment`.
    t_rel_percent : label to drift, for the legend.
    title : above the picture.

    Raises
    ------
    TrajectoryError
        If an estimate does not belong to the truth, or the file cannot be written.
    DroidBridgeError
        If matplotlib is not installed.
    """
    paths_m = {
        label: in_first_camera(truth, align(truth, estimate, align_method))
        for label, estimate in estimates.items()
    }
    truth_m = in_first_camera(truth, truth)
    figure = _figure(*_size_for([truth_m, *paths_m.values()]))
    axes = _axes(figure, "x (m)", "z (m)", title)
    axes.plot(truth_m[:, 0], truth_m[:, 2], color=TRUTH_COLOUR, linewidth=3.5, alpha=0.55, label="ground truth")
    for i, (label, path_m) in enumerate(paths_m.items()):
        drift = (t_rel_percent or {}).get(label)
        named = label if drift is None else f"{label}: t_rel {drift:.2f} %"
        colour = ESTIMATE_COLOURS[i % len(ESTIMATE_COLOURS)]
        axes.plot(path_m[:, 0], path_m[:, 2], color=colour, linewidth=1.6, label=named)
        axes.plot(*path_m[-1, [0, 2]], marker="s", color=colour, markersize=6, markeredgecolor="white", zorder=4)
    axes.plot(
        *truth_m[0, [0, 2]], "o", color="black", markersize=8, markeredgecolor="white", zorder=5, label="start"
    )
    axes.plot(
        *truth_m[-1, [0, 2]], "s", color=TRUTH_COLOUR, markersize=8, markeredgecolor="white", zorder=3, label="end"
    )
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.06)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    _save(figure, file)


def plot_scale_over_distance(
    truth: Trajectory, estimates: Mapping[str, Trajectory], file: str | Path, title: str = ""
) -> None:
    """Draw each estimate's local scale (1 is metric) over the true path distance.

    Raises
    ------
    TrajectoryError
        If an estimate does not belong to the truth or does not move, or the file cannot be written.
    DroidBridgeError
        If matplotlib is not installed.
    """
    figure = _figure(8.0, 4.0)
    axes = _axes(figure, "distance along the drive (m)", "scale, estimate / truth", title)
    axes.axhline(1.0, color=TRUTH_COLOUR, linewidth=2.5, alpha=0.55, label="metric")
    for i, (label, estimate) in enumerate(estimates.items()):
        distance_m, scale = scale_over_distance(truth, estimate).curve()
        colour = ESTIMATE_COLOURS[i % len(ESTIMATE_COLOURS)]
        axes.plot(distance_m, scale, color=colour, linewidth=1.6, label=label)
    axes.legend(frameon=False)
    _save(figure, file)


def in_first_camera(truth: Trajectory, trajectory: Trajectory) -> NDArray[np.float64]:
    """Positions (poses, 3) in the frame of the truth's first camera, metres: x right, y down, z forward."""
    camera_from_world = np.linalg.inv(truth.world_from_camera[0])
    positions_m: NDArray[np.float64] = (
        trajectory.positions_m @ camera_from_world[:3, :3].T + camera_from_world[:3, 3]
    )
    return positions_m


def _size_for(paths_m: list[NDArray[np.float64]]) -> tuple[float, float]:
    """Width and height in inches that follow the drive's shape without becoming a strip."""
    points_m = np.concatenate(paths_m)
    width_m, _, height_m = np.ptp(points_m, axis=0)
    aspect = float(np.clip(height_m / max(width_m, 1e-9), 0.5, 1.2))
    return 8.0, 8.0 * aspect + 1.0


def _figure(width_in: float, height_in: float) -> Figure:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise DroidBridgeError("plots need matplotlib; install it with: pip install matplotlib") from error
    # A figure with its own canvas, not pyplot: nothing global is touched and no display is needed.
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _axes(figure: Figure, x_label: str, y_label: str, title: str) -> Any:
    axes = figure.add_subplot()
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.set_title(title, loc="left", fontweight="bold")
    axes.grid(True, color=GRID_COLOUR, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return axes


def _save(figure: Figure, file: str | Path) -> None:
    suffix = Path(file).suffix.lower()
    if suffix not in PLOT_SUFFIXES:
        raise TrajectoryError(f"cannot draw {file}; name a file that ends in {', '.join(PLOT_SUFFIXES)}.")
    with replaced_when_done(file) as temporary:
        figure.savefig(temporary, format=suffix[1:], dpi=DOTS_PER_INCH)
