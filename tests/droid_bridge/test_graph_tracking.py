"""``droid-bridge track --over ros``: the same drive through the real graph."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from corridor import PLANES, frames_of

from droid_bridge import graph_tracking
from droid_bridge.cli import main
from droid_bridge.trajectory import read_kitti, read_tum
from metric3d_ros.datasets.rosbag import BagWriter
from metric3d_ros.point_cloud import read_ply

COUNT = 16


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corridor") / "corridor.mcap"
    with BagWriter(path) as writer:
        for frame in frames_of(COUNT):
            writer.write(frame)
    return path


def track(bag: Path, out: Path, *further: str) -> int:
    return main(["track", "--input", str(bag), "--lengths", "2", "--out", str(out), *further])


# A network is read by the depth node there and by the tracker here; its confidence goes along both ways.
PRIORS = [
    ("truth", "--depth-noise", "0.1,0.03", "--seed", "3"),
    ("nano",),
    ("nano", "--camera-height", "1.4", "--headroom-deg", "2"),
    ("truth", "--keeps-height"),
]


@pytest.mark.ros
@pytest.mark.parametrize("prior", PRIORS, ids=" ".join)
def test_over_ros_and_offline_give_the_same_poses(bag: Path, tmp_path: Path, prior: tuple[str, ...]) -> None:
    pytest.importorskip("rclpy", reason="rclpy is not installed: source a ROS install or take the [ros] extra")
    for over in ("offline", "ros"):
        assert track(bag, tmp_path / over, "--depth", *prior, "--over", over) == 0
    offline, ros = (json.loads((tmp_path / over / "metrics.json").read_text()) for over in ("offline", "ros"))
    assert ros["frames_in"] == ros["frames_out"] == offline["frames"] == COUNT
    poses = [read_kitti(tmp_path / over / "trajectory_kitti.txt").world_from_camera for over in ("offline", "ros")]
    np.testing.assert_allclose(*poses, atol=1e-6)
    np.testing.assert_array_equal(
        *(read_tum(tmp_path / over / "trajectory_tum.txt").stamps_ns for over in ("offline", "ros"))
    )
    for figure in ("t_rel_percent", "ate_m", "scale_end", "t_rel_percent_after_one_scale", "ate_sim3_m"):
        assert ros[figure] == pytest.approx(offline[figure], abs=1e-6)
    assert ros["live"]["ate_m"] == pytest.approx(offline["live"]["ate_m"], abs=1e-6)
    assert ros["peak_memory_mb"] > 50, "that of the SLAM node, not of the command that waits for it"
    assert not list((tmp_path / "ros").glob(".bag.*"))


def test_without_ros_it_is_one_sentence(
    bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(graph_tracking, "find_spec", lambda name: None)
    assert track(bag, tmp_path / "out", "--depth", "none", "--over", "ros") == 2
    error = capsys.readouterr().err.strip()
    assert "metric3d_ros[ros]" in error
    assert not (tmp_path / "out").exists()


def test_a_map_is_for_offline(bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert track(bag, tmp_path / "out", "--depth", "none", "--over", "ros", "--map", "0.2") == 2
    assert "~/save_map" in capsys.readouterr().err


def test_offline_the_map_lies_beside_the_trajectory(bag: Path, tmp_path: Path) -> None:
    """The corridor's walls, floor and ceiling, in the axes of the first camera; `corridor.PLANES` has them."""
    assert track(bag, tmp_path / "out", "--depth", "truth", "--map", "0.1") == 0
    points_m, _ = read_ply(tmp_path / "out" / "map.ply")
    near = points_m[points_m[:, 2] < 15]
    assert len(near) > 300
    to_plane_m = np.abs(np.stack([near[:, axis] - at for axis, at, _ in PLANES], axis=1)).min(axis=1)
    assert np.median(to_plane_m) < 0.15
