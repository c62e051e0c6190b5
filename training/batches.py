"""Batches of augmented views; sample n is the same whenever and wherever it is drawn, so runs can resume."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from training.augment import augment
from training.pool import Pool
from training.recipe import Recipe

REFRESH_EVERY_SAMPLES = 2000

Batch = tuple[Tensor, Tensor, Tensor]


class AugmentedViews(Dataset[Batch]):
    """Sample n of a run: a random view of the pool, randomly varied, both decided by (seed, n)."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.pool = Pool(Path(recipe.pool))
        self._drawn = 0

    def __getitem__(self, n: int) -> Batch:
        """Image uint8 (3, H, W), canonical depth float32 (1, H, W) or NaN, content bool (1, H, W)."""
        self._drawn += 1
        if self._drawn % REFRESH_EVERY_SAMPLES == 0:
            self.pool.refresh()
        rng = np.random.default_rng([self.recipe.seed, n])
        image, depth = self.pool[int(rng.integers(len(self.pool)))]
        stage = self.recipe.stage_at(n // self.recipe.batch_size)
        sample = augment(
            rng,
            image,
            depth,
            height_px=stage.height_px,
            width_px=stage.width_px,
            resize_range=(stage.resize_range[0], stage.resize_range[1]),
            gray_probability=self.recipe.gray_probability,
        )
        return (
            torch.from_numpy(sample.image),
            torch.from_numpy(sample.depth).unsqueeze(0),
            torch.from_numpy(sample.content).unsqueeze(0),
        )


def batches(views: AugmentedViews, first_step: int, workers: int = 1) -> Iterator[Batch]:
    """The batches of steps ``first_step`` to the last."""
    size = views.recipe.batch_size
    indices = [list(range(s * size, (s + 1) * size)) for s in range(first_step, views.recipe.steps)]
    loader: DataLoader[Batch] = DataLoader(
        views, batch_sampler=indices, num_workers=workers, worker_init_fn=_one_thread
    )
    yield from loader


def _one_thread(_worker: int) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
