from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from recordings import DRIVE, made_up_drive, write_kitti_odometry, write_kitti_raw

from metric3d_ros.cli import main
from metric3d_ros.datasets.rosbag import BagReader, write_source


@pytest.mark.parametrize("given", ["root", "sequence"])
def test_from_kitti_odometry(tmp_path: Path, given: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_kitti_odometry(tmp_path / "kitti")
    where = [str(folder)] if given == "sequence" else [str(tmp_path / "kitti"), "--sequence", "03"]
    out = tmp_path / "drive.mcap"
    assert main(["bag", "from-kitti", *where, "--out", str(out)]) == 0
    assert "kitti_odometry_03" in capsys.readouterr().out
    with BagReader(out) as frames:
        assert len(frames) == 5
        assert frames.world_from_camera is not None


@pytest.mark.parametrize("given", ["root", "date", "drive"])
def test_from_kitti_raw(tmp_path: Path, given: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_kitti_raw(tmp_path / "kitti")
    where = {"root": tmp_path / "kitti", "date": folder.parent, "drive": folder}[given]
    out = tmp_path / "drive.mcap"
    assert main(["bag", "from-kitti", str(where), "--out", str(out), "--max-frames", "2"]) == 0
    assert DRIVE in capsys.readouterr().out
    with BagReader(out) as frames:
        assert len(frames) == 2


def test_the_only_sequence_needs_no_name_but_one_of_two_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_kitti_odometry(tmp_path)
    assert main(["bag", "from-kitti", str(tmp_path), "--out", str(tmp_path / "a.mcap")]) == 0
    write_kitti_odometry(tmp_path, sequence="04")
    assert main(["bag", "from-kitti", str(tmp_path), "--out", str(tmp_path / "b.mcap")]) == 2
    assert "has 03, 04; say which sequence" in capsys.readouterr().err
    assert not (tmp_path / "b.mcap").exists()


def test_camera_choice(tmp_path: Path) -> None:
    write_kitti_odometry(tmp_path)
    out = tmp_path / "gray.mcap"
    assert main(["bag", "from-kitti", str(tmp_path), "--camera", "0", "--out", str(out)]) == 0
    with BagReader(out) as frames:
        assert (frames[0].image == frames[0].image[..., :1]).all()


@pytest.mark.kitti
def test_lidar_depth_of_the_real_drive(shared_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "drive.mcap"
    where = str(shared_data / "kitti_raw")
    command = ["bag", "from-kitti", where, "--depth", "lidar", "--max-frames", "2", "--out", str(out)]
    assert main(command) == 0
    with BagReader(out) as frames:
        depth_m = frames[1].depth_m
        assert depth_m is not None
        assert np.isfinite(depth_m).sum() > 10_000


@pytest.mark.parametrize(
    ("where", "more", "said"),
    [
        ("missing", [], "no KITTI folder at"),
        ("", ["--sequence", "21"], "no sequence 21"),
        ("", ["--depth", "lidar"], "no lidar depth"),
        ("poses", [], "is no KITTI"),
        ("", ["--camera", "3"], "no image folder"),
    ],
)
def test_bad_kitti_is_one_sentence_and_exit_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], where: str, more: list[str], said: str
) -> None:
    write_kitti_odometry(tmp_path / "kitti")
    out = tmp_path / "drive.mcap"
    assert main(["bag", "from-kitti", str(tmp_path / "kitti" / where), *more, "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["kitti"]


def test_output_that_cannot_be_written_is_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_kitti_odometry(tmp_path)
    assert main(["bag", "from-kitti", str(tmp_path), "--out", str(tmp_path / "missing" / "a.mcap")]) == 2
    assert "there is no folder" in capsys.readouterr().err


def test_info_says_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_source(made_up_drive(), tmp_path / "drive.mcap", progress=False)
    assert main(["bag", "info", str(tmp_path / "drive.mcap")]) == 0
    said = capsys.readouterr().out
    assert "4  /camera/image_rect  sensor_msgs/msg/Image" in said
    assert "4 frames, 0.3 s, 64x24 px" in said
    assert "with true poses" in said


@pytest.mark.parametrize("command", ["info", "play"])
def test_truncated_bag_is_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    pytest.importorskip("rclpy")
    path = tmp_path / "drive.mcap"
    write_source(made_up_drive(), path, progress=False)
    path.write_bytes(path.read_bytes()[:1000])
    assert main(["bag", command, str(path)]) == 2
    assert "truncated and holds no whole message" in capsys.readouterr().err


def test_cut_off_bag_is_looked_at_and_recovered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, whole = tmp_path / "cut.mcap", tmp_path / "whole.mcap"
    write_source(made_up_drive(), path, progress=False)
    assert main(["bag", "recover", str(path), "--out", str(whole)]) == 2
    assert "is not truncated" in capsys.readouterr().err
    path.write_bytes(path.read_bytes()[:-100])
    assert main(["bag", "info", str(path)]) == 0
    said = capsys.readouterr().out
    assert "truncated: all 25 messages over 0.31 s are read, only the index is lost" in said
    assert "4 frames" in said
    assert main(["bag", "recover", str(path), "--out", str(whole)]) == 0
    assert "all 25 messages" in capsys.readouterr().out
    with BagReader(whole) as frames:
        np.testing.assert_array_equal(frames.stamps_ns, made_up_drive().stamps_ns)
    assert main(["bag", "recover", str(path), "--out", str(whole)]) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.ros
def test_play_writes_the_report_and_fails_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rclpy")
    write_source(made_up_drive(depth=False), tmp_path / "drive.mcap", progress=False)
    bag, figures = str(tmp_path / "drive.mcap"), tmp_path / "figures.json"
    command = ["bag", "play", bag, "--report", str(figures)]
    assert main([*command, "--rate", "20", "--wait-subscribers", "0"]) == 0
    report = json.loads(figures.read_text())
    assert (report["frames_in"], report["frames_out"], report["completed"]) == (4, 0, True)
    assert main([*command, "--lockstep", "--wait-timeout", "0.3"]) == 1
    assert "/camera/image_rect" in capsys.readouterr().err
    assert json.loads(figures.read_text())["completed"] is False


@pytest.mark.parametrize(
    "flags",
    [["--rate", "0"], ["--rate", "nan"], ["--start", "-1"], ["--timeout", "x"], ["--wait-subscribers", "-1"]],
)
def test_bad_play_flags_are_exit_2(tmp_path: Path, flags: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["bag", "play", str(tmp_path / "drive.mcap"), *flags])
    assert exit_info.value.code == 2
