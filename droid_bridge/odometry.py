"""The front end: frames in, one pose per frame out, in metres where the frames carry metric depth."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from droid_bridge.covariance_chain import CovarianceChain
from droid_bridge.depth_transfer import filled
from droid_bridge.errors import DroidBridgeError
from droid_bridge.factor_graph import FactorGraph, WindowFrame
from droid_bridge.frame_check import check_frame
from droid_bridge.frame_observation import FrameObserver
from droid_bridge.ground_scale import knowing
from droid_bridge.keyframe_record import KeyframeRecord
from droid_bridge.keyframes import median_motion_px
from droid_bridge.lie import se3_inverse
from droid_bridge.matching.choice import AnyFeatures, create_matcher
from droid_bridge.matching.matcher import Matcher
from droid_bridge.motion import MotionModel
from droid_bridge.odometry_config import OdometryConfig
from droid_bridge.odometry_update import OdometryUpdate, StepClock, TrackedPose, TrackingStatus
from droid_bridge.passed_frames import PassedFrames
from droid_bridge.pose_search import PoseFit, find_pose, with_residuals
from droid_bridge.retirement import keyframe_record
from droid_bridge.scale_prior import CellPrior, PriorFit, fit_prior
from droid_bridge.scale_tracking import ScaleTracker
from droid_bridge.two_view import estimate_two_view
from droid_bridge.window_growth import adjust, carried_from_keyframe, connect_further
from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.frame import Frame

__all__ = ["Odometry", "OdometryConfig", "OdometryUpdate", "TrackedPose", "TrackingStatus"]


class Odometry:
    """Monocular odometry of one camera over a sliding window of keyframes.

    A frame that sees little new is placed against the last keyframe and let go; one that sees more becomes a
    keyframe and is adjusted together with the window.

    Parameters
    ----------
    config : what it is told.
    matcher : used instead of the one that the config names.
    """

    def __init__(self, config: OdometryConfig | None = None, matcher: Matcher[AnyFeatures] | None = None) -> None:
        self._config = config or OdometryConfig()
        self._by_ground = self._config.ground_scale
        torch.set_num_threads(self._config.torch_threads)
        self._matcher = matcher or create_matcher(
            self._config.matcher, self._config.device, self._config.droid_weights
        )
        self.reset()

    def reset(self) -> None:
        """Forget everything; the next frame is the first of a new world."""
        self._camera: PinholeCamera | None = None
        self._graph: FactorGraph[AnyFeatures] | None = None
        self._passed = PassedFrames()
        self._scale = ScaleTracker(knowing(self._config.scale_process, self._by_ground), self._config.prior)
        self._last_stamp_ns: int | None = None
        self._has_metric_scale = self._was_metric = False
        self._has_shape = False
        self._flat_depth_m = self._config.flat_depth_m
        self._lost_frames = 0
        self._best_inlier_share = 0.0
        self._retired: list[KeyframeRecord] = []
        self._motion = MotionModel()
        self._unscaled: dict[int, TrackedPose] = {}
        self._uncertainty = CovarianceChain(self._config.scale_process)

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
            self._begin_map(new)
            return self._report(new, None, clock)
        predicted = self._motion.predicted(new.stamp_ns).to(self._observer.grid.rays.device)
        fit = find_pose(self._graph, new, predicted, self._matcher, self._has_shape)
        clock.lap("pose")
        if not self._has_shape:
            return self._track_without_shape(new, fit, predicted, clock)
        if fit.is_lost:
            return self._coast(new, predicted, fit, clock)
        self._scale.move(*self._motion.step_to(fit.camera_from_world))
        if self._is_keyframe(fit):
            self._grow(new, fit, clock)
        else:
            self._pass(new, fit)
        return self._report(new, fit, clock)

    def add_depth(
        self, stamp_ns: int, depth_m: NDArray[np.float32], confidence: NDArray[np.float32] | None = None
    ) -> bool:
        """Take in a depth map that came after its image was tracked.

        Parameters
        ----------
        stamp_ns : stamp of the image it belongs to.
        depth_m : float32 (height, width) metres, NaN where there is no reading.
        confidence : float32 (height, width) from 0 to 1, or None.

        Returns
        -------
        Whether it was of use: its image is a keyframe of the window that had no depth yet.
        """
        position = self._awaiting_depth(stamp_ns)
        if position is None or not self._config.scale_prior:
            return False
        prior = self._observer.prior_of(depth_m, confidence, self._config.prior)
        if prior is None:
            return False
        graph = self._map
        if not self._has_shape:
            self._shape_from(prior)
            return True
        known = graph.known_depth(position)
        fit = fit_prior(prior, known)
        if self._becomes_metric(fit):
            return True
        expected, log_scale = self._scale.expected(prior, known)
        if expected is not None:
            graph.set_depth(position, known.inverse_depth, log_scale, expected)
        self._correct(self._scale.measure(prior, fit))
        return True

    def flush(self) -> tuple[KeyframeRecord, ...]:
        """Give the frames still in the window, oldest first; the next frame starts a new map at the last pose."""
        self._retire_all()
        self._graph = None
        return self._take_retired()

    # --- what a frame brings -----------------------------------------------------------------------------------

    def _observe(self, frame: Frame) -> WindowFrame[AnyFeatures]:
        """What to keep of a frame; the first one fixes the size of the images."""
        if self._camera is None:
            self._camera = frame.camera
            self._observer = FrameObserver(
                frame.camera, self._config.image_area_px, self._config.device, self._matcher
            )
        self._last_stamp_ns = frame.stamp_ns
        return self._observer.observe(frame, self._config.prior if self._config.scale_prior else None)

    # --- starting, losing and finding the map ------------------------------------------------------------------

    def _begin_map(self, new: WindowFrame[AnyFeatures]) -> None:
        """A map of one frame, at the last known pose."""
        self._retire_all()
        grid = self._observer.grid
        self._graph = FactorGraph(grid, self._config.solver, self._config.prior, self._config.independent_share)
        flat = torch.full_like(grid.rays[0], 1 / self._flat_depth_m)
        pose = self._motion.camera_from_world.to(grid.rays.device)
        self._graph.add_frame(replace(new, prior=None), pose, flat)
        self._uncertainty.begin_map(self._graph)
        self._lost_frames = 0
        self._best_inlier_share = 0.0
        self._has_metric_scale = self._has_shape = False
        if new.prior is not None:
            self._shape_from(new.prior)

    def _shape_from(self, prior: CellPrior) -> None:
        """Give the one frame of a map without shape its depths by its prior."""
        unknown = torch.full_like(self._observer.grid.rays[0], torch.nan)
        self._map.set_depth(0, filled(unknown, prior, 0.0, 1 / self._flat_depth_m), 0.0, prior)
        self._has_shape = self._has_metric_scale = self._was_metric = True
        self._scale.begin_map()
        self._correct(self._scale.correction())

    def _track_without_shape(
        self, new: WindowFrame[AnyFeatures], fit: PoseFit, predicted: Tensor, clock: StepClock
    ) -> OdometryUpdate:
        """The pose where no depth is known: by the essential matrix, else by a prior, else against a flat scene.

        Two frames that show a geometry start the map. A turn on the spot shows none and may leave the first frame
        behind, so the flat scene moves along.
        """
        graph = self._map
        two_view = estimate_two_view(fit.match.forward, graph.grid)
        if two_view is not None:
            two_view = two_view.scaled_to(self._flat_depth_m)
            graph.set_depth(
                0, filled(two_view.inverse_depth, None, 0.0, 1 / self._flat_depth_m), 0.0, graph.frames[0].prior
            )
            pose = two_view.second_from_first @ graph.estimate.camera_from_world[0]
            residuals = graph.residual_norms(fit.match.forward, 0, pose)
            fit = with_residuals(fit.match, pose, residuals, graph.inlier_width_cells)
        if fit.is_lost:
            return self._coast(new, predicted, fit, clock)
        if two_view is not None:
            self._has_shape = True
            self._grow(new, fit, clock)
        elif new.prior is not None or median_motion_px(fit.match.forward) > self._config.keyframes.min_parallax_px:
            self._motion.place(fit.camera_from_world, new.stamp_ns)
            self._begin_map(new)
            return self._report(new, None, clock)
        else:
            self._passed.add(new, fit.camera_from_world, graph)
        return self._report(new, fit, clock)

    def _coast(
        self, new: WindowFrame[AnyFeatures], predicted: Tensor, fit: PoseFit, clock: StepClock
    ) -> OdometryUpdate:
        """Answer with the predicted pose; after too many, or with a map just begun, begin a new one there."""
        graph = self._map
        self._lost_frames += 1
        pose = se3_inverse(predicted).cpu().numpy()
        tracked = TrackedPose(new.frame_index, new.stamp_ns, pose)
        self._scale.move(*self._motion.step_to(predicted))
        self._uncertainty.coast(tracked, self._scale_variance)
        self._motion.place(predicted, new.stamp_ns)
        if self._lost_frames >= self._config.max_lost_frames or len(graph) == 1:
            if self._has_shape:
                self._flat_depth_m = 1 / float(graph.estimate.inverse_depth[-1].median())
            self._begin_map(new)
        return self._update(new, pose, (tracked,), TrackingStatus.DEGRADED, fit, clock)

    @property
    def _map(self) -> FactorGraph[AnyFeatures]:
        if self._graph is None:
            raise DroidBridgeError("odometry has no map yet; track a frame first.")
        return self._graph

    # --- the window --------------------------------------------------------------------------------------------

    def _is_keyframe(self, fit: PoseFit) -> bool:
        graph = self._map
        new_from_keyframe = fit.camera_from_world @ se3_inverse(graph.estimate.camera_from_world[-1])
        self._best_inlier_share = max(self._best_inlier_share, fit.inlier_share)
        return self._config.keyframes.is_keyframe(
            fit.match.forward,
            new_from_keyframe[:3, :3].cpu().numpy(),
            graph.grid.camera,
            fit.inlier_share / max(self._best_inlier_share, 1e-6),
            is_young=len(graph) <= 2,
        )

    def _pass(self, new: WindowFrame[AnyFeatures], fit: PoseFit) -> None:
        """Place a frame that shows little new, and hear what its prior says of the scale."""
        graph = self._map
        self._passed.add(new, fit.camera_from_world, graph)
        if new.prior is None:
            return
        prior_fit = fit_prior(new.prior, carried_from_keyframe(graph, fit))
        if not self._becomes_metric(prior_fit):
            self._correct(self._scale.measure(new.prior, prior_fit))

    def _grow(self, new: WindowFrame[AnyFeatures], fit: PoseFit, clock: StepClock) -> None:
        """Make a frame a keyframe and adjust the window."""
        graph = self._map
        if len(graph) >= self._config.window_size:
            if not self._waits_for_scale:
                self._retired.append(keyframe_record(graph, 0, self._observer.working_camera))
            self._passed.forget(graph.frames[0].frame_index)
            graph.drop_oldest()
        carried = carried_from_keyframe(graph, fit)
        prior, log_scale = self._scale.expected(new.prior if self._has_metric_scale else None, carried)
        depths = filled(carried.inverse_depth, prior, log_scale, carried.median(otherwise=1 / self._flat_depth_m))
        graph.add_frame(replace(new, prior=prior), fit.camera_from_world, depths, log_scale)
        self._best_inlier_share = 0.0
        newest = len(graph) - 1
        graph.connect(newest - 1, newest, fit.match.forward)
        graph.connect(newest, newest - 1, fit.match.backward)
        connect_further(graph, self._matcher, self._config.edge_radius)
        clock.lap("match")
        young = len(graph) < self._config.edge_radius + 2
        iterations = self._config.first_iterations if young else self._config.iterations
        adjust(graph, self._matcher, iterations, self._config.iterations)
        self._uncertainty.adjust(graph)
        self._hear_scale(new.prior)
        self._hear_height()
        clock.lap("adjust")

    def _hear_scale(self, prior: CellPrior | None) -> None:
        """What the newest keyframe's prior says of the scale, by the depths that its matches gave it."""
        if prior is None:
            return
        fit = fit_prior(prior, self._map.known_depth(len(self._map) - 1))
        if not self._becomes_metric(fit):
            self._correct(self._scale.measure(prior, fit))

    def _becomes_metric(self, fit: PriorFit | None) -> bool:
        """Give a map without a unit that of a prior."""
        if self._has_metric_scale or fit is None or fit.cells < self._config.prior.min_common_cells:
            return False
        self._set_unit(-fit.log_scale)
        self._scale.begin_map()
        self._correct(self._scale.correction())
        return True

    def _hear_height(self) -> None:
        """What the ground says of the scale, from the newest keyframe that is matched to all its neighbours."""
        position = len(self._map) - 1 - self._config.edge_radius
        if self._by_ground is None or position < 0:
            return
        log_scale = self._map.ground_log_scale(position, self._by_ground)
        if not math.isfinite(log_scale):
            return
        if self._has_metric_scale:
            self._correct(self._scale.measure_height(log_scale))
        elif self._by_ground.is_told:
            self._set_unit(-log_scale)
            self._correct(self._scale.begin_map_by_height())

    def _set_unit(self, log_factor: float) -> None:
        """Make a map without a unit metric; if there never was one, the whole way back to the start."""
        if self._was_metric:
            self._correct(log_factor)
        else:
            factor = math.exp(log_factor)
            self._rescale(factor, torch.zeros(3, dtype=torch.float64))
            self._unscaled = {index: pose.scaled(factor) for index, pose in self._unscaled.items()}
            self._uncertainty.rescale(factor)
        self._has_metric_scale = self._was_metric = True

    def _correct(self, log_factor: float) -> None:
        """Let the map grow by a factor about the oldest camera of the window."""
        if log_factor:
            oldest = se3_inverse(self._map.estimate.camera_from_world[0])
            self._rescale(math.exp(log_factor), oldest[:3, 3])

    def _rescale(self, factor: float, centre: Tensor) -> None:
        self._map.rescale(factor, centre.to(self._map.grid.rays.device))
        self._passed.rescale(factor)
        self._motion.rescale(factor, centre.cpu())
        self._flat_depth_m *= factor

    # --- what goes out -----------------------------------------------------------------------------------------

    def _awaiting_depth(self, stamp_ns: int) -> int | None:
        """Position in the window of a keyframe that has no prior yet."""
        frames = [] if self._graph is None else self._graph.frames
        for position, frame in enumerate(frames):
            if frame.stamp_ns == stamp_ns and frame.prior is None:
                return position
        return None

    def _retire_all(self) -> None:
        """Note every frame of the window as a keyframe; one without shape has no depths to tell, or no unit."""
        if self._graph is not None and self._has_shape and not self._waits_for_scale:
            camera = self._observer.working_camera
            self._retired += [keyframe_record(self._graph, k, camera) for k in range(len(self._graph))]
        self._passed = PassedFrames()

    def _take_retired(self) -> tuple[KeyframeRecord, ...]:
        retired, self._retired = tuple(self._retired), []
        return retired

    def _report(self, new: WindowFrame[AnyFeatures], fit: PoseFit | None, clock: StepClock) -> OdometryUpdate:
        window = self._passed.with_keyframes(self._map)
        newest = torch.from_numpy(window[-1].world_from_camera)
        if fit is None:
            self._motion.place(se3_inverse(newest), new.stamp_ns)
        else:
            self._motion.move(se3_inverse(newest), new.stamp_ns)
        information = None if fit is None else fit.information
        self._uncertainty.see(self._map, window, information, self._scale_variance)
        self._lost_frames = 0
        status = TrackingStatus.TRACKING if self._has_shape else TrackingStatus.INITIALIZING
        if self._waits_for_scale:
            status = TrackingStatus.INITIALIZING
            self._unscaled |= {tracked.frame_index: tracked for tracked in window}
        elif self._unscaled:
            self._unscaled |= {tracked.frame_index: tracked for tracked in window}
            window = tuple(self._unscaled[index] for index in sorted(self._unscaled))
            self._unscaled = {}
        return self._update(new, window[-1].world_from_camera, window, status, fit, clock)

    @property
    def _scale_variance(self) -> float | None:
        """Of the log scale of the map; None while it has no unit."""
        return self._scale.log_scale_variance if self._has_metric_scale else None

    @property
    def _waits_for_scale(self) -> bool:
        return self._config.is_metric and not self._has_metric_scale

    @property
    def _camera_height_m(self) -> float | None:
        """Of the camera above the ground, as all readings have it."""
        if self._by_ground is None or not self._has_metric_scale:
            return None
        return self._by_ground.camera_height_m * self._scale.height_factor

    def _update(
        self,
        new: WindowFrame[AnyFeatures],
        pose: NDArray[np.float64],
        window: tuple[TrackedPose, ...],
        status: TrackingStatus,
        fit: PoseFit | None,
        clock: StepClock,
    ) -> OdometryUpdate:
        graph = self._map
        log_scale = self._scale.expected_log_scale
        return OdometryUpdate(
            stamp_ns=new.stamp_ns,
            frame_index=new.frame_index,
            world_from_camera=pose,
            window=window,
            status=status,
            prior_scale=None if new.prior is None else math.exp(log_scale),
            inlier_share=1.0 if fit is None else fit.inlier_share,
            median_motion_px=0.0 if fit is None else median_motion_px(fit.match.forward),
            camera_height_m=self._camera_height_m,
            keyframes=len(graph),
            latency_ms=clock.laps_ms,
            covariance=self._uncertainty.covariance,
            retired=self._take_retired(),
            has_metric_scale=self._has_metric_scale,
            waits_for_scale=self._waits_for_scale,
        )
