"""Seeded procedural street worlds with exact depth and poses, rendered with numpy and OpenCV alone."""

from metric3d_ros.datasets.simulated.camera_path import camera_pose, sample_view
from metric3d_ros.datasets.simulated.drive import KITTI_LIKE_CAMERA, SimulatedDrive
from metric3d_ros.datasets.simulated.rendering import render
from metric3d_ros.datasets.simulated.world import StreetWorld

__all__ = ["KITTI_LIKE_CAMERA", "SimulatedDrive", "StreetWorld", "camera_pose", "render", "sample_view"]
