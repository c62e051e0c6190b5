"""How the covariance of a pose grows along the way: each answer of the front end says how far it may be off.

In the terms of ``pose_covariance``, what is carried on from one pose to the next by T turns with it,

    e_n = eta + Ad(T) e_p,        P_n = Ad(T) P_p Ad(T)^T + Q,

and three errors eta add up:

**Matches.** A pose that the next adjustment holds is the next link of the chain: Q is its block of the last Sigma
in which it was free. Links that were free together come from the same matches and err alike, so their errors are
not independent: ``eta = Q^(1/2) m``, and m keeps ``rho = exp(-1 / free poses)`` of itself from one to the next.
With C = cov(e, m) and K = rho Ad(T) C_p,

    P_n = Ad(T) P_p Ad(T)^T + K Q^(1/2) + Q^(1/2) K^T + Q,        C_n = K + Q^(1/2).

The newest keyframe is such a link to the last held one; a frame that is no keyframe has the covariance of its own
fit to the last keyframe, whose depths count as given.

**Scale.** The map's log scale l is off with a variance V that the scale filter knows (``scale_process``), and for
long: every step with translation t is off by ``eta = l u`` with ``u = (-t, 0)``. So c = cov(e, l) goes along:

    P_n = Ad(T) P_p Ad(T)^T + Ad(T) c_p u^T + u c_p^T Ad(T)^T + V u u^T,        c_n = Ad(T) c_p + V u.

Where a frame was measured and V falls, c falls by the same share, as it does in a Kalman filter; where V rises,
what is new is independent of the way behind. Where no prior gives the map a unit, V walks as the filter has it.

**Not seen.** A frame whose image tells nothing gets the pose that a constant velocity leads to. After a time tau
it is off by what an acceleration a that nobody saw may have done: a tau^2 / 2, and its velocity by a tau. The
odometry may not jump (REP 105), so where a new map begins, this stays in the chain for good.

Left out are errors that all images share, of the calibration and of the matcher; a constant error of the prior,
which only another sensor can see; and corrections of the scale that move the window as a whole. The chain is that
of Barfoot and Furgale, IEEE Transactions on Robotics 30 (2014), to first order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from droid_bridge.factor_graph import FactorGraph
from droid_bridge.lie import se3_adjoint, se3_inverse, so3_log
from droid_bridge.matching.choice import AnyFeatures
from droid_bridge.odometry_update import TrackedPose
from droid_bridge.pose_covariance import MotionCovariance, PoseInformation, WindowCovariance, rescaling
from droid_bridge.scale_process import ScaleProcess

UNSEEN_ACCELERATION_M_S2 = 3.0
UNSEEN_ACCELERATION_RAD_S2 = 3.0
_FARTHEST_M = 1000.0
_NANOSECONDS_PER_SECOND = 1e9


class ScaleError:
    """What the error of the scale did to the pose, and what that has in common with the scale of now."""

    def __init__(self, process: ScaleProcess) -> None:
        self._process = process
        self.pose = _nothing()
        self._shared = torch.zeros(6, dtype=torch.float64)
        self._variance = 0.0
        self._has_unit = False

    def move(self, step: Tensor) -> Tensor:
        """Carry the error over a step (4, 4); gives what it adds to the covariance (6, 6) of that step."""
        stretch = _stretch(step)
        adjoint = se3_adjoint(step)
        carried = adjoint @ self._shared
        cross = torch.outer(carried, stretch)
        own = self._variance * torch.outer(stretch, stretch)
        self.pose = adjoint @ self.pose @ adjoint.mT + cross + cross.mT + own
        self._shared = carried + self._variance * stretch
        return own

    def measure(self, variance: float | None, step: Tensor, camera_from_world: Tensor) -> None:
        """Take over the variance of the log scale after a step; None where no prior gives the map a unit."""
        if variance is None:
            turn_rad = torch.linalg.vector_norm(so3_log(step[:3, :3]))
            _, added = self._process.transition(float(torch.linalg.vector_norm(step[:3, 3])), float(turn_rad))
            self._variance += float(added[0, 0])
            return
        if not self._has_unit:
            # The whole way got its unit with this one measurement.
            self._has_unit = True
            stretch = _stretch(camera_from_world)
            self.pose = self.pose + variance * torch.outer(stretch, stretch)
            self._shared = variance * stretch
        elif variance < self._variance:
            self._shared = self._shared * (variance / self._variance)
        self._variance = variance

    def begin_map(self) -> None:
        """The next map has a scale of its own."""
        self._shared = torch.zeros(6, dtype=torch.float64)

    def rescale(self, factor: float) -> None:
        """Follow a world that became larger by a factor."""
        size = rescaling(factor)
        self.pose, self._shared = size[:, None] * self.pose * size, size * self._shared


class CovarianceChain:
    """Follows the front end frame by frame.

    Parameters
    ----------
    process : how a scale changes that nothing measures.
    """

    def __init__(self, process: ScaleProcess) -> None:
        self._scale = ScaleError(process)
        self._window: WindowCovariance | None = None
        self._last: TrackedPose | None = None
        self._seen: TrackedPose | None = None
        self._keyframe_index = -1
        self._step = torch.eye(4, dtype=torch.float64)
        self._elapsed_ns = 0
        # By matches alone; the scale adds its own.
        self._of_anchor = self._of_keyframe = self._of_seen = self._of_pose = _nothing()
        self._of_step = self._since_keyframe = _nothing()
        self._shared = _nothing()

    @property
    def covariance(self) -> MotionCovariance:
        """That of the last answer."""
        of_pose = (self._of_pose + self._scale.pose).numpy()
        return MotionCovariance(of_pose, self._of_step.numpy(), self._step.numpy(), self._elapsed_ns)

    def begin_map(self, graph: FactorGraph[AnyFeatures]) -> None:
        """A map of one frame begins at the last known pose."""
        self._adopt(graph, torch.zeros(0, 0, dtype=torch.float64))
        self._of_anchor = self._of_keyframe = self._of_pose
        self._keyframe_index = graph.frames[-1].frame_index
        self._shared = _nothing()
        self._scale.begin_map()

    def adjust(self, graph: FactorGraph[AnyFeatures]) -> None:
        """The window was adjusted; the last pose that is held now is the end of the chain."""
        before = self._window
        if before is None or graph.information is None:
            return
        anchor = graph.frames[graph.held_poses - 1].frame_index
        if anchor != before.anchor:
            self._of_anchor, self._shared = self._linked(before, anchor)
        self._adopt(graph, graph.information.covariance())

    def see(
        self,
        graph: FactorGraph[AnyFeatures],
        window: Sequence[TrackedPose],
        information: PoseInformation | None,
        scale_variance: float | None,
    ) -> None:
        """A frame was placed.

        Parameters
        ----------
        graph : the window of keyframes; the frame is its last one, or was placed against that.
        window : current poses of all its frames, the new one last.
        information : of the new one's fit to the last keyframe; None for the first frame of a map.
        scale_variance : of the map's log scale; None where no prior gives it a unit.
        """
        new = window[-1]
        self._move_to(new, window[-2] if len(window) > 1 else None)
        own = since_keyframe = _nothing()
        if graph.frames[-1].frame_index != self._keyframe_index:
            own = self._join_window(new.frame_index)
        elif information is not None:
            own = since_keyframe = information.covariance()
            onward = _camera_from_world(new) @ se3_inverse(graph.estimate.camera_from_world[-1].cpu())
            self._of_pose = _carried(self._of_keyframe, onward) + own
        self._of_step = own + _carried(self._since_keyframe, self._step) + self._scale.move(self._step)
        self._since_keyframe = since_keyframe
        self._scale.measure(scale_variance, self._step, _camera_from_world(new))
        self._seen, self._of_seen = new, self._of_pose

    def coast(self, new: TrackedPose, scale_variance: float | None) -> None:
        """A frame got the pose that a constant velocity leads to."""
        seen = self._seen or new
        self._move_to(new, None)
        gap = _unseen((new.stamp_ns - seen.stamp_ns) / _NANOSECONDS_PER_SECOND)
        onward = _camera_from_world(new) @ _world_from_camera(seen)
        self._of_pose = _carried(self._of_seen, onward) + gap
        self._of_step = gap + _carried(self._since_keyframe, self._step) + self._scale.move(self._step)
        self._since_keyframe = gap
        self._scale.measure(scale_variance, self._step, _camera_from_world(new))

    def rescale(self, factor: float) -> None:
        """Follow a world that became larger by a factor about its origin."""
        size = rescaling(factor)
        self._of_anchor, self._of_keyframe, self._of_seen, self._of_pose, self._since_keyframe = (
            size[:, None] * covariance * size
            for covariance in (
                self._of_anchor,
                self._of_keyframe,
                self._of_seen,
                self._of_pose,
                self._since_keyframe,
            )
        )
        self._shared = size[:, None] * self._shared
        self._window = None if self._window is None else self._window.rescaled(factor)
        self._last = None if self._last is None else self._last.scaled(factor)
        self._seen = None if self._seen is None else self._seen.scaled(factor)
        self._scale.rescale(factor)

    def _adopt(self, graph: FactorGraph[AnyFeatures], covariance: Tensor) -> None:
        indices = [frame.frame_index for frame in graph.frames]
        self._window = WindowCovariance(indices, graph.held_poses, graph.estimate.camera_from_world, covariance)

    def _join_window(self, frame_index: int) -> Tensor:
        """A frame became a keyframe; gives the covariance (6, 6) of its motion since the last one."""
        assert self._window is not None
        before = self._keyframe_index
        self._of_pose, _ = self._linked(self._window, frame_index)
        self._of_keyframe, self._keyframe_index = self._of_pose, frame_index
        return self._window.relative(frame_index, before)

    def _linked(self, window: WindowCovariance, frame_index: int) -> tuple[Tensor, Tensor]:
        """P_n and C_n (6, 6) of a frame that is linked to the last held one."""
        adjoint = se3_adjoint(window.between(frame_index, window.anchor))
        own = window.block(frame_index, frame_index)
        root = _square_root(own)
        kept = math.exp(-1 / max(window.free, 1)) * adjoint @ self._shared
        cross = kept @ root
        return adjoint @ self._of_anchor @ adjoint.mT + cross + cross.mT + own, kept + root

    def _move_to(self, new: TrackedPose, before: TrackedPose | None) -> None:
        """Note the step to a frame, from what is known now of the frame before where that is ``before``."""
        last, self._last = self._last, new
        if last is None:
            return
        if before is None or before.frame_index != last.frame_index:
            before = last
        self._step = _camera_from_world(new) @ _world_from_camera(before)
        self._elapsed_ns = new.stamp_ns - last.stamp_ns


def _nothing() -> Tensor:
    return torch.zeros(6, 6, dtype=torch.float64)


def _carried(covariance: Tensor, step: Tensor) -> Tensor:
    """A covariance (6, 6) a step (4, 4) further on."""
    adjoint = se3_adjoint(step)
    return adjoint @ covariance @ adjoint.mT


def _square_root(covariance: Tensor) -> Tensor:
    """The symmetric root (6, 6) of a covariance."""
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.mT
    return root


def _stretch(step: Tensor) -> Tensor:
    """The error (6,) of a step (4, 4) per error of the log scale."""
    return torch.cat([-step[:3, 3], torch.zeros(3, dtype=torch.float64)])


def _unseen(seconds: float) -> Tensor:
    """The covariance (6, 6) of a pose that was predicted for so long."""
    moved_m = min(0.5 * UNSEEN_ACCELERATION_M_S2 * seconds**2, _FARTHEST_M)
    turned_rad = min(0.5 * UNSEEN_ACCELERATION_RAD_S2 * seconds**2, math.pi)
    return torch.diag(torch.tensor([moved_m] * 3 + [turned_rad] * 3, dtype=torch.float64) ** 2)


def _world_from_camera(tracked: TrackedPose) -> Tensor:
    return torch.from_numpy(tracked.world_from_camera)


def _camera_from_world(tracked: TrackedPose) -> Tensor:
    return se3_inverse(_world_from_camera(tracked))
