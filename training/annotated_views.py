"""An annotation file of the paper's as labelled views, one per entry."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.image_files import read_rgb
from metric3d_ros.errors import ImageError
from training.annotations import Annotation, read_annotations
from training.errors import TrainingError
from training.label_kind import LabelKind
from training.labelled_view import NO_REGION, LabelledView

# Where in an image a principal point may lie, in shares of its side, and how unlike fx and fy may be: beyond it
# the four numbers are in another order, belong to another size, or the pixels are not square, which one canonical
# focal length cannot stand for.
CENTRE_SHARES = (0.2, 0.8)
MAX_FOCAL_RATIO = 1.1
# A normal map stores (n + 1) / 2 of 8 bits a channel; black is no normal.
NORMAL_SCALE = 255.0


class AnnotatedViews:
    """The entries of an annotation file.

    Parameters
    ----------
    path : the json file.
    kind : where its depth comes from.
    root : what its paths are relative to; None for the file's own folder.
    sky_ids, plane_ids : which numbers of ``sem`` are sky, and which are flat surfaces.

    Raises
    ------
    DatasetError
        If the file cannot be read or an entry lacks something.
    """

    def __init__(
        self,
        path: Path,
        kind: LabelKind,
        root: Path | None = None,
        sky_ids: tuple[int, ...] = (),
        plane_ids: tuple[int, ...] = (),
    ) -> None:
        self._entries = read_annotations(path, root)
        self._kind = kind
        self._sky_ids = sky_ids
        self._plane_ids = plane_ids

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> LabelledView:
        """One entry.

        Raises
        ------
        ImageError, CameraError, TrainingError
            If a file of it is missing or broken, its sizes differ, or its intrinsics cannot be those of the image.
        """
        entry = self._entries[index]
        rgb, depth_m, camera = entry.read()
        _require_size(depth_m, entry.depth_path, rgb, entry.rgb_path)
        require_plausible_intrinsics(camera, entry.rgb_path)
        if entry.depth_mask_path is not None:
            mask = _read_numbers(entry.depth_mask_path)
            _require_size(mask, entry.depth_mask_path, rgb, entry.rgb_path)
            depth_m = np.where(mask > 0, depth_m, np.float32(np.nan))
        view = LabelledView(rgb, depth_m, camera, self._kind)
        if entry.normal_path is not None:
            normal = _read_normals(entry.normal_path)
            _require_size(normal, entry.normal_path, rgb, entry.rgb_path)
            view = replace(view, normal=normal)
        return self._with_regions(entry, view)

    def _with_regions(self, entry: Annotation, view: LabelledView) -> LabelledView:
        if entry.sem_path is None:
            return view
        numbers = _read_numbers(entry.sem_path)
        _require_size(numbers, entry.sem_path, view.image, entry.rgb_path)
        sky = np.isin(numbers, self._sky_ids)
        # Numbers start at 0 in most palettes, and here 0 is no region.
        return replace(
            view,
            regions=np.where(sky, NO_REGION, numbers + 1).astype(np.int32),
            planes=np.where(np.isin(numbers, self._plane_ids), numbers + 1, NO_REGION).astype(np.int32),
            sky=sky,
        )


def require_plausible_intrinsics(camera: PinholeCamera, image_path: Path) -> None:
    """Make sure that four intrinsics are in the order fx, fy, cx, cy and belong to the image they came with.

    Raises
    ------
    TrainingError
        If the principal point is near or beyond the image's border, or fx and fy differ by more than a tenth.
    """
    low, high = CENTRE_SHARES
    centred = low <= camera.cx / camera.width_px <= high and low <= camera.cy / camera.height_px <= high
    alike = 1 / MAX_FOCAL_RATIO <= camera.fx / camera.fy <= MAX_FOCAL_RATIO
    if not (centred and alike):
        raise TrainingError(
            f"cam_in of {image_path} is [{camera.fx:g}, {camera.fy:g}, {camera.cx:g}, {camera.cy:g}], which does "
            f"not fit its {camera.width_px}x{camera.height_px} px; give [fx, fy, cx, cy] of this very size, in "
            "this order, with square pixels."
        )


def _require_size(labels: NDArray[np.generic], path: Path, rgb: NDArray[np.uint8], rgb_path: Path) -> None:
    if labels.shape[:2] != rgb.shape[:2]:
        raise TrainingError(
            f"{path} is {labels.shape[1]}x{labels.shape[0]} px but {rgb_path} is "
            f"{rgb.shape[1]}x{rgb.shape[0]} px; resize one to the other."
        )


def _read_numbers(path: Path) -> NDArray[np.int32]:
    numbers = cv2.imdecode(np.frombuffer(_bytes_of(path), dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if numbers is None or numbers.ndim != 2:
        raise ImageError(f"{path} is not a single-channel image of numbers; replace it or leave it out.")
    return np.asarray(numbers, dtype=np.int32)


def _read_normals(path: Path) -> NDArray[np.float32]:
    rgb = read_rgb(path).astype(np.float32)
    normal = rgb / np.float32(NORMAL_SCALE / 2) - np.float32(1)
    normal[(rgb == 0).all(axis=-1)] = np.nan
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        return np.asarray(normal / length, dtype=np.float32)


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror or error}.") from error
