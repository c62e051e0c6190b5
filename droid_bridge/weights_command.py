"""``droid-bridge weights``: the published weights of the learned matcher."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from droid_bridge.matching.droid_net.droid_pth import (
    DROID_PTH,
    DROID_PTH_BYTES,
    DROID_PTH_URLS,
    cached_droid_pth,
    fetch_droid_pth,
)
from metric3d_ros.cache_folder import CACHE_VARIABLE, DEFAULT_CACHE
from metric3d_ros.download import file_sha256


def register_weights(commands: argparse._SubParsersAction[Any]) -> None:
    """Register ``weights fetch``."""
    weights = commands.add_parser("weights", help="the weights of the learned matcher")
    actions = weights.add_subparsers(title="actions", metavar="ACTION", required=True)
    fetch = actions.add_parser(
        "fetch",
        help=f"download {DROID_PTH} and check it",
        description=f"Download DROID-SLAM's {DROID_PTH} ({DROID_PTH_BYTES / 1e6:.0f} MB) from where its authors "
        "publish it, else from a copy; go on where a download stopped; put it in place only if its checksum is "
        "right. The matcher droid finds it in the default folder.",
    )
    fetch.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help=f"folder for {DROID_PTH} (default: models in {DEFAULT_CACHE}, or where {CACHE_VARIABLE} says)",
    )
    fetch.add_argument(
        "--url", action="append", metavar="URL", help="download from here instead; may be given more than once"
    )
    fetch.set_defaults(run=_fetch)


def _fetch(arguments: argparse.Namespace) -> int:
    target = cached_droid_pth() if arguments.out is None else arguments.out.expanduser() / DROID_PTH
    fetched = fetch_droid_pth(target, arguments.url or DROID_PTH_URLS)
    print(f"{fetched}: sha256 {file_sha256(fetched)}")
    return 0
