"""``droid-bridge weights fetch`` from a server that drops and lies; made-up bytes stand for droid.pth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from file_server import FileServer, serving

from droid_bridge.cli import main
from droid_bridge.matching.droid_net import droid_pth

CONTENT = np.random.default_rng(11).bytes(200_000)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    original = tmp_path / "original"
    original.write_bytes(CONTENT)
    monkeypatch.setattr(droid_pth, "DROID_PTH_BYTES", len(CONTENT))
    monkeypatch.setattr(droid_pth, "DROID_PTH_SHA256", droid_pth.file_sha256(original))
    monkeypatch.setenv("METRIC3D_CACHE", str(tmp_path / "cache"))
    with serving(CONTENT) as running:
        yield running


@pytest.fixture
def closed_url() -> str:
    with serving(b"") as gone:
        return gone.url


def test_the_file_goes_into_the_cache_folder(
    server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["weights", "fetch", "--url", server.url]) == 0
    fetched = tmp_path / "cache" / "models" / "droid.pth"
    assert capsys.readouterr().out == f"{fetched}: sha256 {droid_pth.file_sha256(fetched)}\n"
    assert fetched.read_bytes() == CONTENT
    assert main(["weights", "fetch", "--url", server.url]) == 0
    assert len(server.asked) == 1


def test_the_file_goes_where_it_is_told(server: FileServer, tmp_path: Path) -> None:
    assert main(["weights", "fetch", "--url", server.url, "--out", str(tmp_path / "here")]) == 0
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["droid.pth"]


def test_a_stopped_download_goes_on(server: FileServer, tmp_path: Path) -> None:
    server.drop_after = 90_000
    assert main(["weights", "fetch", "--url", server.url]) == 0
    assert server.asked == [None, "bytes=90000-", "bytes=180000-"]
    assert (tmp_path / "cache" / "models" / "droid.pth").read_bytes() == CONTENT


def test_the_second_source_serves_where_the_first_does_not(
    server: FileServer, closed_url: str, tmp_path: Path
) -> None:
    assert main(["weights", "fetch", "--url", closed_url, "--url", server.url]) == 0
    assert (tmp_path / "cache" / "models" / "droid.pth").read_bytes() == CONTENT


def test_offline_says_which_file_to_put_where(
    server: FileServer, closed_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["weights", "fetch", "--url", closed_url, "--url", closed_url]) == 2
    said = capsys.readouterr().err
    assert "2 sources failed, the first so: droid.pth of DROID-SLAM cannot be downloaded" in said
    for part in (closed_url, str(tmp_path / "cache" / "models" / "droid.pth"), droid_pth.DROID_PTH_SHA256):
        assert part in said
    assert not (tmp_path / "cache" / "models" / "droid.pth").exists()


def test_a_page_instead_of_the_file_is_refused_and_removed(
    server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.content = b"<!DOCTYPE html><title>Google Drive - Quota exceeded</title>"
    assert main(["weights", "fetch", "--url", server.url]) == 2
    assert "gave a file with sha256" in capsys.readouterr().err
    assert not list((tmp_path / "cache" / "models").iterdir())


def test_a_truncated_file_is_not_put_in_place(
    server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.ranges, server.drop_after = False, 100_000
    assert main(["weights", "fetch", "--url", server.url]) == 2
    assert "stopped after 100000 bytes" in capsys.readouterr().err
    assert not (tmp_path / "cache" / "models" / "droid.pth").exists()


@pytest.mark.parametrize(
    ("size", "said"), [(100, "is incomplete or another file"), (200_000, "is not the droid.pth")]
)
def test_another_file_that_is_there_is_left_alone_and_named(
    server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], size: int, said: str
) -> None:
    there = tmp_path / "cache" / "models" / "droid.pth"
    there.parent.mkdir(parents=True)
    there.write_bytes(b"x" * size)
    assert main(["weights", "fetch", "--url", server.url]) == 2
    assert said in capsys.readouterr().err
    assert there.read_bytes() == b"x" * size
    assert not server.asked


def test_a_folder_that_cannot_be_made_is_said(
    server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cache").write_text("a file")
    assert main(["weights", "fetch", "--url", server.url]) == 2
    assert "cannot be written" in capsys.readouterr().err
