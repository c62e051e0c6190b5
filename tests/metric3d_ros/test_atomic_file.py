from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from metric3d_ros.atomic_file import atomic_file, make_output_folder, replaced_when_done, write_json
from metric3d_ros.errors import OutputError


def write(path: Path, content: bytes) -> None:
    with atomic_file(path) as file:
        file.write(content)


def test_a_file_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "depth.npy"
    write(path, b"old")
    write(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "depth.npy"
    write(path, b"old")
    with pytest.raises(ZeroDivisionError), atomic_file(path) as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "depth.npy"
    (tmp_path / f".depth.npy.{os.getpid()}.part").symlink_to("/dev/full")
    with pytest.raises(OutputError, match=r"depth\.npy: No space left on device; free some space"):
        write(path, b"content")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/metric3d")):
        with pytest.raises(OutputError, match=f"output folder {folder} cannot be written to"):
            make_output_folder(folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes to read-only folders")
def test_a_read_only_folder_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="Permission denied"):
        make_output_folder(tmp_path)


def test_an_output_folder_is_made_empty(tmp_path: Path) -> None:
    folder = make_output_folder(tmp_path / "a" / "b")
    assert list(folder.iterdir()) == []


def test_what_writes_by_name_gets_a_name_of_the_same_kind(tmp_path: Path) -> None:
    path = tmp_path / "new" / "plot.svg"
    with replaced_when_done(path) as unfinished:
        assert unfinished.suffix == ".svg" and unfinished.parent == path.parent
        unfinished.write_text("<svg/>")
        assert not path.exists()
    assert path.read_text() == "<svg/>"
    with pytest.raises(ZeroDivisionError), replaced_when_done(path) as unfinished:
        unfinished.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "<svg/>"
    assert list(path.parent.iterdir()) == [path]


def test_json_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    write_json({"frames": 3, "truth": None}, tmp_path / "a" / "metrics.json")
    assert json.loads((tmp_path / "a" / "metrics.json").read_text()) == {"frames": 3, "truth": None}
    (tmp_path / "taken").mkdir()
    with pytest.raises(OutputError, match=r"cannot write .*taken"):
        write_json({}, tmp_path / "taken")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "taken"]
