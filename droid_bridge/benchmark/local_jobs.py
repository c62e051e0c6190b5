"""The jobs of a benchmark on this machine, several at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from droid_bridge.benchmark.job_run import TRACKER, JobResult, run_job
from droid_bridge.benchmark.jobs import BenchmarkJob


def results_here(
    jobs: Sequence[BenchmarkJob], parallel: int, tracker: tuple[str, ...] = TRACKER
) -> Iterator[JobResult]:
    """Do the jobs and yield each result when it is there; each tracker is a process, each waits in a thread."""
    executor = ThreadPoolExecutor(parallel, thread_name_prefix="benchmark")
    try:
        for future in as_completed([executor.submit(run_job, job, tracker) for job in jobs]):
            yield future.result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
