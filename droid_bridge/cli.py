"""The ``droid-bridge`` command. Bad input costs one sentence on stderr and exit status 2."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from droid_bridge.benchmark_command import register_benchmark
from droid_bridge.demo_command import register_demo
from droid_bridge.errors import DroidBridgeError
from droid_bridge.evaluate_command import register_evaluate
from droid_bridge.report_command import register_report
from droid_bridge.track_command import register_track
from droid_bridge.weights_command import register_weights
from metric3d_ros.errors import Metric3dError
from metric3d_ros.standard_output import until_reader_leaves

BAD_INPUT = 2


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence instead of printing the usage as well."""

    def error(self, message: str) -> NoReturn:
        raise DroidBridgeError(f"{message}; see {self.prog} --help.")


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``droid-bridge`` and give its exit status: 0, or 2 for bad input."""
    return until_reader_leaves(lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> int:
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
    register_track(commands)
    register_evaluate(commands)
    register_benchmark(commands)
    register_report(commands)
    register_demo(commands)
    register_weights(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
