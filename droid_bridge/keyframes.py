"""Which frames stay in the window: those that see the scene from somewhere new."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from droid_bridge.matching.matcher import CELL_PX, Match
from metric3d_ros.camera import PinholeCamera

_YOUNG_SHARE = 1 / 3


@dataclass(frozen=True)
class KeyframeRule:
    """A frame becomes a keyframe when it shows enough parallax to the last one, or the view runs out.

    What a turn moves tells no depth. Keyframes made by turns are close together, and the scale is carried from one
    to the next with an error each time.

    Attributes
    ----------
    min_parallax_px : median motion of the matched cells that no rotation explains, in pixels of the working image.
    max_motion_px : median motion from which matches are no longer to be trusted.
    min_view_left : share of the most inliers to the last keyframe below which the view is running out.
    """

    min_parallax_px: float = 7.0
    max_motion_px: float = 100.0
    min_view_left: float = 0.7

    def is_keyframe(
        self,
        from_last_keyframe: Match,
        rotation: NDArray[np.float64],
        grid_camera: PinholeCamera,
        view_left: float,
        is_young: bool = False,
    ) -> bool:
        """Whether the frame that the last keyframe was matched to should stay.

        Parameters
        ----------
        from_last_keyframe : the keyframe's cells in the frame.
        rotation : (3, 3) from the keyframe's camera to the frame's.
        grid_camera : intrinsics in cells.
        view_left : inliers of this match over the most that a frame had to this keyframe.
        is_young : the window has hardly begun; its depths are worth more than the way between its keyframes.
        """
        if view_left < self.min_view_left:
            return True
        if median_motion_px(from_last_keyframe) >= self.max_motion_px:
            return True
        enough_px = self.min_parallax_px * (_YOUNG_SHARE if is_young else 1.0)
        return median_parallax_px(from_last_keyframe, rotation, grid_camera) >= enough_px


def median_motion_px(match: Match) -> float:
    """Median motion of the matched cells in pixels; 0 without a match."""
    return _median_distance_px(match, _own_cells(match))


def median_parallax_px(match: Match, rotation: NDArray[np.float64], grid_camera: PinholeCamera) -> float:
    """Median motion in pixels that remains of the matched cells' when a rotation is taken out."""
    cells = _own_cells(match)
    homography = grid_camera.matrix() @ rotation @ np.linalg.inv(grid_camera.matrix())
    turned = cells @ homography[:, :2].T + homography[:, 2]
    ahead = turned[..., 2:] > 1e-6
    turned_cells = np.where(ahead, turned[..., :2] / np.where(ahead, turned[..., 2:], 1), cells)
    return _median_distance_px(match, turned_cells)


def _own_cells(match: Match) -> NDArray[np.float64]:
    v, u = np.mgrid[: match.coords.shape[0], : match.coords.shape[1]]
    return np.stack([u, v], axis=-1).astype(np.float64)


def _median_distance_px(match: Match, cells: NDArray[np.float64]) -> float:
    distance = np.linalg.norm(match.coords - cells, axis=-1)[match.weight.max(axis=-1) > 0]
    return float(np.median(distance)) * CELL_PX if distance.size else 0.0
