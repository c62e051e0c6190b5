"""The same jobs on a Ray cluster; the only file that imports ray, which is optional."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from droid_bridge.benchmark.job_run import TRACKER, JobResult, run_job
from droid_bridge.benchmark.jobs import BenchmarkJob
from droid_bridge.errors import DroidBridgeError

LOCAL = "local"


def results_from_ray(
    jobs: Sequence[BenchmarkJob], address: str, parallel: int, tracker: tuple[str, ...] = TRACKER
) -> Iterator[JobResult]:
    """Do the jobs on a cluster and yield each result when it is there.

    Parameters
    ----------
    jobs : what is to do; each takes as many of the cluster's cores as it has threads.
    address : of a running cluster, or ``local`` for one on this machine that ends with the jobs. The machines of
        a cluster share the recordings and the run's folder under the same paths, and have this package.
    parallel : jobs at a time on a local cluster; elsewhere the cluster's cores decide.
    tracker : the command that tracks.

    Raises
    ------
    DroidBridgeError
        If ray is not installed, or the cluster does not answer.
    """
    try:
        import ray
    except ImportError as error:
        raise DroidBridgeError("--ray needs Ray; run pip install 'metric3d_ros[ray]'.") from error
    threads = jobs[0].request.threads if jobs else 1
    try:
        if address == LOCAL:
            ray.init(num_cpus=parallel * threads, include_dashboard=False, log_to_driver=False)
        else:
            ray.init(address=address, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise DroidBridgeError(
            f"no Ray cluster answers at {address} ({error}); start one (`ray start --head`), or give --ray local."
        ) from error
    try:
        remote: Any = ray.remote(num_cpus=threads, max_retries=2)(run_job)
        waiting = {remote.remote(job, tracker): job for job in jobs}
        while waiting:
            (ready,), _ = ray.wait(list(waiting), num_returns=1)
            job = waiting.pop(ready)
            try:
                yield ray.get(ready)
            except ray.exceptions.RayError as error:
                yield JobResult(job, None, failure=f"its worker was lost ({type(error).__name__}); run again.")
    finally:
        ray.shutdown()
