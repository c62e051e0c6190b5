"""How much memory ten thousand frames take: a small camera goes round a block again and again.

    python benchmarks/memory.py --out docs/images/memory.png

The block is rendered once and its frames are played in a circle, each with an error of depth of its own. Every lap
sees places it knows, so loops are closed all the time, and keyframes reach their limit and are thinned: a back end
cannot be asked to remember more. Loops are looked for every 50 m instead of 5: each that says something new solves
the graph of all keyframes, here in the thread that tracks. Growth is the most resident memory after the first
thousand frames over that at the thousandth; the exit status is 1 if it reaches the limit.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track

from droid_bridge.back_end_options import BackEndOptions
from droid_bridge.errors import DroidBridgeError
from droid_bridge.loop_closure import LoopOptions
from droid_bridge.slam import Slam
from metric3d_ros.atomic_file import replaced_when_done
from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.frame import Frame
from metric3d_ros.datasets.simulated import SimulatedDrive
from metric3d_ros.errors import Metric3dError

CAMERA = PinholeCamera(width_px=384, height_px=128, fx=223.0, fy=223.0, cx=191.5, cy=60.0)
PERIOD_NS = 100_000_000
WARM_UP_FRAMES = 1000
SAMPLE_FRAMES = 50
TOLD_FRAMES = 1000
DEPTH_NOISE = 0.03
LOOP_SPACING_M = 50.0


@dataclass(frozen=True)
class Sample:
    """What was measured after a frame."""

    frames: int
    resident_mb: float
    keyframes: int
    loops: int


def main() -> int:
    arguments = _arguments()
    try:
        drive = SimulatedDrive(arguments.seed, arguments.length, CAMERA, closed_loop=True)
        lap = list(drive.render_all(progress=sys.stderr.isatty()))[:-1]
        began_s = time.process_time()
        samples = _drive(lap, arguments)
        cpu_ms = 1e3 * (time.process_time() - began_s) / arguments.frames
        growth_mb = _growth_mb(samples)
        _plot(samples, arguments, growth_mb)
    except (DroidBridgeError, Metric3dError) as error:
        print(f"memory: {error}", file=sys.stderr)
        return 2
    last = samples[-1]
    print(
        f"{arguments.frames} frames, {cpu_ms:.1f} ms of CPU each, {last.loops} loops, {last.keyframes} keyframes"
    )
    print(f"{_at_warm_up_mb(samples):.0f} MB after {WARM_UP_FRAMES} frames, {growth_mb:.1f} MB more after that")
    return int(growth_mb >= arguments.limit)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--length", type=float, default=170.0, help="of the block, m (default: %(default)g)")
    parser.add_argument("--seed", type=int, default=11, help="of the world (default: %(default)s)")
    parser.add_argument("--max-keyframes", type=int, default=BackEndOptions().max_keyframes)
    parser.add_argument("--limit", type=float, default=100.0, help="growth that counts as failure, MB")
    parser.add_argument("--out", type=Path, default=Path("memory.png"), help="the plot (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.frames <= WARM_UP_FRAMES:
        parser.error(f"--frames must be above {WARM_UP_FRAMES}")
    return arguments


def _drive(lap: list[Frame], arguments: argparse.Namespace) -> list[Sample]:
    rng = np.random.default_rng(0)
    samples: list[Sample] = []
    console = Console(stderr=True)
    loops_at = LoopOptions(closed_spacing_m=LOOP_SPACING_M)
    with Slam(back_end=BackEndOptions(max_keyframes=arguments.max_keyframes, loops=loops_at)) as slam:
        for index in track(range(arguments.frames), description="tracking", console=console):
            seen = lap[index % len(lap)]
            assert seen.depth_m is not None
            depth_m = (seen.depth_m * (1 + DEPTH_NOISE * rng.standard_normal())).astype(np.float32)
            slam.track(replace(seen, index=index, stamp_ns=(index + 1) * PERIOD_NS, depth_m=depth_m))
            if (index + 1) % SAMPLE_FRAMES == 0:
                samples.append(Sample(index + 1, _resident_mb(), slam.keyframes, slam.loops_closed))
            if (index + 1) % TOLD_FRAMES == 0:
                console.print(f"{samples[-1]}", highlight=False)
    return samples


def _resident_mb() -> float:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise DroidBridgeError("/proc/self/status has no VmRSS; run this on Linux.")


def _at_warm_up_mb(samples: list[Sample]) -> float:
    return next(sample.resident_mb for sample in samples if sample.frames >= WARM_UP_FRAMES)


def _growth_mb(samples: list[Sample]) -> float:
    most_mb = max(sample.resident_mb for sample in samples if sample.frames >= WARM_UP_FRAMES)
    return most_mb - _at_warm_up_mb(samples)


def _plot(samples: list[Sample], arguments: argparse.Namespace, growth_mb: float) -> None:
    figure = Figure(figsize=(8, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    frames = [sample.frames for sample in samples]
    axes.plot(frames, [sample.resident_mb for sample in samples], color="tab:blue", label="resident memory")
    axes.axvline(WARM_UP_FRAMES, color="gray", linewidth=0.8, linestyle=":")
    axes.set(xlabel="frames", ylabel="MB", ylim=(0, None))
    axes.set_title(f"{arguments.frames} frames: {growth_mb:.0f} MB more after the first {WARM_UP_FRAMES}")
    counts = axes.twinx()
    counts.plot(
        frames, [sample.keyframes for sample in samples], color="tab:orange", linewidth=1, label="keyframes kept"
    )
    counts.set(ylabel="keyframes", ylim=(0, None))
    figure.legend(loc="lower right", bbox_to_anchor=(0.9, 0.15))
    with replaced_when_done(arguments.out) as unfinished:
        figure.savefig(unfinished, dpi=110)


if __name__ == "__main__":
    raise SystemExit(main())
