"""Time DROID-SLAM's network step by step, with random weights: what they are does not change how long they take.

    python benchmarks/droid_net.py                            # CPU, float32
    python benchmarks/droid_net.py --device cuda              # float16, as it runs there
    python benchmarks/droid_net.py --device cuda --precision float32 --edges 4 12 40

Prints a table in Markdown: milliseconds on the clock and of all CPU threads together (medians of the repeats), and
on CUDA the peak of the memory during a step. Where other programs run, the CPU time is the one to compare.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from droid_bridge.errors import DroidBridgeError
from droid_bridge.matching.droid_net.correlation import OnDemandCorrelation, StoredCorrelation
from droid_bridge.matching.droid_net.matcher import PRECISIONS, DroidMatcher, DroidMatcherOptions
from droid_bridge.matching.droid_net.network import DroidNet, own_coords
from droid_bridge.matching.matcher import FramePair


@dataclass(frozen=True)
class Setting:
    device: torch.device
    precision: torch.dtype
    repeats: int

    def timed(self, name: str, run: Callable[[], object]) -> str:
        """One row of the table."""
        with torch.inference_mode(), self._autocast():
            run()
            self._synchronise()
            if self.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            laps = [self._lap_ms(run) for _ in range(self.repeats)]
        wall_ms, cpu_ms = (statistics.median(column) for column in zip(*laps, strict=True))
        peak = f"{torch.cuda.max_memory_allocated() / 2**20:.0f}" if self.device.type == "cuda" else "-"
        return f"| {name} | {wall_ms:.1f} | {cpu_ms:.1f} | {peak} |"

    def _lap_ms(self, run: Callable[[], object]) -> tuple[float, float]:
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        self._synchronise()
        return 1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu)

    def _synchronise(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def _autocast(self) -> torch.autocast:
        is_reduced = self.precision is not torch.float32
        return torch.autocast(self.device.type, dtype=self.precision, enabled=is_reduced)


def main() -> int:
    arguments = _arguments()
    torch.manual_seed(0)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    try:
        _print_table(arguments)
    except DroidBridgeError as error:
        print(f"droid_net: {error}", file=sys.stderr)
        return 2
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--precision", choices=sorted(PRECISIONS), help="float16 on CUDA, else float32")
    parser.add_argument("--size", type=int, nargs=2, default=(240, 808), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--edges", type=int, nargs="+", default=[4, 12], help="directed edges of a step")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="of torch on the CPU; 0 leaves it to torch")
    return parser.parse_args()


def _print_table(arguments: argparse.Namespace) -> None:
    device = torch.device(arguments.device)
    name = arguments.precision or ("float16" if device.type == "cuda" else "float32")
    net = DroidNet()
    matcher = DroidMatcher(net, device, DroidMatcherOptions(precision=name))
    setting = Setting(device, PRECISIONS[name], arguments.repeats)
    height, width = arguments.size
    print(f"{_described(device)}, {name}, {height}x{width}, torch {torch.__version__}\n")
    print("| step | ms | CPU ms | peak MiB |\n|---|---|---|---|")
    images = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    print(setting.timed("encode one frame", lambda: matcher.prepare(images[0])), flush=True)
    for edges in arguments.edges:
        for row in _edge_rows(setting, net, height // 8, width // 8, edges):
            print(row, flush=True)
        print(setting.timed(*_whole_match(matcher, images, edges)), flush=True)


def _edge_rows(setting: Setting, net: DroidNet, rows: int, columns: int, edges: int) -> Iterator[str]:
    def random(channels: int) -> torch.Tensor:
        values = torch.randn(edges, channels, rows, columns, device=setting.device)
        return values.to(setting.precision)

    source, target, hidden, context = (random(128) for _ in range(4))
    coords = own_coords(rows, columns, setting.device) + 3 * random(2).float()
    motion = random(4).float()
    of = f"{edges} edges: "
    yield setting.timed(f"{of}store the correlation", lambda: StoredCorrelation(source, target))
    yield _stored_row(setting, source, target, coords, of)
    lean = OnDemandCorrelation(source, target)
    yield setting.timed(f"{of}look up, on demand", lambda: lean.lookup(coords))
    looked_up = lean.lookup(coords)
    yield setting.timed(f"{of}update", lambda: net.update(hidden, context, looked_up, motion))
    step = net.update(hidden.float(), context.float(), looked_up, motion).hidden.to(setting.precision)
    frames = torch.arange(edges, device=setting.device) // 2
    yield setting.timed(f"{of}damping and upsampling of the frames", lambda: net.update.agg(step, frames))


def _stored_row(
    setting: Setting, source: torch.Tensor, target: torch.Tensor, coords: torch.Tensor, of: str
) -> str:
    stored = StoredCorrelation(source, target)
    return setting.timed(f"{of}look up, stored", lambda: stored.lookup(coords))


def _whole_match(
    matcher: DroidMatcher, images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], edges: int
) -> tuple[str, Callable[[], object]]:
    """A round between adjustments, as the odometry asks for it."""
    frames = [matcher.prepare(images[k % 2]) for k in range(edges // 2 + 1)]
    rows, columns = images.shape[1] // 8, images.shape[2] // 8
    own = np.asarray(own_coords(rows, columns, torch.device("cpu")).permute(1, 2, 0))
    pairs = [FramePair(frames[k], frames[k + 1], own, own, goes_on=True) for k in range(edges // 2)]
    matcher.match(pairs)
    return f"{edges} edges: a whole round of the matcher", lambda: matcher.match(pairs)


def _described(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"


if __name__ == "__main__":
    raise SystemExit(main())
