"""Loops on a rendered drive around a block, where every true place is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from closed_loop import EXTRA_FRAMES, depth_error, moved, tracked_loop

from droid_bridge.keyframe_archive import KeyframeArchive
from droid_bridge.loop_closure import LoopCloser, LoopOptions
from droid_bridge.loop_geometry import LoopAligner, LoopGeometry, LoopGeometryOptions, pose_from_corners
from droid_bridge.matching.matcher import CELL_PX
from droid_bridge.matching.optical_flow import OpticalFlowMatcher
from droid_bridge.place_recognition import extract_features
from droid_bridge.projection import CellGrid

OPTIONS = LoopGeometryOptions()


class Archived:
    def __init__(self) -> None:
        self.loop = tracked_loop()
        self.archive = KeyframeArchive()
        self.keyframes = []
        travelled_m, last = 0.0, None
        for record in self.loop.records:
            centre = np.linalg.inv(record.camera_from_world)[:3, 3]
            travelled_m += 0.0 if last is None else float(np.linalg.norm(centre - last))
            last = centre
            self.keyframes.append(self.archive.add(record, travelled_m, extract_features(record.gray, 500)))
        camera = self.archive.working_camera
        grid_camera = camera.resized(camera.width_px // CELL_PX, camera.height_px // CELL_PX)
        self.aligner = LoopAligner(
            OpticalFlowMatcher(), CellGrid.of_camera(grid_camera, torch.device("cpu")), OPTIONS
        )

    def true_between(self, old: int, new: int) -> np.ndarray:
        poses = [self.loop.truth[self.keyframes[k].frame_index] for k in (old, new)]
        return np.linalg.inv(poses[1]) @ poses[0]

    def unit(self, k: int) -> float:
        """How many of the front end's units a metre has at a keyframe."""
        keyframe = self.keyframes[k]
        return float(np.exp(keyframe.log_scale) * depth_error(keyframe.frame_index))

    def at_frame(self, frame_index: int) -> int:
        return int(np.argmin([abs(k.frame_index - frame_index) for k in self.keyframes]))

    def geometry(self, old: int, new: int) -> LoopGeometry | None:
        first, second = self.keyframes[old], self.keyframes[new]
        start = pose_from_corners(first, second, self.archive.working_camera.matrix(), OPTIONS)
        if start is None:
            return None
        return self.aligner.align(first, second, self.archive.gray, start)


@pytest.fixture(scope="module")
def archived() -> Iterator[Archived]:
    made = Archived()
    yield made
    made.archive.close()


def revisits(archived: Archived) -> list[tuple[int, int]]:
    lap = len(archived.loop.truth) - EXTRA_FRAMES
    return [(archived.at_frame(k), archived.at_frame(lap + k)) for k in (3, 8, 23, 33, 43)]


def test_two_visits_are_aligned_to_centimetres(archived: Archived) -> None:
    """What one image's depth says of its unit is itself off by a percent or two, so ratios agree on average."""
    scale_errors = []
    for old, new in revisits(archived):
        found = archived.geometry(old, new)
        assert found is not None, (old, new)
        scale = np.cbrt(np.linalg.det(found.new_from_old[:3, :3]))
        true = archived.true_between(old, new)
        error = np.linalg.norm(found.new_from_old[:3, 3] / scale - archived.unit(old) * true[:3, 3])
        assert error < 0.03 + 0.02 * np.linalg.norm(true[:3, 3])
        turn = found.new_from_old[:3, :3] / scale @ true[:3, :3].T
        assert np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))) < 0.1
        scale_errors.append(scale * archived.unit(old) / archived.unit(new) - 1)
        assert np.linalg.eigvalsh(found.information).min() > 0
    assert np.abs(scale_errors).max() < 0.05
    assert abs(np.mean(scale_errors)) < 0.02


def test_the_scale_between_two_visits_is_found(archived: Archived) -> None:
    """The second visit in a unit a fifth smaller: its depths count more units, and so does the way between."""
    old, new = revisits(archived)[1]
    before = archived.geometry(old, new)
    second = archived.keyframes[new]
    shrunk = replace(second, inverse_depth=(second.inverse_depth / np.float16(1.2)).astype(np.float16))
    start = pose_from_corners(archived.keyframes[old], shrunk, archived.archive.working_camera.matrix(), OPTIONS)
    found = archived.aligner.align(archived.keyframes[old], shrunk, archived.archive.gray, start)
    ratio = np.cbrt(np.linalg.det(found.new_from_old[:3, :3]) / np.linalg.det(before.new_from_old[:3, :3]))
    assert ratio == pytest.approx(1.2, rel=0.01)
    np.testing.assert_allclose(found.new_from_old[:3, 3], 1.2 * before.new_from_old[:3, 3], atol=0.03)


def test_different_places_are_told_apart(archived: Archived) -> None:
    """Streets of one world share their fronts, trees and road; none of these pairs shows one place."""
    rng = np.random.default_rng(0)
    tried = 0
    while tried < 60:
        old, new = sorted(rng.integers(0, len(archived.keyframes), 2))
        if np.linalg.norm(archived.true_between(old, new)[:3, 3]) < 30:
            continue
        tried += 1
        assert archived.geometry(old, new) is None, (old, new)


def test_the_place_next_door_is_not_this_place(archived: Archived) -> None:
    """A few metres on, an answer is welcome but must be right."""
    for old in range(5, len(archived.keyframes) - 5, 6):
        for further in (1, 2, 4):
            found = archived.geometry(old, old + further)
            if found is not None:
                scale = np.cbrt(np.linalg.det(found.new_from_old[:3, :3]))
                true = archived.true_between(old, old + further)
                error_m = np.linalg.norm(found.new_from_old[:3, 3] / scale - true[:3, 3])
                assert error_m < 0.1 + 0.1 * np.linalg.norm(true[:3, 3])


def closed(records, options: LoopOptions) -> list:
    loops = []
    with KeyframeArchive() as archive:
        closer = LoopCloser(archive, OpticalFlowMatcher(), options)
        similarity, travelled_m, last = {}, 0.0, None
        for record in records:
            centre = np.linalg.inv(record.camera_from_world)[:3, 3]
            travelled_m += 0.0 if last is None else float(np.linalg.norm(centre - last))
            last = centre
            new = archive.add(record, travelled_m, extract_features(record.gray, options.places.features))
            similarity[new.number] = record.camera_from_world
            loops += closer.look(new, similarity)
    return loops


def test_the_first_lap_has_no_loop_even_if_any_drift_is_believed() -> None:
    loop = tracked_loop()
    first_lap = [record for record in loop.records if record.frame_index < len(loop.truth) - EXTRA_FRAMES - 20]
    assert closed(first_lap, LoopOptions(max_drift_share=100.0, max_drift_rad=10.0, spacing_m=4.0)) == []


def test_a_return_needs_visits_that_agree_and_a_drift_that_can_be() -> None:
    loop = tracked_loop()
    near = [r for r in loop.records if r.frame_index < 110 or r.frame_index > len(loop.truth) - EXTRA_FRAMES - 2]
    found = closed(near, LoopOptions())
    assert found
    assert all(one.old < one.new for one in found)
    assert closed(near, LoopOptions(agreeing_visits=50)) == []
    elsewhere = [
        record
        if record.frame_index < 110
        else moved(record, camera_from_world=record.camera_from_world @ shifted(200.0))
        for record in near
    ]
    assert closed(elsewhere, LoopOptions(max_drift_share=0.0)) == [], "no way travelled explains 200 m"


def shifted(metres: float) -> np.ndarray:
    transform = np.eye(4)
    transform[0, 3] = metres
    return transform
