from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from droid_bridge.cli import main
from droid_bridge.evaluation.scale import scaled
from droid_bridge.trajectory import Trajectory, read_trajectory, write_kitti, write_tum

KITTI = Path(__file__).parents[3] / "shared" / "data" / "kitti_odometry"
KEYS = {
    "t_rel_percent", "r_rel_deg_per_100m", "ate_m", "scale_start", "scale_end", "scale_drift", "align",
    "align_scale", "lengths_m", "step", "segments", "frames_truth", "frames_estimate", "frames_matched",
    "coverage", "path_length_m", "covered_length_m", "per_length", "per_speed", "ate_by_align_m", "rpe",
    "boresight_deg", "t_rel_percent_after_boresight",
}  # fmt: skip


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    poses = np.tile(np.eye(4), (301, 1, 1))
    poses[:, 2, 3] = np.arange(301)
    poses[:, 0, 3] = 10 * np.sin(np.arange(301) / 50)
    truth = Trajectory(poses)
    write_kitti(truth, tmp_path / "truth.txt")
    write_kitti(scaled(truth, 1.1), tmp_path / "estimate.txt")
    return str(tmp_path / "truth.txt"), str(tmp_path / "estimate.txt")


def evaluate(files: tuple[str, str], *options: str) -> int:
    return main(["evaluate", "--truth", files[0], "--estimate", files[1], *options])


def test_json_alone_on_stdout(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(files, "--json", "--lengths", "100,200", "--step", "5") == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert captured.err == ""
    assert set(found) == KEYS
    assert found["scale_start"] == pytest.approx(1.1, abs=1e-6)
    assert found["t_rel_percent"] == pytest.approx(10, rel=0.02)
    assert found["lengths_m"] == [100, 200]
    assert [row["length_m"] for row in found["per_length"]] == [100, 200]
    assert found["align"] == "none"


def test_alignment_is_an_option(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    for method, ate_m in (("none", None), ("scale", 0.0), ("sim3", 0.0)):
        assert evaluate(files, "--json", "--align", method) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["align"] == method
        if ate_m is not None:
            assert found["ate_m"] == pytest.approx(ate_m, abs=1e-6)


def test_table_names_the_figures_the_alignment_and_the_coverage(
    files: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(files, "--align", "sim3") == 0
    out = capsys.readouterr().out
    assert "scored on these alone" not in out
    for word in (
        "RPE",
        "speed (m/s)",
        "10 to 12",
        "t_rel (%)",
        "r_rel (deg/100 m)",
        "ATE",
        "Sim(3)",
        "301 of 301",
        "100",
        "800",
    ):
        assert word in out


def test_partial_estimate_is_scored_and_said(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    estimate = read_trajectory(files[1])
    part = Trajectory(estimate.world_from_camera[20:200], frame_indices=np.arange(20, 200))
    write_kitti(part, tmp_path / "part.txt")
    assert evaluate((files[0], str(tmp_path / "part.txt"))) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "180 of 301 true poses (59.8%)" in out
    assert "scored on these alone, 18" in out


def test_plots_are_written(files: tuple[str, str], tmp_path: Path) -> None:
    top_down, scale = tmp_path / "plots" / "top.png", tmp_path / "plots" / "scale.png"
    assert evaluate(files, "--plot", str(top_down), "--plot-scale", str(scale)) == 0
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == ["scale.png", "top.png"]
    assert top_down.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--lengths", "500,600"], "the drive is"),
        (["--lengths", "a"], "no list of metres"),
        (["--lengths", "0"], "above 0"),
        (["--step", "0"], "--step"),
        (["--align", "se4"], "se4"),
        (["--frame-period", "0"], "--frame-period"),
        (["--rpe-delta", "0"], "--rpe-delta"),
        (["--plot", "picture.doc"], "picture.doc"),
        (["--plot", "/dev/null/picture.png"], "cannot write"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_bad_options_exit_2_with_one_sentence(
    files: tuple[str, str], options: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(files, *options) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert complaint in captured.err
    assert captured.err.count("\n") == 1


def test_bad_files_exit_2_with_one_sentence(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth, _ = files
    (tmp_path / "short_row.txt").write_text("1 0 0 0 0 1 0 0 0 0 1\n")
    poses = np.tile(np.eye(4), (3, 1, 1))
    write_tum(Trajectory(poses, stamps_ns=np.arange(3)), tmp_path / "tum.txt")
    write_kitti(Trajectory(poses), tmp_path / "three.txt")
    for name, complaint in (
        ("nowhere.txt", "cannot be read"),
        ("short_row.txt", "11 numbers"),
        ("tum.txt", "TUM"),
        ("three.txt", "301 rows and the estimate 3"),
    ):
        assert evaluate((truth, str(tmp_path / name)), "--json") == 2
        captured = capsys.readouterr()
        assert captured.out == "" and complaint in captured.err and captured.err.count("\n") == 1


def test_no_command_exits_2_and_help_exits_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "COMMAND" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main(["evaluate", "--help"])
    assert caught.value.code == 0


@pytest.mark.kitti
@pytest.mark.skipif(not (KITTI / "estimates").is_dir(), reason=f"KITTI poses are not at {KITTI}")
def test_published_figures_from_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    pair = (str(KITTI / "poses" / "10.txt"), str(KITTI / "estimates" / "example" / "10.txt"))
    assert evaluate(pair, "--align", "sim3", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["t_rel_percent"] == pytest.approx(3.297840, abs=1e-4)
    assert found["frames_estimate"] == 1197
