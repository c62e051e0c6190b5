from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from small_kitti import write_small_kitti

from droid_bridge import benchmark_command
from droid_bridge.benchmark import job_run, local_jobs
from droid_bridge.benchmark.jobs import BenchmarkRequest, jobs_of
from droid_bridge.benchmark.ray_jobs import results_from_ray
from droid_bridge.cli import main
from droid_bridge.errors import DroidBridgeError
from droid_bridge.trajectory import read_tum
from metric3d_ros.datasets.kitti_odometry import KittiOdometry
from metric3d_ros.datasets.rosbag import write_source

TRACKER = (sys.executable, str(Path(__file__).with_name("stand_in_tracker.py")))
LENGTHS_M = (50.0, 100.0)


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the stand-in tracker notes its runs; the command uses it instead of ``droid-bridge track``."""
    path = tmp_path / "calls"
    path.touch()
    monkeypatch.setenv("TRACKER_CALLS", str(path))
    results_here = local_jobs.results_here
    monkeypatch.setattr(
        benchmark_command, "results_here", lambda jobs, parallel: results_here(jobs, parallel, TRACKER)
    )
    return path


@pytest.fixture
def kitti(tmp_path: Path) -> Path:
    return write_small_kitti(tmp_path / "kitti")


def benchmark(kitti: Path, out: Path, *options: str) -> int:
    command = ["benchmark", "--dataset", "kitti_odometry", "--root", str(kitti), "--out", str(out)]
    return main([*command, "--lengths", "50,100", *options])


def metrics(out: Path, sequence: str, variant: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((out / sequence / variant / "metrics.json").read_text())
    return values


def test_every_sequence_with_and_without_prior(
    kitti: Path, tmp_path: Path, calls: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert benchmark(kitti, out, "--depth", "truth", "--jobs", "2") == 0
    assert sorted(calls.read_text().split("\n")[:-1]) == sorted(
        f"{sequence} {depth}" for sequence in ("00", "03", "09") for depth in ("truth", "none")
    )
    said = capsys.readouterr().out
    assert f"03 with prior: t_rel {metrics(out, '03', 'with_prior')['drift']['t_rel_percent']:.2f} %" in said
    for sequence in ("00", "03", "09"):
        with_prior, without = metrics(out, sequence, "with_prior"), metrics(out, sequence, "without_prior")
        assert with_prior["scaled_by"] is None
        assert with_prior["drift"]["scale_end"] == pytest.approx(1.02, abs=1e-3)
        assert without["drift"]["scale_start"] == pytest.approx(1.0, abs=1e-9)
        assert without["drift"]["scale_end"] == pytest.approx(0.74 / 0.5125, rel=0.02)
        assert without["drift"]["frames_matched"] == 240
        assert with_prior["frames_per_second"] == 12.5
        assert with_prior["peak_memory_mb"] > 20
        assert with_prior["settings"]["versions"]["numpy"]
    assert (out / "report.html").stat().st_size > 1_000_000


def test_finished_jobs_are_not_done_again(kitti: Path, tmp_path: Path, calls: Path) -> None:
    out = tmp_path / "run"
    assert benchmark(kitti, out, "--sequences", "03", "--prior", "without") == 0
    assert benchmark(kitti, out, "--sequences", "03,09", "--prior", "without") == 0
    assert calls.read_text().split("\n")[:-1] == ["03 none", "09 none"]
    # Other lengths need another score, not another drive.
    again = ["benchmark", "--dataset", "kitti_odometry", "--root", str(kitti), "--out", str(out)]
    assert main([*again, "--sequences", "03", "--prior", "without", "--lengths", "20"]) == 0
    assert calls.read_text().split("\n")[:-1] == ["03 none", "09 none"]
    assert metrics(out, "03", "without_prior")["lengths_m"] == [20]
    assert metrics(out, "09", "without_prior")["lengths_m"] == [50, 100]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux ends the tracker with the benchmark")
def test_killed_run_goes_on_where_it_was(
    kitti: Path, tmp_path: Path, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    script = (
        "import sys; from droid_bridge import benchmark_command; from droid_bridge.benchmark import local_jobs; "
        "from droid_bridge.cli import main; here = local_jobs.results_here; "
        f"benchmark_command.results_here = lambda jobs, parallel: here(jobs, parallel, {TRACKER!r}); "
        "sys.exit(main(sys.argv[1:]))"
    )
    command = ["benchmark", "--dataset", "kitti_odometry", "--root", str(kitti), "--out", str(out)]
    command += ["--lengths", "50,100", "--sequences", "00,03", "--prior", "without"]
    process = subprocess.Popen(
        [sys.executable, "-c", script, *command],
        env=os.environ | {"TRACKER_SLEEPS": "03"},
        stdout=subprocess.DEVNULL,
    )
    deadline_s = time.monotonic() + 120
    while not list(out.glob("03/without_prior/.track.*/pid")) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    (pid_file,) = (out / "03" / "without_prior").glob(".track.*/pid")
    process.kill()
    process.wait()
    while is_alive(int(pid_file.read_text())) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert not is_alive(int(pid_file.read_text())), "the tracker outlived the benchmark"
    first = out / "00" / "without_prior" / "metrics.json"
    finished_ns = first.stat().st_mtime_ns
    assert not (out / "03" / "without_prior" / "metrics.json").exists()
    assert list((out / "03" / "without_prior").glob(".track.*"))
    assert benchmark(kitti, out, "--sequences", "00,03", "--prior", "without") == 0
    assert first.stat().st_mtime_ns == finished_ns
    assert calls.read_text().split("\n")[:-1] == ["00 none", "03 none", "03 none"]
    assert metrics(out, "03", "without_prior")["poses"] == 240
    assert not list((out / "03" / "without_prior").glob(".track.*"))


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be collected does not."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_one_failure_does_not_stop_the_rest(
    kitti: Path, tmp_path: Path, calls: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    monkeypatch.setenv("TRACKER_FAILS", "03")
    assert benchmark(kitti, out, "--prior", "without") == 1
    said = capsys.readouterr().out
    assert "03 without prior: the tracker ended with status 2: the stand-in fails, as it was told." in said
    assert metrics(out, "09", "without_prior")["poses"] == 240
    assert not (out / "03" / "without_prior" / "metrics.json").exists()
    assert "the stand-in fails" in (out / "report.html").read_text()
    monkeypatch.delenv("TRACKER_FAILS")
    assert benchmark(kitti, out, "--prior", "without") == 0
    assert not (out / "03" / "without_prior" / "failure.json").exists()


def test_recording_that_cannot_be_read_fails_alone(kitti: Path, tmp_path: Path, calls: Path) -> None:
    (kitti / "sequences" / "03" / "calib.txt").unlink()
    assert benchmark(kitti, tmp_path / "run", "--prior", "without", "--sequences", "03,09") == 1
    assert calls.read_text() == "09 none\n"
    assert "calib.txt" in (tmp_path / "run" / "03" / "without_prior" / "failure.json").read_text()


def test_short_drive_keeps_its_trajectory_and_says_why_it_has_no_drift(
    kitti: Path, tmp_path: Path, calls: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["benchmark", "--dataset", "kitti_odometry", "--root", str(kitti), "--out", str(tmp_path / "run")]
    assert main([*command, "--sequences", "03", "--prior", "without", "--lengths", "800"]) == 0
    assert "shorter than the shortest segment of 800 m; give --lengths" in capsys.readouterr().out
    found = metrics(tmp_path / "run", "03", "without_prior")
    assert (found["drift"], found["poses"]) == (None, 240)


def test_a_run_keeps_its_settings(
    kitti: Path, tmp_path: Path, calls: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert benchmark(kitti, tmp_path / "run", "--prior", "without", "--sequences", "03") == 0
    capsys.readouterr()
    assert benchmark(kitti, tmp_path / "run", "--prior", "without", "--depth", "lidar") == 2
    assert "holds a run with depth 'nano'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--sequences", "00,00"], "given twice"),
        (["--sequences", "../03"], "is no sequence"),
        (["--jobs", "0"], "below 1"),
        (["--root", "/nowhere"], "no folder at"),
        (["--dataset", "kitti_raw"], "has no kitti_raw"),
        (["--dataset", "recordings"], "has no recordings"),
        (["--depth-noise", "2,3"], "two shares"),
        (["--dataset", "simulated"], "give their seeds"),
        (["--dataset", "simulated", "--sequences", "street"], "give its seed"),
    ],
)
def test_bad_requests_exit_2_and_leave_nothing(
    kitti: Path, tmp_path: Path, options: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert benchmark(kitti, tmp_path / "run", *options) == 2
    captured = capsys.readouterr()
    assert complaint in captured.err
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_jobs_are_what_track_takes(tmp_path: Path) -> None:
    raw = BenchmarkRequest("kitti_raw", tmp_path, ("2011_09_26_drive_0013_sync",), tmp_path / "run", depth="lidar")
    with_prior, without = jobs_of(raw)
    assert with_prior.track_arguments(tmp_path)[:6] == [
        "--input", str(tmp_path), "--drive", "2011_09_26_drive_0013_sync", "--depth", "lidar",
    ]  # fmt: skip
    assert without.track_arguments(tmp_path)[4:6] == ["--depth", "none"]
    world = BenchmarkRequest("simulated", None, ("9",), tmp_path / "run", simulated_length_m=250.0)
    assert jobs_of(world)[0].track_arguments(tmp_path)[:6] == [
        "--input", "simulated", "--length", "250", "--world-seed", "9",
    ]  # fmt: skip
    bag = BenchmarkRequest("recordings", tmp_path, ("desk.mcap",), tmp_path / "run", depth_noise=(0.1, 0.03))
    with_prior, without = jobs_of(bag)
    assert with_prior.track_arguments(tmp_path)[:8] == [
        "--input", str(tmp_path / "desk.mcap"), "--depth", "nano", "--depth-noise", "0.1,0.03", "--seed", "0",
    ]  # fmt: skip
    assert "--depth-noise" not in without.track_arguments(tmp_path)
    over_ros = BenchmarkRequest("simulated", None, ("9",), tmp_path / "run", over="ros")
    arguments = jobs_of(over_ros)[0].track_arguments(tmp_path)
    assert arguments[arguments.index("--over") + 1] == "ros"
    assert "--map" not in arguments


def test_a_folder_of_bags_is_a_benchmark(kitti: Path, tmp_path: Path, calls: Path) -> None:
    """The stand-in knows KITTI alone, so the job fails after the bag was found and its truth read."""
    bags = tmp_path / "bags"
    bags.mkdir()
    (bags / "notes.txt").touch()
    source = KittiOdometry(kitti, "03")
    write_source(source, bags / "street.mcap", max_frames=100, progress=False)
    command = ["benchmark", "--dataset", "recordings", "--root", str(bags), "--out", str(tmp_path / "run")]
    assert main([*command, "--prior", "without"]) == 1
    folder = tmp_path / "run" / "street.mcap" / "without_prior"
    assert "--sequence" in json.loads((folder / "failure.json").read_text())["failure"]
    assert len(read_tum(folder / "truth_tum.txt")) == 100


def test_ray_gives_the_same_figures(kitti: Path, tmp_path: Path, calls: Path) -> None:
    pytest.importorskip("ray", reason="ray is not installed")
    figures = []
    for name in ("here", "ray"):
        request = BenchmarkRequest(
            "kitti_odometry", kitti, ("00", "03"), tmp_path / name, with_prior=(False,), lengths_m=LENGTHS_M
        )
        if name == "here":
            results = list(local_jobs.results_here(jobs_of(request), 1, TRACKER))
        else:
            results = list(results_from_ray(jobs_of(request), "local", 1, TRACKER))
        outcomes = {result.job.sequence: result.outcome for result in results}
        assert all(outcome is not None for outcome in outcomes.values()), [result.failure for result in results]
        figures.append({sequence: outcome.drift for sequence, outcome in outcomes.items() if outcome is not None})
    assert figures[0] == figures[1]


def test_ray_that_is_missing_or_silent_is_one_sentence(
    kitti: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = BenchmarkRequest("kitti_odometry", kitti, ("00",), tmp_path / "run")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(DroidBridgeError, match=r"metric3d_ros\[ray\]"):
        list(results_from_ray(jobs_of(request), "local", 1))


def test_tracker_that_leaves_no_trajectory_is_a_failure(kitti: Path, tmp_path: Path) -> None:
    request = BenchmarkRequest("kitti_odometry", kitti, ("00",), tmp_path / "run", with_prior=(False,))
    (job,) = jobs_of(request)
    result = job_run.run_job(job, (sys.executable, "-c", "pass"))
    assert result.outcome is None
    assert "left no trajectory_tum.txt" in result.failure


@pytest.mark.kitti
@pytest.mark.slow
def test_real_tracker_gives_the_same_figures_twice(shared_data: Path, tmp_path: Path) -> None:
    figures = []
    for name in ("one", "two"):
        command = [
            "benchmark",
            "--dataset",
            "kitti_raw",
            "--root",
            str(shared_data / "kitti_raw"),
            "--depth",
            "lidar",
        ]
        command += [
            "--out",
            str(tmp_path / name),
            "--prior",
            "with",
            "--lengths",
            "5,10",
            "--",
            "--max-frames",
            "24",
        ]
        assert main(command) == 0
        found = metrics(tmp_path / name, "2011_09_26_drive_0013_sync", "with_prior")
        assert (found["frames"], found["poses"]) == (144, 24)
        assert found["drift"]["coverage"] == pytest.approx(24 / 144)
        figures.append(
            [found["drift"][key] for key in ("t_rel_percent", "r_rel_deg_per_100m", "ate_m", "scale_end")]
        )
    assert figures[0] == pytest.approx(figures[1], abs=1e-6)
    assert "scored on the 24 of 144 true poses" in (tmp_path / "one" / "report.html").read_text()
