"""Which pose of an estimate belongs to which pose of the ground truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from droid_bridge.errors import TrajectoryError
from droid_bridge.trajectory import Trajectory

# The tolerance of the TUM benchmark's own tools: at 10 m/s it is 0.2 m.
STAMP_TOLERANCE_NS = 20_000_000


@dataclass(frozen=True)
class Association:
    """Rows that belong together.

    Attributes
    ----------
    truth_rows, estimate_rows : int64 (pairs,), both strictly increasing.
    by_stamp : whether stamps decided (else frame numbers); the two then need not run at one rate.
    """

    truth_rows: NDArray[np.int64]
    estimate_rows: NDArray[np.int64]
    by_stamp: bool


def associate(truth: Trajectory, estimate: Trajectory) -> Association:
    """Pair the poses of an estimate with those of the truth.

    Frame numbers decide where the files have them (a row without one is its own number); stamps decide where
    both have stamps: the nearest true pose within 20 ms. Two files without either pair row by row and must be
    equally long.

    Raises
    ------
    TrajectoryError
        If the two cannot be paired, or no pose of one belongs to a pose of the other.
    """
    both_numbered = truth.frame_indices is not None and estimate.frame_indices is not None
    if truth.stamps_ns is not None and estimate.stamps_ns is not None and not both_numbered:
        return _by_stamp(truth.stamps_ns, estimate.stamps_ns)
    for name, one, other in (("estimate", estimate, truth), ("truth", truth, estimate)):
        if one.frame_indices is None and one.stamps_ns is not None and other.stamps_ns is None:
            raise TrajectoryError(
                f"the {name} has stamps only and the other trajectory has frame numbers; "
                "give both as TUM files or both as KITTI files."
            )
    return _by_frame_index(truth, estimate)


def _by_frame_index(truth: Trajectory, estimate: Trajectory) -> Association:
    if truth.frame_indices is None and estimate.frame_indices is None and len(truth) != len(estimate):
        raise TrajectoryError(
            f"the truth has {len(truth)} rows and the estimate {len(estimate)}; "
            "write the frame number in front of each row of the estimate (13 numbers)."
        )
    truth_frames, estimate_frames = (
        np.arange(len(one)) if one.frame_indices is None else one.frame_indices for one in (truth, estimate)
    )
    common, truth_rows, estimate_rows = np.intersect1d(
        truth_frames, estimate_frames, assume_unique=True, return_indices=True
    )
    if not common.size:
        raise TrajectoryError(
            f"the estimate's frames {estimate_frames[0]} to {estimate_frames[-1]} and the truth's "
            f"{truth_frames[0]} to {truth_frames[-1]} have none in common; give the truth of the same drive."
        )
    return Association(truth_rows.astype(np.int64), estimate_rows.astype(np.int64), by_stamp=False)


def _by_stamp(truth_ns: NDArray[np.int64], estimate_ns: NDArray[np.int64]) -> Association:
    nearest = _nearest_rows(truth_ns, estimate_ns)
    # A true pose that two estimates claim goes to the nearer one, so that every pair is one to one.
    claimed_back = _nearest_rows(estimate_ns, truth_ns)[nearest]
    rows = np.arange(len(estimate_ns), dtype=np.int64)
    kept = (np.abs(truth_ns[nearest] - estimate_ns) <= STAMP_TOLERANCE_NS) & (claimed_back == rows)
    if not kept.any():
        raise TrajectoryError(
            f"no stamp of the estimate ({estimate_ns[0] / 1e9:.3f} to {estimate_ns[-1] / 1e9:.3f} s) is within "
            f"{STAMP_TOLERANCE_NS // 1_000_000} ms of the truth's ({truth_ns[0] / 1e9:.3f} to "
            f"{truth_ns[-1] / 1e9:.3f} s); give the truth of the same drive and clock."
        )
    return Association(nearest[kept], rows[kept], by_stamp=True)


def _nearest_rows(reference_ns: NDArray[np.int64], query_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    after = np.clip(np.searchsorted(reference_ns, query_ns), 1, max(len(reference_ns) - 1, 1))
    after = np.minimum(after, len(reference_ns) - 1)
    before = np.maximum(after - 1, 0)
    nearer_before = np.abs(query_ns - reference_ns[before]) <= np.abs(reference_ns[after] - query_ns)
    return np.where(nearer_before, before, after).astype(np.int64)
