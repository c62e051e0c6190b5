"""A run as a rerun recording, to fly along its drives; the only file that imports rerun, which is optional."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from droid_bridge.benchmark.run_folder import FinishedJob, RunResults, SequenceResults
from droid_bridge.errors import DroidBridgeError
from droid_bridge.evaluation.plots import TRUTH_COLOUR
from droid_bridge.evaluation.scale import scale_over_distance
from droid_bridge.report.charts import COLOURS, LABELS, placed
from droid_bridge.trajectory import Trajectory
from metric3d_ros.atomic_file import replaced_when_done
from metric3d_ros.point_cloud import read_ply

APPLICATION = "metric3d_ros"
_TIMELINE = "drive"
_TRUTH_WIDTH_M, _ESTIMATE_WIDTH_M, _POINT_WIDTH_M = 0.4, 0.2, 0.15


def write_rerun(run: RunResults, path: Path) -> Path:
    """Write trajectories, moving cameras, dense maps, scale over distance and depth strips as ``.rrd``.

    The file is there whole or not at all.

    Each sequence has a world of its own, in the axes of its first camera (x right, y down, z forward), metres;
    the timeline ``drive`` is seconds since its first frame.

    Raises
    ------
    DroidBridgeError
        If rerun is not installed.
    Metric3dError
        If a map cannot be read, or the file cannot be written.
    """
    try:
        import rerun
    except ImportError as error:
        raise DroidBridgeError("--rerun needs rerun; run pip install 'metric3d_ros[rerun]'.") from error
    with replaced_when_done(path) as temporary:
        stream = rerun.RecordingStream(APPLICATION)
        stream.save(temporary)
        for sequence in run.sequences:
            _log_sequence(rerun, stream, sequence)
        stream.flush()
        stream.disconnect()
    return path


def _log_sequence(rerun: Any, stream: Any, sequence: SequenceResults) -> None:
    world = f"drives/{sequence.name}"
    stream.log(world, rerun.ViewCoordinates.RDF, static=True)
    if sequence.truth is not None:
        truth = _from_first_camera(sequence.truth, sequence.truth)
        _log_path(rerun, stream, f"{world}/ground_truth", truth, TRUTH_COLOUR, _TRUTH_WIDTH_M)
    for job in sequence.jobs:
        _log_job(rerun, stream, sequence, job)
    if sequence.strip is not None:
        strip = rerun.EncodedImage(path=sequence.strip, media_type="image/jpeg")
        stream.log(f"depth/{sequence.name}", strip, static=True)


def _log_job(rerun: Any, stream: Any, sequence: SequenceResults, job: FinishedJob) -> None:
    label = LABELS[job.outcome.with_prior].replace(" ", "_")
    estimate = _from_first_camera(sequence.truth or job.estimate, placed(sequence, job))
    entity = f"drives/{sequence.name}/{label}"
    _log_path(rerun, stream, entity, estimate, COLOURS[job.outcome.with_prior], _ESTIMATE_WIDTH_M)
    seconds = _seconds(estimate)
    for at_s, pose in zip(seconds, estimate.world_from_camera, strict=True):
        stream.set_time(_TIMELINE, duration=float(at_s))
        stream.log(f"{entity}/camera", rerun.Transform3D(translation=pose[:3, 3], mat3x3=pose[:3, :3]))
    if job.point_cloud is not None:
        _log_map(rerun, stream, f"{entity}/map", job, estimate)
    if sequence.truth is None or job.outcome.drift is None:
        return
    distance_m, scale = scale_over_distance(sequence.truth, job.estimate).curve()
    along_m = sequence.truth.path_distance_m()
    true_seconds = np.interp(distance_m, along_m, _seconds(sequence.truth))
    for at_s, value in zip(true_seconds, scale, strict=True):
        stream.set_time(_TIMELINE, duration=float(at_s))
        stream.log(f"scale/{sequence.name}/{label}", rerun.Scalars(float(value)))


def _log_map(rerun: Any, stream: Any, entity: str, job: FinishedJob, shown: Trajectory) -> None:
    """The dense map where the drive is shown, and as large."""
    assert job.point_cloud is not None
    points_m, colours = read_ply(job.point_cloud)
    shown_from_world = shown.world_from_camera[0] @ np.linalg.inv(job.estimate.world_from_camera[0])
    scale = job.outcome.scaled_by or 1.0
    place = rerun.Transform3D(translation=shown_from_world[:3, 3], mat3x3=scale * shown_from_world[:3, :3])
    stream.log(entity, place, static=True)
    stream.log(entity, rerun.Points3D(points_m, colors=colours, radii=[_POINT_WIDTH_M / 2]), static=True)


def _log_path(rerun: Any, stream: Any, entity: str, trajectory: Trajectory, colour: str, width_m: float) -> None:
    rgb = tuple(int(colour[at : at + 2], 16) for at in (1, 3, 5))
    strip = rerun.LineStrips3D([trajectory.positions_m], colors=[rgb], radii=[width_m / 2])
    stream.log(f"{entity}/path", strip, static=True)


def _from_first_camera(reference: Trajectory, trajectory: Trajectory) -> Trajectory:
    first_from_world = np.linalg.inv(reference.world_from_camera[0])
    return replace(trajectory, world_from_camera=first_from_world @ trajectory.world_from_camera)


def _seconds(trajectory: Trajectory) -> NDArray[np.float64]:
    assert trajectory.stamps_ns is not None, "a run's trajectories are TUM files, which have stamps"
    return np.asarray((trajectory.stamps_ns - trajectory.stamps_ns[0]) / 1e9, dtype=np.float64)
