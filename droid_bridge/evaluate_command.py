"""``droid-bridge evaluate``: a trajectory file against the ground truth."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console

from droid_bridge.evaluation.alignment import ALIGN_METHODS, align
from droid_bridge.evaluation.drift import evaluate_drift
from droid_bridge.evaluation.plots import plot_scale_over_distance, plot_top_down
from droid_bridge.evaluation.report import report_json, report_table
from droid_bridge.evaluation.segments import KITTI_FRAME_PERIOD_S, KITTI_LENGTHS_M, KITTI_STEP
from droid_bridge.trajectory import read_trajectory
from metric3d_ros.argument_types import lengths_m


def register_evaluate(commands: argparse._SubParsersAction[Any]) -> None:
    """Register ``evaluate``."""
    evaluate = commands.add_parser(
        "evaluate",
        help="score a trajectory against the ground truth",
        description="KITTI drift (t_rel, r_rel; by length and speed), ATE, RPE and scale of an estimated "
        "trajectory. Files are KITTI (12 numbers a row, or 13 with the frame number in front) or TUM (stamp tx ty "
        "tz qx qy qz qw).",
    )
    evaluate.add_argument("--truth", type=Path, required=True, help="ground truth, KITTI or TUM")
    evaluate.add_argument("--estimate", type=Path, required=True, help="estimated trajectory, the same kind")
    evaluate.add_argument(
        "--align",
        choices=ALIGN_METHODS,
        default="none",
        help="what may fit the estimate to the truth: nothing but the first pose (default), one scale "
        "about the first pose, a rigid motion, or a similarity",
    )
    evaluate.add_argument(
        "--lengths",
        type=lengths_m,
        default=KITTI_LENGTHS_M,
        metavar="M,M,...",
        help="segment lengths in metres (default: 100,200,...,800)",
    )
    evaluate.add_argument(
        "--step", type=int, default=KITTI_STEP, help="frames between segment starts (default: %(default)s)"
    )
    evaluate.add_argument(
        "--frame-period",
        type=float,
        default=KITTI_FRAME_PERIOD_S,
        metavar="S",
        help="time between frames, for the speed where the truth has no stamps (default: %(default)s, as KITTI)",
    )
    evaluate.add_argument(
        "--rpe-delta",
        type=int,
        default=1,
        metavar="FRAMES",
        help="frames that the RPE spans (default: %(default)s)",
    )
    evaluate.add_argument("--json", action="store_true", help="print JSON and nothing else")
    evaluate.add_argument("--plot", type=Path, metavar="FILE", help="draw the drive from above (.png, .pdf, .svg)")
    evaluate.add_argument("--plot-scale", type=Path, metavar="FILE", help="draw the scale over the distance")
    evaluate.set_defaults(run=_evaluate)


def _evaluate(arguments: argparse.Namespace) -> int:
    truth = read_trajectory(arguments.truth)
    estimate = read_trajectory(arguments.estimate)
    report = evaluate_drift(
        truth,
        estimate,
        arguments.align,
        arguments.lengths,
        arguments.step,
        frame_period_s=arguments.frame_period,
        rpe_delta_frames=arguments.rpe_delta,
    )
    name = arguments.estimate.stem
    if arguments.plot:
        plot_top_down(
            truth,
            {name: estimate},
            arguments.plot,
            arguments.align,
            t_rel_percent={name: report.t_rel_percent},
            title=name,
        )
    if arguments.plot_scale:
        plot_scale_over_distance(
            truth, {name: align(truth, estimate, arguments.align)}, arguments.plot_scale, title=name
        )
    if arguments.json:
        print(report_json(report))
        return 0
    console = Console()
    console.print(report_table(report, name))
    for plot in (arguments.plot, arguments.plot_scale):
        if plot:
            console.print(f"plot       {plot}", highlight=False, soft_wrap=True)
    return 0
