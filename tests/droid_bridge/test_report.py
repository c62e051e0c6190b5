from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from small_kitti import write_small_kitti

from droid_bridge.benchmark.jobs import BenchmarkRequest, jobs_of
from droid_bridge.benchmark.local_jobs import results_here
from droid_bridge.benchmark.run_folder import begin_run, read_run
from droid_bridge.cli import main
from droid_bridge.evaluation.plots import ESTIMATE_COLOURS
from droid_bridge.report.charts import placed
from droid_bridge.report.page import write_report
from droid_bridge.report.published import PUBLISHED, SEQUENCES
from droid_bridge.report.rerun_recording import _from_first_camera, _log_map
from droid_bridge.report.summary import comparison, pooled_table

TRACKER = (sys.executable, str(Path(__file__).with_name("stand_in_tracker.py")))
WIDTH_PX, HEIGHT_PX = 1300, 2600


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two sequences whose prior is the packaged network."""
    folder = tmp_path_factory.mktemp("report")
    kitti = write_small_kitti(folder / "kitti", ("00", "03"))
    request = BenchmarkRequest(
        "kitti_odometry", kitti, ("00", "03"), folder / "afternoon", depth="nano", lengths_m=(50.0, 100.0, 200.0)
    )
    begin_run(request)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACKER_CALLS", str(folder / "calls"))
        results = list(results_here(jobs_of(request), 2, TRACKER))
    assert [result.failure for result in results] == [""] * 4
    write_report(request.out)
    return request.out


def page(run: Path) -> str:
    return (run / "report.html").read_text(encoding="utf-8")


def charts(run: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="charts">(.*?)</script>', page(run), re.DOTALL)
    assert found is not None
    values: dict[str, Any] = json.loads(found[1])
    return values


def test_page_needs_no_network(run: Path) -> None:
    own = re.sub(r"<script>.*?</script>", "", page(run), flags=re.DOTALL)
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:)""", own)
    assert "http://" not in own and "https://" not in own
    assert own.count("data:image/jpeg;base64,") == 2


def test_paper_rows_stand_beside_ours(run: Path) -> None:
    found = comparison(read_run(run))
    assert found.sequences == ("00", "02", "03", "05", "06", "08", "09", "10")
    assert [row.system for row in found.rows[:4]] == [row.system for row in PUBLISHED]
    paper = found.rows[2]
    assert paper.drifts[0] == (1.44, 0.37)
    assert paper.drifts[2] is None
    assert paper.mean is not None
    assert paper.mean[0] == pytest.approx(1.81, abs=0.005)
    ours = found.rows[4]
    outcome = json.loads((run / "00" / "with_prior" / "metrics.json").read_text())
    assert ours.drifts[0] == (outcome["drift"]["t_rel_percent"], outcome["drift"]["r_rel_deg_per_100m"])
    assert ours.drifts[1] is None
    assert f"{outcome['drift']['t_rel_percent']:.2f} " in page(run)


def test_published_means_are_those_that_are_printed_with_them() -> None:
    means = [np.mean(row.t_rel_percent) for row in PUBLISHED]
    assert means == pytest.approx([9.81, 25.4, 1.81, 0.81], abs=0.02)
    assert all(len(row.r_rel_deg_per_100m) == len(SEQUENCES) for row in PUBLISHED)


def test_scale_chart_tells_the_story(run: Path) -> None:
    with_prior, without = charts(run)["scale-0"]["data"]
    assert with_prior["y"] == pytest.approx([1.02] * len(with_prior["y"]), abs=2e-3)
    assert without["y"][0] == pytest.approx(1.0, abs=0.06)
    assert without["y"][-1] > 1.4
    assert without["x"][-1] > 280


def test_path_chart_has_the_truth_beneath_and_equal_metres(run: Path) -> None:
    chart = charts(run)["path-1"]
    assert [trace["name"] for trace in chart["data"]] == ["ground truth", "with prior", "no prior"]
    truth, with_prior, _ = chart["data"]
    assert len(truth["x"]) == 240
    assert with_prior["y"][-1] == pytest.approx(1.02 * truth["y"][-1], abs=0.02)
    assert chart["layout"]["yaxis"]["scaleanchor"] == "x"


def test_pooled_errors_count_each_segment_once(run: Path) -> None:
    table = pooled_table(read_run(run), "per_length")
    for prior, length_m, segments, t_rel_percent, _ in table.rows:
        variant = "with_prior" if prior == "yes" else "without_prior"
        rows = [
            row
            for sequence in ("00", "03")
            for row in json.loads((run / sequence / variant / "metrics.json").read_text())["drift"]["per_length"]
            if row["length_m"] == length_m
        ]
        assert segments == sum(row["segments"] for row in rows)
        expected = sum(row["segments"] * row["t_rel_percent"] for row in rows) / segments
        assert t_rel_percent == pytest.approx(expected)
    assert {row[1] for row in table.rows} == {50, 100, 200}
    assert {row[1] for row in pooled_table(read_run(run), "per_speed").rows} >= {13.0}


def test_tables_and_pictures_are_beside_the_page(run: Path) -> None:
    with (run / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["sequence"], row["prior"]) for row in rows] == [
        ("00", "yes"), ("00", "no"), ("03", "yes"), ("03", "no"),
    ]  # fmt: skip
    assert float(rows[0]["scale_end"]) == pytest.approx(1.02, abs=1e-3)
    for name in ("top_down.png", "scale_over_distance.png", "depth_strip.jpg"):
        assert cv2.imread(str(run / "00" / name)) is not None
    assert (run / "drift_by_length.csv").is_file() and (run / "drift_by_speed.csv").is_file()


def test_report_again_is_the_same_and_elsewhere_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = charts(run)
    assert main(["report", str(run)]) == 0
    assert charts(run) == before
    capsys.readouterr()
    assert main(["report", str(tmp_path)]) == 2
    assert "is no benchmark's folder" in capsys.readouterr().err


def test_names_cannot_inject_markup(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "<img src=x>"
    shutil.copytree(run, copy)
    request = json.loads((copy / "benchmark.json").read_text())
    request["depth"] = "</script><script>alert(1)</script>"
    (copy / "benchmark.json").write_text(json.dumps(request))
    write_report(copy)
    text = page(copy)
    assert "<img src=x>" not in text and "<script>alert(1)" not in text


def test_chromium_draws_every_chart(run: Path, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium is installed")
    picture = tmp_path / "report.png"
    # The name resolver is switched off: what the page would fetch, it would miss.
    flags = [
        "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=20000",
        "--host-resolver-rules=MAP * ~NOTFOUND", f"--window-size={WIDTH_PX},{HEIGHT_PX}",
        f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={picture}", "--dump-dom",
    ]  # fmt: skip
    done = subprocess.run(
        [browser, *flags, (run / "report.html").as_uri()], capture_output=True, text=True, timeout=200, check=True
    )
    drawn = re.search(r'data-drawn="(\d+)"', done.stdout)
    assert drawn is not None and int(drawn[1]) == len(charts(run)) == 8
    image = cv2.imread(str(picture))
    assert image is not None and image.shape[1] == WIDTH_PX
    for colour in ESTIMATE_COLOURS[:2]:
        blue_green_red = [int(colour[at : at + 2], 16) for at in (5, 3, 1)]
        seen = np.abs(image.astype(int) - blue_green_red).max(axis=2) <= 3
        assert seen.sum() > 1000
        assert np.ptp(np.flatnonzero(seen.any(axis=0))) > WIDTH_PX // 2


def test_rerun_recording_holds_paths_cameras_and_scale(run: Path, tmp_path: Path) -> None:
    chunk = pytest.importorskip("rerun.chunk", reason="rerun is not installed")
    file = tmp_path / "drives.rrd"
    assert main(["report", str(run), "--rerun", str(file)]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["drives.rrd"]
    rows: dict[str, int] = {}
    for part in chunk.RrdReader(file).stream():
        rows[str(part.entity_path)] = rows.get(str(part.entity_path), 0) + part.num_rows
    for sequence in ("00", "03"):
        for variant in ("with_prior", "no_prior"):
            assert rows[f"/drives/{sequence}/{variant}/camera"] == 240
            assert rows[f"/drives/{sequence}/{variant}/path"] == 1
            assert rows[f"/scale/{sequence}/{variant}"] > 200
            assert rows[f"/drives/{sequence}/{variant}/map"] == 2, "its place and its points"
        assert rows[f"/drives/{sequence}/ground_truth/path"] == rows[f"/depth/{sequence}"] == 1


def test_map_lies_under_the_drive_that_made_it(run: Path) -> None:
    """Each stand-in's map has a point a metre below every camera; shown, it must still be there."""
    rerun = pytest.importorskip("rerun", reason="rerun is not installed")
    found = read_run(run).sequences[0]
    for job in found.jobs:
        logged: dict[str, list[Any]] = {}
        stream = SimpleNamespace(
            log=lambda entity, shown, static, logged=logged: logged.setdefault(entity, []).append(shown)
        )
        assert found.truth is not None and job.point_cloud is not None
        shown = _from_first_camera(found.truth, placed(found, job))
        _log_map(rerun, stream, "map", job, shown)
        place, points = logged["map"]
        columns = np.array(place.mat3x3.as_arrow_array().to_pylist()[0]).reshape(3, 3)
        moved = np.array(points.positions.as_arrow_array().to_pylist()) @ columns + np.array(
            place.translation.as_arrow_array().to_pylist()[0]
        )
        below = moved - shown.positions_m
        factor = job.outcome.scaled_by or 1.0
        np.testing.assert_allclose(below, factor * shown.world_from_camera[:, :3, 1], atol=1e-3)


def test_rerun_that_is_missing_is_one_sentence(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    assert main(["report", str(run), "--rerun", str(tmp_path / "drives.rrd")]) == 2
    assert "metric3d_ros[rerun]" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
