"""The parts of the prior and of the back end, and what each is without."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from droid_bridge.back_end_options import BackEndOptions
from droid_bridge.odometry_config import OdometryConfig

CAMERA_HEIGHT_M = 1.65  # of the simulated drives' cameras, and of KITTI's


@dataclass(frozen=True)
class Variant:
    """A row of the table.

    Attributes
    ----------
    name : what is off, or on beyond the default.
    config, back_end : what the SLAM is told.
    is_corrected : whether the path is that of the back end; otherwise the front end's own.
    """

    name: str
    config: OdometryConfig = field(default_factory=OdometryConfig)
    back_end: BackEndOptions = field(default_factory=BackEndOptions)
    is_corrected: bool = True


def _prior(name: str, **changes: Any) -> Variant:
    config = OdometryConfig()
    return Variant(name, replace(config, prior=replace(config.prior, **changes)))


def _process(name: str, **changes: Any) -> Variant:
    config = OdometryConfig()
    process = replace(config.scale_process, **changes)
    return Variant(name, replace(config, scale_process=process), BackEndOptions(scale_process=process))


VARIANTS: tuple[Variant, ...] = (
    Variant("all parts"),
    Variant("no prior", OdometryConfig(scale_prior=False)),
    _prior("prior: no memory of the scale", scale_memory=False),
    _prior("prior: no scale state of a frame", frame_sigma=1e-3, held_frame_sigma=1e-3),
    _prior("prior: no gates", gates=False),
    _prior("prior: no yielding to parallax", parallax_yield=0.0),
    _prior("prior: cells taken for ten times as independent", independent_share=0.02, held_independent_share=2e-4),
    _process("prior: no steady drift in the model", drift_sigma_per_m=1e-9, drift_walk_sigma=1e-12),
    _process("prior: errors of one size, not learnt", error_sigmas=(0.1,), frame_sigmas=(0.03,)),
    Variant("back end: none, the front end's own path", is_corrected=False),
    Variant("back end: no loop closure", back_end=BackEndOptions(loop_closure=False)),
    Variant("back end: no scale readings", back_end=BackEndOptions(scale_readings=False)),
    Variant(
        "back end: solves for the scale at the end in any case", back_end=BackEndOptions(solves_without_loops=True)
    ),
    Variant(
        "back end: adjusts all keyframes together at the end, as `track` does",
        back_end=BackEndOptions(global_adjustment=True),
    ),
    Variant("ground: the camera keeps its height, off by default", OdometryConfig(keeps_height=True)),
    Variant("ground: the camera's height is told", OdometryConfig(camera_height_m=CAMERA_HEIGHT_M)),
    Variant(
        "ground: the camera's height is told, no prior",
        OdometryConfig(scale_prior=False, camera_height_m=CAMERA_HEIGHT_M),
    ),
)
