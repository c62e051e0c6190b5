"""The scripts in benchmarks/: they import, and a row of the ablation is done once and told in a table."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

sys.path.append(str(Path(__file__).parent / "droid_bridge"))
from corridor import frames_of

from metric3d_ros.datasets.rosbag import BagWriter

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
NAMES = sorted(path.stem for path in BENCHMARKS.glob("*.py"))


@pytest.fixture
def benchmark_named(monkeypatch: pytest.MonkeyPatch):
    """Import one of the scripts by its name."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    return load


@pytest.mark.parametrize("name", NAMES)
def test_every_script_imports(name: str, benchmark_named) -> None:
    assert benchmark_named(name).__doc__


def test_every_variant_of_the_ablation_is_another_and_has_a_name(benchmark_named) -> None:
    variants = benchmark_named("ablation_parts").VARIANTS
    assert len({variant.name for variant in variants}) == len(variants)
    assert len({str(replace(variant, name="")) for variant in variants}) == len(variants)


def test_a_row_of_the_ablation_is_done_once_and_told(tmp_path: Path, benchmark_named) -> None:
    ablation = benchmark_named("ablation")
    bag = tmp_path / "drive.mcap"
    with BagWriter(bag) as writer:
        for frame in frames_of(14):
            writer.write(frame)
    everything, without_prior = (
        ablation.Row(bag, variant, (2.0,), tmp_path / f"{number}.json")
        for number, variant in enumerate(ablation.VARIANTS[:2])
    )
    for row in (everything, without_prior):
        assert not ablation._is_done(row)
        ablation._do_row(row)
        assert ablation._is_done(row)
    other = replace(everything, variant=replace(everything.variant, config=without_prior.variant.config))
    assert not ablation._is_done(other), "another setting is another row"
    drive = ablation.Drive("corridor", "A corridor", None, "truth", None)
    table = ablation._table(drive, [everything, without_prior]).splitlines()
    assert table[0] == "**A corridor**"
    cells = [cell.strip() for cell in table[4].split("|")[1:-1]]
    assert cells[0] == "all parts"
    assert 0 < float(cells[1]) < 5
    assert table[5].startswith("| no prior |") and table[5].count("|") == table[4].count("|")
    assert table[5].split("|")[6].split(",")[0].strip() == "1.000", "its scale is that of the truth's start"
