"""The pool: labelled views in shards on disk, rendered once, drawn from many times.

A shard is three .npy files (memory-mapped when read, no pickle) of ``VIEWS_PER_SHARD`` views: network images
(uint8, letterboxed around the row of the principal point), canonical depth (float16, NaN for no reading) and the
content box. A shard counts from the moment its last file has its name, so a pool may be read while it is growing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.errors import TrainingError

VIEWS_PER_SHARD = 16
# The content box is written last: a reader takes its presence for the whole shard's.
MARKER = "content"


@dataclass(frozen=True)
class View:
    """One labelled network input.

    Attributes
    ----------
    image : uint8 (height, width, 3) RGB, letterboxed around the row of its principal point.
    depth : float32 (height, width), canonical units, NaN where there is no reading (sky, padding).
    content : left, top, width, height of the image inside its padding, in pixels.
    """

    image: NDArray[np.uint8]
    depth: NDArray[np.float32]
    content: tuple[int, int, int, int]


def has_shard(folder: Path, index: int) -> bool:
    """Whether shard ``index`` is complete."""
    return (folder / f"{index:06d}_{MARKER}.npy").exists()


def save_shard(folder: Path, index: int, views: Sequence[View]) -> None:
    """Write ``VIEWS_PER_SHARD`` views of one size as shard ``index``."""
    if len(views) != VIEWS_PER_SHARD:
        raise TrainingError(f"shard {index} has {len(views)} views; it must have {VIEWS_PER_SHARD}.")
    arrays: dict[str, NDArray[Any]] = {
        "image": np.stack([view.image for view in views]),
        "depth": np.stack([view.depth for view in views]).astype(np.float16),
        MARKER: np.array([view.content for view in views], dtype=np.int32),
    }
    for name, array in arrays.items():
        partial = folder / f".{index:06d}_{name}.{os.getpid()}.npy"
        np.save(partial, array)
        partial.replace(folder / f"{index:06d}_{name}.npy")


class Pool:
    """The complete shards of a folder, memory-mapped.

    Raises
    ------
    TrainingError
        If the folder holds no shard.
    """

    def __init__(self, folder: Path) -> None:
        self._images: list[NDArray[np.uint8]] = []
        self._depths: list[NDArray[np.float16]] = []
        self._contents: list[NDArray[np.int32]] = []
        for marker in sorted(folder.glob(f"[0-9]*_{MARKER}.npy")):
            stem = marker.name.removesuffix(f"_{MARKER}.npy")
            self._images.append(np.load(folder / f"{stem}_image.npy", mmap_mode="r"))
            self._depths.append(np.load(folder / f"{stem}_depth.npy", mmap_mode="r"))
            self._contents.append(np.load(marker))
        if not self._images:
            raise TrainingError(
                f"no rendered views in {folder}; run: python -m training.simulated_pool --out {folder}"
            )

    def __len__(self) -> int:
        return len(self._images) * VIEWS_PER_SHARD

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.float32], float]:
        """A view without its padding.

        Returns
        -------
        image : (height, width, 3).
        depth : (height, width), canonical units.
        principal_row_px : of the camera in this image, within half a pixel.
        """
        shard, row = divmod(index, VIEWS_PER_SHARD)
        left, top, width_px, height_px = (int(v) for v in self._contents[shard][row])
        inside = np.s_[row, top : top + height_px, left : left + width_px]
        image, depth = self._images[shard], self._depths[shard]
        return np.array(image[inside]), depth[inside].astype(np.float32), (image.shape[1] - 1) / 2 - top
