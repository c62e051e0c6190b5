"""The trainer: one run on one CPU, one GPU or many machines, on Lightning Fabric.

A step is the mean over ``batch_size`` images, however they are dealt out: over processes (``torchrun``), and over
``accumulate`` parts inside each. A step that is not finite moves nothing and is counted.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricOptimizer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from metric3d_ros.atomic_file import atomic_file, make_output_folder
from training.errors import CheckpointError, TrainingError
from training.initial_weights import load_initial_weights
from training.models.prediction import CanonicalPrediction
from training.prediction_loss import batch_losses
from training.processes import start_fabric
from training.run_checkpoint import RunCheckpoint, build_from, check_weights, load_run, save_run
from training.run_log import RunLog, note_unreadable
from training.run_recipe import RunRecipe
from training.sharding import moments_dealt_out, weights_dealt_out, whole
from training.trained_network import TrainedNetwork, memory_format_of
from training.view_batches import RunSamples, ViewBatch, micro_batches

CHECKPOINT_NAME = "checkpoint.pt"
# Before so many samples a share of broken ones says little.
MIN_SAMPLES_JUDGED = 200
# The peak rate of a parameter group, kept beside the rate of the moment.
PEAK = "peak_learning_rate"


def parameter_groups(network: TrainedNetwork, recipe: RunRecipe) -> list[dict[str, object]]:
    """AdamW's groups: encoder and rest at their own rates; biases and norms do not decay."""
    encoder = network.encoder_parameters()
    choice = recipe.optimizer
    rates = (
        (True, choice.encoder_learning_rate, choice.encoder_weight_decay),
        (False, choice.decoder_learning_rate, choice.decoder_weight_decay),
    )
    groups: list[dict[str, object]] = []
    for (of_encoder, rate, decay), is_matrix in itertools.product(rates, (True, False)):
        chosen = [
            p for p in network.parameters() if (id(p) in encoder) is of_encoder and (p.ndim > 1) is is_matrix
        ]
        if chosen:
            groups.append({"params": chosen, "lr": rate, PEAK: rate, "weight_decay": decay if is_matrix else 0.0})
    return groups


class FabricTrainer:
    """One run: the network, its average, the optimiser, and how far they are.

    Parameters
    ----------
    recipe : the run's choices.
    fabric : of ``training.processes.start_fabric``.
    """

    def __init__(self, recipe: RunRecipe, fabric: Fabric) -> None:
        self.recipe = recipe
        self.fabric = fabric
        torch.manual_seed(recipe.seed)
        self.network = build_from(recipe)
        self._memory_format = memory_format_of(recipe.network.name)
        self.network.to(memory_format=self._memory_format)  # type: ignore[call-overload]
        if fabric.world_size > 1 and fabric.device.type == "cuda":
            self.network = nn.SyncBatchNorm.convert_sync_batchnorm(self.network)  # type: ignore[no-untyped-call]
        # Sharding puts other parameters into the network, so the optimiser has to come after it.
        self.parallel = fabric.setup_module(self.network)
        optimizer = torch.optim.AdamW(
            parameter_groups(self.network, recipe),
            betas=(recipe.optimizer.betas[0], recipe.optimizer.betas[1]),
            eps=recipe.optimizer.epsilon,
        )
        # One optimiser in, one out: the tuple is for several.
        self.optimizer: _FabricOptimizer = fabric.setup_optimizers(optimizer)  # type: ignore[assignment]
        self.averaged = self._weights()
        self.step = self.skipped_steps = self.samples = self.unreadable = 0
        self.minutes = 0.0
        self.last_prediction: CanonicalPrediction | None = None

    def begin(self, images: Iterator[Tensor]) -> None:
        """Take the recipe's initial weights; ``images`` are batches as in training.

        Raises
        ------
        CheckpointError, TrainingError
            If they are not there or of another architecture.
        """
        if not self.recipe.network.initial:
            return
        network = build_from(self.recipe)
        load_initial_weights(network, self.recipe.network, images)
        self.network.load_state_dict(weights_dealt_out(network.state_dict(), self.network))
        self.averaged = self._weights()

    def resume(self, checkpoint: RunCheckpoint) -> None:
        """Go on from a checkpoint.

        Raises
        ------
        CheckpointError
            If it is of another architecture.
        """
        check_weights(self.network, checkpoint.network, f"the checkpoint in {self.recipe.output}")
        self.network.load_state_dict(weights_dealt_out(checkpoint.network, self.network))
        self.averaged = weights_dealt_out(checkpoint.averaged, self.network)
        try:
            self.optimizer.load_state_dict(moments_dealt_out(checkpoint.optimizer, self.optimizer.optimizer))
        except ValueError as error:
            raise CheckpointError(
                f"the checkpoint in {self.recipe.output} has another optimiser ({error}); give another "
                "output folder."
            ) from None
        self.step, self.skipped_steps = checkpoint.step, checkpoint.skipped_steps
        self.samples, self.unreadable = checkpoint.samples, checkpoint.unreadable
        self.minutes = checkpoint.minutes

    def checkpoint(self) -> RunCheckpoint:
        """The run as it stands, its tensors whole; every process must ask for it."""
        return RunCheckpoint(
            recipe=self.recipe,
            step=self.step,
            skipped_steps=self.skipped_steps,
            samples=self.samples,
            unreadable=self.unreadable,
            minutes=self.minutes,
            network=whole(self.network.state_dict()),
            averaged=whole(self.averaged),
            optimizer=whole(self.optimizer.state_dict()),
        )

    def _weights(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}

    def train_step(self, parts: list[ViewBatch]) -> dict[str, float]:
        """One optimisation step over this process's parts; the losses are means over all processes.

        Raises
        ------
        TrainingError
            If more samples than the recipe allows were broken.
        """
        started = time.monotonic()
        self.network.train()
        sums: dict[str, Tensor] = {}
        for index, batch in enumerate(parts):
            is_last = index == len(parts) - 1
            for name, value in self._backward(batch, len(parts), is_last).items():
                sums[name] = sums.get(name, torch.zeros_like(value)) + value / len(parts)
        self._move()
        self.step += 1
        self._count_samples(parts)
        means = self.fabric.all_reduce(torch.stack(list(sums.values())), reduce_op="mean")
        self.minutes += (time.monotonic() - started) / 60
        return dict(zip(sums, (float(value) for value in means), strict=True))

    def _backward(self, batch: ViewBatch, parts: int, is_last: bool) -> dict[str, Tensor]:
        batch = batch.to(self.fabric.device)
        alone = self.fabric.world_size == 1 or is_last
        with nullcontext() if alone else self.fabric.no_backward_sync(self.parallel):
            predictions = self.parallel(batch.image.float().contiguous(memory_format=self._memory_format))
            losses = batch_losses(self.recipe.losses, predictions, batch, self.recipe.seed)
            self.fabric.backward(losses["total"] / parts)
        self.last_prediction = predictions[-1]
        return {name: value.detach() for name, value in losses.items()}

    def _move(self) -> None:
        """Gradients are the same in every process here, so all of them skip a step or none does."""
        norm = self.fabric.clip_gradients(
            self.parallel, self.optimizer, max_norm=self.recipe.max_gradient_norm, error_if_nonfinite=False
        )
        if norm is not None and torch.isfinite(whole(norm)):
            for group in self.optimizer.param_groups:
                group["lr"] = self.recipe.schedule.learning_rate(group[PEAK], self.step)
            self.optimizer.step()
            self._average()
        else:
            self.skipped_steps += 1
        self.optimizer.zero_grad(set_to_none=True)

    def _average(self) -> None:
        # A young average must not remember the random start.
        decay = min(self.recipe.ema_decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            current_weights = self.network.state_dict()
            for name, average in self.averaged.items():
                current = current_weights[name]
                if average.is_floating_point():
                    average.lerp_(current, 1 - decay)
                else:
                    average.copy_(current)

    def _count_samples(self, parts: list[ViewBatch]) -> None:
        broken = sum(len(batch.unreadable) for batch in parts)
        counted = self.fabric.all_reduce(torch.tensor(float(broken), device=self.fabric.device), reduce_op="sum")
        assert isinstance(counted, Tensor)
        self.unreadable += int(counted)
        self.samples += self.recipe.batch_size
        allowed = self.recipe.max_unreadable_share * max(self.samples, MIN_SAMPLES_JUDGED)
        if self.unreadable > allowed:
            share = 100 * self.unreadable / self.samples
            raise TrainingError(
                f"{self.unreadable} of {self.samples} samples ({share:.0f} %) cannot be read, more than "
                f"max_unreadable_share={self.recipe.max_unreadable_share:g} allows; "
                f"{self.recipe.output}/unreadable.txt names them."
            )


def fit(recipe: RunRecipe, quiet: bool = False) -> FabricTrainer:
    """Run a recipe to its last step, resuming from its output folder, and leave checkpoint and logs there.

    Raises
    ------
    CheckpointError, TrainingError, DatasetError, OutputError
        If the checkpoint or the data cannot be used, or the output cannot be written.
    """
    fabric = start_fabric(recipe)
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    samples = RunSamples(recipe)
    trainer = FabricTrainer(recipe, fabric)
    output = Path(recipe.output)
    if (output / CHECKPOINT_NAME).exists():
        trainer.resume(load_run(output / CHECKPOINT_NAME))
    else:
        batches = micro_batches(samples, 0, fabric.global_rank, fabric.world_size)
        trainer.begin(batch.image for batch in batches)
    if fabric.is_global_zero:
        make_output_folder(output)
        with atomic_file(output / "recipe.yaml") as file:
            file.write(recipe.to_yaml().encode())
        with RunLog(output, [*recipe.losses, "total", "learning_rate", "skipped"], trainer.step) as log:
            _run(trainer, samples, log, quiet)
    else:
        _run(trainer, samples, None, quiet=True)
    return trainer


def _run(trainer: FabricTrainer, samples: RunSamples, log: RunLog | None, quiet: bool) -> None:
    recipe, fabric = trainer.recipe, trainer.fabric
    batches = micro_batches(samples, trainer.step, fabric.global_rank, fabric.world_size)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=quiet) as progress:
        bar = progress.add_task("training", total=recipe.schedule.steps, completed=trainer.step)
        while trainer.step < recipe.schedule.steps:
            parts = list(itertools.islice(batches, recipe.accumulate))
            sentences = [sentence for batch in parts for sentence in batch.unreadable]
            note_unreadable(Path(recipe.output), fabric.global_rank, sentences)
            losses = trainer.train_step(parts)
            progress.update(bar, completed=trainer.step, description=f"loss {losses['total']:.3f}")
            if log is not None:
                _write(trainer, log, losses, parts[-1])
            if trainer.step % recipe.checkpoint_every_steps == 0 or trainer.step == recipe.schedule.steps:
                checkpoint = trainer.checkpoint()
                if fabric.is_global_zero:
                    save_run(Path(recipe.output) / CHECKPOINT_NAME, checkpoint)


def _write(trainer: FabricTrainer, log: RunLog, losses: dict[str, float], batch: ViewBatch) -> None:
    recipe, step = trainer.recipe, trainer.step
    is_last = step == recipe.schedule.steps
    if step % recipe.log_every_steps == 0 or is_last:
        rate = max(float(group["lr"]) for group in trainer.optimizer.param_groups)
        log.write(step, {**losses, "learning_rate": rate, "skipped": trainer.skipped_steps})
    if recipe.picture_every_steps and step % recipe.picture_every_steps == 0:
        assert trainer.last_prediction is not None
        log.picture(step, batch, trainer.last_prediction)
