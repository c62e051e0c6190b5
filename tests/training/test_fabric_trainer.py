"""A run learns, resumes to the same losses, is the same on two processes, and survives what goes wrong."""

from __future__ import annotations

import copy
import csv
import hashlib
import itertools
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from annotated_ground import ground_values, write_ground

from training.errors import CheckpointError, RecipeError, TrainingError
from training.fabric_trainer import FabricTrainer, fit
from training.processes import start_fabric
from training.run_checkpoint import averaged_network, load_run, save_run
from training.run_export import export_run
from training.run_recipe import RunRecipe, run_recipe_from_values
from training.train import main
from training.view_batches import RunSamples, joined, micro_batches

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    return write_ground(tmp_path_factory.mktemp("ground"))


def recipe_of(ground, output, **changes) -> RunRecipe:
    return run_recipe_from_values({**ground_values(ground, output), **changes})


@pytest.fixture(scope="module")
def finished(ground, tmp_path_factory):
    """A run of six steps."""
    output = tmp_path_factory.mktemp("finished")
    return fit(recipe_of(ground, output, picture_every_steps=3), quiet=True)


def rows(output) -> list[dict[str, str]]:
    with (Path(output) / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_learns_and_leaves_its_logs(finished):
    output = Path(finished.recipe.output)
    logged = rows(output)
    assert [int(row["step"]) for row in logged] == [1, 2, 3, 4, 5, 6]
    assert float(logged[-1]["total"]) < 0.6 * float(logged[0]["total"])
    assert sorted(path.name for path in (output / "pictures").iterdir()) == [
        "step_0000003.png",
        "step_0000006.png",
    ]
    assert list((output / "tensorboard").glob("events.*"))
    assert not (output / "unreadable.txt").exists()


def test_a_resumed_run_has_the_losses_of_one_that_never_stopped(finished, ground, tmp_path):
    recipe = recipe_of(ground, tmp_path)
    halfway = replace(recipe, schedule=replace(recipe.schedule, steps=6))
    trainer = FabricTrainer(halfway, start_fabric(halfway))
    batches = micro_batches(RunSamples(halfway), 0, 0, 1)
    for _ in range(3):
        trainer.train_step([next(batches)])
    save_run(tmp_path / "checkpoint.pt", trainer.checkpoint())
    resumed = fit(recipe, quiet=True)
    expected = [float(row["total"]) for row in rows(finished.recipe.output)][3:]
    assert [float(row["total"]) for row in rows(tmp_path)] == expected
    assert resumed.step == 6
    for name, average in finished.averaged.items():
        assert torch.equal(resumed.averaged[name], average)


def test_rows_after_the_checkpoint_are_dropped_when_resuming(ground, tmp_path):
    recipe = recipe_of(ground, tmp_path)
    fit(replace(recipe, schedule=replace(recipe.schedule, steps=3)), quiet=True)
    log = tmp_path / "log.csv"
    last = log.read_text().splitlines()[-1]
    log.write_text(log.read_text() + last.replace("3,", "4,", 1) + "\r\n" + last.replace("3,", "5,", 1) + "\r\n")
    fit(replace(recipe, schedule=replace(recipe.schedule, steps=4)), quiet=True)
    assert [int(row["step"]) for row in rows(tmp_path)] == [1, 2, 3, 4]


def small_v2_values(ground, output, **changes):
    """A network without batch statistics, whose step does not depend on how images are dealt out."""
    values = copy.deepcopy(ground_values(ground, output))
    values["schedule"] = {"steps": 2, "warmup_steps": 1}
    # Adam turns the rounding of a tiny gradient into a whole step; here it shall not.
    values["optimizer"] |= {"epsilon": 1e-2, "encoder_learning_rate": 1e-3, "decoder_learning_rate": 1e-3}
    # Clipping would hide a gradient that is too large by a factor.
    values["max_gradient_norm"] = 1e9
    values["views"] = [{"height_px": 56, "width_px": 112}]
    values["losses"] = {
        "depth_sequence": 0.5,
        "random_proposal": 0.5,
        "virtual_normal": 1.0,
        "plane_normal": 1.0,
        "depth_normal_consistency": 0.01,
        "sky": 0.001,
    }
    values["network"] = {"name": "vit_small"}
    return {**values, **changes}


def assert_same_run(one: Path, other: Path) -> None:
    """The same losses, and the same mean gradients (Adam's first moment) in every parameter.

    After the first step the weights differ by rounding, and three points that lie at a threshold of a normal loss
    may change sides: from there on a loss may differ by the share of a few of them.
    """
    for step, (first, second) in enumerate(zip(rows(one), rows(other), strict=True)):
        tolerance = 1e-3 if step == 0 else 1e-2
        for name, value in first.items():
            assert float(second[name]) == pytest.approx(float(value), rel=tolerance, abs=1e-6), name
    moments = [
        torch.cat(
            [state["exp_avg"].flatten() for state in load_run(run / "checkpoint.pt").optimizer["state"].values()]
        )
        for run in (one, other)
    ]
    assert moments[0].norm() > 1
    assert (moments[0] - moments[1]).norm() < 5e-3 * moments[0].norm()


def test_accumulation_changes_nothing(ground, tmp_path, monkeypatch):
    monkeypatch.setattr("training.trained_network.build_network", _small_v2)
    for parts in (1, 2, 4):
        fit(run_recipe_from_values(small_v2_values(ground, tmp_path / str(parts), accumulate=parts)), quiet=True)
    for parts in (2, 4):
        assert_same_run(tmp_path / "1", tmp_path / str(parts))


def _small_v2(_name):
    from small_networks import small_v2

    return small_v2()


def run_in_processes(values, folder: Path, processes: int) -> Path:
    """A recipe of the small v2 network by ``processes`` processes over gloo; returns its output folder."""
    recipe = folder / "recipe.json"
    folder.mkdir(parents=True, exist_ok=True)
    recipe.write_text(json.dumps({**values, "output": str(folder)}))
    script = Path(__file__).with_name("two_process_run.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{script.parent}"}
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *(torchrun if processes > 1 else []), str(script), str(recipe)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def weights_of(run: Path) -> torch.Tensor:
    checkpoint = load_run(run / "checkpoint.pt")
    parts = [*checkpoint.network.items(), *checkpoint.averaged.items()]
    return torch.cat([tensor.flatten() for _, tensor in sorted(parts, key=lambda part: part[0])])


@pytest.mark.slow
def test_two_processes_do_what_one_does(ground, tmp_path):
    """``torchrun`` over gloo, whole weights in each process (DDP) or parts of them (FSDP), and a single process.

    What FSDP wrote is resumed by one process, which takes the step that one from the start takes.
    """
    values = small_v2_values(ground, tmp_path)
    alone = run_in_processes(values, tmp_path / "alone", 1)
    shared, sharded = (
        run_in_processes({**values, "strategy": strategy}, tmp_path / strategy, 2) for strategy in ("ddp", "fsdp")
    )
    assert_same_run(alone, shared)
    assert_same_run(alone, sharded)
    weights = weights_of(shared)
    assert (weights_of(sharded) - weights).norm() < 1e-6 * weights.norm()
    values["schedule"]["steps"] = 3
    first, second = (float(rows(run_in_processes(values, run, 1))[-1]["total"]) for run in (alone, sharded))
    assert second == pytest.approx(first, rel=1e-3)
    assert len(rows(sharded)) == 3


@pytest.mark.slow
def test_sharded_weights_are_those_of_one_process(ground, tmp_path):
    """With a loss that rounding cannot make choose another pixel, so that there is nothing but rounding to see."""
    values = {**small_v2_values(ground, tmp_path), "losses": {"silog": 1.0}, "strategy": "fsdp"}
    alone, sharded = (run_in_processes(values, tmp_path / str(count), count) for count in (1, 2))
    assert_same_run(alone, sharded)
    weights = weights_of(alone)
    assert (weights_of(sharded) - weights).norm() < 3e-5 * weights.norm()


def test_a_step_that_is_not_finite_moves_nothing_and_is_counted(ground, tmp_path):
    recipe = recipe_of(ground, tmp_path)
    trainer = FabricTrainer(recipe, start_fabric(recipe))
    batch = joined([RunSamples(recipe)[n] for n in range(4)])
    before = [p.detach().clone() for p in trainer.network.parameters()]
    averaged = {name: tensor.clone() for name, tensor in trainer.averaged.items()}
    trainer.train_step([replace(batch, depth=batch.depth * 0.0)])
    assert (trainer.skipped_steps, trainer.step) == (1, 1)
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.network.parameters(), strict=True))
    assert all(torch.equal(tensor, trainer.averaged[name]) for name, tensor in averaged.items())
    trainer.train_step([batch])
    assert trainer.skipped_steps == 1
    assert not all(torch.equal(a, b) for a, b in zip(before, trainer.network.parameters(), strict=True))


def test_gradients_are_clipped_to_the_recipes_norm(ground, tmp_path, monkeypatch):
    recipe = recipe_of(ground, tmp_path, max_gradient_norm=0.01)
    trainer = FabricTrainer(recipe, start_fabric(recipe))
    norms = []
    step = trainer.optimizer.step

    def watched(*arguments, **named):
        gradients = [p.grad for p in trainer.network.parameters() if p.grad is not None]
        norms.append(float(torch.norm(torch.stack([g.norm() for g in gradients]))))
        return step(*arguments, **named)

    monkeypatch.setattr(trainer.optimizer, "step", watched)
    trainer.train_step([joined([RunSamples(recipe)[n] for n in range(4)])])
    assert norms == [pytest.approx(0.01, rel=1e-3)]


def test_encoder_and_decoder_have_rates_of_their_own(ground, tmp_path, monkeypatch):
    monkeypatch.setattr("training.trained_network.build_network", _small_v2)
    values = small_v2_values(ground, tmp_path)
    values["optimizer"]["encoder_learning_rate"] = 1e-7
    recipe = run_recipe_from_values(values)
    trainer = FabricTrainer(recipe, start_fabric(recipe))
    before = copy.deepcopy(trainer.network)
    trainer.train_step([joined([RunSamples(recipe)[n] for n in range(4)])])
    moved = {True: 0.0, False: 0.0}
    for (name, old), new in zip(before.named_parameters(), trainer.network.parameters(), strict=True):
        of_encoder = ".encoder." in name
        moved[of_encoder] = max(moved[of_encoder], float((old - new).detach().abs().max()))
    assert 0 < moved[True] < 2e-7 * 10
    assert moved[False] > 1e-3


def test_a_broken_sample_costs_itself_is_counted_and_named(tmp_path):
    ground = write_ground(tmp_path / "data", images=12)
    (tmp_path / "data" / "5.png").write_bytes(b"")
    trainer = fit(recipe_of(ground, tmp_path / "out"), quiet=True)
    assert trainer.step == 6
    assert trainer.unreadable >= 2
    assert trainer.samples == 24
    named = (tmp_path / "out" / "unreadable.txt").read_text().splitlines()
    assert len(named) == trainer.unreadable
    assert all("5.png" in line for line in named)
    assert load_run(tmp_path / "out" / "checkpoint.pt").unreadable == trainer.unreadable


def test_too_many_broken_samples_end_the_run(tmp_path, capsys):
    ground = write_ground(tmp_path / "data", images=12)
    for number in range(6):
        (tmp_path / "data" / f"{number}.png").unlink()
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe_of(ground, tmp_path / "out").to_yaml())
    assert main([str(path)]) == 2
    message = capsys.readouterr().err
    assert "samples" in message and "max_unreadable_share=0.01" in message and "unreadable.txt" in message
    assert not (tmp_path / "out" / "checkpoint.pt").exists()


def test_nothing_readable_at_all_is_one_sentence(tmp_path):
    ground = write_ground(tmp_path / "data", images=3)
    for number in range(3):
        (tmp_path / "data" / f"{number}.png").unlink()
    with pytest.raises(TrainingError, match="20 views in a row cannot be read"):
        fit(recipe_of(ground, tmp_path / "out"), quiet=True)


def test_a_full_disk_keeps_the_last_good_checkpoint(finished, tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.pt"
    save_run(path, finished.checkpoint())
    before = path.read_bytes()

    def full_disk(_content, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(CheckpointError, match=r"the last good one is still there: .*No space left on device"):
        save_run(path, finished.checkpoint())
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_checkpoint_of_another_architecture_is_refused(finished, ground, capsys, tmp_path):
    values = ground_values(ground, Path(finished.recipe.output))
    values["network"]["widths"] = [8, 16, 24, 32, 40]
    with pytest.raises(CheckpointError, match=r"of another architecture than the recipe .* such as network"):
        fit(run_recipe_from_values(values), quiet=True)


def test_files_that_are_no_checkpoint_are_refused(tmp_path):
    for content in (b"not a checkpoint", b""):
        (tmp_path / "x.pt").write_bytes(content)
        with pytest.raises(CheckpointError, match="safe to read"):
            load_run(tmp_path / "x.pt")
    torch.save({"weights": torch.zeros(2)}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="no checkpoint of a run"):
        load_run(tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        load_run(tmp_path / "none.pt")


def test_a_step_that_cannot_be_dealt_out_is_refused(ground, tmp_path):
    with pytest.raises(RecipeError, match="batch_size is 4, which cannot be dealt out to 1 processes in 3 parts"):
        start_fabric(recipe_of(ground, tmp_path, accumulate=3))


def test_a_run_may_begin_with_the_weights_of_another(finished, ground, tmp_path):
    values = ground_values(ground, tmp_path)
    values["network"]["initial"] = str(Path(finished.recipe.output) / "checkpoint.pt")
    recipe = run_recipe_from_values(values)
    trainer = FabricTrainer(recipe, start_fabric(recipe))
    trainer.begin(iter(()))
    expected = averaged_network(finished.checkpoint()).state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in trainer.network.state_dict().items())


def test_a_run_may_begin_with_an_exported_network(finished, ground, tmp_path):
    """The first step of a warm start has outputs like the file's: nothing of it is normalised away."""
    exported = tmp_path / "ground.onnx"
    export_run(finished.checkpoint(), None, exported)
    values = ground_values(ground, tmp_path / "out")
    values["network"] |= {
        "initial": str(exported),
        "initial_sha256": hashlib.sha256(exported.read_bytes()).hexdigest(),
    }
    values["optimizer"] |= {"encoder_learning_rate": 1e-9, "decoder_learning_rate": 1e-9}
    values["schedule"] = {"steps": 1, "warmup_steps": 0}
    begun = fit(run_recipe_from_values(values), quiet=True)
    image = RunSamples(finished.recipe)[0].image.float()
    with torch.inference_mode():
        expected = averaged_network(finished.checkpoint())(image)[0].depth
        found = averaged_network(begun.checkpoint())(image)[0].depth
    torch.testing.assert_close(found.log(), expected.log(), rtol=0, atol=0.1)
    values["network"]["initial_sha256"] = "12ab"
    values["output"] = str(tmp_path / "no")
    with pytest.raises(TrainingError, match="the recipe wants 12ab"):
        fit(run_recipe_from_values(values), quiet=True)
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("batch_siz=1", "did you mean 'batch_size'"),
        ("views.0.height_px=150", "needs multiples of 32"),
        ("groups.plain.0.path=nowhere", "no rendered views in nowhere"),
        ("steps", "not of the form key=value"),
    ],
)
def test_what_the_shipped_recipe_cannot_do_exits_2_and_leaves_nothing(override, says, capsys, tmp_path):
    recipe = ROOT / "training" / "recipes" / "nano.yaml"
    assert main([str(recipe), f"output={tmp_path / 'out'}", override]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_no_recipe_is_one_sentence(tmp_path, capsys):
    assert main([str(tmp_path / "no.yaml")]) == 2
    assert capsys.readouterr().err.startswith("train: no recipe at")


def test_bf16_trains_nano_too(ground, tmp_path):
    trainer = fit(recipe_of(ground, tmp_path, precision="bf16-mixed"), quiet=True)
    logged = rows(tmp_path)
    assert trainer.skipped_steps == 0
    assert float(logged[-1]["total"]) < 0.7 * float(logged[0]["total"])
    assert all(p.dtype == torch.float32 for p in trainer.network.parameters())


def test_a_log_of_other_losses_is_kept_aside(finished, tmp_path):
    values = finished.recipe.to_plain()
    shutil.copytree(finished.recipe.output, tmp_path / "out")
    values |= {"output": str(tmp_path / "out"), "losses": {"silog": 1.0}}
    values["schedule"]["steps"] = 7
    fit(run_recipe_from_values(values), quiet=True)
    assert [int(row["step"]) for row in rows(tmp_path / "out")] == [7]
    assert "log_l1" in (tmp_path / "out" / "log_to_step_6.csv").read_text()


@pytest.mark.slow
def test_a_reading_process_gives_what_reading_in_place_gives(ground, tmp_path):
    """Also after this process has used OpenCV's and torch's threads, which a forked one would wait for."""
    recipe = recipe_of(ground, tmp_path)
    here = list(itertools.islice(micro_batches(RunSamples(recipe), 0, 0, 1), 2))
    there = itertools.islice(micro_batches(RunSamples(replace(recipe, workers=1)), 0, 0, 1), 2)
    for expected, found in zip(here, there, strict=True):
        assert torch.equal(found.image, expected.image)
        assert torch.equal(found.depth.nan_to_num(), expected.depth.nan_to_num())


@pytest.mark.parametrize(("canonical", "drawn"), [("label", 0.0), ("label", 1.0), ("image", 0.0), ("none", 0.5)])
def test_samples_are_the_same_whenever_they_are_drawn(ground, tmp_path, canonical, drawn):
    values = {**ground_values(ground, tmp_path), "canonical": canonical}
    values["photometric"] = dict.fromkeys(
        ("gray", "brightness", "contrast", "saturation", "hue", "weather", "blur", "jpeg"), 0.5
    )
    values["photometric"]["drawn"] = drawn
    values["views"][0] |= {"foreign_top_probability": 0.4, "padded_top_probability": 0.4}
    values["groups"]["ground"][0]["tall_probability"] = 0.5
    recipe = run_recipe_from_values(values)
    first, second = RunSamples(recipe), RunSamples(recipe)
    np.random.seed(4)  # noqa: NPY002
    drawn = [first[n] for n in range(6)]
    torch.manual_seed(99)
    for n in (5, 0, 3):
        again = second[n]
        assert torch.equal(again.image, drawn[n].image)
        assert torch.equal(again.depth.nan_to_num(), drawn[n].depth.nan_to_num())
    # Metric depth of the ground is 1.5 f / (v - horizon) whatever was done to the image.
    heights_m = []
    for sample in drawn:
        _, fy, _, cy = sample.intrinsics[0].tolist()
        rows_px = torch.arange(64.0)[:, None].expand(64, 128)
        metres = sample.depth[0] / sample.label_per_metre
        near = torch.isfinite(metres) & (metres < 12)
        heights_m.append((metres * (rows_px - cy) / fy)[near])
    # Rows are spaced by one over their distance to the horizon; nearest sampling moves by up to half a row.
    assert torch.cat(heights_m).numel() > 1000
    assert abs(float(torch.cat(heights_m).median()) - 1.5) < 0.15
