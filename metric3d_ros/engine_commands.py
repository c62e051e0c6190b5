"""``metric3d engine``: build TensorRT engines, look at those that are kept, and time all engines."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import onnxruntime
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Column, Table

from metric3d_ros.argument_types import height_x_width, positive_int
from metric3d_ros.atomic_file import atomic_file
from metric3d_ros.cache_folder import CACHE_VARIABLE
from metric3d_ros.engines.bench import REFERENCE, BenchRow, bench
from metric3d_ros.engines.choice import ENGINES, EngineRequest
from metric3d_ros.engines.cuda_driver import CudaDriver
from metric3d_ros.engines.engine_cache import EngineCache, Miss, StoredEngine
from metric3d_ros.engines.tensorrt_api import FP32, PRECISIONS, tensorrt_version
from metric3d_ros.engines.tensorrt_plans import open_tensorrt_engine
from metric3d_ros.errors import EngineError, Metric3dError
from metric3d_ros.model_zoo import model_path

BENCH_RUNS = 50


def add_engine_command(subcommands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register ``engine`` and its own commands."""
    engine = subcommands.add_parser(
        "engine",
        help="build, list and time what runs the networks",
        description=f"TensorRT engines are kept under the folder that {CACHE_VARIABLE} names, in engines/.",
    )
    actions = engine.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_build(actions)
    _add_info(actions)
    _add_bench(actions)


def _add_build(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser("build", help="build a model's TensorRT engine for this GPU: minutes, once")
    _add_network(parser)
    parser.add_argument("--precision", choices=PRECISIONS, default=FP32, help="default: %(default)s")
    parser.add_argument("--rebuild", action="store_true", help="even if the engine is there, or was rejected")
    parser.set_defaults(run=run_build)


def _add_info(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser("info", help="this machine's engines, and the plans that are kept")
    parser.set_defaults(run=run_info)


def _add_bench(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser("bench", help="time a model on every engine that works here")
    _add_network(parser)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES), help="default: all")
    parser.add_argument(
        "--precision", nargs="+", choices=PRECISIONS, default=list(PRECISIONS), help="of those that compile (both)"
    )
    parser.add_argument("--runs", type=positive_int, default=BENCH_RUNS, metavar="N", help="images (%(default)s)")
    parser.add_argument("--threads", type=positive_int, default=0, metavar="N", help="CPU threads (every core)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures as JSON too")
    parser.set_defaults(run=run_bench)


def _add_network(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a model's name, or an ONNX file")
    parser.add_argument(
        "--size", type=height_x_width, metavar="HxW", help="for files that take any size (616x1064)"
    )


def run_build(arguments: argparse.Namespace) -> int:
    """Build an engine, or find it built."""
    engine = open_tensorrt_engine(
        model_path(arguments.model), arguments.precision, arguments.size, rebuild=arguments.rebuild
    )
    print(f"ready: {engine.identity}")
    return 0


def run_info(arguments: argparse.Namespace) -> int:
    """Print what runs networks here and which plans are kept."""
    machine = _Machine()
    print("\n".join(machine.lines))
    cache = EngineCache()
    entries = cache.entries()
    if not entries:
        print(f"no TensorRT engines in {cache.folder}; metric3d engine build MODEL makes one")
        return 0
    table = Table("plan", "network", "size", "precision", "for", "built in", "depth error", "state", box=SIMPLE)
    for path, stored in entries:
        if isinstance(stored, Miss):
            table.add_row(path.stem, "", "", "", "", "", "", f"unusable: {stored.reason}")
        else:
            table.add_row(path.stem, *_described(stored), machine.state(stored, path.with_suffix(".plan")))
    print(f"TensorRT engines in {cache.folder}:")
    Console().print(table)
    return 0


def run_bench(arguments: argparse.Namespace) -> int:
    """Time engines and print a table."""
    request = EngineRequest(model_path(arguments.model), size_px=arguments.size, threads=arguments.threads)
    rows = list(bench(request, arguments.engines, arguments.precision, arguments.runs))
    _print_bench(rows)
    if arguments.out is not None:
        with atomic_file(arguments.out) as file:
            file.write((json.dumps([asdict(row) for row in rows], indent=2) + "\n").encode())
    if all(row.fallen_out for row in rows):
        raise EngineError(
            f"none of {', '.join(arguments.engines)} runs here; metric3d engine info says what does."
        )
    return 0


class _Machine:
    """What this machine has to run networks."""

    def __init__(self) -> None:
        self.lines = [
            f"onnxruntime {onnxruntime.__version__}: {', '.join(onnxruntime.get_available_providers())}",
        ]
        self._version = self._capability = ""
        try:
            driver = CudaDriver()
            self._capability = driver.compute_capability
            self.lines.append(f"GPU: {driver.device_name}, compute capability {self._capability}")
            self._version = tensorrt_version()
            self.lines.append(f"TensorRT: {self._version}")
        except Metric3dError as error:
            self.lines.append(f"TensorRT: no. {error}")

    def state(self, stored: StoredEngine, plan: Path) -> str:
        """Whether a plan is of use here."""
        if stored.rejected:
            return f"rejected: {stored.rejected}"
        if not plan.is_file():
            return "unusable: the plan is gone"
        built_for = (stored.key.tensorrt_version, stored.key.compute_capability)
        return "ready" if built_for == (self._version, self._capability) else "not for this machine"


def _described(stored: StoredEngine) -> tuple[str, ...]:
    key = stored.key
    return (
        f"{stored.model} {key.onnx_sha256[:12]}",
        f"{key.height_px}x{key.width_px}",
        f"{key.precision} ({stored.typing})",
        f"TensorRT {key.tensorrt_version}, {stored.device} ({key.compute_capability})",
        f"{stored.build_s:.0f} s",
        "" if stored.relative_error is None else f"{stored.relative_error:.2g}",
    )


def _print_bench(rows: list[BenchRow]) -> None:
    cpu_ms = next((row.median_ms for row in rows if row.name == REFERENCE), 0.0)
    headers = ("engine", "types", "median ms", "90 % ms", "CPU ms", "x CPU", "error")
    table = Table(*(Column(header, no_wrap=True) for header in headers), box=SIMPLE)
    for row in rows:
        if row.fallen_out:
            continue
        table.add_row(
            row.name,
            row.precision,
            f"{row.median_ms:.2f}",
            f"{row.p90_ms:.2f}",
            f"{row.cpu_ms:.2f}",
            f"{cpu_ms / row.median_ms:.2f}" if cpu_ms else "",
            f"{row.relative_error:.1e}",
        )
    Console().print(table)
    print(f"CPU ms: of all threads; x CPU: speed against {REFERENCE}; error: depth's, relative to it, at 99 %")
    fallen_out: dict[str, list[str]] = {}
    for row in rows:
        if row.fallen_out:
            fallen_out.setdefault(row.fallen_out, []).append(f"{row.name} {row.precision}")
    for reason, names in fallen_out.items():
        print(f"not {', '.join(names)}: {reason}")
