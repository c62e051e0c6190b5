"""The demo: a drive through the real ROS 2 graph in separate processes, with and without the scale prior.

bag -> player -> depth node -> SLAM node -> trajectory files -> drift table, plot, depth strip
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from droid_bridge.errors import DroidBridgeError
from droid_bridge.evaluation.drift import DriftReport
from droid_bridge.evaluation.plots import plot_scale_over_distance, plot_top_down
from droid_bridge.evaluation.scored_path import ScoredPath, scored
from droid_bridge.graph import run_command
from droid_bridge.graph_tracking import DEPTH_IN_BAG, NO_DEPTH, Playback, play_through_graph
from droid_bridge.trajectory import Trajectory, read_tum, write_kitti, write_tum
from droid_bridge.trajectory_recorder import ODOMETRY_FILE, TUM_FILE
from metric3d_ros.atomic_file import write_json
from metric3d_ros.datasets.rosbag import BagReader

WITH_PRIOR = "with_prior"
WITHOUT_PRIOR = "without_prior"


@dataclass(frozen=True)
class DemoRequest:
    """What to drive and where the results go.

    Attributes
    ----------
    out : folder of the results.
    bag_command : arguments of ``metric3d bag`` that make the bag, without ``--out``.
    title : the drive's name in the table and plot.
    depth : ``nano`` (or any model or ONNX file) for the network, ``lidar`` for the bag's reference depth.
    adjusts_globally : all keyframes are adjusted together at the end, which takes a tenth of a second each.
    """

    out: Path
    bag_command: tuple[str, ...]
    title: str
    depth: str = "nano"
    adjusts_globally: bool = False

    @property
    def uses_lidar(self) -> bool:
        """Whether the prior is the bag's reference depth instead of a network's."""
        return self.depth == "lidar"

    @property
    def prior(self) -> str:
        """The prior as the graph takes it."""
        return DEPTH_IN_BAG if self.uses_lidar else self.depth


@dataclass(frozen=True)
class Run:
    """One pass through the graph.

    Attributes
    ----------
    final : the path as everything that was seen places it at the end, as in the trajectory files.
    live : every pose as the node first told it.
    playback : how the graph kept up.
    """

    final: ScoredPath
    live: ScoredPath
    playback: Playback

    def metrics(self) -> dict[str, Any]:
        """The keys of ``droid-bridge evaluate``, how the graph kept up, and the former for the live path."""
        return {**self.final.to_json(), **asdict(self.playback), "live": self.live.to_json()}


def run_demo(request: DemoRequest) -> dict[str, Any]:
    """Make the bag, drive it twice, score it, and write table, metrics and pictures; gives the metrics.

    Raises
    ------
    DroidBridgeError
        If the bag cannot be made or a process of the graph fails; the message names its log.
    """
    console = Console()
    _make_folder(request.out)
    with _bag(request) as bag:
        truth = _true_trajectory(bag, request.out)
        runs = {name: _drive(request, bag, truth, name, console) for name in (WITH_PRIOR, WITHOUT_PRIOR)}
        _draw(request, bag, truth, runs)
    metrics = {name: run.metrics() for name, run in runs.items()}
    write_json(metrics, request.out / "metrics.json")
    console.print(_table(request, runs))
    console.print(f"results: {request.out}", highlight=False, soft_wrap=True)
    return metrics


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DroidBridgeError(
            f"cannot make the results folder {out}: {error.strerror}; give another with --out (OUT= for make)."
        ) from error


@contextmanager
def _bag(request: DemoRequest) -> Iterator[Path]:
    """The bag of the drive, kept only while the demo needs it: it is large and quickly made again."""
    bag = request.out / "drive.mcap"
    try:
        run_command("metric3d_ros.cli", "bag", *request.bag_command, "--out", str(bag))
        yield bag
    finally:
        bag.unlink(missing_ok=True)
        with suppress(OSError):  # leaves no empty folder behind where the bag could not be made
            request.out.rmdir()


def _true_trajectory(bag: Path, out: Path) -> Trajectory:
    reader = BagReader(bag)
    if reader.world_from_camera is None:
        raise DroidBridgeError(f"the drive in {bag} has no ground truth, so its drift cannot be measured.")
    truth = Trajectory(reader.world_from_camera, stamps_ns=reader.stamps_ns)
    write_kitti(truth, out / "ground_truth_kitti.txt")
    write_tum(truth, out / "ground_truth_tum.txt")
    return truth


def _drive(request: DemoRequest, bag: Path, truth: Trajectory, name: str, console: Console) -> Run:
    console.print(f"driving {request.title} {name.replace('_', ' ')}")
    folder = request.out / name
    _make_folder(folder)
    is_metric = name == WITH_PRIOR
    slam_parameters = {"global_adjustment": str(request.adjusts_globally).lower()}
    playback = play_through_graph(bag, folder, request.prior if is_metric else NO_DEPTH, slam_parameters)
    final, live = (scored(truth, read_tum(folder / file), is_metric) for file in (TUM_FILE, ODOMETRY_FILE))
    return Run(final, live, playback)


def _draw(request: DemoRequest, bag: Path, truth: Trajectory, runs: dict[str, Run]) -> None:
    labels = {
        f"with {request.depth} prior" if name == WITH_PRIOR else "without prior, scaled once": run
        for name, run in runs.items()
    }
    paths = {label: run.final.trajectory for label, run in labels.items()}
    drift = {label: run.final.report.t_rel_percent for label, run in labels.items()}
    plot_top_down(truth, paths, request.out / "trajectories.png", t_rel_percent=drift, title=request.title)
    plot_scale_over_distance(truth, paths, request.out / "scale_over_distance.png", title=request.title)
    source = ["--reference"] if request.uses_lidar else ["--model", request.depth]
    run_command("metric3d_ros.cli", "depth", str(bag), *source, "--out", str(request.out / "depth_strip.png"))


def _table(request: DemoRequest, runs: dict[str, Run]) -> Table:
    adjusted = ", all keyframes adjusted together" if request.adjusts_globally else ""
    table = Table(
        title=f"{request.title}: {runs[WITH_PRIOR].final.report.path_length_m:.0f} m",
        caption=f"final: each pose as all that was seen places it{adjusted}; live: as it was first told. "
        "With the prior nothing is aligned: metres are metres. Without it the scale is free, so its rows are "
        "scaled once by the first 10 % of the ground truth.",
    )
    for column in ("prior", "path", "t_rel %", "r_rel °/100 m", "ATE m", "scale start, end", "in", "out", "Hz"):
        table.add_column(column, justify="left" if column in ("prior", "path") else "right")
    for name, run in runs.items():
        playback = run.playback
        kept_up = (str(playback.frames_in), str(playback.frames_out), f"{playback.hz:.1f}")
        table.add_row(
            request.depth if name == WITH_PRIOR else "none", "final", *_cells(run.final.report), *kept_up
        )
        table.add_row("", "live", *_cells(run.live.report))
    return table


def _cells(report: DriftReport) -> tuple[str, ...]:
    return (
        f"{report.t_rel_percent:.2f}",
        f"{report.r_rel_deg_per_100m:.2f}",
        f"{report.ate_m:.2f}",
        f"{report.scale_start:.3f}, {report.scale_end:.3f}",
    )
