"""Files that are there whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from metric3d_ros.errors import OutputError


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a new file beside ``path`` that takes its place when the block ends well, and else vanishes.

    Raises
    ------
    OutputError
        If the folder cannot be written to, or the disk is full; whatever was at ``path`` before is still there.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    with _taking_the_place_of(path, unfinished), unfinished.open("wb") as file:
        yield file


@contextmanager
def replaced_when_done(path: str | Path) -> Iterator[Path]:
    """Give the path of a new file that takes the place of ``path`` when the block ends well, and else vanishes.

    For what writes files by name: it ends like ``path``, so that a writer that goes by the ending is not misled.
    The folder is made where it is missing.

    Raises
    ------
    OutputError
        As `atomic_file`.
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    with _taking_the_place_of(path, unfinished):
        path.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished


def write_json(values: Mapping[str, Any], path: Path) -> None:
    """Write an object as JSON, whole or not at all; folder and errors are those of `replaced_when_done`."""
    with replaced_when_done(path) as unfinished:
        unfinished.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


@contextmanager
def _taking_the_place_of(path: Path, unfinished: Path) -> Iterator[None]:
    try:
        yield
        unfinished.replace(path)
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}; free some space or choose another folder."
        ) from error
    finally:
        _remove(unfinished)


def make_output_folder(folder: Path) -> Path:
    """Make ``folder`` and its parents where they are missing, and check that files can be made in it.

    Raises
    ------
    OutputError
        If it cannot be made or written to.
    """
    probe = folder / f".{os.getpid()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
    except OSError as error:
        raise OutputError(
            f"output folder {folder} cannot be written to: {error.strerror or error}; choose another folder."
        ) from error
    finally:
        _remove(probe)
    return folder


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        # Where nothing can be removed nothing could be made either; the first error is the one to tell.
        return
