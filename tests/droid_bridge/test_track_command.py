"""``droid-bridge track`` on the corridor, written as a KITTI sequence with a folder of depth."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from corridor import CAMERA, frames_of, pose

from droid_bridge.cli import main
from droid_bridge.trajectory import read_kitti, read_tum

COUNT = 24


@pytest.fixture(scope="module")
def kitti(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("corridor")
    folder = root / "sequences" / "03"
    (folder / "image_2").mkdir(parents=True)
    (root / "poses").mkdir()
    (root / "depth").mkdir()
    for frame in frames_of(COUNT):
        name = f"{frame.index:06d}.png"
        cv2.imwrite(str(folder / "image_2" / name), frame.image[..., ::-1])
        assert frame.depth_m is not None
        stored = np.round(np.nan_to_num(frame.depth_m, nan=0.0) * 256).astype(np.uint16)
        cv2.imwrite(str(root / "depth" / name), stored)
    numbers = f"{CAMERA.fx} 0 {CAMERA.cx} 0 0 {CAMERA.fy} {CAMERA.cy} 0 0 0 1 0"
    (folder / "calib.txt").write_text(f"P2: {numbers}\n")
    (folder / "times.txt").write_text("".join(f"{0.1 * k:.6f}\n" for k in range(COUNT)))
    relative = [np.linalg.inv(pose(0)) @ pose(k) for k in range(COUNT)]
    np.savetxt(root / "poses" / "03.txt", np.stack(relative)[:, :3].reshape(-1, 12))
    return root


def _arguments(kitti: Path, out: Path, depth: str) -> list[str]:
    return ["track", "--input", str(kitti), "--sequence", "03", "--depth", depth, "--out", str(out)]


def test_a_folder_of_depth_gives_a_path_in_metres(kitti: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main([*_arguments(kitti, out, str(kitti / "depth")), "--lengths", "3"]) == 0
    told = json.loads((out / "metrics.json").read_text())
    assert told["frames"] == COUNT
    assert told["t_rel_percent"] < 4
    assert told["frames_per_second"] > 0
    assert told["peak_memory_mb"] > 10
    assert told["scaled_once_by"] is None
    assert told["live"]["t_rel_percent"] < 4
    assert told["live"]["ate_m"] != told["ate_m"], "all keyframes were adjusted together at the end"
    assert told["settings"]["sequence"] == "03"
    assert sum(told["statuses"].values()) == COUNT
    assert len(read_kitti(out / "trajectory_kitti.txt")) == len(read_tum(out / "trajectory_tum.txt")) == COUNT


def test_a_seed_gives_one_drive_and_without_depth_the_scale_is_free(kitti: Path, tmp_path: Path) -> None:
    noisy = [*_arguments(kitti, tmp_path / "a", str(kitti / "depth")), "--depth-noise", "0.1,0.03", "--seed", "4"]
    assert main(noisy) == 0
    assert main([*noisy[:-1], "4", "--out", str(tmp_path / "b")]) == 0
    first, second = (read_kitti(tmp_path / name / "trajectory_kitti.txt").world_from_camera for name in "ab")
    np.testing.assert_allclose(first, second, atol=1e-6)
    assert main([*_arguments(kitti, tmp_path / "c", "none"), "--lengths", "3"]) == 0
    assert json.loads((tmp_path / "c" / "metrics.json").read_text())["scaled_once_by"] > 0


def test_a_camera_height_gives_metres_without_any_depth(kitti: Path, tmp_path: Path) -> None:
    height = ["--camera-height", "1.4", "--lengths", "3"]
    assert main([*_arguments(kitti, tmp_path, "none"), *height]) == 0
    told = json.loads((tmp_path / "metrics.json").read_text())
    assert told["scaled_once_by"] is None
    assert told["t_rel_percent"] < 4
    assert told["live"]["t_rel_percent"] < 5
    assert told["statuses"]["initializing"] > 0


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (["--input", "nowhere"], "nowhere"),
        (["--sequence", "07"], "07"),
        (["--depth", "nothing.onnx"], "nothing.onnx"),
        (["--depth", "truth"], "no lidar depth"),
        (["--depth-noise", "0.1"], "0.10,0.03"),
        (["--depth", "none", "--depth-noise", "0.1,0.03"], "--depth-noise"),
        (["--depth", "none", "--headroom-deg", "6"], "--headroom-deg tells a depth network something"),
        (["--headroom-deg", "45"], "45 degrees are not below 45"),
        (["--camera-height", "0"], "--camera-height"),
        (["--depth", "none", "--keeps-height"], "needs something in metres beside it"),
        (["--depth", "none", "--camera-height", "1.4", "--over", "ros"], "waits for the pose of every frame"),
        (["--max-frames", "0"], "below 1"),
    ],
)
def test_bad_input_costs_one_sentence(
    kitti: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: list[str], said: str
) -> None:
    assert main([*_arguments(kitti, tmp_path / "out", "none"), *changed]) == 2
    error = capsys.readouterr().err.strip()
    assert said in error
    assert error.count("\n") == 0
    assert not (tmp_path / "out").exists()


def test_a_folder_that_lacks_an_image_is_named(
    kitti: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = tmp_path / "part"
    part.mkdir()
    (part / "000000.png").write_bytes((kitti / "depth" / "000000.png").read_bytes())
    assert main(_arguments(kitti, tmp_path / "out", str(part))) == 2
    assert "000001.png" in capsys.readouterr().err


def test_a_killed_run_leaves_the_poses_it_had(kitti: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "droid_bridge.cli", *_arguments(kitti, out, str(kitti / "depth"))]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        written = out / "trajectory_tum.txt"
        until_s = time.monotonic() + 60
        while time.monotonic() < until_s and process.poll() is None:
            if written.exists() and written.read_bytes().count(b"\n") >= 5:
                break
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    assert 5 <= len(read_tum(written)) <= COUNT
