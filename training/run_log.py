"""What a run leaves behind as it goes: a CSV log, TensorBoard events and sample pictures."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TextIO

import numpy as np
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter

from metric3d_ros.atomic_file import atomic_file, make_output_folder
from metric3d_ros.depth_picture import depth_strip, write_png
from training.models.prediction import CanonicalPrediction
from training.view_batches import ViewBatch

PICTURED_IMAGES = 4
MIN_PICTURED_M = 1e-3


class RunLog:
    """The logs of one run in its output folder; those of a resumed run go on where its checkpoint was taken.

    Parameters
    ----------
    folder : the run's output.
    columns : names of what is logged each time.
    first_step : rows of later steps are from after the checkpoint, and are dropped.
    """

    def __init__(self, folder: Path, columns: Sequence[str], first_step: int) -> None:
        self._folder = folder
        self._columns = ["step", *columns]
        kept = _rows_up_to(folder / "log.csv", self._columns, first_step)
        if kept is None:
            # Another recipe's losses: its log stays, under another name.
            (folder / "log.csv").replace(folder / f"log_to_step_{first_step}.csv")
            kept = []
        with atomic_file(folder / "log.csv") as file:
            file.write("".join(",".join(row) + "\r\n" for row in [self._columns, *kept]).encode())
        self._file: TextIO = (folder / "log.csv").open("a", newline="", encoding="utf-8")
        self._csv = csv.writer(self._file)
        self._events = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step + 1)

    def __enter__(self) -> RunLog:
        """The log, closed at the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the files."""
        self._file.close()
        self._events.close()

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """One row of numbers."""
        self._csv.writerow([step, *(f"{values[name]:.6g}" for name in self._columns[1:])])
        self._file.flush()
        for name, value in values.items():
            self._events.add_scalar(name, value, step)

    def picture(self, step: int, batch: ViewBatch, prediction: CanonicalPrediction) -> None:
        """Images over their labels, and over what the network says, in metres."""
        samples: list[tuple[NDArray[np.uint8], NDArray[np.float32]]] = []
        for index in range(min(PICTURED_IMAGES, len(batch.number))):
            rgb = np.ascontiguousarray(batch.image[index].permute(1, 2, 0).cpu().numpy())
            metre = float(batch.label_per_metre[index])
            guessed = prediction.depth[index, 0].detach().float().cpu().numpy() / metre
            label_m: NDArray[np.float32] = (batch.depth[index].cpu() / metre).float().numpy()
            samples.append((rgb, label_m))
            samples.append((rgb, np.maximum(guessed, MIN_PICTURED_M).astype(np.float32)))
        strip = depth_strip(samples)
        pictures = self._folder / "pictures"
        pictures.mkdir(exist_ok=True)
        write_png(strip, pictures / f"step_{step:07d}.png")
        self._events.add_image("samples", strip, step, dataformats="HWC")


def note_unreadable(folder: Path, rank: int, sentences: Sequence[str]) -> None:
    """Name the samples that process ``rank`` could not read."""
    if not sentences:
        return
    name = "unreadable.txt" if rank == 0 else f"unreadable_{rank}.txt"
    with (make_output_folder(folder) / name).open("a", encoding="utf-8") as file:
        file.writelines(f"{sentence}\n" for sentence in sentences)


def _rows_up_to(path: Path, columns: Sequence[str], step: int) -> list[list[str]] | None:
    """The rows of a log up to a step; None where it has other columns."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = list(csv.reader(file)) or [[]]
    if header and header != list(columns):
        return None
    return [row for row in rows if len(row) == len(columns) and row[0].isdigit() and int(row[0]) <= step]
