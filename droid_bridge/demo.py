"""The demo: a drive through the real ROS 2 graph in separate processes, with and without the scale prior.

bag -> player -> depth node -> SLAM node -> trajectory files -> drift table, plot, depth strip
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from droid_bridge.errors import DroidBridgeError
from droid_bridge.evaluation.drift import KITTI_LENGTHS_M, DriftReport, evaluate_drift
from droid_bridge.evaluation.plots import plot_scale_over_distance, plot_top_down
from droid_bridge.evaluation.scale import scale_from_first_fraction, scaled
from droid_bridge.graph import GraphProcesses, run_command
from droid_bridge.trajectory import Trajectory, read_tum, replaced_when_done, write_kitti, write_tum
from droid_bridge.trajectory_recorder import TUM_FILE
from metric3d_ros import bag_topics
from metric3d_ros.datasets.rosbag import BagReader

WITH_PRIOR = "with_prior"
WITHOUT_PRIOR = "without_prior"
DEPTH_TOPIC = "/camera/depth/image"
ANSWER_TIMEOUT_S = 60


@dataclass(frozen=True)
class DemoRequest:
    """What to drive and where the results go.

    Attributes
    ----------
    out : folder of the results.
    bag_command : arguments of ``metric3d bag`` that make the bag, without ``--out``.
    title : the drive's name in the table and plot.
    depth : ``nano`` (or any model or ONNX file) for the network, ``lidar`` for the bag's reference depth.
    """

    out: Path
    bag_command: tuple[str, ...]
    title: str
    depth: str = "nano"

    @property
    def uses_lidar(self) -> bool:
        """Whether the prior is the bag's reference depth instead of a network's."""
        return self.depth == "lidar"


@dataclass(frozen=True)
class Run:
    """One pass through the graph, scored."""

    trajectory: Trajectory
    report: DriftReport
    player: dict[str, Any]
    scaled_once_by: float | None

    def metrics(self) -> dict[str, Any]:
        """The keys of ``droid-bridge evaluate`` and how the graph kept up."""
        return {
            **self.report.to_json(),
            "frames_in": self.player["frames_in"],
            "frames_out": self.player["frames_out"],
            "hz": self.player["hz"],
            "scaled_once_by": self.scaled_once_by,
        }


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
    with replaced_when_done(request.out / "metrics.json") as temporary:
        temporary.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
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
    player = _play_through_graph(request, bag, folder, has_prior=name == WITH_PRIOR)
    trajectory = read_tum(folder / TUM_FILE)
    factor = None if name == WITH_PRIOR else scale_from_first_fraction(truth, trajectory)
    scored = trajectory if factor is None else scaled(trajectory, factor)
    return Run(scored, evaluate_drift(truth, scored, "none", KITTI_LENGTHS_M), player, factor)


def _play_through_graph(request: DemoRequest, bag: Path, folder: Path, has_prior: bool) -> dict[str, Any]:
    has_depth_node = has_prior and not request.uses_lidar
    player_report = folder / "player.json"
    with GraphProcesses(folder) as graph:
        if has_depth_node:
            graph.start_node(
                "metric3d_ros.ros.depth_node",
                parameters={"model": request.depth} | _reliable(bag_topics.IMAGE, bag_topics.CAMERA_INFO),
                remaps={
                    "image": bag_topics.IMAGE,
                    "camera_info": bag_topics.CAMERA_INFO,
                    "depth/image": DEPTH_TOPIC,
                    "depth/camera_info": "/camera/depth/camera_info",
                },
            )
        depth_topic = bag_topics.REFERENCE_DEPTH if request.uses_lidar else DEPTH_TOPIC
        graph.start_node(
            "droid_bridge.ros.droid_node",
            parameters={"scale_prior": str(has_prior).lower(), "output_dir": str(folder)}
            | _reliable(bag_topics.IMAGE, bag_topics.CAMERA_INFO, depth_topic),
            remaps={
                "image": bag_topics.IMAGE,
                "camera_info": bag_topics.CAMERA_INFO,
                "depth/image": depth_topic,
                "odometry": bag_topics.ODOMETRY,
            },
        )
        graph.run_player(
            [
                *(str(bag), "--lockstep", "--wait-subscribers", "2" if has_depth_node else "1"),
                *("--timeout", str(ANSWER_TIMEOUT_S), "--report", str(player_report)),
            ]
        )
    report: dict[str, Any] = json.loads(player_report.read_text(encoding="utf-8"))
    return report


def _reliable(*topics: str) -> dict[str, str]:
    """In lockstep every frame counts, so nothing may be lost between player and nodes."""
    return {f"qos_overrides.{topic}.subscription.reliability": "reliable" for topic in topics}


def _draw(request: DemoRequest, bag: Path, truth: Trajectory, runs: dict[str, Run]) -> None:
    labels = {
        f"with {request.depth} prior" if name == WITH_PRIOR else "without prior, scaled once": run
        for name, run in runs.items()
    }
    paths = {label: run.trajectory for label, run in labels.items()}
    drift = {label: run.report.t_rel_percent for label, run in labels.items()}
    plot_top_down(truth, paths, request.out / "trajectories.png", t_rel_percent=drift, title=request.title)
    plot_scale_over_distance(truth, paths, request.out / "scale_over_distance.png", title=request.title)
    source = ["--reference"] if request.uses_lidar else ["--model", request.depth]
    run_command("metric3d_ros.cli", "depth", str(bag), *source, "--out", str(request.out / "depth_strip.png"))


def _table(request: DemoRequest, runs: dict[str, Run]) -> Table:
    table = Table(
        title=f"{request.title}: {runs[WITH_PRIOR].report.path_length_m:.0f} m",
        caption="With the prior nothing is aligned: metres are metres. Without it the scale is free, "
        "so its row is scaled once by the first 10 % of the ground truth.",
    )
    for column in ("prior", "t_rel %", "r_rel °/100 m", "ATE m", "scale start, end", "in", "out", "Hz"):
        table.add_column(column, justify="left" if column == "prior" else "right")
    for name, run in runs.items():
        report = run.report
        table.add_row(
            request.depth if name == WITH_PRIOR else "none",
            f"{report.t_rel_percent:.2f}",
            f"{report.r_rel_deg_per_100m:.2f}",
            f"{report.ate_m:.2f}",
            f"{report.scale_start:.3f}, {report.scale_end:.3f}",
            str(run.player["frames_in"]),
            str(run.player["frames_out"]),
            f"{run.player['hz']:.1f}",
        )
    return table
