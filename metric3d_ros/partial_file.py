"""What has arrived of a file so far, kept beside it so that a later run can go on."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path


@dataclass(frozen=True)
class PartialFile:
    """The beginning of a file, ``.NAME.part``, and its source's name for the version it is of.

    Every method raises OSError where the folder does not let it.
    """

    path: Path
    version_path: Path
    file: FileIO

    @property
    def size(self) -> int:
        """Bytes that have arrived."""
        return self.file.seek(0, os.SEEK_END)

    @property
    def version(self) -> str | None:
        """The version they are of; None where that is not known."""
        try:
            return self.version_path.read_text(encoding="ascii")
        except (FileNotFoundError, UnicodeDecodeError):
            return None

    def start_again(self, version: str | None) -> None:
        """Drop what has arrived; what comes now is of ``version``."""
        self.file.truncate(0)
        if version is None:
            self.version_path.unlink(missing_ok=True)
        else:
            self.version_path.write_text(version, encoding="ascii")

    def append(self, chunk: bytes) -> None:
        """Add what has just arrived."""
        rest = memoryview(chunk)
        while rest:
            rest = rest[self.file.write(rest) :]

    def move_to(self, target: Path) -> None:
        """Put the whole file in its place."""
        os.fsync(self.file.fileno())
        self.path.replace(target)
        self.version_path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Leave nothing behind."""
        self.path.unlink(missing_ok=True)
        self.version_path.unlink(missing_ok=True)


@contextlib.contextmanager
def open_partial(target: Path) -> Iterator[PartialFile]:
    """The partial file of ``target``, for this process alone; an empty one vanishes at the end.

    Raises
    ------
    BlockingIOError
        If another process has it open.
    OSError
        If the folder cannot be made or written to.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    path = target.with_name(f".{target.name}.part")
    # Unbuffered: bytes a full disk refused would be tried again when the file is closed, over the first error.
    with FileIO(path, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:
            pass  # a file system without locks
        partial = PartialFile(path, path.with_name(f"{path.name}.version"), file)
        try:
            yield partial
        finally:
            if path.exists() and partial.size == 0:
                partial.remove()
