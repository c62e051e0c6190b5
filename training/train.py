"""Train a network from a recipe, or go on where the last run stopped.

python -m training.train training/recipes/nano.yaml [key=value ...]
"""

from __future__ import annotations

import argparse
import copy
import csv
import math
import sys
import time
from pathlib import Path

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from metric3d_ros.errors import Metric3dError
from training.batches import AugmentedViews, Batch, batches
from training.checkpoint import Checkpoint, build_network, load_checkpoint, save_checkpoint
from training.errors import CheckpointError
from training.losses import (
    confidence_loss,
    image_scale_loss,
    log_error,
    log_gradient_loss,
    log_l1_loss,
    silog_loss,
)
from training.recipe import Recipe, load_recipe

LOG_EVERY_STEPS = 10


def learning_rate(recipe: Recipe, step: int) -> float:
    """Linear warm-up, constant, linear cool-down to zero."""
    warm_up = min(1.0, (step + 1) / max(1, recipe.warmup_steps))
    cooldown_steps = max(1, round(recipe.steps * recipe.cooldown_fraction))
    cool_down = min(1.0, (recipe.steps - step) / cooldown_steps)
    return recipe.learning_rate * warm_up * cool_down


def parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Weight decay for convolutions; none for biases and normalisation, which it would only shrink."""
    decayed = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def losses(recipe: Recipe, log_depth: Tensor, confidence_logit: Tensor, batch: Batch) -> dict[str, Tensor]:
    """Every loss by name, and their weighted sum as ``total``."""
    _, depth, content = batch
    labelled = torch.isfinite(depth)
    g = log_error(log_depth, depth, labelled)
    parts = {
        "l1": log_l1_loss(g, labelled),
        "silog": silog_loss(g, labelled),
        "scale": image_scale_loss(g, labelled),
        "gradient": log_gradient_loss(g, labelled),
        "confidence": confidence_loss(confidence_logit, g, labelled, content),
    }
    parts["total"] = (
        recipe.l1_weight * parts["l1"]
        + recipe.silog_weight * parts["silog"]
        + recipe.scale_weight * parts["scale"]
        + recipe.gradient_weight * parts["gradient"]
        + recipe.confidence_weight * parts["confidence"]
    )
    return parts


class Trainer:
    """One run: the network, its average, the optimiser and how far they are."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        torch.manual_seed(recipe.seed)
        self.network = build_network(recipe)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = copy.deepcopy(self.network).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.network, recipe.weight_decay), lr=recipe.learning_rate, betas=(0.9, 0.99)
        )
        self.step = 0
        self.skipped_steps = 0
        self.minutes = 0.0

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint.

        Raises
        ------
        CheckpointError
            If it is of another architecture.
        """
        try:
            self.network.load_state_dict(checkpoint.network)
            self.averaged.load_state_dict(checkpoint.averaged)
            self.optimizer.load_state_dict(checkpoint.optimizer)
        except (RuntimeError, ValueError):
            raise CheckpointError(
                f"the checkpoint in {self.recipe.output} is of another architecture than the recipe; "
                "give another output=FOLDER."
            ) from None
        self.step, self.minutes = checkpoint.step, checkpoint.minutes
        self.skipped_steps = checkpoint.skipped_steps

    def checkpoint(self) -> Checkpoint:
        """The run as it stands."""
        return Checkpoint(
            recipe=self.recipe,
            step=self.step,
            skipped_steps=self.skipped_steps,
            minutes=self.minutes,
            network=self.network.state_dict(),
            averaged=self.averaged.state_dict(),
            optimizer=self.optimizer.state_dict(),
        )

    def train_step(self, batch: Batch) -> dict[str, float]:
        """One optimisation step; a step whose loss or gradient is not finite moves no weight and is counted."""
        started = time.monotonic()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.recipe, self.step)
        self.network.train()
        image = batch[0].float().contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.mixed_precision):
            log_depth, confidence_logit = self.network(image)
        parts = losses(self.recipe, log_depth, confidence_logit, batch)
        self.optimizer.zero_grad(set_to_none=True)
        parts["total"].backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.max_gradient_norm)
        if torch.isfinite(norm) and torch.isfinite(parts["total"]):
            self.optimizer.step()
            self._average()
        else:
            self.skipped_steps += 1
        self.step += 1
        self.minutes += (time.monotonic() - started) / 60
        return {name: float(value.detach()) for name, value in parts.items()}

    def _average(self) -> None:
        # A young average must not remember the random start.
        decay = min(self.recipe.ema_decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            pairs = zip(self.averaged.state_dict().values(), self.network.state_dict().values(), strict=True)
            for average, current in pairs:
                if average.is_floating_point():
                    average.lerp_(current, 1 - decay)
                else:
                    average.copy_(current)


def train(recipe: Recipe, workers: int = 1, quiet: bool = False) -> Trainer:
    """Run a recipe to its last step, resuming from its output folder, and leave checkpoint and log there.

    Raises
    ------
    CheckpointError, TrainingError
        If the checkpoint or the pool cannot be used.
    """
    torch.set_num_threads(recipe.threads)
    views = AugmentedViews(recipe)
    output = Path(recipe.output)
    checkpoint_path = output / "checkpoint.pt"
    trainer = Trainer(recipe)
    if checkpoint_path.exists():
        trainer.resume(load_checkpoint(checkpoint_path))
    output.mkdir(parents=True, exist_ok=True)
    (output / "recipe.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (output / "log.csv").open("a", newline="") as log, Progress(*columns, disable=quiet) as progress:
        rows = csv.writer(log)
        bar = progress.add_task("training", total=recipe.steps, completed=trainer.step)
        running: dict[str, float] = {}
        for batch in batches(views, trainer.step, workers):
            parts = trainer.train_step(batch)
            for name, value in parts.items():
                if math.isfinite(value):
                    running[name] = 0.98 * running.get(name, value) + 0.02 * value
            progress.update(bar, completed=trainer.step, description=f"loss {running.get('total', 0):.3f}")
            if trainer.step % LOG_EVERY_STEPS == 0:
                rows.writerow([trainer.step, f"{trainer.minutes:.3f}", *(f"{v:.5f}" for v in parts.values())])
                log.flush()
            if trainer.step % recipe.checkpoint_every_steps == 0 or trainer.step == recipe.steps:
                save_checkpoint(checkpoint_path, trainer.checkpoint())
    return trainer


def main(arguments: list[str] | None = None) -> int:
    """Train; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="recipe values to change")
    options = parser.parse_args(arguments)
    try:
        trainer = train(load_recipe(options.recipe, options.overrides))
    except Metric3dError as error:
        print(f"train: {error}", file=sys.stderr)
        return 2
    print(
        f"{trainer.step} steps in {trainer.minutes:.1f} min, {trainer.skipped_steps} skipped: "
        f"{Path(trainer.recipe.output) / 'checkpoint.pt'}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
