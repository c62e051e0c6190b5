from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from droid_bridge.errors import TrajectoryError
from droid_bridge.trajectory import (
    Trajectory,
    read_kitti,
    read_trajectory,
    read_tum,
    write_kitti,
    write_tum,
)
from droid_bridge.trajectory_recorder import TrajectoryRecorder, recorded_odometry
from metric3d_ros.errors import OutputError

STAMP_NS = 1_700_000_000_123_456_789
IDENTITY_ROW = "1 0 0 0 0 1 0 0 0 0 1 0"


def wandering(count: int, seed: int = 0) -> NDArray[np.float64]:
    generator = np.random.default_rng(seed)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = Rotation.from_rotvec(generator.normal(size=(count, 3))).as_matrix()
    poses[:, :3, 3] = generator.normal(size=(count, 3)) * 1000
    return poses


def stamps(count: int) -> NDArray[np.int64]:
    return STAMP_NS + np.arange(count, dtype=np.int64) * 100_000_001


def test_kitti_round_trip_with_and_without_frame_numbers(tmp_path: Path) -> None:
    for indices in (None, np.array([2, 3, 5, 9])):
        write_kitti(Trajectory(wandering(4), frame_indices=indices), tmp_path / "t.txt")
        read = read_trajectory(tmp_path / "t.txt")
        np.testing.assert_allclose(read.world_from_camera, wandering(4), atol=1e-8)
        assert (read.frame_indices is None) == (indices is None)
        if indices is not None:
            np.testing.assert_array_equal(read.frame_indices, indices)


def test_tum_round_trip_keeps_nanoseconds_and_skips_comments(tmp_path: Path) -> None:
    write_tum(Trajectory(wandering(5), stamps_ns=stamps(5)), tmp_path / "t.txt")
    text = (tmp_path / "t.txt").read_text()
    (tmp_path / "t.txt").write_text("# stamp tx ty tz qx qy qz qw\n\n" + text)
    read = read_tum(tmp_path / "t.txt")
    np.testing.assert_array_equal(read.stamps_ns, stamps(5))
    np.testing.assert_allclose(read.world_from_camera, wandering(5), atol=1e-8)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is empty"),
        ("# only a comment\n", "is empty"),
        (f"{IDENTITY_ROW}\n{IDENTITY_ROW[:-2]}\n", "row 2 of .* has 11 numbers"),
        (f"{IDENTITY_ROW[:-2]}\n", "row 1 of .* has 11 numbers; it needs 12 or 13"),
        (f"{IDENTITY_ROW}\n{IDENTITY_ROW}\n1 0 0 nan 0 1 0 0 0 0 1 0\n", "row 3 of .* holds NaN"),
        ("1 0 0 0 0 1 0 inf 0 0 1 0\n", "row 1 of .* holds NaN or infinity"),
        ("1 0 0 0 0 1 0 x 0 0 1 0\n", "row 1 of .* no number"),
        (f"{IDENTITY_ROW}\n1 0 0 0 0 2 0 0 0 0 1 0\n", "row 2 has a rotation that is not rigid"),
        ("1 0 0 0 0 1 0 0 0 0 -1 0\n", "row 1 has a rotation that is not rigid"),
        (f"0 {IDENTITY_ROW}\n0.5 {IDENTITY_ROW}\n", "row 2 of .* starts with 0.5"),
        (f"3 {IDENTITY_ROW}\n3 {IDENTITY_ROW}\n", "frame_indices goes from 3 to 3 at pose 2"),
        ("1.0 0 0 0 0 0 0 0\n", "row 1 of .* quaternion of length 0"),
        ("2.0 0 0 0 0 0 0 1\n1.0 0 0 0 0 0 0 1\n", "stamps_ns goes from 2000000000 to 1000000000"),
        ("1e300 0 0 0 0 0 0 1\n", "stamp"),
    ],
)
def test_malformed_file_costs_one_sentence_with_the_row(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "bad.txt").write_text(text)
    with pytest.raises(TrajectoryError, match=complaint) as caught:
        read_trajectory(tmp_path / "bad.txt")
    assert "bad.txt" in str(caught.value) and "\n" not in str(caught.value)


def test_missing_directory_and_binary_files_cost_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "image.txt").write_bytes(b"\x89PNG\xff\xfe")
    for path, complaint in (("nowhere.txt", "No such file"), (".", "directory"), ("image.txt", "text file")):
        with pytest.raises(TrajectoryError, match=complaint):
            read_trajectory(tmp_path / path)


def test_file_of_the_other_kind_is_refused(tmp_path: Path) -> None:
    write_tum(Trajectory(wandering(2), stamps_ns=stamps(2)), tmp_path / "tum.txt")
    with pytest.raises(TrajectoryError, match="8 numbers; it needs 12 or 13"):
        read_kitti(tmp_path / "tum.txt")
    with pytest.raises(TrajectoryError, match="needs stamps"):
        write_tum(Trajectory(wandering(2)), tmp_path / "out.txt")


def test_failed_write_leaves_the_old_file_and_no_leftover(tmp_path: Path) -> None:
    target = tmp_path / "t.txt"
    target.mkdir()
    with pytest.raises(OutputError, match="cannot write"):
        write_kitti(Trajectory(wandering(2)), target)
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.txt"]


def test_recorder_rewrites_refined_poses_in_place(tmp_path: Path) -> None:
    first, refined = wandering(6, seed=1), wandering(6, seed=2)
    frames = [3, 4, 6, 7, 8, 11]
    with TrajectoryRecorder(tmp_path / "new" / "run") as recorder:
        for i, frame in enumerate(frames):
            recorder.record([(frame, int(stamps(6)[i]), first[i])])
        recorder.record([(frames[i], int(stamps(6)[i]), refined[i]) for i in (1, 2, 4)])
        expected = first.copy()
        expected[[1, 2, 4]] = refined[[1, 2, 4]]
        # Read before close: what record() returned from is on the file already.
        for name in ("trajectory_kitti.txt", "trajectory_tum.txt"):
            read = read_trajectory(tmp_path / "new" / "run" / name)
            np.testing.assert_allclose(read.world_from_camera, expected, atol=1e-8)
        odometry = recorded_odometry(tmp_path / "new" / "run")
        assert odometry is not None
        np.testing.assert_allclose(odometry.world_from_camera, first, atol=1e-8)
        np.testing.assert_array_equal(odometry.stamps_ns, stamps(6))
    assert read_kitti(tmp_path / "new" / "run" / "trajectory_kitti.txt").frame_indices is None
    np.testing.assert_array_equal(read_tum(tmp_path / "new" / "run" / "trajectory_tum.txt").stamps_ns, stamps(6))


def test_rows_keep_their_width_whatever_the_numbers(tmp_path: Path) -> None:
    with TrajectoryRecorder(tmp_path) as recorder:
        for frame, value in enumerate((0.0, -1e-300, 1e-5, -123456.789, 9.99e98)):
            pose = np.eye(4)
            pose[0, 3] = value
            recorder.record([(frame, frame * 10**9, pose)])
    for name in ("trajectory_kitti.txt", "trajectory_tum.txt"):
        assert len({len(line) for line in (tmp_path / name).read_text().splitlines()}) == 1


def test_recorder_refuses_and_writes_nothing(tmp_path: Path) -> None:
    recorder = TrajectoryRecorder(tmp_path)
    recorder.record([(5, 500, np.eye(4))])
    before = (tmp_path / "trajectory_kitti.txt").read_bytes()
    broken = np.eye(4)
    broken[0, 3] = np.nan
    for poses, complaint in (
        ([(6, 600, broken)], "NaN"),
        ([(4, 600, np.eye(4))], "in order"),
        ([(6, 500, np.eye(4))], "in order"),
        ([(5, 501, np.eye(4))], "keeps its stamp"),
    ):
        with pytest.raises(TrajectoryError, match=complaint):
            recorder.record(poses)
    assert (tmp_path / "trajectory_kitti.txt").read_bytes() == before
    recorder.close()
    recorder.close()
    with pytest.raises(TrajectoryError, match="closed"):
        recorder.record([(6, 600, np.eye(4))])


def test_where_no_pose_was_recorded_there_is_no_odometry(tmp_path: Path) -> None:
    with TrajectoryRecorder(tmp_path):
        pass
    assert recorded_odometry(tmp_path) is None


def test_recorder_refuses_a_folder_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrajectoryError, match=r"cannot write trajectories to .*; choose a folder"):
        TrajectoryRecorder(tmp_path / "file")


RECORD_UNTIL_KILLED = """
import sys
import numpy as np
from droid_bridge.trajectory_recorder import TrajectoryRecorder
recorder = TrajectoryRecorder(sys.argv[1])
frame = 0
while True:
    poses = []
    for i in range(max(0, frame - 6), frame + 1):
        pose = np.eye(4)
        pose[:3, 3] = (i, frame, 0)
        poses.append((i, i * 100_000_000, pose))
    recorder.record(poses)
    print(frame, flush=True)
    frame += 1
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a POSIX signal")
def test_killed_process_leaves_every_recorded_pose(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RECORD_UNTIL_KILLED, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    answered = [int(process.stdout.readline()) for _ in range(50)]
    process.send_signal(signal.SIGKILL)
    process.wait()
    for name in ("trajectory_kitti.txt", "trajectory_tum.txt"):
        read = read_trajectory(tmp_path / name)
        assert len(read) > answered[-1]
        np.testing.assert_array_equal(read.positions_m[:, 0], np.arange(len(read)))
        np.testing.assert_array_equal(read.positions_m[:40, 1], np.arange(40) + 6)
    odometry = recorded_odometry(tmp_path)
    assert odometry is not None
    np.testing.assert_array_equal(odometry.positions_m[:, 1], np.arange(len(odometry)))


def test_files_are_readable_by_evo(tmp_path: Path) -> None:
    file_interface = pytest.importorskip("evo.tools.file_interface")
    poses = wandering(7)
    with TrajectoryRecorder(tmp_path) as recorder:
        recorder.record([(i, int(stamps(7)[i]), pose) for i, pose in enumerate(poses)])
    recorded = file_interface.read_tum_trajectory_file(tmp_path / "trajectory_tum.txt")
    np.testing.assert_allclose(np.array(recorded.poses_se3), poses, atol=1e-8)
    np.testing.assert_allclose(recorded.timestamps, stamps(7) / 1e9)
    write_kitti(Trajectory(poses), tmp_path / "twelve.txt")
    twelve = file_interface.read_kitti_poses_file(tmp_path / "twelve.txt")
    np.testing.assert_allclose(np.array(twelve.poses_se3), poses, atol=1e-8)
