"""A short run on flat ground: the loss falls, a run resumes, the export gives what torch gives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from training.batches import AugmentedViews, batches
from training.checkpoint import averaged_network, load_checkpoint, save_checkpoint
from training.errors import CheckpointError, TrainingError
from training.export import export, main
from training.metrics import depth_metrics
from training.pool import VIEWS_PER_SHARD, Pool, View, save_shard
from training.recipe import recipe_from_values
from training.train import Trainer, learning_rate, train

HEIGHT_PX, WIDTH_PX = 64, 128


def flat_ground(rng):
    """Speckled ground under a blue sky, the camera 1.6 m up, the horizon anywhere."""
    horizon = int(rng.integers(16, 40))
    rows = np.arange(HEIGHT_PX - horizon) + 1
    depth = np.full((HEIGHT_PX, WIDTH_PX), np.nan, dtype=np.float32)
    depth[horizon:] = (1600 / rows)[:, None]
    image = rng.integers(60, 120, (HEIGHT_PX, WIDTH_PX, 3), dtype=np.uint8)
    image[:horizon] = (130, 170, 230)
    return View(image=image, depth=depth, content=(0, 0, WIDTH_PX, HEIGHT_PX))


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ground")
    rng = np.random.default_rng(0)
    for shard in range(2):
        save_shard(folder, shard, [flat_ground(rng) for _ in range(VIEWS_PER_SHARD)])
    return recipe_from_values(
        {
            "model": "nano",
            "seed": 1,
            "height_px": HEIGHT_PX,
            "width_px": WIDTH_PX,
            "widths": [8, 16, 24, 32, 48],
            "depths": [1, 1, 1, 1],
            "decoder_widths": [32, 24, 16],
            "pool": str(folder),
            "output": str(folder / "out"),
            "steps": 60,
            "batch_size": 8,
            "stages": [
                {"first_step": 0, "height_px": 64, "width_px": 96, "resize_range": [0.8, 1.0]},
                {"first_step": 30, "height_px": 64, "width_px": 128, "resize_range": [0.9, 1.1]},
            ],
            "learning_rate": 4e-3,
            "weight_decay": 0.01,
            "warmup_steps": 5,
            "cooldown_fraction": 0.3,
            "ema_decay": 0.9,
            "max_gradient_norm": 2.5,
            "mixed_precision": False,
            "threads": 1,
            "l1_weight": 1.0,
            "silog_weight": 0.5,
            "scale_weight": 0.5,
            "gradient_weight": 0.5,
            "confidence_weight": 0.2,
            "gray_probability": 0.3,
            "checkpoint_every_steps": 20,
        }
    )


@pytest.fixture(scope="module")
def trained(recipe):
    return train(recipe, workers=0, quiet=True)


@pytest.mark.slow
def test_a_short_run_learns_flat_ground(recipe, trained):
    fresh = Trainer(recipe)
    batch = next(iter(batches(AugmentedViews(recipe), 0, workers=0)))
    before = fresh.train_step(batch)["total"]
    after = trained.checkpoint()
    network = averaged_network(after)
    rng = np.random.default_rng(99)
    views = [flat_ground(rng) for _ in range(4)]
    with torch.inference_mode():
        image = torch.from_numpy(np.stack([v.image.transpose(2, 0, 1) for v in views])).float()
        predicted = network(image)[0].exp()[:, 0].numpy()
    # Canonical depth serves as metres at a tenth of its size, so that the 80 m limit keeps the ground.
    found = [
        depth_metrics((p / 20).astype(np.float32), (v.depth / 20).astype(np.float32))
        for p, v in zip(predicted, views, strict=True)
    ]
    assert np.mean([m.abs_rel for m in found]) < 0.2
    with (recipe_output(recipe) / "log.csv").open() as log:
        last = float(log.read().splitlines()[-1].split(",")[-1])
    assert last < 0.5 * before


def recipe_output(recipe):
    return Path(recipe.output)


def test_export_matches_torch_and_describes_itself(trained, tmp_path):
    out = tmp_path / "ground.onnx"
    checkpoint = trained.checkpoint()
    assert export(checkpoint, HEIGHT_PX, WIDTH_PX, out) < 1e-3
    properties = {p.key: p.value for p in onnx.load(out).metadata_props}
    assert properties["model"] == "nano"
    assert (properties["input_height_px"], properties["input_width_px"]) == ("64", "128")
    assert properties["canonical_focal_px"] == "1000"
    assert properties["recipe_sha256"] == checkpoint.recipe.sha256()
    assert [p.name for p in tmp_path.iterdir()] == ["ground.onnx"]


def test_export_refuses_a_size_it_cannot_run(trained, tmp_path):
    with pytest.raises(TrainingError, match="multiples of 32"):
        export(trained.checkpoint(), 60, 128, tmp_path / "no.onnx")
    assert not list(tmp_path.iterdir())


def test_a_resumed_run_takes_the_same_step(recipe, trained):
    saved = load_checkpoint(recipe_output(recipe) / "checkpoint.pt")
    batch = next(iter(batches(AugmentedViews(recipe), 0, workers=0)))
    losses = []
    for _ in range(2):
        trainer = Trainer(recipe)
        trainer.resume(saved)
        losses.append([trainer.train_step(batch)["total"] for _ in range(2)])
    assert losses[0] == losses[1]


def test_a_run_does_not_go_on_from_another_architecture(recipe, trained):
    with pytest.raises(CheckpointError, match="another architecture than the recipe"):
        train(replace(recipe, widths=(8, 16, 24, 32, 40)), workers=0, quiet=True)


def test_samples_depend_on_their_number_alone(recipe):
    first, second = AugmentedViews(recipe), AugmentedViews(recipe)
    first[0]
    assert torch.equal(first[7][0], second[7][0])
    assert not torch.equal(first[7][0], first[8][0])


def test_a_step_that_is_not_finite_is_skipped_and_counted(recipe):
    trainer = Trainer(recipe)
    image, depth, content = next(iter(batches(AugmentedViews(recipe), 0, workers=0)))
    before = [p.detach().clone() for p in trainer.network.parameters()]
    bad = torch.full_like(depth, 0.0)
    trainer.train_step((image, bad, content))
    assert trainer.skipped_steps == 1
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.network.parameters(), strict=True))


def test_learning_rate_warms_up_and_cools_down(recipe):
    rates = [learning_rate(recipe, step) for step in range(recipe.steps)]
    assert rates[0] < rates[4] == pytest.approx(recipe.learning_rate)
    assert rates[30] == pytest.approx(recipe.learning_rate)
    assert 0 < rates[-1] < 0.1 * recipe.learning_rate


def test_bad_checkpoints_are_one_sentence(recipe, trained, tmp_path, capsys):
    missing = tmp_path / "none.pt"
    assert main(["nano", "--checkpoint", str(missing), "--out", str(tmp_path / "n.onnx")]) == 2
    assert "no checkpoint at" in capsys.readouterr().err
    (tmp_path / "text.pt").write_text("not a checkpoint")
    with pytest.raises(CheckpointError, match="safe to read"):
        load_checkpoint(tmp_path / "text.pt")
    other = trained.checkpoint()
    other.averaged.pop("head.weight")
    with pytest.raises(CheckpointError, match="another architecture"):
        averaged_network(other)


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(trained, tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, trained.checkpoint())
    before = path.read_bytes()

    def full_disk(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(CheckpointError, match="No space left"):
        save_checkpoint(path, trained.checkpoint())
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_an_incomplete_shard_does_not_count(tmp_path):
    rng = np.random.default_rng(0)
    save_shard(tmp_path, 0, [flat_ground(rng) for _ in range(VIEWS_PER_SHARD)])
    np.save(tmp_path / "000001_image.npy", np.zeros(3))
    assert len(Pool(tmp_path)) == VIEWS_PER_SHARD
