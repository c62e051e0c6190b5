"""The ``droid-bridge`` command. Bad input costs one sentence on stderr and exit status 2."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from droid_bridge.demo_command import register_demo
from droid_bridge.errors import DroidBridgeError
from droid_bridge.evaluation.alignment import ALIGN_METHODS, align
from droid_bridge.evaluation.drift import KITTI_LENGTHS_M, KITTI_STEP, evaluate_drift
from droid_bridge.evaluation.plots import plot_scale_over_distance, plot_top_down
from droid_bridge.evaluation.report import report_json, report_table
from droid_bridge.trajectory import read_trajectory
from metric3d_ros.errors import Metric3dError

BAD_INPUT = 2


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence instead of printing the usage as well."""

    def error(self, message: str) -> NoReturn:
        raise DroidBridgeError(f"{message}; see {self.prog} --help.")


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``droid-bridge`` and give its exit status: 0, or 2 for bad input."""
    parser = _parser()
    try:
        arguments = parser.parse_args(argv)
        run: Callable[[argparse.Namespace], int] = arguments.run
        return run(arguments)
    except (DroidBridgeError, Metric3dError) as error:
        print(f"droid-bridge: {error}", file=sys.stderr)
        return BAD_INPUT


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="droid-bridge", description="SLAM that stays metric, and how far it drifts.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _register_evaluate(commands)
    register_demo(commands)
    return parser


def _register_evaluate(commands: argparse._SubParsersAction[_Parser]) -> None:
    evaluate = commands.add_parser(
        "evaluate",
        help="score a trajectory against the ground truth",
        description="KITTI drift (t_rel, r_rel), ATE and scale of an estimated trajectory. Files are KITTI "
        "(12 numbers a row, or 13 with the frame number in front) or TUM (stamp tx ty tz qx qy qz qw).",
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
        type=_lengths_m,
        default=KITTI_LENGTHS_M,
        metavar="M,M,...",
        help="segment lengths in metres (default: 100,200,...,800)",
    )
    evaluate.add_argument(
        "--step", type=int, default=KITTI_STEP, help="frames between segment starts (default: %(default)s)"
    )
    evaluate.add_argument("--json", action="store_true", help="print JSON and nothing else")
    evaluate.add_argument("--plot", type=Path, metavar="FILE", help="draw the drive from above (.png, .pdf, .svg)")
    evaluate.add_argument("--plot-scale", type=Path, metavar="FILE", help="draw the scale over the distance")
    evaluate.set_defaults(run=_evaluate)


def _lengths_m(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(length) for length in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is no list of metres such as 100,200") from error


def _evaluate(arguments: argparse.Namespace) -> int:
    truth = read_trajectory(arguments.truth)
    estimate = read_trajectory(arguments.estimate)
    report = evaluate_drift(truth, estimate, arguments.align, arguments.lengths, arguments.step)
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


if __name__ == "__main__":
    sys.exit(main())
