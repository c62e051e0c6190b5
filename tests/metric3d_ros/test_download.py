"""Downloads from a server that drops, lies and refuses."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import resource
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from file_server import FileServer, serving

from metric3d_ros import download as download_module
from metric3d_ros import partial_file
from metric3d_ros.download import download, file_sha256
from metric3d_ros.errors import DownloadError

CONTENT = np.random.default_rng(4).bytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving(CONTENT) as running:
        yield running


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "model.bin"


def fetch(server: FileServer, target: Path, sha256: str | None = SHA256) -> Path:
    return download(server.url, target, sha256, description="weights of a test")


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("sha256", [SHA256, SHA256.upper(), None])
def test_a_whole_file(server: FileServer, target: Path, sha256: str | None) -> None:
    assert fetch(server, target, sha256) == target
    assert target.read_bytes() == CONTENT
    assert file_sha256(target) == SHA256
    assert files_in(target.parent) == {"model.bin"}


def test_a_file_that_is_there_is_not_fetched_again(server: FileServer, target: Path) -> None:
    fetch(server, target)
    server.status = 500
    assert fetch(server, target) == target
    assert len(server.asked) == 1


def test_a_file_of_another_checksum_is_replaced(server: FileServer, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(b"half of it")
    fetch(server, target)
    assert target.read_bytes() == CONTENT


def test_a_connection_that_drops_is_resumed_until_all_is_here(server: FileServer, target: Path) -> None:
    server.drop_after = 130_000
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=130000-", "bytes=260000-"]


def stopped_half_way(server: FileServer, target: Path) -> None:
    """Leave the first half in the partial file, as a call that was killed does."""
    server.ranges, server.drop_after = False, 150_000
    with pytest.raises(DownloadError, match=r"stopped after 150000 bytes .* all 300000 bytes .*run it again"):
        fetch(server, target)
    server.ranges, server.drop_after = True, None
    server.asked.clear()
    assert not target.exists()
    assert files_in(target.parent) == {".model.bin.part", ".model.bin.part.version"}


def test_the_next_call_goes_on_where_the_last_stopped(server: FileServer, target: Path) -> None:
    stopped_half_way(server, target)
    fetch(server, target)
    assert server.asked == ["bytes=150000-"]
    assert target.read_bytes() == CONTENT
    assert files_in(target.parent) == {"model.bin"}


def test_an_address_that_sends_on_is_resumed_too(server: FileServer, target: Path) -> None:
    server.redirects, server.drop_after = True, 160_000
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=160000-"]


def test_a_file_that_changed_in_between_starts_again(server: FileServer, target: Path) -> None:
    stopped_half_way(server, target)
    server.content, server.tag = CONTENT[::-1], '"two"'
    fetch(server, target, sha256=None)
    assert target.read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("tag", [None, 'W/"weak"'])
def test_a_version_without_a_sure_name_starts_again(server: FileServer, target: Path, tag: str | None) -> None:
    server.tag = tag
    server.drop_after = 150_000
    with pytest.raises(DownloadError, match="stopped after 150000 bytes"):
        fetch(server, target)
    server.drop_after = None
    fetch(server, target)
    assert server.asked == [None, None, None]
    assert target.read_bytes() == CONTENT


def test_another_part_than_asked_for_starts_again(server: FileServer, target: Path) -> None:
    stopped_half_way(server, target)
    server.shift = -1
    fetch(server, target)
    assert server.asked == ["bytes=150000-", None]
    assert target.read_bytes() == CONTENT


def test_all_bytes_had_arrived_before(server: FileServer, target: Path) -> None:
    stopped_half_way(server, target)
    (target.parent / ".model.bin.part").write_bytes(CONTENT)
    fetch(server, target)
    assert server.asked == ["bytes=300000-"]
    assert target.read_bytes() == CONTENT


def test_more_bytes_than_the_file_has_start_again(server: FileServer, target: Path) -> None:
    stopped_half_way(server, target)
    (target.parent / ".model.bin.part").write_bytes(CONTENT + b"more")
    fetch(server, target)
    assert server.asked == ["bytes=300004-", None]
    assert target.read_bytes() == CONTENT


def test_a_wrong_checksum_leaves_nothing(server: FileServer, target: Path) -> None:
    with pytest.raises(DownloadError, match=rf"sha256 {SHA256}, not {'0' * 64} as weights of a test"):
        fetch(server, target, sha256="0" * 64)
    assert files_in(target.parent) == set()


def test_a_refusal_names_the_file_and_its_place(server: FileServer, target: Path) -> None:
    server.status = 404
    with pytest.raises(DownloadError) as refused:
        fetch(server, target)
    message = str(refused.value)
    assert "404 Not Found" in message
    assert f"get {server.url} on a machine that is online and put it at {target} (sha256 {SHA256})." in message
    assert files_in(target.parent) == set()


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_offline_names_the_file_and_its_place(host: str, target: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://{host}:{free.getsockname()[1]}/model.bin"
        with pytest.raises(DownloadError) as offline:
            download(url, target, None, description="weights of a test")
    assert f"get {url} on a machine that is online and put it at {target}." in str(offline.value)


def test_a_file_of_another_checksum_is_named_when_it_cannot_be_replaced(server: FileServer, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(b"half of it")
    server.status = 503
    with pytest.raises(DownloadError, match=r"model.bin is another file or a damaged one, and weights of a test"):
        fetch(server, target)
    assert target.read_bytes() == b"half of it"


def test_a_silent_server_times_out(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_module, "TIMEOUT_S", 0.1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(DownloadError, match="timed out"):
            download(f"http://127.0.0.1:{silent.getsockname()[1]}/", target, None, description="weights")


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://example.org/model", "model.bin"])
def test_only_http(url: str, target: Path) -> None:
    with pytest.raises(DownloadError, match="give an http"):
        download(url, target, None, description="weights of a test")


class Usage(NamedTuple):
    free: int


def test_no_space_is_said_before_the_first_byte(
    server: FileServer, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.content = bytes(5_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(free=2_000_000))
    with pytest.raises(DownloadError, match=r"needs 5 MB and .*cache has 2 MB free; make room"):
        fetch(server, target)
    assert files_in(target.parent) == set()


class FullDisk(io.FileIO):
    """A file whose disk has no room for a byte."""

    def write(self, data: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_that_fills_up_is_not_left_full(
    server: FileServer, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partial_file, "FileIO", FullDisk)
    with pytest.raises(DownloadError, match=r"cannot be written to .*cache: No space left on device; make room"):
        fetch(server, target)
    assert files_in(target.parent) == set()


def test_a_file_larger_than_the_file_system_takes(server: FileServer, target: Path) -> None:
    """The kernel's own refusal, after a write that went half through."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(DownloadError, match=r"cannot be written to .*cache: File too large"):
            fetch(server, target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files_in(target.parent) == set()


def test_a_server_that_sends_parts_nobody_asked_for(server: FileServer, target: Path) -> None:
    server.status = 206
    with pytest.raises(DownloadError, match="the server sends another part than the one asked for"):
        fetch(server, target)
    assert files_in(target.parent) == set()


def test_a_read_only_folder(server: FileServer, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(DownloadError, match=r"cache: Read-only file system; .*choose another folder"):
        fetch(server, target)
    assert not target.parent.exists()
    assert server.asked == []


def test_a_folder_that_is_a_file(server: FileServer, target: Path) -> None:
    target.parent.write_text("in the way")
    with pytest.raises(DownloadError, match="choose another folder"):
        fetch(server, target)


def test_one_download_at_a_time(server: FileServer, target: Path) -> None:
    stopped_half_way(server, target)
    with (target.parent / ".model.bin.part").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(DownloadError, match="by another process"):
            fetch(server, target)
    assert fetch(server, target) == target
