from __future__ import annotations

import numpy as np
import pytest
from closed_loop import EXTRA_FRAMES, moved, tracked_loop

from droid_bridge.back_end import BackEnd, LoopEvent
from droid_bridge.back_end_options import BackEndOptions, OdometryNoise
from droid_bridge.errors import DroidBridgeError
from droid_bridge.keyframe_record import KeyframeRecord
from droid_bridge.matching.optical_flow import OpticalFlowMatcher
from droid_bridge.odometry_update import TrackedPose
from droid_bridge.scale_process import ScaleProcess
from droid_bridge.trajectory_filler import TrajectoryFiller


def bent(records: tuple[KeyframeRecord, ...], turn_rad_per_m: float, growth_per_m: float) -> list[KeyframeRecord]:
    """The records as an odometry would have left them whose heading and unit drift."""
    bent_records: list[KeyframeRecord] = []
    pose, travelled_m = records[0].camera_from_world, 0.0
    for k, record in enumerate(records):
        unit = np.exp(growth_per_m * travelled_m)
        if k:
            step = record.camera_from_world @ np.linalg.inv(records[k - 1].camera_from_world)
            way_m = float(np.linalg.norm(step[:3, 3]))
            travelled_m += way_m
            angle = turn_rad_per_m * way_m
            step[:3, 3] *= unit
            turn = np.eye(4)
            turn[0, 0] = turn[2, 2] = np.cos(angle)
            turn[0, 2], turn[2, 0] = np.sin(angle), -np.sin(angle)
            pose = turn @ step @ pose
        inverse_depth = (record.inverse_depth / unit).astype(np.float32)
        changes = {"camera_from_world": pose.copy(), "inverse_depth": inverse_depth, "log_scale": np.nan}
        bent_records.append(moved(record, **changes))
    return bent_records


def run(records, options: BackEndOptions | None = None) -> tuple[BackEnd, list[LoopEvent]]:
    back_end = BackEnd(OpticalFlowMatcher(), options)
    return back_end, [loop for record in records for loop in back_end.add(record).loops]


def mean_error_m(back_end: BackEnd, records, is_corrected: bool = True) -> float:
    filler = TrajectoryFiller()
    filler.record([TrackedPose(r.frame_index, r.stamp_ns, np.linalg.inv(r.camera_from_world)) for r in records])
    poses = filler.corrected(back_end.corrections() if is_corrected else ())
    truth = tracked_loop().truth
    return float(
        np.mean([np.linalg.norm(p.world_from_camera[:3, 3] - truth[p.frame_index][:3, 3]) for p in poses])
    )


def test_a_loop_undoes_most_of_what_drifted() -> None:
    records = bent(tracked_loop().records, 1e-3, 1e-3)
    back_end, loops = run(records)
    with_drift = mean_error_m(back_end, records, is_corrected=False)
    assert with_drift > 4
    assert loops
    assert loops[0].moved_m > 4
    assert loops[0].scaled == pytest.approx(np.exp(-1e-3 * 160), abs=0.05)
    assert mean_error_m(back_end, records) < with_drift / 2, "1.1 m of the rest were there before the bending"
    back_end.close()


def test_without_loops_or_readings_nothing_moves() -> None:
    records = bent(tracked_loop().records[:45], 1e-3, 0.0)
    back_end, loops = run(records)
    back_end.finish()
    assert loops == []
    for _, correction in back_end.corrections():
        np.testing.assert_allclose(correction, np.eye(4), atol=1e-9)
    back_end.close()


def test_a_prior_that_reads_twice_the_scale_doubles_it_at_the_end() -> None:
    """The maps of all keyframes are half as large as their priors say; the path becomes twice as long."""
    records = [moved(record, log_scale=-np.log(2), log_growth=0.0) for record in tracked_loop().records[:40]]
    back_end, _ = run(records, BackEndOptions(loop_closure=False, solves_without_loops=True))
    back_end.finish()
    (_, first), *_, (_, last) = back_end.corrections()
    for correction in (first, last):
        assert np.cbrt(np.linalg.det(correction[:3, :3])) == pytest.approx(2, rel=0.02)
    back_end.close()


def test_old_keyframes_are_thinned_and_the_loop_still_closes() -> None:
    records = bent(tracked_loop().records, 1e-3, 1e-3)
    back_end, loops = run(records, BackEndOptions(max_keyframes=45))
    assert len(back_end.archive) <= 45
    assert len(list(back_end.placed_keyframes())) == len(back_end.archive)
    assert loops
    assert mean_error_m(back_end, records) < mean_error_m(back_end, records, is_corrected=False) / 2
    gaps = np.diff([keyframe.travelled_m for keyframe in back_end.archive])
    assert gaps.max() < 15, "what was dropped lies close to what was kept"
    back_end.close()


def test_fewer_keyframes_than_the_local_map_needs_are_refused() -> None:
    with pytest.raises(DroidBridgeError, match="max_keyframes is 7; it must be at least 40"):
        BackEndOptions(max_keyframes=7)


def test_loops_that_the_graph_contradicts_are_taken_back() -> None:
    """The same drive and loops, with an odometry that claims to err by nanometres."""
    records = bent(tracked_loop().records, 1e-3, 1e-3)
    nearest = [
        r for r in records if r.frame_index < 110 or r.frame_index > len(tracked_loop().truth) - EXTRA_FRAMES - 2
    ]
    sure = OdometryNoise(1e-9, 1e-9, 1e-9, 1e-9)
    process = ScaleProcess(walk_sigma_per_root_m=1e-9, turn_sigma_per_root_rad=1e-9, drift_sigma_per_m=1e-9)
    back_end, loops = run(nearest, BackEndOptions(odometry=sure, scale_process=process))
    assert loops == []
    assert back_end.loops == ()
    for _, correction in back_end.corrections():
        np.testing.assert_allclose(correction, np.eye(4), atol=1e-9)
    back_end.close()
    believed, loops = run(nearest)
    assert loops
    assert len(believed.loops) == len(loops)
    believed.close()
