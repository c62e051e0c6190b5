"""Which KITTI a folder is: odometry or raw, a whole download or one recording of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from metric3d_ros.datasets.kitti_odometry import KittiOdometry
from metric3d_ros.datasets.kitti_raw import KittiRaw
from metric3d_ros.datasets.kitti_raw_unsynced import UNSYNCED_SUFFIX, KittiRawUnsynced
from metric3d_ros.errors import DatasetError

_DATE = re.compile(r"\d{4}_\d\d_\d\d")
_DRIVE = re.compile(r"\d{4}_\d\d_\d\d_drive_\d{4}_\w+")


def open_kitti(
    folder: Path | str,
    *,
    sequence: str | None = None,
    drive: str | None = None,
    camera: int | str = "auto",
    depth: Literal["none", "lidar"] = "none",
) -> KittiOdometry | KittiRaw | KittiRawUnsynced:
    """Open the recording that ``folder`` is, or the one named of those it holds.

    Parameters
    ----------
    folder : the root of KITTI odometry or KITTI raw, a date of raw, or one sequence's or drive's folder.
    sequence, drive : which one, where the folder holds several; the only one where it holds one.
    camera : 0 to 3, or ``auto``: colour where there is some.
    depth : ``lidar`` for the depth of the scans, which KITTI raw has.

    Raises
    ------
    DatasetError
        If the folder is no KITTI, or it is not clear which recording is meant.
    """
    folder = Path(folder).resolve()
    if not folder.is_dir():
        raise DatasetError(f"no KITTI folder at {folder}; check the path.")
    if (sequences := folder / "sequences").is_dir():
        chosen = _choose("sequence", sequence, _folders_in(sequences), folder)
        return _open_odometry(folder, chosen, camera, depth)
    if (folder / "calib.txt").exists() and folder.parent.name == "sequences":
        chosen = _choose("sequence", sequence, [folder.name], folder)
        return _open_odometry(folder.parent.parent, chosen, camera, depth)
    if _DRIVE.fullmatch(folder.name):
        chosen = _choose("drive", drive, [folder.name], folder)
        return _open_raw(folder.parent.parent, chosen, camera, depth)
    root = folder.parent if _DATE.fullmatch(folder.name) else folder
    dates = [folder] if root != folder else [root / name for name in _folders_in(root) if _DATE.fullmatch(name)]
    if not dates:
        raise DatasetError(
            f"{folder} is no KITTI: looked for sequences/ (odometry), YYYY_MM_DD/ (raw), "
            "calib.txt in a sequence's folder, and a drive's folder."
        )
    drives = [name for date in dates for name in _folders_in(date) if _DRIVE.fullmatch(name)]
    return _open_raw(root, _choose("drive", drive, drives, folder), camera, depth)


def _folders_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def _choose(what: str, wanted: str | None, found: list[str], folder: Path) -> str:
    if wanted is not None and wanted not in found:
        raise DatasetError(f"no {what} {wanted} in {folder}; it has {', '.join(found) or 'none'}.")
    if wanted is None and len(found) != 1:
        raise DatasetError(f"{folder} has {', '.join(found) or 'no ' + what}; say which {what} (--{what}).")
    return wanted or found[0]


def _open_odometry(root: Path, sequence: str, camera: int | str, depth: str) -> KittiOdometry:
    if depth != "none":
        raise DatasetError(f"KITTI odometry in {root} has no {depth} depth; take KITTI raw, or depth none.")
    return KittiOdometry(root, sequence, camera=camera)


def _open_raw(
    root: Path, drive: str, camera: int | str, depth: Literal["none", "lidar"]
) -> KittiRaw | KittiRawUnsynced:
    reader = KittiRawUnsynced if drive.endswith(UNSYNCED_SUFFIX) else KittiRaw
    return reader(root, drive, camera=2 if camera == "auto" else int(camera), depth=depth)
