"""The ``metric3d`` command."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence

from metric3d_ros import (
    bag_commands,
    depth_commands,
    engine_commands,
    measure_command,
    models_command,
    predict_command,
)
from metric3d_ros.errors import Metric3dError
from metric3d_ros.standard_output import until_reader_leaves

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130

# Each adds its command to the parser and sets ``run``, a function of the parsed arguments to an exit code.
COMMANDS: tuple[Callable[[argparse._SubParsersAction[argparse.ArgumentParser]], None], ...] = (
    bag_commands.add_bag_command,
    depth_commands.add_depth_command,
    predict_command.add_predict_command,
    measure_command.add_measure_command,
    models_command.add_models_command,
    engine_commands.add_engine_command,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 done, 1 failed on the way, 2 bad input."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    return until_reader_leaves(lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> int:
    arguments = build_parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except Metric3dError as error:
        print(f"metric3d: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("metric3d: interrupted; nothing is left half-written.", file=sys.stderr)
        return EXIT_INTERRUPTED


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(prog="metric3d", description="Metric depth from one camera, in ROS 2.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add_command in COMMANDS:
        add_command(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
