"""What the back end can be told."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from droid_bridge.errors import DroidBridgeError
from droid_bridge.global_adjustment.adjustment import GlobalAdjustmentOptions
from droid_bridge.loop_closure import LoopOptions
from droid_bridge.scale_process import ScaleProcess

KEPT_NEWEST = 20  # the newest keyframes are the local map, and loops in the making


@dataclass(frozen=True)
class OdometryNoise:
    """How the front end errs between keyframes, for the weight of its edges.

    Attributes
    ----------
    position_share : of the way between two keyframes, in any direction.
    rotation_rad_per_sqrt_m : random walk of the heading; that of the unit is the ``ScaleProcess``'s.
    position_m, rotation_rad : on every edge, however short.
    lost_share, lost_rad, lost_log_scale : where tracking was lost between the two.
    """

    position_share: float = 0.01
    rotation_rad_per_sqrt_m: float = 3e-4
    position_m: float = 0.005
    rotation_rad: float = 1e-4
    lost_share: float = 1.0
    lost_rad: float = 0.2
    lost_log_scale: float = 0.3

    def covariance(
        self, way_m: float, turn_rad: float, was_lost: bool, process: ScaleProcess
    ) -> NDArray[np.float64]:
        """Covariance (7, 7) of an edge over a way and a turn: translation, rotation, log scale."""
        root = math.sqrt(way_m)
        position = self.position_m + (self.lost_share if was_lost else self.position_share) * way_m
        rotation = self.lost_rad if was_lost else self.rotation_rad + self.rotation_rad_per_sqrt_m * root
        walk = process.walk_sigma_per_root_m**2 * way_m + process.turn_sigma_per_root_rad**2 * turn_rad
        drift = process.drift_sigma_per_m * way_m
        log_scale = self.lost_log_scale if was_lost else math.sqrt(walk + drift**2) + 1e-5
        return np.diag(np.square([position] * 3 + [rotation] * 3 + [log_scale]))


@dataclass(frozen=True)
class BackEndOptions:
    """What the back end may do.

    Attributes
    ----------
    loop_closure : look for returns.
    max_keyframes : above this, the keyframe that its neighbours miss least is dropped.
    max_loop_chi2 : loops that the solved graph contradicts by more, even where odometry errs ten times as much as
        it should, are taken back.
    scale_readings : let what depth priors and the ground say of the scale pull on the graph.
    solves_without_loops : solve at the end for the scale alone, even if no loop was closed.
    global_adjustment : at the end, bundle-adjust all keyframes together.
    adjustment : how.
    archive_folder : where keyframe images are kept while SLAM runs; None takes the system's temporary folder.
    loops, odometry, scale_process : when a return counts, how the front end errs, and how a depth prior does.
    """

    loop_closure: bool = True
    max_keyframes: int = 2000
    max_loop_chi2: float = 100.0
    scale_readings: bool = True
    solves_without_loops: bool = False
    global_adjustment: bool = False
    adjustment: GlobalAdjustmentOptions = field(default_factory=GlobalAdjustmentOptions)
    archive_folder: Path | None = None
    loops: LoopOptions = field(default_factory=LoopOptions)
    odometry: OdometryNoise = field(default_factory=OdometryNoise)
    scale_process: ScaleProcess = field(default_factory=ScaleProcess)

    def __post_init__(self) -> None:
        least = 2 * KEPT_NEWEST
        if self.max_keyframes < least:
            raise DroidBridgeError(f"max_keyframes is {self.max_keyframes}; it must be at least {least}.")
