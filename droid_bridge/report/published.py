"""Drift of other systems on KITTI odometry, as their papers and the field's comparisons print it."""

from __future__ import annotations

from dataclasses import dataclass

SEQUENCES = ("00", "02", "05", "06", "08", "09", "10")


@dataclass(frozen=True)
class PublishedRow:
    """One system: t_rel in percent and r_rel in degrees per 100 m for each of ``SEQUENCES``."""

    system: str
    t_rel_percent: tuple[float, ...]
    r_rel_deg_per_100m: tuple[float, ...]

    def drift(self, sequence: str) -> tuple[float, float] | None:
        """t_rel and r_rel of one sequence, where they are printed."""
        if sequence not in SEQUENCES:
            return None
        at = SEQUENCES.index(sequence)
        return self.t_rel_percent[at], self.r_rel_deg_per_100m[at]


PUBLISHED = (
    PublishedRow(
        "ORB-SLAM2, monocular",
        (11.43, 10.34, 9.04, 14.56, 11.46, 9.3, 2.57),
        (0.58, 0.26, 0.26, 0.26, 0.28, 0.26, 0.32),
    ),
    PublishedRow(
        "DROID-SLAM, monocular",
        (33.9, 34.88, 23.4, 17.2, 39.6, 21.7, 7.0),
        (0.29, 0.27, 0.27, 0.26, 0.31, 0.23, 0.25),
    ),
    PublishedRow(
        "DROID-SLAM + Metric3D",
        (1.44, 2.64, 1.44, 0.6, 2.2, 1.63, 2.73),
        (0.37, 0.29, 0.25, 0.2, 0.3, 0.22, 0.23),
    ),
    PublishedRow(
        "ORB-SLAM2, stereo",
        (0.88, 0.77, 0.62, 0.89, 1.03, 0.86, 0.62),
        (0.31, 0.28, 0.26, 0.27, 0.31, 0.25, 0.29),
    ),
)
"""KITTI's metric over 100 to 800 m, as printed."""
