"""What a benchmark has to do: one job for each sequence, with and without the scale prior."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from droid_bridge.errors import DroidBridgeError
from droid_bridge.evaluation.segments import KITTI_LENGTHS_M
from metric3d_ros.datasets.detection import open_recording, recordings_in
from metric3d_ros.datasets.frame import FrameSource
from metric3d_ros.datasets.simulated import SimulatedDrive
from metric3d_ros.errors import DatasetError

Dataset = Literal["kitti_odometry", "kitti_raw", "recordings", "simulated"]
DATASETS: tuple[Dataset, ...] = get_args(Dataset)
Over = Literal["offline", "ros"]
OVER: tuple[Over, ...] = get_args(Over)
VARIANTS = {"both": (True, False), "with": (True,), "without": (False,)}
SIMULATED_LENGTH_M = 400.0
MAP_VOXEL_M = 0.3

_SEQUENCE = re.compile(r"\w[\w.-]*")
_DRIVES = "[0-9][0-9][0-9][0-9]_[0-9][0-9]_[0-9][0-9]/*_drive_*"


@dataclass(frozen=True)
class BenchmarkRequest:
    """What is benchmarked.

    Attributes
    ----------
    dataset, root : the kind of recordings, and the folder that holds them; None for simulated ones.
    sequences : KITTI odometry's numbers, KITTI raw's drives, names of recordings (bags, TUM RGB-D, EuRoC) in
        ``root``, or the seeds of simulated worlds.
    out : the folder of the run.
    depth : the prior's depth, as ``droid-bridge track --depth`` takes it.
    depth_noise, noise_seed : relative noise of pixels and of frames put on the prior's depth, or None.
    over : ``offline``, or ``ros`` for the real ROS graph in lockstep.
    with_prior : the variants: with the prior, without, or both.
    lengths_m : segment lengths of the drift, metres.
    simulated_length_m : the way through a simulated world, metres.
    track_arguments : further arguments of ``droid-bridge track``, for every job.
    threads : threads of each job.
    """

    dataset: Dataset
    root: Path | None
    sequences: tuple[str, ...]
    out: Path
    depth: str = "nano"
    depth_noise: tuple[float, float] | None = None
    noise_seed: int = 0
    over: Over = "offline"
    with_prior: tuple[bool, ...] = (True, False)
    lengths_m: tuple[float, ...] = KITTI_LENGTHS_M
    simulated_length_m: float = SIMULATED_LENGTH_M
    track_arguments: tuple[str, ...] = ()
    threads: int = 1


@dataclass(frozen=True)
class BenchmarkJob:
    """One sequence, tracked with the prior or without.

    Attributes
    ----------
    request : what it is part of.
    sequence, with_prior : which part.
    """

    request: BenchmarkRequest
    sequence: str
    with_prior: bool

    @property
    def name(self) -> str:
        """The job in a word or three, such as ``03 with prior``."""
        return f"{self.sequence} {'with' if self.with_prior else 'without'} prior"

    @property
    def sequence_folder(self) -> Path:
        """Where what both variants share is left."""
        return self.request.out / self.sequence

    @property
    def folder(self) -> Path:
        """Where the job leaves its results."""
        return self.sequence_folder / ("with_prior" if self.with_prior else "without_prior")

    @property
    def is_metric(self) -> bool:
        """Whether the tracker has something in metres, so that nothing of its path is scaled."""
        names = {argument.split("=")[0] for argument in self.request.track_arguments}
        return self.with_prior or "--camera-height" in names

    def track_arguments(self, out: Path) -> list[str]:
        """Arguments of ``droid-bridge track`` that do the job into ``out``."""
        request = self.request
        # Over ROS the map is the node's to save; offline it is at hand when the drive ends.
        run = ["--over", "ros"] if request.over == "ros" else ["--map", f"{MAP_VOXEL_M:g}"]
        return [*self._drive(), *self._prior(), *run, *request.track_arguments, "--out", str(out)]

    def _drive(self) -> list[str]:
        request = self.request
        if request.dataset == "simulated":
            length = f"{request.simulated_length_m:g}"
            return ["--input", "simulated", "--length", length, "--world-seed", self.sequence]
        assert request.root is not None
        if request.dataset == "recordings":
            return ["--input", str(request.root / self.sequence)]
        which = "--sequence" if request.dataset == "kitti_odometry" else "--drive"
        return ["--input", str(request.root), which, self.sequence]

    def _prior(self) -> list[str]:
        request = self.request
        if not self.with_prior:
            return ["--depth", "none"]
        if request.depth_noise is None:
            return ["--depth", request.depth]
        noise = ",".join(f"{share:g}" for share in request.depth_noise)
        return ["--depth", request.depth, "--depth-noise", noise, "--seed", str(request.noise_seed)]


def jobs_of(request: BenchmarkRequest) -> list[BenchmarkJob]:
    """The jobs of a benchmark, sequence by sequence.

    Raises
    ------
    DroidBridgeError
        If there is no sequence, one is named twice, or a name cannot be a folder's.
    """
    if not request.sequences:
        raise DroidBridgeError("no sequence is given; name some, such as --sequences 00,02.")
    for sequence in request.sequences:
        if not _SEQUENCE.fullmatch(sequence):
            raise DroidBridgeError(f"'{sequence}' is no sequence; give names such as 00, divided by commas.")
        if request.dataset == "simulated" and not sequence.isdigit():
            raise DroidBridgeError(f"'{sequence}' is no simulated world; give its seed, a number from 0 on.")
    if len(set(request.sequences)) != len(request.sequences):
        raise DroidBridgeError("a sequence is given twice; give each once.")
    return [
        BenchmarkJob(request, sequence, with_prior)
        for sequence in request.sequences
        for with_prior in request.with_prior
    ]


def sequences_in(dataset: Dataset, root: Path | None) -> tuple[str, ...]:
    """All sequences or drives in a folder.

    Raises
    ------
    DroidBridgeError
        If there are none, or the dataset has no folder.
    """
    if dataset == "simulated":
        raise DroidBridgeError("simulated worlds have no list; give their seeds, such as --sequences 7,8.")
    if root is None:
        raise DroidBridgeError(f"{dataset} needs its folder; give --root DIR.")
    if not root.is_dir():
        raise DroidBridgeError(f"no folder at {root}; check --root.")
    if dataset == "recordings":
        if not (recordings := recordings_in(root)):
            raise DroidBridgeError(
                f"{root} has no recordings: looked for bags (.mcap, .db3, .bag, metadata.yaml), TUM RGB-D "
                "(rgb.txt) and EuRoC (mav0); check --root."
            )
        return recordings
    pattern = "sequences/*" if dataset == "kitti_odometry" else _DRIVES
    found = tuple(sorted(path.name for path in root.glob(pattern) if path.is_dir()))
    if not found:
        raise DroidBridgeError(f"{root} has no {dataset}: looked for {pattern}; check --root.")
    return found


def open_source(job: BenchmarkJob, *, with_depth: bool = False) -> FrameSource:
    """The recording of a job, for its truth and its images; raises DatasetError where it cannot be read.

    ``with_depth`` gives frames the recording's own depth, where it has some.
    """
    request = job.request
    if request.dataset == "simulated":
        return SimulatedDrive(seed=int(job.sequence), length_m=request.simulated_length_m)
    assert request.root is not None
    root = request.root / job.sequence if request.dataset == "recordings" else request.root
    sequence = job.sequence if request.dataset == "kitti_odometry" else None
    drive = job.sequence if request.dataset == "kitti_raw" else None
    if with_depth:
        with suppress(DatasetError):
            return open_recording(root, sequence=sequence, drive=drive, depth="own")
    return open_recording(root, sequence=sequence, drive=drive)
