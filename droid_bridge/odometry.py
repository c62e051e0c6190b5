"""The front end: frames in, one pose per frame out, in metres where the frames carry metric depth."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from droid_bridge.depth_transfer import carried_inverse_depth, filled
from droid_bridge.errors import DroidBridgeError
from droid_bridge.expected_motion import expected_coords, median_motion_cells
from droid_bridge.factor_graph import FactorGraph, WindowFrame
from droid_bridge.frame_check import MIN_SIDE_PX, check_frame
from droid_bridge.keyframes import median_motion_px
from droid_bridge.lie import se3_exp, se3_inverse, se3_log, se3_orthonormalised
from droid_bridge.matching.matcher import CELL_PX, FramePair, Match, PairMatch
from droid_bridge.matching.optical_flow import OpticalFlowFeatures, OpticalFlowMatcher
from droid_bridge.odometry_config import OdometryConfig
from droid_bridge.odometry_update import OdometryUpdate, StepClock, TrackedPose, TrackingStatus
from droid_bridge.projection import CellGrid
from droid_bridge.scale_prior import CellPrior, cell_prior, fit_prior, trusted
from droid_bridge.two_view import estimate_two_view
from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.frame import Frame

__all__ = ["Odometry", "OdometryConfig", "OdometryUpdate", "TrackedPose", "TrackingStatus"]

_MATCHERS: dict[str, Callable[[], OpticalFlowMatcher]] = {"optical_flow": OpticalFlowMatcher}
_FAST_MOTION_PX = 12  # median motion from which a search does better from the expected one than from none
_GOOD_INLIER_SHARE = 0.35
_MIN_INLIER_SHARE = 0.2


class Odometry:
    """Monocular odometry of one camera over a sliding window of frames."""

    def __init__(self, config: OdometryConfig | None = None) -> None:
        self._config = config or OdometryConfig()
        torch.set_num_threads(self._config.torch_threads)
        self._matcher = _MATCHERS[self._config.matcher]()
        self.reset()

    def reset(self) -> None:
        """Forget everything; the next frame is the first of a new world."""
        self._camera: PinholeCamera | None = None
        self._graph: FactorGraph[OpticalFlowFeatures] | None = None
        self._last_stamp_ns: int | None = None
        self._newest_match: Match | None = None
        self._has_metric_scale = False
        self._has_shape = False
        self._flat_depth_m = self._config.flat_depth_m
        self._lost_frames = 0
        self._last_pose = torch.eye(4, dtype=torch.float64)
        self._last_pose_ns = 0
        self._velocity_per_ns = torch.zeros(6, dtype=torch.float64)

    def track(self, frame: Frame) -> OdometryUpdate:
        """Estimate the pose of the next frame.

        Parameters
        ----------
        frame : an image with its camera and, where there is one, its metric depth.

        Raises
        ------
        FrameError
            If the image is not uint8 (height, width, 3), its size differs from the first frame's or from its
            camera's or depth's, or its stamp is not after the last one. Nothing changed then.
        """
        check_frame(frame, self._camera, self._last_stamp_ns)
        clock = StepClock()
        new = self._observe(frame)
        clock.lap("prepare")
        if self._graph is None:
            return self._start(new, clock)
        predicted = self._predict(new.stamp_ns)
        self._retire_passing_frame()
        match, residuals = self._find_pose(new, predicted)
        inlier_share = self._inlier_share(residuals)
        clock.lap("pose")
        if inlier_share < _MIN_INLIER_SHARE:
            return self._coast(new, predicted, inlier_share, clock)
        if not self._has_shape:
            return self._answer_without_shape(new, inlier_share, clock)
        self._initialise_depth(match.backward)
        self._connect_further()
        clock.lap("match")
        self._adjust()
        clock.lap("adjust")
        return self._report(new, inlier_share, clock)

    # --- what a frame brings -----------------------------------------------------------------------------------

    def _observe(self, frame: Frame) -> WindowFrame[OpticalFlowFeatures]:
        """Features and prior of a frame at working size; the first frame fixes that size."""
        if self._camera is None:
            self._camera = frame.camera
            self._working = _working_camera(frame.camera, self._config.image_area_px)
            columns, rows = self._working.width_px // CELL_PX, self._working.height_px // CELL_PX
            self._grid = CellGrid.of_camera(
                self._working.resized(columns, rows), torch.device(self._config.device)
            )
        self._last_stamp_ns = frame.stamp_ns
        size = (self._working.width_px, self._working.height_px)
        image = np.asarray(cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        return WindowFrame(
            frame.index, frame.stamp_ns, self._matcher.prepare(image), self._prior_of(frame.depth_m)
        )

    def _prior_of(self, depth_m: NDArray[np.float32] | None) -> CellPrior | None:
        if not self._config.scale_prior:
            return None
        columns, rows = self._grid.camera.width_px, self._grid.camera.height_px
        return cell_prior(depth_m, columns, rows, self._config.prior, self._grid.rays.device)

    # --- starting, losing and finding the map ------------------------------------------------------------------

    def _start(self, new: WindowFrame[OpticalFlowFeatures], clock: StepClock) -> OdometryUpdate:
        """A map of one frame, at the last known pose."""
        pose = self._last_pose.to(self._grid.rays.device)
        self._has_metric_scale = self._has_shape = new.prior is not None
        self._graph = FactorGraph(
            self._grid, self._config.solver, self._config.prior, self._config.independent_share
        )
        known = torch.full_like(self._grid.rays[0], torch.nan)
        inverse_depth = filled(known, new.prior, 0.0, 1 / self._flat_depth_m)
        self._graph.add_frame(new, pose, inverse_depth)
        self._lost_frames = 0
        self._newest_match = None
        return self._report(new, 1.0, clock)

    def _predict(self, stamp_ns: int) -> Tensor:
        """Pose (4, 4) at a time, by the last velocity."""
        moved = se3_exp(self._velocity_per_ns * (stamp_ns - self._last_pose_ns)) @ self._last_pose
        return se3_orthonormalised(moved).to(self._grid.rays.device)

    def _coast(
        self,
        new: WindowFrame[OpticalFlowFeatures],
        predicted: Tensor,
        inlier_share: float,
        clock: StepClock,
    ) -> OdometryUpdate:
        """Answer with the predicted pose; after too many, start a new map there."""
        graph = self._map
        graph.drop_newest()
        self._newest_match = None
        self._lost_frames += 1
        self._last_pose, self._last_pose_ns = predicted.cpu(), new.stamp_ns
        if self._lost_frames >= self._config.max_lost_frames:
            self._flat_depth_m = 1 / float(graph.estimate.inverse_depth[-1].median())
            self._start(new, clock)
        pose = se3_inverse(predicted).cpu().numpy()
        tracked = TrackedPose(new.frame_index, new.stamp_ns, pose)
        return OdometryUpdate(
            new.stamp_ns,
            new.frame_index,
            pose,
            (tracked,),
            TrackingStatus.DEGRADED,
            None,
            inlier_share,
            0.0,
            len(self._map),
            clock.laps_ms,
        )

    @property
    def _map(self) -> FactorGraph[OpticalFlowFeatures]:
        if self._graph is None:
            raise DroidBridgeError("odometry has no map yet; track a frame first.")
        return self._graph

    # --- the pose of the new frame -----------------------------------------------------------------------------

    def _retire_passing_frame(self) -> None:
        """Let the newest frame go if it is no keyframe, else make room for one more.

        A map without shape has one frame: the last keyframe, since a turn on the spot may leave the first behind.
        """
        graph = self._map
        if self._newest_match is not None and not self._config.keyframes.is_keyframe(self._newest_match):
            graph.drop_newest()
        elif len(graph) >= (self._config.window_size if self._has_shape else 2):
            graph.drop_oldest()
        self._newest_match = None

    def _find_pose(self, new: WindowFrame[OpticalFlowFeatures], predicted: Tensor) -> tuple[PairMatch, Tensor]:
        """Match the last keyframe to the new frame and fit its pose; if one start fails, the better of two."""
        graph = self._map
        keyframe = len(graph) - 1
        cold = FramePair(graph.frames[keyframe].features, new.features)
        guided = self._expecting(cold, predicted)
        is_fast = median_motion_cells(guided.second_from_first) * CELL_PX > _FAST_MOTION_PX
        attempts = []
        for pair in (guided, cold) if is_fast else (cold, guided):
            match = self._matcher.match([pair])[0]
            graph.add_frame(new, predicted, graph.estimate.inverse_depth[keyframe])
            graph.connect(keyframe, keyframe + 1, match.forward)
            residuals = graph.estimate_newest_pose(keyframe, iterations=5, widen=8.0)
            pose = graph.estimate.camera_from_world[-1]
            graph.drop_newest()
            attempts.append((self._inlier_share(residuals), match, residuals, pose))
            if attempts[-1][0] > _GOOD_INLIER_SHARE:
                break
        _, match, residuals, pose = max(attempts, key=lambda attempt: attempt[0])
        graph.add_frame(new, pose, graph.estimate.inverse_depth[keyframe])
        graph.connect(keyframe, keyframe + 1, match.forward)
        graph.connect(keyframe + 1, keyframe, match.backward)
        self._newest_match = match.forward
        if not self._has_shape:
            residuals = self._bootstrapped(match, residuals)
        return match, residuals

    def _expecting(
        self, pair: FramePair[OpticalFlowFeatures], predicted: Tensor
    ) -> FramePair[OpticalFlowFeatures]:
        """The last keyframe and the new frame, with what the keyframe's depths expect at the predicted pose."""
        estimate = self._map.estimate
        new_from_keyframe = predicted @ se3_inverse(estimate.camera_from_world[-1])
        both = torch.stack([new_from_keyframe, se3_inverse(new_from_keyframe)])
        coords = expected_coords(both, estimate.inverse_depth[-1].expand(2, -1), self._grid)
        return replace(pair, second_from_first=coords[0], first_from_second=coords[1])

    def _bootstrapped(self, match: PairMatch, residuals: Tensor) -> Tensor:
        """Residuals after the map of two frames was started from their essential matrix, where they have one."""
        graph = self._map
        two_view = estimate_two_view(match.forward, self._grid)
        if two_view is None:
            return residuals
        self._has_shape = True
        two_view = two_view.scaled_to(self._flat_depth_m)
        graph.restart_pair(
            two_view.second_from_first, filled(two_view.inverse_depth, None, 0.0, 1 / self._flat_depth_m)
        )
        return graph.residual_norms(0, 1)

    def _inlier_share(self, residuals: Tensor) -> float:
        """Share of all cells whose match fits within four widths of the loss."""
        width = 4 * (self._config.solver.cauchy_scale_cells or 1.0)
        return float((residuals < width).double().mean())

    def _answer_without_shape(
        self, new: WindowFrame[OpticalFlowFeatures], inlier_share: float, clock: StepClock
    ) -> OdometryUpdate:
        """The pose against a flat scene; a prior, where this frame brings the first one, starts the map here."""
        if new.prior is None:
            return self._report(new, inlier_share, clock)
        self._last_pose = self._map.estimate.camera_from_world[-1].cpu()
        return self._start(new, clock)

    # --- the window --------------------------------------------------------------------------------------------

    def _initialise_depth(self, from_new: Match) -> None:
        """Inverse depths of the new frame: carried over from the keyframe, else from the prior."""
        graph = self._map
        keyframe, newest = len(graph) - 2, len(graph) - 1
        poses, prior = graph.estimate.camera_from_world, graph.frames[newest].prior
        carried = carried_inverse_depth(
            graph.estimate.inverse_depth[keyframe],
            poses[newest] @ se3_inverse(poses[keyframe]),
            from_new,
            self._grid,
        )
        log_scale = 0.0
        known = torch.isfinite(carried)
        fit = None if prior is None else fit_prior(prior, carried, known)
        if fit is not None and not self._has_metric_scale and fit.cells >= self._config.prior.min_common_cells:
            graph.rescale(math.exp(-fit.log_scale))
            carried = carried * math.exp(fit.log_scale)
            self._velocity_per_ns[:3] *= math.exp(-fit.log_scale)
            self._has_metric_scale = True
        elif fit is not None:
            log_scale = fit.log_scale
        fallback = float(carried[known].median()) if bool(known.any()) else 1 / self._flat_depth_m
        if prior is not None:
            prior = trusted(prior, fit, self._config.prior)
        graph.set_newest_depth(filled(carried, prior, log_scale, fallback), log_scale, prior)

    def _connect_further(self) -> None:
        """Match the new frame to the ones before the last keyframe, starting from the geometry."""
        graph = self._map
        newest = len(graph) - 1
        others = range(max(0, newest - self._config.edge_radius), newest - 1)
        if not others:
            return
        poses, depths = graph.estimate.camera_from_world, graph.estimate.inverse_depth
        new_from_other = torch.stack([poses[newest] @ se3_inverse(poses[k]) for k in others])
        to_new = expected_coords(new_from_other, depths[others.start : others.stop], self._grid)
        own_depths = depths[newest].expand(len(others), -1)
        from_new = expected_coords(se3_inverse(new_from_other), own_depths, self._grid)
        features = graph.frames[newest].features
        pairs = [
            FramePair(graph.frames[k].features, features, to_new[n], from_new[n]) for n, k in enumerate(others)
        ]
        for k, match in zip(others, self._matcher.match(pairs), strict=True):
            graph.connect(k, newest, match.forward)
            graph.connect(newest, k, match.backward)

    def _adjust(self) -> None:
        """Bundle-adjust the window; a young window has further to go."""
        graph = self._map
        young = len(graph) < self._config.edge_radius + 2
        graph.optimise(self._config.first_iterations if young else self._config.iterations)

    def _report(
        self, new: WindowFrame[OpticalFlowFeatures], inlier_share: float, clock: StepClock
    ) -> OdometryUpdate:
        graph = self._map
        poses = se3_inverse(graph.estimate.camera_from_world).cpu()
        newest = graph.estimate.camera_from_world[-1].cpu()
        elapsed_ns = new.stamp_ns - self._last_pose_ns
        if len(graph) > 1 and elapsed_ns > 0:
            self._velocity_per_ns = se3_log(newest @ se3_inverse(self._last_pose)) / elapsed_ns
        self._last_pose, self._last_pose_ns = newest, new.stamp_ns
        self._lost_frames = 0
        window = tuple(
            TrackedPose(frame.frame_index, frame.stamp_ns, poses[k].numpy())
            for k, frame in enumerate(graph.frames)
            if k >= graph.held_poses or len(graph) == 1
        )
        filling = not self._has_shape or len(graph) <= self._config.edge_radius
        return OdometryUpdate(
            stamp_ns=new.stamp_ns,
            frame_index=new.frame_index,
            world_from_camera=poses[-1].numpy(),
            window=window,
            status=TrackingStatus.INITIALIZING if filling else TrackingStatus.TRACKING,
            prior_scale=None if graph.frames[-1].prior is None else math.exp(float(graph.estimate.log_scale[-1])),
            inlier_share=inlier_share,
            median_motion_px=0.0 if self._newest_match is None else median_motion_px(self._newest_match),
            keyframes=len(graph),
            latency_ms=clock.laps_ms,
        )


def _working_camera(camera: PinholeCamera, area_px: int) -> PinholeCamera:
    """The camera reduced to about an area, keeping its aspect, with sides that are multiples of a cell."""
    scale = min(1.0, math.sqrt(area_px / (camera.width_px * camera.height_px)))
    sides = (
        max(MIN_SIDE_PX, round(side * scale / CELL_PX) * CELL_PX) for side in (camera.width_px, camera.height_px)
    )
    return camera.resized(*sides)
