"""How KITTI and NYU are judged: which part of an image counts, and how far; as the papers compare it.

KITTI is the Eigen split (Eigen et al. 2014) with the crop of Garg et al. 2016, and Metric3D's cut of both image
and truth to columns 43 to 1197; NYU is Eigen's crop of the Kinect's border.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.errors import DatasetError
from metric3d_ros.estimator import MetricDepthEstimator
from training.annotations import Annotation
from training.metrics import DepthMetrics, depth_metrics, mean_metrics

# Shares of the image's height and width: first row, end row, first column, end column.
GARG_CROP = (0.3324324, 0.91351351, 0.0359477, 0.96405229)
NYU_ROWS, NYU_COLUMNS = slice(45, 471), slice(41, 601)


@dataclass(frozen=True)
class Protocol:
    """What of an image is judged.

    Attributes
    ----------
    name : as it is asked for.
    range_m : truth nearer or farther does not count.
    counted : of the truth's height and width, the rows and columns that count.
    columns_px : what the image and the truth are both cut to first; None for all of it.
    """

    name: str
    range_m: tuple[float, float]
    counted: Callable[[int, int], tuple[slice, slice]]
    columns_px: tuple[int, int] | None = None

    def counted_truth(self, true_m: NDArray[np.float32]) -> NDArray[np.float32]:
        """The truth (height, width) with NaN wherever it does not count, not yet cut to ``columns_px``."""
        counted = np.full_like(true_m, np.nan)
        window = self.counted(*true_m.shape)
        counted[window] = true_m[window]
        return counted

    def cut(
        self, rgb: NDArray[np.uint8], true_m: NDArray[np.float32], camera: PinholeCamera
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32], PinholeCamera]:
        """Image, truth and camera cut to ``columns_px``.

        Raises
        ------
        DatasetError
            If the truth has another size than the image, or both end before the first column.
        """
        if self.columns_px is None:
            return rgb, true_m, camera
        left_px, end_px = self.columns_px
        if true_m.shape != rgb.shape[:2] or rgb.shape[1] <= left_px:
            raise DatasetError(
                f"image is {rgb.shape[1]}x{rgb.shape[0]} px and its truth {true_m.shape[1]}x{true_m.shape[0]} px; "
                f"protocol {self.name} cuts both to columns {left_px} to {end_px}, so give them in one size."
            )
        rgb, true_m = np.ascontiguousarray(rgb[:, left_px:end_px]), true_m[:, left_px:end_px]
        return rgb, true_m, camera.cropped(left_px, 0, rgb.shape[1], rgb.shape[0])


def _garg_window(height_px: int, width_px: int) -> tuple[slice, slice]:
    top, bottom, left, right = GARG_CROP
    return slice(int(top * height_px), int(bottom * height_px)), slice(int(left * width_px), int(right * width_px))


def _nyu_window(height_px: int, width_px: int) -> tuple[slice, slice]:
    return NYU_ROWS, NYU_COLUMNS


PROTOCOLS = {
    "kitti": Protocol("kitti", (0.1, 80.0), _garg_window, columns_px=(43, 1197)),
    "nyu": Protocol("nyu", (0.1, 10.0), _nyu_window),
}


def judge(
    estimator: MetricDepthEstimator, annotation: Annotation, protocol: Protocol
) -> tuple[DepthMetrics, DepthMetrics] | None:
    """Metrics of one image, raw and median-scaled; None where nothing of its truth counts.

    The prediction is resized to the truth (bilinear), and neither capped nor flipped.

    Raises
    ------
    Metric3dError
        If the image, its truth or its camera cannot be read, or do not suit the protocol.
    """
    rgb, true_m, camera = annotation.read()
    try:
        rgb, true_m, camera = protocol.cut(rgb, protocol.counted_truth(true_m), camera)
    except DatasetError as error:
        raise DatasetError(f"{annotation.rgb_path}: {error}") from error
    predicted_m = estimator.predict(rgb, camera).depth_m
    if predicted_m.shape != true_m.shape:
        size = true_m.shape[1], true_m.shape[0]
        predicted_m = np.asarray(cv2.resize(predicted_m, size, interpolation=cv2.INTER_LINEAR), dtype=np.float32)
    raw = depth_metrics(predicted_m, true_m, range_m=protocol.range_m)
    scaled = depth_metrics(predicted_m, true_m, median_scaled=True, range_m=protocol.range_m)
    return None if raw is None or scaled is None else (raw, scaled)


def summary(judged: Sequence[tuple[DepthMetrics, DepthMetrics] | None], protocol: Protocol) -> dict[str, Any]:
    """Means over images, raw and median-scaled, and how many images counted.

    Raises
    ------
    DatasetError
        If none did.
    """
    counted = [both for both in judged if both is not None]
    if not counted:
        raise DatasetError(
            f"none of {len(judged)} images has truth from {protocol.range_m[0]:g} to {protocol.range_m[1]:g} m "
            f"where protocol {protocol.name} looks; check depth_scale and the image size."
        )
    return {
        "protocol": protocol.name,
        "images": len(counted),
        "images_without_truth": len(judged) - len(counted),
        "raw": asdict(mean_metrics([raw for raw, _ in counted])),
        "median_scaled": asdict(mean_metrics([scaled for _, scaled in counted])),
    }
