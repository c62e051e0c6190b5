"""Reading a map at scattered places with OpenCV's remap, which takes images rather than lists of points."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_WIDTH = 1024


def look_up(
    layer: NDArray[Any],
    column: NDArray[np.floating],
    row: NDArray[np.floating],
    nearest: bool = False,
    outside: float | None = None,
) -> NDArray[Any]:
    """Values (n,) or (n, channels) of a map at n places; bilinear, or of the nearest cell.

    Off the map the value is ``outside``; without it the map repeats.
    """
    count = len(column)
    if count == 0:
        return np.empty((0, *layer.shape[2:]), dtype=layer.dtype)
    rows = -(-count // _WIDTH)
    map_x, map_y = np.zeros((2, rows, _WIDTH), dtype=np.float32)
    map_x.ravel()[:count], map_y.ravel()[:count] = column, row
    values = cv2.remap(
        layer,
        map_x,
        map_y,
        cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_WRAP if outside is None else cv2.BORDER_CONSTANT,
        borderValue=(outside or 0.0,) * 4,
    )
    return np.asarray(values).reshape(rows * _WIDTH, *layer.shape[2:])[:count]
