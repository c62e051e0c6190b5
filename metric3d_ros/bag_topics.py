"""Names of the topics and frames in this project's bags, and the axis change between optics and robots.

Frames follow REP 103 and REP 105: ``odom`` -> ``camera_link`` has x forward, y left, z up;
``camera_optical_frame`` has x right, y down, z forward.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

IMAGE = "/camera/image_rect"
COMPRESSED_IMAGE = "/camera/image_rect/compressed"
CAMERA_INFO = "/camera/camera_info"
REFERENCE_DEPTH = "/camera/reference_depth"
REFERENCE_DEPTH_INFO = "/camera/reference_depth/camera_info"
GROUND_TRUTH = "/ground_truth/odometry"
TF = "/tf"
TF_STATIC = "/tf_static"
CLOCK = "/clock"
ODOMETRY = "/odometry"

ODOM_FRAME = "odom"
BASE_FRAME = "base_link"
CAMERA_FRAME = "camera_link"
OPTICAL_FRAME = "camera_optical_frame"
TRUTH_FRAME = "camera_link_ground_truth"  # a child of odom that no node publishes, so that it fights with none

LINK_FROM_OPTICAL = np.array(
    [[0.0, 0.0, 1.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)
"""``camera_link`` from ``camera_optical_frame``: forward is the optical z, left is -x, up is -y (REP 103)."""


def odom_from_optical(
    world_from_camera: NDArray[np.float64], world_from_first_camera: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Pose of ``camera_link`` in ``odom``, which is ``camera_link`` at the first frame.

    Parameters
    ----------
    world_from_camera : (..., 4, 4), optical camera to a world of any axes.
    world_from_first_camera : (4, 4), the same of the first frame.

    Returns
    -------
    (..., 4, 4) float64, the identity for the first frame, in REP 103 axes at both ends.
    """
    first_from_camera = np.linalg.inv(world_from_first_camera) @ world_from_camera
    return np.asarray(LINK_FROM_OPTICAL @ first_from_camera @ LINK_FROM_OPTICAL.T, dtype=np.float64)


def optical_from_odom(odom_from_link: NDArray[np.float64]) -> NDArray[np.float64]:
    """The way back: poses (..., 4, 4) of the optical camera in the optical frame of the first camera."""
    return np.asarray(LINK_FROM_OPTICAL.T @ odom_from_link @ LINK_FROM_OPTICAL, dtype=np.float64)
