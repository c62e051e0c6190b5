"""The back end: keyframes in as the window lets them go, corrections of the world out.

The front end's path is never touched. What loops, depth priors and the ground say of it becomes one similarity for
each keyframe, the correction ``map_from_odom`` there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from droid_bridge.back_end_options import KEPT_NEWEST, BackEndOptions
from droid_bridge.global_adjustment.adjustment import MIN_KEYFRAMES, GlobalAdjustment, adjust_globally
from droid_bridge.ground_readings import GroundReadings
from droid_bridge.ground_scale import GroundScale, knowing
from droid_bridge.keyframe_archive import ArchivedKeyframe, KeyframeArchive
from droid_bridge.keyframe_record import KeyframeRecord
from droid_bridge.lie import se3_inverse, sim3_adjoint, sim3_inverse, sim3_orthonormalised, so3_log
from droid_bridge.loop_closure import Loop, LoopCloser
from droid_bridge.matching.matcher import Matcher
from droid_bridge.place_recognition import NO_FEATURES, extract_features
from droid_bridge.pose_graph import DOF, PoseEdges, ScaleReadings, edge_chi2, optimise
from droid_bridge.scale_readings import scale_readings

_NOTHING_NEW_CHI2 = 3.0 * DOF
_ODOMETRY_DOUBTS = (1.0, 3.0, 10.0)


@dataclass(frozen=True)
class LoopEvent:
    """A loop that was closed.

    Attributes
    ----------
    old_frame_index, new_frame_index : the frames of the two keyframes.
    moved_m, scaled : how far the newer keyframe moved, and the factor on the map's size there.
    """

    old_frame_index: int
    new_frame_index: int
    moved_m: float
    scaled: float


@dataclass(frozen=True)
class BackEndUpdate:
    """What one keyframe changed.

    Attributes
    ----------
    loops : loops it closed.
    corrections : (frame_index, map_from_odom (4, 4) similarity there) of every keyframe, or of the new one alone.
    moves_all : whether they are those of every keyframe: where a loop was closed, or all were adjusted.
    """

    loops: tuple[LoopEvent, ...]
    corrections: tuple[tuple[int, NDArray[np.float64]], ...]
    moves_all: bool = False


@dataclass(frozen=True)
class _Edge:
    """A measured transform: odometry between neighbours."""

    source: int
    target: int
    target_from_source: NDArray[np.float64]
    covariance: NDArray[np.float64]


class BackEnd:
    """Keeps the keyframes, closes loops and holds the corrections.

    Parameters
    ----------
    matcher : finds the cells of one keyframe in another.
    options : what it may do.
    by_ground : reads the scale off the ground, where the camera's height lets it.
    """

    def __init__(
        self,
        matcher: Matcher[Any],
        options: BackEndOptions | None = None,
        by_ground: GroundScale | None = None,
    ) -> None:
        self._options = options or BackEndOptions()
        self.archive = KeyframeArchive(self._options.archive_folder)
        self._matcher = matcher
        self._closer = LoopCloser(self.archive, matcher, self._options.loops)
        self._similarity: dict[int, NDArray[np.float64]] = {}
        self._odometry: dict[int, _Edge] = {}
        self._loops: dict[tuple[int, int], Loop] = {}
        self._odometry_doubt = 1.0
        self._ground = GroundReadings(by_ground)
        self._newest: ArchivedKeyframe | None = None

    def add(self, record: KeyframeRecord, was_lost: bool = False, look_for_loops: bool = True) -> BackEndUpdate:
        """Take a keyframe that left the window, in order.

        Parameters
        ----------
        record : the keyframe.
        was_lost : whether the front end lost the image since the one before.
        look_for_loops : False only keeps it, where time is short.
        """
        features = NO_FEATURES
        if self._options.loop_closure:
            features = extract_features(record.gray, self._options.loops.places.features)
        last = self._newest
        way_m = 0.0 if last is None else _distance(last.camera_from_world, record.camera_from_world)
        travelled_m = way_m + (0.0 if last is None else last.travelled_m)
        new = self.archive.add(record, travelled_m, features)
        self._join(last, new, way_m, was_lost)
        self._newest = new
        events: tuple[LoopEvent, ...] = ()
        if self._options.loop_closure and look_for_loops:
            events = self._close(self._closer.look(new, self._similarity), new)
        if len(self.archive) > self._options.max_keyframes:
            self._drop_one()
        if events:
            return BackEndUpdate(events, self.corrections(), moves_all=True)
        return BackEndUpdate((), self._corrections_of([new]))

    def finish(self) -> None:
        """Solve once more with everything that is known.

        The matches of all keyframes together tell how the map's size really went, and then the depth priors are
        read anew, later ones for earlier scales as well. Without that and without a loop nothing is new: the
        front end has filtered the same readings already.
        """
        adjusted = self._options.global_adjustment and self.adjust_globally()
        if not adjusted and (self._loops or self._options.solves_without_loops):
            self._solve(self._odometry_doubt)

    def adjust_globally(self) -> bool:
        """Bundle-adjust all keyframes together and solve for their scale; False where there are too few.

        Raises
        ------
        DroidBridgeError
            If the disk refuses the matches, or a keyframe's image is gone; nothing changed then.
        """
        keyframes = list(self.archive)
        if len(keyframes) < MIN_KEYFRAMES:
            return False
        adjusted = adjust_globally(
            keyframes,
            self._by_matches_alone(keyframes),
            self._loops,
            self.archive.gray,
            self.archive.working_camera,
            self._matcher,
            self._options.adjustment,
            self._options.archive_folder,
        )
        self._take_over(keyframes, adjusted)
        self._solve(self._odometry_doubt)
        return True

    def corrections(self) -> tuple[tuple[int, NDArray[np.float64]], ...]:
        """(frame_index, map_from_odom (4, 4) similarity at that keyframe) in order."""
        return self._corrections_of(list(self.archive))

    def placed_keyframes(self) -> Iterator[tuple[ArchivedKeyframe, NDArray[np.float64]]]:
        """Every keyframe with its similarity camera_from_map (4, 4), oldest first."""
        for keyframe in self.archive:
            yield keyframe, self._similarity[keyframe.number]

    @property
    def loops(self) -> tuple[Loop, ...]:
        """The loops that hold."""
        return tuple(self._loops.values())

    def close(self) -> None:
        """Delete the keyframe images; the corrections stay."""
        self.archive.close()

    # --- growing -----------------------------------------------------------------------------------------------

    def _join(self, last: ArchivedKeyframe | None, new: ArchivedKeyframe, way_m: float, was_lost: bool) -> None:
        """Place a new keyframe by odometry from the one before."""
        if last is None:
            self._similarity[new.number] = new.camera_from_world.copy()
            return
        between = new.camera_from_world @ _inverse(last.camera_from_world)
        turn_rad = float(torch.linalg.vector_norm(so3_log(torch.from_numpy(between[:3, :3]))))
        options = self._options
        covariance = options.odometry.covariance(way_m, turn_rad, was_lost, options.scale_process)
        # Where priors and ground made the front end change its unit, that is no measurement of the way.
        grown = np.diag([*[math.exp(new.log_growth - last.log_growth)] * 3, 1.0])
        self._odometry[new.number] = _Edge(last.number, new.number, grown @ between, covariance)
        self._similarity[new.number] = between @ self._similarity[last.number]

    def _corrections_of(self, keyframes: list[ArchivedKeyframe]) -> tuple[tuple[int, NDArray[np.float64]], ...]:
        if not keyframes:
            return ()
        similarities = np.stack([self._similarity[keyframe.number] for keyframe in keyframes])
        camera_from_odom = np.stack([keyframe.camera_from_world for keyframe in keyframes])
        map_from_odom = sim3_inverse(torch.from_numpy(similarities)) @ torch.from_numpy(camera_from_odom)
        corrections = sim3_orthonormalised(map_from_odom).numpy()
        return tuple(zip([keyframe.frame_index for keyframe in keyframes], corrections, strict=True))

    # --- loops -------------------------------------------------------------------------------------------------

    def _close(self, found: tuple[Loop, ...], new: ArchivedKeyframe) -> tuple[LoopEvent, ...]:
        """Solve with new loops, and take those back that the rest of the graph contradicts."""
        fresh = {(loop.old, loop.new): loop for loop in found if (loop.old, loop.new) not in self._loops}
        if not fresh:
            return ()
        before = dict(self._similarity)
        self._loops |= fresh
        if self._hold_already(tuple(fresh.values())):
            return tuple(self._event(loop, new, before) for loop in fresh.values())
        # Visits that agree with each other and not with odometry say first that odometry is worse than it claims.
        for doubt in (doubt for doubt in _ODOMETRY_DOUBTS if doubt >= self._odometry_doubt):
            self._similarity = dict(before)
            chi2 = self._solve(doubt)
            contradicted = [key for key in fresh if chi2[key] > self._options.max_loop_chi2]
            if not contradicted:
                self._odometry_doubt = doubt
                return tuple(self._event(loop, new, before) for loop in fresh.values())
        for key in fresh:
            del self._loops[key]
        self._similarity = before
        return ()

    def _hold_already(self, loops: tuple[Loop, ...]) -> bool:
        """Whether loops say nothing new, so that the graph need not be solved for them."""
        nodes = np.stack([self._similarity[number] for loop in loops for number in (loop.old, loop.new)])
        first = 2 * np.arange(len(loops))
        measured, information = (
            np.stack([getattr(loop, name) for loop in loops]) for name in ("new_from_old", "information")
        )
        edges = PoseEdges(first, first + 1, measured, information, np.ones(len(loops), bool))
        return bool((edge_chi2(nodes, edges) < _NOTHING_NEW_CHI2).all())

    def _event(self, loop: Loop, new: ArchivedKeyframe, before: dict[int, NDArray[np.float64]]) -> LoopEvent:
        was, now = before[new.number], self._similarity[new.number]
        return LoopEvent(
            self.archive[loop.old].frame_index,
            self.archive[loop.new].frame_index,
            _distance(was, now),
            float(np.cbrt(np.linalg.det(was[:3, :3]) / np.linalg.det(now[:3, :3]))),
        )

    def _solve(self, odometry_doubt: float) -> dict[tuple[int, int], float]:
        """Place all keyframes anew; gives the squared normalised residual of each loop.

        Parameters
        ----------
        odometry_doubt : factor on the errors that odometry is thought to have.
        """
        numbers = [keyframe.number for keyframe in self.archive]
        if len(numbers) < 2:
            return {}
        node = {number: k for k, number in enumerate(numbers)}
        loops = list(self._loops.items())
        edges = [self._odometry[number] for number in numbers[1:]]
        information = [np.linalg.inv(odometry_doubt**2 * edge.covariance) for edge in edges]
        solved = optimise(
            np.stack([self._similarity[number] for number in numbers]),
            PoseEdges(
                np.array([node[e.source] for e in edges] + [node[loop.old] for _, loop in loops]),
                np.array([node[e.target] for e in edges] + [node[loop.new] for _, loop in loops]),
                np.stack([e.target_from_source for e in edges] + [loop.new_from_old for _, loop in loops]),
                np.stack(information + [loop.information for _, loop in loops]),
                np.arange(len(edges) + len(loops)) >= len(edges),
            ),
            self._readings(),
        )
        self._similarity = dict(zip(numbers, solved.camera_from_world, strict=True))
        return {key: float(chi2) for (key, _), chi2 in zip(loops, solved.chi2[len(edges) :], strict=True)}

    def _readings(self) -> ScaleReadings | None:
        if not self._options.scale_readings:
            return None
        keyframes = list(self.archive)
        return scale_readings(
            np.array([keyframe.log_scale for keyframe in keyframes]),
            self._ground.read(keyframes, self.archive.working_camera),
            np.array([keyframe.travelled_m for keyframe in keyframes]),
            self._chained(keyframes, self._similarity[keyframes[0].number]),
            knowing(self._options.scale_process, self._ground.by_ground),
        )

    # --- all keyframes together --------------------------------------------------------------------------------

    def _by_matches_alone(self, keyframes: list[ArchivedKeyframe]) -> NDArray[np.float64]:
        """Similarities (nodes, 4, 4) without what the priors did to the front end's unit, but with the loops."""
        if self._loops:
            return np.stack([self._similarity[keyframe.number] for keyframe in keyframes])
        return self._chained(keyframes, self._similarity[keyframes[0].number])

    def _chained(self, keyframes: list[ArchivedKeyframe], first: NDArray[np.float64]) -> NDArray[np.float64]:
        """Similarities (nodes, 4, 4) by odometry from a first one on."""
        chain = [first]
        for keyframe in keyframes[1:]:
            chain.append(self._odometry[keyframe.number].target_from_source @ chain[-1])
        return np.stack(chain)

    def _take_over(self, keyframes: list[ArchivedKeyframe], adjusted: GlobalAdjustment) -> None:
        """Let odometry and loops say what the adjustment found; where it saw a gap, odometry stays."""
        placed = torch.from_numpy(adjusted.camera_from_world)
        node = {keyframe.number: k for k, keyframe in enumerate(keyframes)}
        between = (placed[1:] @ sim3_inverse(placed[:-1])).numpy()
        for k in np.flatnonzero(adjusted.is_tied):
            number = keyframes[k + 1].number
            self._odometry[number] = replace(self._odometry[number], target_from_source=between[k])
        for (old, new), loop in self._loops.items():
            measured = placed[node[new]] @ sim3_inverse(placed[node[old]])
            self._loops[old, new] = replace(loop, new_from_old=measured.numpy())
        chain = (
            adjusted.camera_from_world if self._loops else self._chained(keyframes, adjusted.camera_from_world[0])
        )
        self._similarity = {keyframe.number: chain[k] for k, keyframe in enumerate(keyframes)}
        self._ground.read_adjusted(
            keyframes, self.archive.working_camera, adjusted.inverse_depth, adjusted.camera_from_world
        )

    # --- staying small -----------------------------------------------------------------------------------------

    def _drop_one(self) -> None:
        """Drop the keyframe whose neighbours are nearest to each other; the newest and loop ends stay."""
        keyframes = list(self.archive)
        in_loops = {number for pair in self._loops for number in pair}
        inner = range(1, len(keyframes) - KEPT_NEWEST)
        free = [k for k in inner if keyframes[k].number not in in_loops] or list(inner)
        chosen = min(free, key=lambda k: keyframes[k + 1].travelled_m - keyframes[k - 1].travelled_m)
        self._drop(keyframes[chosen].number, keyframes[chosen + 1].number)

    def _drop(self, number: int, follower: int) -> None:
        """Take a keyframe out; the odometry edges on both sides become one."""
        first, second = self._odometry.pop(number), self._odometry[follower]
        adjoint = sim3_adjoint(torch.from_numpy(second.target_from_source)).numpy()
        self._odometry[follower] = _Edge(
            first.source,
            follower,
            second.target_from_source @ first.target_from_source,
            second.covariance + adjoint @ first.covariance @ adjoint.T,
        )
        self._loops = {pair: loop for pair, loop in self._loops.items() if number not in pair}
        del self._similarity[number]
        self._ground.forget(number)
        self._closer.forget(number)
        self.archive.drop(number)


def _inverse(camera_from_world: NDArray[np.float64]) -> NDArray[np.float64]:
    return se3_inverse(torch.from_numpy(camera_from_world)).numpy()


def _distance(camera_from_world: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Metres between two camera centres, the poses being similarities."""
    centres = sim3_inverse(torch.from_numpy(np.stack([camera_from_world, other])))[:, :3, 3]
    return float(torch.linalg.vector_norm(centres[1] - centres[0]))
