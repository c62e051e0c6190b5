"""``droid-bridge demo``: the whole chain over the real graph, in processes of its own."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: source a ROS install or take the [ros] extra")

from droid_bridge.cli import main
from droid_bridge.trajectory import read_kitti, read_tum

pytestmark = [pytest.mark.ros, pytest.mark.slow]
DRIFT_KEYS = {"t_rel_percent", "r_rel_deg_per_100m", "ate_m", "scale_start", "scale_end"}
METRIC_KEYS = DRIFT_KEYS | {"frames_in", "frames_out", "hz"}


def check_results(out, frames):
    metrics = json.loads((out / "metrics.json").read_text())
    assert set(metrics) == {"with_prior", "without_prior"}
    for name, values in metrics.items():
        assert values.keys() >= METRIC_KEYS
        assert values["frames_in"] == values["frames_out"] == frames
        assert len(read_kitti(out / name / "trajectory_kitti.txt")) == frames
        assert len(read_tum(out / name / "trajectory_tum.txt")) == frames
        assert len(read_tum(out / name / "odometry_tum.txt")) == frames
        assert values["live"].keys() >= DRIFT_KEYS
        assert values["live"]["ate_m"] != values["ate_m"], "poses are refined after they were first told"
    assert metrics["with_prior"]["scaled_once_by"] is None
    assert metrics["without_prior"]["scaled_once_by"] > 0
    for picture in ("trajectories.png", "scale_over_distance.png", "depth_strip.png"):
        assert (out / picture).stat().st_size > 10_000
    assert not (out / "drive.mcap").exists()
    return metrics


def test_a_simulated_drive_stays_metric_with_nano(tmp_path):
    out = tmp_path / "demo"
    drive = ["--length", "110", "--seed", "2000011", "--global-adjustment"]
    assert main(["demo", "--out", str(out), *drive]) == 0
    metrics = check_results(out, frames=len(read_tum(out / "ground_truth_tum.txt")))
    assert metrics["with_prior"]["t_rel_percent"] < 8, "a world the network has never seen, metres as they are"


@pytest.mark.kitti
def test_real_drive_with_lidar_prior(shared_data, tmp_path):
    drive = ["--kitti-raw", str(shared_data / "kitti_raw"), "--drive", "2011_09_26_drive_0013_sync"]
    assert main(["demo", *drive, "--depth", "lidar", "--out", str(tmp_path / "demo")]) == 0
    metrics = check_results(tmp_path / "demo", frames=144)
    assert metrics["with_prior"]["t_rel_percent"] <= 1.5


BAD = [
    (["--kitti", "{tmp}/absent"], "absent"),
    (["--kitti-raw", "{tmp}"], "--kitti-raw needs a drive"),
    (["--depth", "lidar"], "--depth lidar needs a drive with LiDAR"),
    (["--kitti", "{tmp}", "--kitti-raw", "{tmp}"], "both given"),
]


@pytest.mark.parametrize(("arguments", "sentence"), BAD, ids=[case[1] for case in BAD])
def test_bad_input_is_one_sentence_and_leaves_nothing(arguments, sentence, tmp_path, capsys):
    out = tmp_path / "demo"
    assert main(["demo", "--out", str(out), *(part.format(tmp=tmp_path) for part in arguments)]) == 2
    error = capsys.readouterr().err.strip()
    assert sentence in error
    assert len(error.splitlines()) == 1
    assert not out.exists()


def test_a_missing_kitti_sequence_is_named(shared_data, tmp_path, capsys):
    arguments = [
        "--kitti",
        str(shared_data / "kitti_odometry"),
        "--sequence",
        "77",
        "--out",
        str(tmp_path / "demo"),
    ]
    assert main(["demo", *arguments]) == 2
    assert "77" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()
