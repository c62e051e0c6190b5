"""Loops: earlier keyframes that see what the newest one sees, found by looks, proved by geometry and by agreement.

A candidate becomes a loop when its cells agree (``loop_geometry``), when it asks for a correction that the way
travelled since can explain, and when the keyframes before asked for the same one. Any one of these a repeated row
of fronts may pass; not all three.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from droid_bridge.keyframe_archive import ArchivedKeyframe, KeyframeArchive
from droid_bridge.lie import sim3_inverse, sim3_log, sim3_scale
from droid_bridge.loop_geometry import LoopAligner, LoopGeometryOptions, pose_from_corners
from droid_bridge.matching.matcher import CELL_PX, Matcher
from droid_bridge.place_recognition import PlaceIndex, PlaceOptions, Vocabulary
from droid_bridge.projection import CellGrid

_SAME_PLACE_KEYFRAMES = 4  # of neighbouring candidates the best one is enough


@dataclass(frozen=True)
class LoopOptions:
    """When a keyframe counts as a return.

    Attributes
    ----------
    min_travel_m : way that lies between two visits at least; nearer keyframes are tied by odometry.
    min_similarity_share : looks of a candidate over the looks of the keyframe before, which is the same place.
    candidates : how many of the most alike places are put to the geometry.
    spacing_m, closed_spacing_m : way between two keyframes that are tested, before and after a loop was closed.
    agreeing_visits : loops in a row that must ask for the same correction.
    agreement_m, agreement_rad, agreement_scale : how far two such corrections may differ.
    max_drift_share, max_drift_rad : error of the way travelled that a loop may correct; the share is of the way.
    """

    min_travel_m: float = 30.0
    min_similarity_share: float = 0.3
    candidates: int = 3
    spacing_m: float = 2.0
    closed_spacing_m: float = 5.0
    agreeing_visits: int = 3
    agreement_m: float = 1.0
    agreement_rad: float = 0.04
    agreement_scale: float = 0.15
    max_drift_share: float = 0.2
    max_drift_rad: float = 0.6
    places: PlaceOptions = field(default_factory=PlaceOptions)
    geometry: LoopGeometryOptions = field(default_factory=LoopGeometryOptions)


@dataclass(frozen=True)
class Loop:
    """A keyframe that sees the place of an older one.

    Attributes
    ----------
    old, new : keyframe numbers.
    new_from_old : float64 (4, 4) similarity between their units.
    information : float64 (7, 7) of a left perturbation of it.
    agreeing_share : share of the cells that agree.
    """

    old: int
    new: int
    new_from_old: NDArray[np.float64]
    information: NDArray[np.float64]
    agreeing_share: float


class LoopCloser:
    """Looks for the newest keyframe among those before.

    Parameters
    ----------
    archive : the keyframes; the newest is in it when it is looked for.
    matcher : finds the cells of one keyframe in another.
    options : what counts.
    """

    def __init__(
        self, archive: KeyframeArchive, matcher: Matcher[Any], options: LoopOptions | None = None
    ) -> None:
        self._archive = archive
        self._matcher = matcher
        self._options = options or LoopOptions()
        self._vocabulary: Vocabulary | None = None
        self._index = PlaceIndex(self._options.places.words)
        self._visits: deque[Loop] = deque(maxlen=2 * self._options.agreeing_visits)
        self._next_test_m = -np.inf

    def forget(self, number: int) -> None:
        """Take a keyframe out of the index, and with it what was seen of it."""
        self._index.remove(number)
        kept = [visit for visit in self._visits if number not in (visit.old, visit.new)]
        self._visits = deque(kept, self._visits.maxlen)

    def look(self, new: ArchivedKeyframe, camera_from_world: dict[int, NDArray[np.float64]]) -> tuple[Loop, ...]:
        """The loops that this keyframe completes; mostly none.

        Parameters
        ----------
        new : the newest keyframe of the archive.
        camera_from_world : current similarity (4, 4) of every keyframe by number, the newest included.
        """
        histogram = self._indexed(new)
        if histogram is None or new.travelled_m < self._next_test_m:
            return ()
        self._next_test_m = new.travelled_m + self._options.spacing_m
        for old in self._candidates(new, histogram):
            visit = self._proved(old, new, camera_from_world)
            if visit is not None:
                self._visits.append(visit)
                return self._agreeing(visit, camera_from_world)
        return ()

    def _indexed(self, new: ArchivedKeyframe) -> NDArray[np.uint8] | None:
        """The words of the newest keyframe, which is indexed; None while the vocabulary is not learnt."""
        if self._vocabulary is None:
            if len(self._archive) < self._options.places.training_keyframes:
                return None
            descriptors = np.concatenate([keyframe.features.descriptors for keyframe in self._archive])
            if len(descriptors) < self._options.places.words:
                return None
            self._vocabulary = Vocabulary.learn(descriptors, self._options.places.words)
            self._index = PlaceIndex(len(self._vocabulary))
            for keyframe in self._archive:
                if keyframe.number != new.number:
                    self._index.add(keyframe.number, self._vocabulary.histogram(keyframe.features.descriptors))
        histogram = self._vocabulary.histogram(new.features.descriptors)
        self._index.add(new.number, histogram)
        return histogram

    def _candidates(self, new: ArchivedKeyframe, histogram: NDArray[np.uint8]) -> list[ArchivedKeyframe]:
        """The places most alike, best first, one keyframe for each."""
        numbers, similarity = self._index.similarities(histogram)
        order = np.argsort(-similarity, kind="stable")
        is_old = np.array([new.travelled_m - self._archive[int(n)].travelled_m for n in numbers])
        is_old = is_old > self._options.min_travel_m
        before = similarity[(numbers < new.number)][-1:]
        least = self._options.min_similarity_share * float(before[0]) if before.size else 1.0
        chosen: list[int] = []
        for place in order:
            number = int(numbers[place])
            if len(chosen) == self._options.candidates or similarity[place] < least:
                break
            if is_old[place] and all(abs(number - other) > _SAME_PLACE_KEYFRAMES for other in chosen):
                chosen.append(number)
        return [self._archive[number] for number in chosen]

    def _proved(
        self, old: ArchivedKeyframe, new: ArchivedKeyframe, camera_from_world: dict[int, NDArray[np.float64]]
    ) -> Loop | None:
        """The loop between two keyframes if their geometry shows one."""
        camera = self._archive.working_camera
        start = pose_from_corners(old, new, camera.matrix(), self._options.geometry)
        if start is None or not self._is_plausible(old, new, start, camera_from_world):
            return None
        grid_camera = camera.resized(camera.width_px // CELL_PX, camera.height_px // CELL_PX)
        grid = CellGrid.of_camera(grid_camera, torch.device("cpu"))
        aligner = LoopAligner(self._matcher, grid, self._options.geometry)
        found = aligner.align(old, new, self._archive.gray, start)
        if found is None or not self._is_plausible(old, new, found.new_from_old, camera_from_world):
            return None
        return Loop(old.number, new.number, found.new_from_old, found.information, found.agreeing_share)

    def _is_plausible(
        self,
        old: ArchivedKeyframe,
        new: ArchivedKeyframe,
        new_from_old: NDArray[np.float64],
        camera_from_world: dict[int, NDArray[np.float64]],
    ) -> bool:
        """Whether odometry may have drifted as far as this loop says since the older keyframe."""
        by_odometry = _between(camera_from_world[old.number], camera_from_world[new.number])
        difference = _difference(torch.from_numpy(new_from_old), by_odometry)
        travelled_m = new.travelled_m - old.travelled_m
        limit_m = self._options.agreement_m + self._options.max_drift_share * travelled_m
        shift_m = float(torch.linalg.vector_norm(difference[:3]))
        turn_rad = float(torch.linalg.vector_norm(difference[3:6]))
        return shift_m < limit_m and turn_rad < self._options.max_drift_rad

    def _agreeing(self, visit: Loop, camera_from_world: dict[int, NDArray[np.float64]]) -> tuple[Loop, ...]:
        """The visit and those before it that ask for the same correction, if they are enough."""
        agreeing = [other for other in self._visits if self._agree(visit, other, camera_from_world)]
        if len(agreeing) < self._options.agreeing_visits:
            return ()
        self._next_test_m += self._options.closed_spacing_m - self._options.spacing_m
        return tuple(agreeing)

    def _agree(self, visit: Loop, other: Loop, camera_from_world: dict[int, NDArray[np.float64]]) -> bool:
        """Whether two loops place the newer keyframe alike, by odometry from one to the other at both places."""
        if visit is other:
            return True
        old_from_old = _between(camera_from_world[other.old], camera_from_world[visit.old])
        new_from_new = _between(camera_from_world[visit.new], camera_from_world[other.new])
        around = new_from_new @ torch.from_numpy(visit.new_from_old) @ old_from_old
        difference = _difference(torch.from_numpy(other.new_from_old), around)
        options = self._options
        return (
            float(torch.linalg.vector_norm(difference[:3])) < options.agreement_m
            and float(torch.linalg.vector_norm(difference[3:6])) < options.agreement_rad
            and abs(float(difference[6])) < options.agreement_scale
        )


def _between(source: NDArray[np.float64], target: NDArray[np.float64]) -> torch.Tensor:
    """The similarity (4, 4) from one camera to another, both given as camera_from_world."""
    return torch.from_numpy(target) @ sim3_inverse(torch.from_numpy(source))


def _difference(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """How two similarities differ: shift of the origin in the unit of the target, turn in radians, log scale."""
    shift = a[:3, 3] / sim3_scale(a) - b[:3, 3] / sim3_scale(b)
    turn_and_scale = sim3_log(a @ sim3_inverse(b))[3:]
    return torch.cat([shift, turn_and_scale])
