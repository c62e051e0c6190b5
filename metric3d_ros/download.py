"""Large files over HTTP: with progress, resumed where they stopped, checked, and in place only when complete."""

from __future__ import annotations

import errno
import hashlib
import http.client
import re
import shutil
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from metric3d_ros.errors import DownloadError
from metric3d_ros.partial_file import PartialFile, open_partial

TIMEOUT_S = 30.0
CHUNK_BYTES = 1 << 20
HTTP_PARTIAL_CONTENT = 206
HTTP_RANGE_NOT_SATISFIABLE = 416


def download(url: str, target: Path, sha256: str | None, *, description: str) -> Path:
    """Fetch a file, or keep the one that is already there.

    What arrives is kept beside the target as ``.NAME.part``, so that the next call goes on where this one stopped;
    the target appears only when it is complete and its checksum is right.

    Parameters
    ----------
    url : http or https.
    target : the file to write; its folder is made if need be.
    sha256 : of the whole file, in hexadecimal; None where it is not known, and then the length alone is checked.
    description : what the file is, for the progress bar and for errors.

    Returns
    -------
    Path
        The target.

    Raises
    ------
    DownloadError
        If the server cannot be reached or refuses, the file cannot be written, or what arrived is not the file.
    """
    wanted = _Wanted(url, target, None if sha256 is None else sha256.lower(), description)
    try:
        if target.is_file() and (wanted.sha256 is None or file_sha256(target) == wanted.sha256):
            return target
        with open_partial(target) as partial:
            _receive_all(wanted, partial)
            _check(wanted, partial)
            partial.move_to(target)
    except BlockingIOError as error:
        raise DownloadError(f"{description} is being downloaded to {target} by another process.") from error
    except OSError as error:
        raise DownloadError(
            f"{description} cannot be written to {target.parent}: {error.strerror or error}; "
            "make room there or choose another folder."
        ) from error
    return target


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal; OSError if it cannot be read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


@dataclass(frozen=True)
class _Wanted:
    """What to fetch, and how its errors are said."""

    url: str
    target: Path
    sha256: str | None
    description: str

    def unreachable(self, reason: object) -> DownloadError:
        checksum = "" if self.sha256 is None else f" (sha256 {self.sha256})"
        # An existing target got here because its checksum is wrong, which is what its owner must hear first.
        present = f"{self.target} is another file or a damaged one, and " if self.target.exists() else ""
        return DownloadError(
            f"{present}{self.description} cannot be downloaded ({reason}); get {self.url} on a machine that is "
            f"online and put it at {self.target}{checksum}."
        )


class _DroppedError(Exception):
    """The connection ended before the file did."""


def _receive_all(wanted: _Wanted, partial: PartialFile) -> None:
    furthest = partial.size
    with _progress() as progress:
        task = progress.add_task(wanted.description, total=None, completed=furthest)
        while True:
            try:
                _receive(wanted, partial, progress, task)
                return
            except _DroppedError as dropped:
                # A connection that gets further each time is worth going on with, however often it drops.
                if partial.size <= furthest:
                    raise DownloadError(
                        f"{wanted.description} stopped after {partial.size} bytes ({dropped}); "
                        f"run it again to go on, or get {wanted.url} by other means and put it at {wanted.target}."
                    ) from dropped
                furthest = partial.size


def _receive(wanted: _Wanted, partial: PartialFile, progress: Progress, task: TaskID) -> None:
    response = _request(wanted, partial)
    if response is None:
        return
    with response:
        total = _prepare(wanted, partial, response)
        progress.update(task, total=total, completed=partial.size)
        while chunk := _read(response):
            _append(partial, chunk)
            progress.advance(task, len(chunk))
    if total is not None and partial.size != total:
        raise _DroppedError(f"the server closed the connection before all {total} bytes were sent")


def _request(wanted: _Wanted, partial: PartialFile) -> http.client.HTTPResponse | None:
    """The response from where the partial file ends, or from the start; None if the whole file is here."""
    if urlsplit(wanted.url).scheme not in {"http", "https"}:
        raise DownloadError(
            f"{wanted.description} cannot be downloaded from {wanted.url}; give an http(s) address."
        )
    headers = {"User-Agent": "metric3d_ros", "Accept-Encoding": "identity"}
    resumes = partial.size > 0 and partial.version is not None
    if resumes:
        headers |= {"Range": f"bytes={partial.size}-", "If-Range": str(partial.version)}
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(
            urllib.request.Request(wanted.url, headers=headers), timeout=TIMEOUT_S
        )
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != HTTP_RANGE_NOT_SATISFIABLE or not resumes:
            raise wanted.unreachable(f"the server answers {error.code} {error.reason}") from error
        if error.headers.get("Content-Range") == f"bytes */{partial.size}":
            return None
    except urllib.error.URLError as error:
        raise wanted.unreachable(error.reason) from error
    except (OSError, http.client.HTTPException) as error:
        raise wanted.unreachable(error) from error
    else:
        if response.status != HTTP_PARTIAL_CONTENT or _span(response)[0] == partial.size:
            return response
        response.close()
        if not resumes:
            raise wanted.unreachable("the server sends another part than the one asked for")
    partial.start_again(None)  # the server has no such part, so the next request asks for the whole
    return _request(wanted, partial)


def _prepare(wanted: _Wanted, partial: PartialFile, response: http.client.HTTPResponse) -> int | None:
    """Make the partial file end where the response begins; returns the file's size, where the server says it."""
    if response.status == HTTP_PARTIAL_CONTENT:
        total = _span(response)[1]
    else:
        partial.start_again(_version(response))
        length = response.headers.get("Content-Length", "")
        total = int(length) if length.isdigit() else None
    free = shutil.disk_usage(partial.path.parent).free
    if total is not None and total - partial.size > free:
        raise DownloadError(
            f"{wanted.description} needs {(total - partial.size) / 1e6:.0f} MB and {wanted.target.parent} "
            f"has {free / 1e6:.0f} MB free; make room there or choose another folder."
        )
    return total


def _span(response: http.client.HTTPResponse) -> tuple[int | None, int | None]:
    """Where a partial response begins, and the size of the whole file."""
    span = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
    return (None, None) if span is None else (int(span[1]), int(span[2]))


def _version(response: http.client.HTTPResponse) -> str | None:
    """What a later If-Range can name this version by: a strong ETag, else the date (RFC 9110, 13.1.5)."""
    tag = response.headers.get("ETag")
    if tag and not tag.startswith("W/"):
        return tag
    return response.headers.get("Last-Modified")


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(CHUNK_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise _DroppedError(str(error) or type(error).__name__) from error


def _append(partial: PartialFile, chunk: bytes) -> None:
    try:
        partial.append(chunk)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            partial.remove()  # a full disk is no place to leave gigabytes on
        raise


def _check(wanted: _Wanted, partial: PartialFile) -> None:
    if wanted.sha256 is None:
        return
    found = file_sha256(partial.path)
    if found != wanted.sha256:
        partial.remove()
        raise DownloadError(
            f"{wanted.url} gave a file with sha256 {found}, not {wanted.sha256} as {wanted.description} has; "
            "it was removed: try again, or get the file elsewhere."
        )


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
