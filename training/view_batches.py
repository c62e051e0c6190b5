"""Batches of varied views for one process of a run; sample n is the same whenever and wherever it is drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from metric3d_ros.errors import Metric3dError
from training.annotated_views import AnnotatedViews
from training.errors import TrainingError
from training.foreign_top import under_foreign_top, under_padding
from training.label_kind import LABEL_KINDS, label_kind
from training.labelled_view import NO_REGION, LabelledView
from training.mixture import Mixture, Place
from training.recipe_parts import DatasetRecipe, ViewRecipe
from training.run_recipe import RunRecipe
from training.view_sources import KittiViews, NyuViews, PoolViews, SimulatedViews, ViewSource
from training.view_variation import Photometric, varied_view

# So many broken views in the place of one sample are no accident.
MAX_ATTEMPTS = 20
# A foreign top is that of one of so many samples that follow: of any group, as often as it has its turn.
FOREIGN_WITHIN = 1000


@dataclass(frozen=True)
class ViewBatch:
    """The samples of one forward pass.

    Attributes
    ----------
    image : uint8 (B, 3, H, W) RGB.
    depth : float32 (B, H, W) in the unit of the label, NaN where there is no reading.
    normal : float32 (B, 3, H, W), NaN where there is none.
    regions, planes : int32 (B, H, W), 0 for none.
    sky, content : bool (B, H, W).
    intrinsics : float32 (B, 4), fx, fy, cx, cy of the pixels.
    label_per_metre : float32 (B,).
    kind : int64 (B,), places in ``LABEL_KINDS``.
    number : int64 (B,), the samples' numbers in the run.
    unreadable : sentences about the views that could not be had and were replaced.
    """

    image: Tensor
    depth: Tensor
    normal: Tensor
    regions: Tensor
    planes: Tensor
    sky: Tensor
    content: Tensor
    intrinsics: Tensor
    label_per_metre: Tensor
    kind: Tensor
    number: Tensor
    unreadable: tuple[str, ...] = ()

    def to(self, device: torch.device) -> ViewBatch:
        """The batch on a device."""
        tensors: dict[str, Any] = {name: getattr(self, name).to(device, non_blocking=True) for name in TENSORS}
        return replace(self, **tensors)


TENSORS = tuple(f.name for f in fields(ViewBatch) if f.name != "unreadable")


def open_source(recipe: DatasetRecipe, run: RunRecipe) -> ViewSource:
    """The data set that a recipe names.

    Raises
    ------
    DatasetError, TrainingError
        If it is not there or has no views.
    """
    path = Path(recipe.path)
    if recipe.reader == "annotations":
        root = Path(recipe.root) if recipe.root else None
        return AnnotatedViews(path, label_kind(recipe.kind), root, recipe.sky_ids, recipe.plane_ids)
    if recipe.reader == "kitti_raw":
        return KittiViews(path, recipe.drive, recipe.frames, recipe.bottom_crop_px)
    if recipe.reader == "nyu":
        return NyuViews(path)
    if recipe.reader == "simulated":
        return SimulatedViews(recipe.style, run.seed, recipe.size, recipe.long_side_px)
    return PoolViews(path)


class RunSamples(Dataset[ViewBatch]):
    """Sample n of a run as a batch of one.

    A view that cannot be read costs that sample: another view of the same group takes its place, and the batch
    says which and why.

    Raises
    ------
    DatasetError, TrainingError
        If a data set is not there or has no views.
    """

    def __init__(self, recipe: RunRecipe) -> None:
        self.recipe = recipe
        self.groups = [[open_source(entry, recipe) for entry in group] for group in recipe.groups.values()]
        turns = [recipe.turns.get(name, 1) for name in recipe.groups]
        self.mixture = Mixture([[len(source) for source in group] for group in self.groups], recipe.seed, turns)
        self._photometric = Photometric(recipe.photometric)

    def __reduce__(self) -> tuple[type[RunSamples], tuple[RunRecipe]]:
        """Data loader processes open the data sets themselves: what is kept of rendered views is large."""
        return RunSamples, (self.recipe,)

    def __getitem__(self, n: int) -> ViewBatch:
        """Sample ``n``.

        Raises
        ------
        TrainingError
            If a whole row of views that could take its place is unreadable too.
        """
        unreadable: list[str] = []
        for attempt in range(MAX_ATTEMPTS):
            try:
                varied = self._under_some_top(self._varied(n, attempt, self.mixture.place(n, attempt)), n, attempt)
            except Metric3dError as error:
                unreadable.append(str(error))
                continue
            batch = batch_of_one(varied, n, self._label_per_metre(varied))
            return replace(batch, unreadable=tuple(unreadable))
        raise TrainingError(
            f"{MAX_ATTEMPTS} views in a row cannot be read, the last one because: {unreadable[-1]}"
        )

    def _view(self, place: Place) -> LabelledView:
        source = self.groups[place.group][place.dataset]
        is_endless = isinstance(source, SimulatedViews)
        return source[place.index + place.round * len(source) if is_endless else place.index]

    def _varied(self, n: int, attempt: int, place: Place) -> LabelledView:
        rng = np.random.default_rng([self.recipe.seed, n, attempt, 3])
        canonical_image_px = self.recipe.canonical_focal_px if self.recipe.canonical == "image" else None
        dataset = list(self.recipe.groups.values())[place.group][place.dataset]
        return varied_view(
            rng, self._view(place), self._stage(n), self._photometric, canonical_image_px, dataset.tall_probability
        )

    def _under_some_top(self, view: LabelledView, n: int, attempt: int) -> LabelledView:
        """The view itself or, at the recipe's shares, under the top of another, varied alike, or under none."""
        rng = np.random.default_rng([self.recipe.seed, n, attempt, 4])
        stage, drawn = self._stage(n), rng.random()
        if drawn >= stage.foreign_top_probability + stage.padded_top_probability:
            return view
        if drawn >= stage.foreign_top_probability:
            return under_padding(rng, view)
        other = self._varied(n, attempt, self.mixture.place(n + 1 + int(rng.integers(FOREIGN_WITHIN))))
        if other.kind is not view.kind:
            return view
        return under_foreign_top(rng, view, other, self._label_per_metre(other) / self._label_per_metre(view))

    def _stage(self, n: int) -> ViewRecipe:
        return self.recipe.view_at(n // self.recipe.batch_size)

    def _label_per_metre(self, view: LabelledView) -> float:
        return view.label_per_metre(self.recipe.canonical, self.recipe.canonical_focal_px)


def batch_of_one(view: LabelledView, n: int, label_per_metre: float) -> ViewBatch:
    """A view at the network's size as tensors, its depth in the label's unit."""
    size = view.depth_m.shape
    nowhere = np.zeros(size, dtype=np.bool_)
    no_region = np.full(size, NO_REGION, dtype=np.int32)
    normal = np.full((*size, 3), np.nan, dtype=np.float32) if view.normal is None else view.normal
    camera = view.camera
    return ViewBatch(
        image=_batched(view.image.transpose(2, 0, 1)),
        depth=_batched(view.depth_m * np.float32(label_per_metre)),
        normal=_batched(normal.transpose(2, 0, 1)),
        regions=_batched(no_region if view.regions is None else view.regions),
        planes=_batched(no_region if view.planes is None else view.planes),
        sky=_batched(nowhere if view.sky is None else view.sky),
        content=_batched(~nowhere if view.content is None else view.content),
        intrinsics=torch.tensor([[camera.fx, camera.fy, camera.cx, camera.cy]], dtype=torch.float32),
        label_per_metre=torch.tensor([label_per_metre], dtype=torch.float32),
        kind=torch.tensor([LABEL_KINDS.index(view.kind)]),
        number=torch.tensor([n]),
    )


def _batched(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)[None])


def joined(samples: Sequence[ViewBatch]) -> ViewBatch:
    """Several batches as one."""
    tensors: dict[str, Any] = {name: torch.cat([getattr(sample, name) for sample in samples]) for name in TENSORS}
    return ViewBatch(**tensors, unreadable=tuple(text for sample in samples for text in sample.unreadable))


def micro_batches(samples: RunSamples, first_step: int, rank: int, processes: int) -> Iterator[ViewBatch]:
    """What one process takes of every step from ``first_step`` on, ``accumulate`` batches a step.

    Step s consists of samples s B to (s + 1) B - 1; process r takes the r-th part of them, in order.
    """
    recipe = samples.recipe
    share = recipe.batch_size // (processes * recipe.accumulate)
    firsts = (
        step * recipe.batch_size + (rank * recipe.accumulate + part) * share
        for step in range(first_step, recipe.schedule.steps)
        for part in range(recipe.accumulate)
    )
    loader: DataLoader[ViewBatch] = DataLoader(
        samples,
        batch_sampler=[list(range(first, first + share)) for first in firsts],
        collate_fn=joined,
        num_workers=recipe.workers,
        worker_init_fn=one_thread,
        # OpenCV's and torch's threads do not survive a fork: a forked reader waits for them for ever.
        multiprocessing_context="spawn" if recipe.workers else None,
    )
    yield from loader


def one_thread(_worker: int) -> None:
    """Keep a reading process to one thread."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
