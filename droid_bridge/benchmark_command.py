"""``droid-bridge benchmark``: whole datasets with and without the scale prior."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from droid_bridge.benchmark.job_run import JobResult, finished
from droid_bridge.benchmark.jobs import (
    DATASETS,
    OVER,
    SIMULATED_LENGTH_M,
    VARIANTS,
    BenchmarkJob,
    BenchmarkRequest,
    jobs_of,
    sequences_in,
)
from droid_bridge.benchmark.local_jobs import results_here
from droid_bridge.benchmark.plan import PlanSettings, read_plan
from droid_bridge.benchmark.ray_jobs import LOCAL, results_from_ray
from droid_bridge.benchmark.run_folder import begin_run, read_run
from droid_bridge.errors import DroidBridgeError
from droid_bridge.evaluation.segments import KITTI_LENGTHS_M
from droid_bridge.report.marked_section import require_section, write_section
from droid_bridge.report.results_table import results_table, section_of
from droid_bridge.report_command import write_report_of
from metric3d_ros.argument_types import depth_noise, from_zero_int, lengths_m, positive_int

SOME_FAILED = 1
INTERRUPTED = 130
_PLANNED = ("sequences", "depth", "depth_noise", "noise_seed", "prior", "length", "lengths", "track_arguments")


def register_benchmark(commands: argparse._SubParsersAction[Any]) -> None:
    """Register ``benchmark``."""
    parser = commands.add_parser(
        "benchmark",
        help="track whole datasets with and without the scale prior, and report",
        description="Track each sequence in a process of its own, with and without the scale prior, score it, and "
        "write RUN/report.html. What is finished stays finished: the same command goes on after a kill. "
        "Arguments after -- go to droid-bridge track.",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--dataset", choices=DATASETS, help="what kind of recordings")
    what.add_argument("--plan", type=Path, metavar="YAML", help="several benchmarks, each into a folder of RUN")
    parser.add_argument("--root", type=Path, metavar="DIR", help="the folder that holds them")
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="the folder of the run")
    parser.add_argument(
        "--over", choices=OVER, default="offline", help="offline (default), or through the real ROS graph"
    )
    parser.add_argument("--jobs", type=positive_int, default=1, help="processes at a time (default: %(default)s)")
    parser.add_argument(
        "--threads", type=positive_int, default=1, help="threads of each process (default: %(default)s)"
    )
    parser.add_argument(
        "--ray", metavar="ADDRESS", help=f"do the jobs on a Ray cluster, or on '{LOCAL}' for one on this machine"
    )
    parser.add_argument(
        "--table", type=Path, metavar="PAGE.md", help="write the results as a table between the page's markers"
    )
    _add_what_a_plan_holds(parser)
    parser.set_defaults(run=_benchmark)


def _add_what_a_plan_holds(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sequences",
        metavar="A,B,...",
        help="sequences, drives, recordings, or seeds of simulated worlds (default: all that --root holds)",
    )
    parser.add_argument(
        "--depth", default="nano", help="the prior, as for droid-bridge track (default: %(default)s)"
    )
    parser.add_argument(
        "--depth-noise", type=depth_noise, metavar="PIXEL,FRAME", help="relative noise put on the prior's depth"
    )
    parser.add_argument("--noise-seed", type=from_zero_int, default=0, metavar="N", help="of the noise (0)")
    parser.add_argument(
        "--prior", choices=tuple(VARIANTS), default="both", help="with the prior, without, or both (default)"
    )
    parser.add_argument(
        "--length",
        type=float,
        default=SIMULATED_LENGTH_M,
        metavar="M",
        help="way through a simulated world (default: %(default)g)",
    )
    parser.add_argument(
        "--lengths",
        type=lengths_m,
        default=KITTI_LENGTHS_M,
        metavar="M,M,...",
        help="segment lengths of the drift",
    )
    parser.add_argument("track_arguments", nargs="*", metavar="-- ARGUMENT", help="for droid-bridge track")
    parser.set_defaults(of_a_plan={name: parser.get_default(name) for name in _PLANNED})


def _benchmark(arguments: argparse.Namespace) -> int:
    if arguments.table is not None:
        require_section(arguments.table, section_of(arguments.over))
    requests = _requests(arguments)
    jobs = [job for request in requests for job in jobs_of(request)]
    for request in requests:
        begin_run(request)
    console = Console()
    try:
        failures = _do_all(jobs, arguments, console)
    except KeyboardInterrupt:
        console.print("stopped    the same command goes on where it was.")
        return INTERRUPTED
    for request in requests:
        write_report_of(request.out, console)
    if arguments.table is not None:
        table = results_table([read_run(request.out) for request in requests])
        write_section(arguments.table, section_of(arguments.over), table)
        console.print(f"table      {arguments.table}", highlight=False, soft_wrap=True)
    for result in failures:
        console.print(f"failed     {result.job.name}: {result.failure}", highlight=False, soft_wrap=True)
    return SOME_FAILED if failures else 0


def _requests(arguments: argparse.Namespace) -> tuple[BenchmarkRequest, ...]:
    if arguments.plan is None:
        return (_request(arguments),)
    for name, default in arguments.of_a_plan.items():
        if getattr(arguments, name) not in (default, []):
            raise DroidBridgeError(f"--plan and {name.replace('_', '-')} were both given; put it into the plan.")
    settings = PlanSettings(arguments.root, arguments.out, arguments.over, arguments.threads)
    return read_plan(arguments.plan, settings)


def _request(arguments: argparse.Namespace) -> BenchmarkRequest:
    found = () if arguments.dataset == "simulated" else sequences_in(arguments.dataset, arguments.root)
    sequences = tuple(filter(None, arguments.sequences.split(","))) if arguments.sequences is not None else found
    return BenchmarkRequest(
        dataset=arguments.dataset,
        root=arguments.root.resolve() if arguments.root is not None else None,
        sequences=sequences or sequences_in(arguments.dataset, arguments.root),
        out=arguments.out.resolve(),
        depth=arguments.depth,
        depth_noise=arguments.depth_noise,
        noise_seed=arguments.noise_seed,
        over=arguments.over,
        with_prior=VARIANTS[arguments.prior],
        lengths_m=tuple(arguments.lengths),
        simulated_length_m=arguments.length,
        track_arguments=tuple(arguments.track_arguments),
        threads=arguments.threads,
    )


def _do_all(jobs: list[BenchmarkJob], arguments: argparse.Namespace, console: Console) -> list[JobResult]:
    """Do the jobs, saying each as it ends; gives those that failed."""
    failures = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("jobs", total=len(jobs))
        for result in _results(jobs, arguments):
            progress.console.print(_said(result), highlight=False, soft_wrap=True)
            progress.advance(task)
            if result.outcome is None:
                failures.append(result)
    return failures


def _results(jobs: list[BenchmarkJob], arguments: argparse.Namespace) -> Iterator[JobResult]:
    left = []
    for job in jobs:
        try:
            done = finished(job)
        except DroidBridgeError as error:
            yield JobResult(job, None, failure=str(error))
            continue
        if done is None:
            left.append(job)
        else:
            yield JobResult(job, done, was_done=True)
    if left and arguments.ray is not None:
        yield from results_from_ray(left, arguments.ray, arguments.jobs)
    elif left:
        yield from results_here(left, arguments.jobs)


def _said(result: JobResult) -> str:
    if result.outcome is None:
        return f"{result.job.name}: failed, {result.failure}"
    outcome = result.outcome
    if outcome.drift is None:
        figures = f"{outcome.poses} poses; {outcome.no_drift_because}"
    else:
        figures = (
            f"t_rel {outcome.drift['t_rel_percent']:.2f} %, "
            f"r_rel {outcome.drift['r_rel_deg_per_100m']:.3f} deg/100 m, "
            f"scale {outcome.drift['scale_start']:.3f} to {outcome.drift['scale_end']:.3f}"
        )
    return f"{result.job.name}: {figures}{' (done before)' if result.was_done else ''}"
