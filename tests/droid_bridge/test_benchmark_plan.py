"""Several benchmarks in one file, and the table that they make."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from small_kitti import write_small_kitti

from droid_bridge import benchmark_command
from droid_bridge.benchmark import local_jobs
from droid_bridge.benchmark.jobs import OVER, jobs_of
from droid_bridge.benchmark.plan import PlanSettings, read_plan
from droid_bridge.benchmark.run_folder import read_run
from droid_bridge.cli import main
from droid_bridge.errors import DroidBridgeError
from droid_bridge.report.marked_section import require_section
from droid_bridge.report.results_table import results_table, section_of

TRACKER = (sys.executable, str(Path(__file__).with_name("stand_in_tracker.py")))
PROJECT = Path(__file__).parents[2]
PLAN = """
metric:
  {dataset: kitti_odometry, folder: kitti, sequences: ["03"], depth: nano, lengths_m: [50, 100]}
noisy:
  dataset: kitti_odometry
  folder: kitti
  sequences: ["00"]
  depth: nano
  depth_noise: [0.10, 0.03]
  noise_seed: 4
  prior: with
  lengths_m: [50, 100]
  track_arguments: ["--keeps-height"]
level:
  dataset: kitti_odometry
  folder: kitti
  sequences: ["00"]
  depth: nano
  prior: without
  lengths_m: [50, 100]
  track_arguments: ["--camera-height", "1.65"]
"""
PAGE = """# Results

Prose before.

<!-- begin results offline -->
old
<!-- end results offline -->

Prose after.
"""


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plan, a page and a small KITTI; the stand-in tracks."""
    write_small_kitti(tmp_path / "kitti", ("00", "03"))
    (tmp_path / "plan.yaml").write_text(PLAN)
    (tmp_path / "results.md").write_text(PAGE)
    (tmp_path / "calls").touch()
    monkeypatch.setenv("TRACKER_CALLS", str(tmp_path / "calls"))
    results_here = local_jobs.results_here
    monkeypatch.setattr(
        benchmark_command, "results_here", lambda jobs, parallel: results_here(jobs, parallel, TRACKER)
    )
    return tmp_path


def run_plan(data: Path, *further: str) -> int:
    command = ["benchmark", "--plan", str(data / "plan.yaml"), "--root", str(data), "--out", str(data / "run")]
    return main([*command, "--table", str(data / "results.md"), *further])


def test_a_plan_makes_every_run_and_one_table(data: Path) -> None:
    assert run_plan(data, "--jobs", "2") == 0
    assert sorted((data / "calls").read_text().splitlines()) == ["00 nano", "00 none", "03 nano", "03 none"]
    page = (data / "results.md").read_text()
    assert page.startswith("# Results\n\nProse before.\n\n<!-- begin results offline -->\n\n|")
    assert page.endswith("|\n\n<!-- end results offline -->\n\nProse after.\n")
    assert "old" not in page
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line[:1] == "|"]
    assert [row[:2] for row in rows[2:]] == [
        ["KITTI 03, 299 m", "nano"],
        ["KITTI 03, 299 m", "none"],
        ["KITTI 00, 299 m", "nano, noise 10% / 3%, camera keeps its height"],
        ["KITTI 00, 299 m", "none, camera 1.65 m high"],
    ]
    by_height = dict(zip(rows[0], rows[5], strict=True))
    assert by_height["scale start, end"].startswith("0.51"), "a path in metres is not scaled"
    found = json.loads((data / "run" / "metric" / "03" / "with_prior" / "metrics.json").read_text())
    named = dict(zip(rows[0], rows[2], strict=True))
    assert named["t_rel %"] == f"{found['drift']['t_rel_percent']:.2f}"
    assert float(named["t_rel % after one scale"]) < 0.1, "the stand-in is 2 % too long all the way"
    assert named["scale start, end"] == "1.020, 1.020"
    assert named["end / start"] == "1.000"
    assert (named["frames in / out"], named["frames/s"]) == ("240 / 240", "12.5")
    track = data / "run" / "noisy" / "00" / "with_prior" / "track"
    command = json.loads((track / "run.json").read_text())["command"]
    assert command[command.index("--depth-noise") + 1] == "0.1,0.03"
    assert command[command.index("--seed") + 1] == "4"


def test_the_same_plan_again_does_nothing_and_gives_the_same_page(data: Path) -> None:
    assert run_plan(data) == 0
    first = (data / "results.md").read_text()
    assert run_plan(data) == 0
    assert (data / "results.md").read_text() == first
    assert len((data / "calls").read_text().splitlines()) == 4


def test_a_failure_is_a_row_and_status_1(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKER_FAILS", "00")
    assert run_plan(data) == 1
    assert "| KITTI 00 | failed, with prior: the tracker ended with status 2" in (data / "results.md").read_text()


@pytest.mark.parametrize(
    ("plan", "complaint"),
    [
        ("- a list", "names no benchmark"),
        ("a: [", "cannot be read"),
        ("a: 3", "is no mapping"),
        ("a: {dataset: tum, sequences: ['1']}", "dataset 'tum'; give kitti_odometry or"),
        ("a: {dataset: simulated}", "has no sequences"),
        ("a: {dataset: simulated, sequences: [7]}", "a list of texts"),
        ("a: {dataset: simulated, sequences: ['7'], depth_noise: [0.1]}", "two shares"),
        ("a: {dataset: simulated, sequences: ['7'], lengths: [5]}", "unknown setting 'lengths'"),
        ("a: {dataset: kitti_raw, folder: absent, sequences: ['7']}", "there is no folder"),
        ("../a: {dataset: simulated, sequences: ['7']}", "cannot name a folder"),
    ],
)
def test_a_bad_plan_is_one_sentence_and_leaves_nothing(
    data: Path, plan: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "plan.yaml").write_text(plan)
    assert run_plan(data) == 2
    error = capsys.readouterr().err
    assert complaint in error and error.count("\n") == 1
    assert not (data / "run").exists()
    assert (data / "results.md").read_text() == PAGE


def test_what_a_plan_holds_cannot_be_given_beside_it(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_plan(data, "--depth", "lidar") == 2
    assert "--plan and depth were both given" in capsys.readouterr().err


def test_a_page_without_markers_is_said_before_the_work(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "results.md").write_text("# Results\n")
    assert run_plan(data) == 2
    assert "put the lines <!-- begin results offline -->" in capsys.readouterr().err
    assert (data / "calls").read_text() == ""


def test_the_plans_of_the_results_page_name_what_it_shows(tmp_path: Path) -> None:
    for folder in ("kitti_odometry", "kitti_raw"):
        (tmp_path / folder).mkdir()
    requests = read_plan(PROJECT / "benchmarks" / "results.yaml", PlanSettings(tmp_path, tmp_path / "run"))
    jobs = [job for request in requests for job in jobs_of(request)]
    assert len({job.folder for job in jobs}) == len(jobs)
    named = {
        (job.request.dataset, job.with_prior and (job.request.depth, job.request.depth_noise)) for job in jobs
    }
    assert named >= {
        ("kitti_odometry", False),
        ("kitti_odometry", ("nano", None)),
        ("kitti_raw", False),
        ("kitti_raw", ("lidar", None)),
        ("kitti_raw", ("lidar", (0.1, 0.03))),
        ("simulated", False),
        ("simulated", ("nano", None)),
        ("simulated", ("truth", (0.1, 0.03))),
        ("simulated", ("truth", (0.2, 0.06))),
    }
    over_ros = PlanSettings(tmp_path, tmp_path / "run", over="ros")
    for request in read_plan(PROJECT / "benchmarks" / "results_over_ros.yaml", over_ros):
        assert all("--over ros" in " ".join(job.track_arguments(tmp_path)) for job in jobs_of(request))
    for over in OVER:
        require_section(PROJECT / "docs" / "results.md", section_of(over))


def test_a_drive_without_segments_has_a_row_without_figures(data: Path) -> None:
    (data / "plan.yaml").write_text(PLAN.replace("[50, 100]", "[900]"))
    assert run_plan(data) == 0
    table = results_table([read_run(data / "run" / "metric")])
    assert "| KITTI 03 | nano | - | - | - | - | - | - | - | 240 / 240 | 12.5 |" in table
    assert len({line.count("|") for line in table.splitlines()}) == 1


def test_a_plan_needs_the_folder_above_its_folders(data: Path) -> None:
    with pytest.raises(DroidBridgeError, match="give --root DIR"):
        read_plan(data / "plan.yaml", PlanSettings(None, data / "run"))
