"""Which frames stay in the window: those that see the scene from somewhere new."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from droid_bridge.matching.matcher import CELL_PX, Match


@dataclass(frozen=True)
class KeyframeRule:
    """A frame becomes a keyframe when the image moved enough since the last one, or matches thin out.

    Attributes
    ----------
    min_motion_px : median motion of the matched cells, in pixels of the working image.
    min_matched_share : share of the cells matched below which the view itself is running out.
    """

    min_motion_px: float = 3.0
    min_matched_share: float = 0.4

    def is_keyframe(self, from_last_keyframe: Match) -> bool:
        """Whether the frame that the last keyframe was matched to should stay."""
        if from_last_keyframe.matched_share < self.min_matched_share:
            return True
        return median_motion_px(from_last_keyframe) >= self.min_motion_px


def median_motion_px(match: Match) -> float:
    """Median motion of the matched cells in pixels; 0 without a match."""
    rows, columns = match.coords.shape[:2]
    v, u = np.mgrid[:rows, :columns]
    motion = np.hypot(match.coords[..., 0] - u, match.coords[..., 1] - v)[match.weight.max(axis=-1) > 0]
    return float(np.median(motion)) * CELL_PX if motion.size else 0.0
