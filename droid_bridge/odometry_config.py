"""What the front end can be told."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from droid_bridge.bundle_adjustment import SolverOptions
from droid_bridge.errors import DroidBridgeError
from droid_bridge.frame_check import MIN_SIDE_PX
from droid_bridge.ground_scale import GroundScale
from droid_bridge.keyframes import KeyframeRule
from droid_bridge.matching.choice import MATCHERS
from droid_bridge.scale_prior import ScalePriorOptions
from droid_bridge.scale_process import ScaleProcess


@dataclass(frozen=True)
class OdometryConfig:
    """Everything the front end can be told.

    Attributes
    ----------
    scale_prior : use ``Frame.depth_m`` as metric prior.
    camera_height_m : of the lens above flat ground, by which the ground in the map gives it its scale; None where
        it is not known. Without a prior and a height the scale is free and only carried along.
    keeps_height : the camera stays at one height above the ground, as on a vehicle, so that the ground in the map
        keeps its scale from drifting; one that is told is kept.
    window_size : frames that are estimated together.
    edge_radius : each frame is matched to this many before it.
    image_area_px : images are reduced to about this area, in pixels.
    matcher : "optical_flow" needs no weights and any CPU; "droid" is DROID-SLAM's network and wants a GPU.
    droid_weights : its weights; None is droid.pth in the cache folder.
    iterations : Gauss-Newton steps per frame.
    first_iterations : steps per frame while the window fills.
    independent_share : share of the cells whose errors are independent; neighbours err together.
    flat_depth_m : median depth that the first map gets where no prior gives one.
    max_lost_frames : frames in a row without a pose from the image after which the map starts anew.
    device : torch device of the solver and of the learned matcher.
    torch_threads : threads of torch in this process; the systems are small, and more of them wait for each other.
    prior : how far the prior is trusted.
    scale_process : how the map's scale and the prior's errors change along the way.
    keyframes : which frames stay in the window.
    solver : damping and robustness.
    """

    scale_prior: bool = True
    camera_height_m: float | None = None
    keeps_height: bool = False
    window_size: int = 8
    edge_radius: int = 2
    image_area_px: int = 384 * 512
    matcher: str = "optical_flow"
    droid_weights: Path | None = None
    iterations: int = 2
    first_iterations: int = 12
    independent_share: float = 0.02
    flat_depth_m: float = 10.0
    max_lost_frames: int = 5
    device: str = "cpu"
    torch_threads: int = 1
    prior: ScalePriorOptions = field(default_factory=ScalePriorOptions)
    scale_process: ScaleProcess = field(default_factory=ScaleProcess)
    keyframes: KeyframeRule = field(default_factory=KeyframeRule)
    solver: SolverOptions = field(default_factory=SolverOptions)

    @property
    def ground_scale(self) -> GroundScale | None:
        """What reads the scale off the ground, where the camera's height lets it."""
        return GroundScale.of(self.camera_height_m, self.keeps_height)

    @property
    def is_metric(self) -> bool:
        """Whether anything gives the map metres."""
        return self.scale_prior or self.camera_height_m is not None

    def __post_init__(self) -> None:
        for name, value, least in (
            ("window_size", self.window_size, 3),
            ("edge_radius", self.edge_radius, 1),
            ("image_area_px", self.image_area_px, MIN_SIDE_PX**2),
            ("iterations", self.iterations, 1),
            ("first_iterations", self.first_iterations, 1),
            ("max_lost_frames", self.max_lost_frames, 1),
            ("torch_threads", self.torch_threads, 1),
        ):
            if value < least:
                raise DroidBridgeError(f"odometry {name} is {value}; it must be at least {least}.")
        if self.edge_radius >= self.window_size:
            raise DroidBridgeError(
                f"odometry edge_radius is {self.edge_radius}; it must be below window_size ({self.window_size})."
            )
        if not 0 < self.independent_share <= 1:
            raise DroidBridgeError(
                f"odometry independent_share is {self.independent_share:g}; it must be above 0 and at most 1."
            )
        if not (math.isfinite(self.flat_depth_m) and self.flat_depth_m > 0):
            raise DroidBridgeError(f"odometry flat_depth_m is {self.flat_depth_m:g}; it must be above 0.")
        height_m = self.camera_height_m
        if height_m is not None and not (math.isfinite(height_m) and height_m > 0):
            raise DroidBridgeError(
                f"odometry camera_height_m is {height_m:g}; it must be above 0, the metres from ground to lens."
            )
        if self.keeps_height and not self.is_metric:
            raise DroidBridgeError(
                "a camera that keeps its height needs something in metres beside it; give a depth prior or the "
                "camera's height, if only a guess."
            )
        if self.matcher not in MATCHERS:
            names = ", ".join(MATCHERS)
            raise DroidBridgeError(f"odometry matcher is {self.matcher!r}; choose one of: {names}.")
