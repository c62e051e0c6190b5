"""``metric3d models``: what there is, and how to get it."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from metric3d_ros.cache_folder import CACHE_VARIABLE, DEFAULT_CACHE
from metric3d_ros.download import file_sha256
from metric3d_ros.model_zoo import ZOO, ZooModel, fetch, zoo_model


def add_models_command(subcommands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register ``models`` and its own commands."""
    models = subcommands.add_parser(
        "models",
        help="list and fetch depth models",
        description=f"Models are kept under {DEFAULT_CACHE}, or the folder that {CACHE_VARIABLE} names.",
    )
    actions = models.add_subparsers(title="commands", required=True, metavar="COMMAND")
    listing = actions.add_parser("list", help="the models known by name, or all about one")
    listing.add_argument("name", nargs="?", metavar="NAME", help="say all about this model")
    listing.set_defaults(run=run_list)
    fetching = actions.add_parser("fetch", help="download a model")
    fetching.add_argument("name", metavar="NAME", help="a name that metric3d models list gives")
    fetching.add_argument("--out", type=Path, metavar="DIR", help="folder to put it in (default: the cache)")
    fetching.set_defaults(run=run_fetch)


def run_list(arguments: argparse.Namespace) -> int:
    """Print the zoo, or one model of it."""
    if arguments.name is not None:
        print("\n".join(f"{key:>15}  {value}" for key, value in _facts(zoo_model(arguments.name))))
        return 0
    table = Table("model", "input", "size", "state", "good for", box=SIMPLE)
    for model in ZOO:
        table.add_row(
            model.name,
            f"{model.input_height_px}x{model.input_width_px}",
            "-" if model.published is None else f"{model.published.size_mb} MB",
            _state(model),
            model.good_for,
        )
    Console().print(table)
    print("Source, licence and checksum of one: metric3d models list NAME")
    return 0


def run_fetch(arguments: argparse.Namespace) -> int:
    """Download one model and say how to use it."""
    model = zoo_model(arguments.name)
    print(f"{model.name}: {model.licence}")
    path = fetch(model, arguments.out)
    print(f"{path}: sha256 {file_sha256(path)}")
    if model.is_checkpoint:
        command = model.export_command.replace(str(model.fetched_path), str(path))
        print(f"to make it a network that runs: {command}")
    else:
        print(f"to use it: --model {model.name if path == model.onnx_path else path}")
    return 0


def _state(model: ZooModel) -> str:
    if model.onnx_path.is_file():
        return "ready"
    if model.fetched_path.is_file():
        return "to be exported"
    return "not fetched"


def _facts(model: ZooModel) -> list[tuple[str, str]]:
    published = model.published
    facts = [
        ("model", model.name),
        ("good for", model.good_for),
        ("licence", model.licence),
        ("input", f"{model.input_height_px} px high, {model.input_width_px} px wide"),
        ("canonical focal", f"{model.canonical_focal_px:g} px"),
        ("state", _state(model)),
        ("network file", str(model.onnx_path)),
    ]
    if published is not None:
        facts += [
            ("source", published.url),
            ("size", f"{published.size_mb} MB"),
            ("sha256", published.sha256 or "none is published"),
        ]
    if model.is_checkpoint:
        facts += [("checkpoint", str(model.fetched_path)), ("export", model.export_command)]
    return facts
