from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from droid_bridge.errors import TrajectoryError
from droid_bridge.evaluation.plots import ESTIMATE_COLOURS, plot_scale_over_distance, plot_top_down
from droid_bridge.evaluation.scale import scaled
from droid_bridge.trajectory import Trajectory
from metric3d_ros.errors import OutputError


def curve(count: int = 100) -> Trajectory:
    angle = np.linspace(0, 2, count)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, 0, 3] = 30 * (1 - np.cos(angle))
    poses[:, 2, 3] = 30 * np.sin(angle)
    return Trajectory(poses)


def pixels_of(file: Path, colour: str) -> int:
    blue_green_red = [int(colour[i : i + 2], 16) for i in (5, 3, 1)]
    image = cv2.imread(str(file))
    assert image is not None
    return int((np.abs(image.astype(int) - blue_green_red).max(axis=2) <= 2).sum())


def test_each_estimate_is_drawn_in_its_colour(tmp_path: Path) -> None:
    truth = curve()
    estimates = {"with prior": scaled(truth, 1.05), "without": scaled(truth, 1.5)}
    plot_top_down(truth, estimates, tmp_path / "top.png", t_rel_percent={"with prior": 5.0})
    plot_scale_over_distance(truth, estimates, tmp_path / "scale.png")
    for name in ("top.png", "scale.png"):
        assert all(pixels_of(tmp_path / name, colour) > 200 for colour in ESTIMATE_COLOURS[:2])
        assert pixels_of(tmp_path / name, ESTIMATE_COLOURS[2]) == 0


def test_metres_are_equal_on_both_axes(tmp_path: Path) -> None:
    poses = np.tile(np.eye(4), (5, 1, 1))
    poses[:, [0, 2], 3] = [[0, 0], [40, 0], [40, 20], [0, 20], [0, 0]]
    plot_top_down(Trajectory(poses), {"e": Trajectory(poses)}, tmp_path / "box.png")
    image = cv2.imread(str(tmp_path / "box.png"))
    assert image is not None
    blue_green_red = [int(ESTIMATE_COLOURS[0][i : i + 2], 16) for i in (5, 3, 1)]
    drawn = np.abs(image.astype(int) - blue_green_red).max(axis=2) <= 2
    columns = np.flatnonzero(drawn.sum(axis=0) > 0.9 * drawn.sum(axis=0).max())
    rows = np.flatnonzero(drawn.sum(axis=1) > 0.9 * drawn.sum(axis=1).max())
    assert np.ptp(columns) / np.ptp(rows) == pytest.approx(2.0, rel=0.03)


def test_pyplot_state_is_left_alone(tmp_path: Path) -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    before = pyplot.get_fignums(), dict(pyplot.rcParams)
    plot_top_down(curve(), {"e": curve()}, tmp_path / "top.svg")
    assert (pyplot.get_fignums(), dict(pyplot.rcParams)) == before
    assert (tmp_path / "top.svg").read_text().startswith("<?xml")


def test_failed_plot_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TrajectoryError, match="ends in"):
        plot_top_down(curve(), {"e": curve()}, tmp_path / "top.gif")
    (tmp_path / "taken.png").mkdir()
    with pytest.raises(OutputError, match="cannot write"):
        plot_top_down(curve(), {"e": curve()}, tmp_path / "taken.png")
    assert [path.name for path in tmp_path.iterdir()] == ["taken.png"]
