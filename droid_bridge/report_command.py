"""``droid-bridge report``: the page of a benchmark, from what its folder holds."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console

from droid_bridge.benchmark.run_folder import read_run
from droid_bridge.report.page import write_report
from droid_bridge.report.rerun_recording import write_rerun


def register_report(commands: argparse._SubParsersAction[Any]) -> None:
    """Register ``report``."""
    report = commands.add_parser("report", help="write a benchmark's report again, from what its folder holds")
    report.add_argument("run_folder", type=Path, metavar="RUN", help="the folder of the run")
    report.add_argument(
        "--rerun", type=Path, metavar="FILE.rrd", help="write drives and maps for the rerun viewer too"
    )
    report.set_defaults(run=_report)


def write_report_of(run: Path, console: Console) -> None:
    """Write the report of a run, and say where it is."""
    page, *others = write_report(run)
    beside = f"and {len(others)} tables and pictures beside it"
    console.print(f"report     {page}, {beside}", highlight=False, soft_wrap=True)


def _report(arguments: argparse.Namespace) -> int:
    console = Console()
    write_report_of(arguments.run_folder, console)
    if arguments.rerun is not None:
        path = write_rerun(read_run(arguments.run_folder), arguments.rerun)
        console.print(f"rerun      {path}", highlight=False, soft_wrap=True)
    return 0
