"""DROID-SLAM's published weights as a file: where it is kept, where it comes from, and whether it is the one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from droid_bridge.errors import DroidBridgeError
from metric3d_ros.download import download, file_sha256
from metric3d_ros.errors import DownloadError
from metric3d_ros.model_zoo import models_folder

DROID_PTH = "droid.pth"
DROID_PTH_BYTES = 16_061_701
DROID_PTH_SHA256 = "46476ef64cde45a97504910d6f3de2eef7b398ec1c6e4e668815c29076024526"
# The authors publish it on Google Drive alone, where a shared file has a daily quota; the second is a copy that
# others made (BSD-3, as the code). The checksum tells that it is the same file.
DROID_PTH_URLS = (
    "https://drive.usercontent.google.com/download?id=1PpqVt1H4maBa_GbPJp4NwxRsd9jk-elh&export=download&confirm=t",
    "https://huggingface.co/vslamlab/droidslam/resolve/main/droid.pth",
)
_FETCH = "run `droid-bridge weights fetch`"


def cached_droid_pth() -> Path:
    """Where droid.pth is kept: beside the other models that were downloaded."""
    return models_folder() / DROID_PTH


def check_droid_pth(path: Path) -> None:
    """Refuse a file that is not the published droid.pth.

    Raises
    ------
    DroidBridgeError
        If it is missing, half of it is missing, or it is another file.
    """
    if not path.is_file():
        raise DroidBridgeError(
            f"DROID-SLAM's weights are not at {path}; {_FETCH}, or put {DROID_PTH} there "
            f"(sha256 {DROID_PTH_SHA256})."
        )
    try:
        size_bytes, found = path.stat().st_size, file_sha256(path)
    except OSError as error:
        raise DroidBridgeError(f"{path} cannot be read: {error.strerror}; make it readable.") from error
    if found == DROID_PTH_SHA256:
        return
    if size_bytes < DROID_PTH_BYTES:
        raise DroidBridgeError(
            f"{path} has {size_bytes:,} bytes and {DROID_PTH} of DROID-SLAM {DROID_PTH_BYTES:,}: it is incomplete "
            f"or another file; delete it and {_FETCH}."
        )
    raise DroidBridgeError(
        f"{path} is not the {DROID_PTH} that DROID-SLAM publishes (sha256 {found} instead of {DROID_PTH_SHA256}); "
        f"delete it and {_FETCH}."
    )


def fetch_droid_pth(target: Path, urls: Sequence[str] = DROID_PTH_URLS) -> Path:
    """Download droid.pth from the first source that has it, or keep the one that is there.

    Parameters
    ----------
    target : the file to write.
    urls : sources, tried in this order.

    Raises
    ------
    DroidBridgeError
        If another file is there already, or no source gives the right one.
    """
    if target.exists():
        check_droid_pth(target)
        return target
    failures = []
    for url in urls:
        try:
            return download(url, target, DROID_PTH_SHA256, description=f"{DROID_PTH} of DROID-SLAM")
        except DownloadError as error:
            failures.append(error)
    tried = f"{len(failures)} sources failed, the first so: " if len(failures) > 1 else ""
    raise DroidBridgeError(f"{tried}{failures[0]}") from failures[0]
