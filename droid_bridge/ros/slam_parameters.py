"""The SLAM node's parameters, declared with description and range."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Any

from droid_bridge.back_end_options import BackEndOptions
from droid_bridge.odometry_config import OdometryConfig
from droid_bridge.ros.map_services import MAP_SUFFIXES, TRAJECTORY_WRITERS
from metric3d_ros.ros.depth_parameters import RAW, TRANSPORTS, UNKNOWN_HEIGHT
from metric3d_ros.ros.lifecycle import AutostartNode


def declare_parameters(node: AutostartNode) -> None:
    """Declare every parameter of the SLAM node."""
    node.declare_described(
        "scale_prior", True, "Use metric depth as the scale prior; off is monocular, without one."
    )
    node.declare_described(
        "camera_height_m",
        UNKNOWN_HEIGHT,
        "Height of the lens above flat ground: the ground in the map then gives it its scale, with a prior or "
        "without; 0 where it is not known.",
        bounds=(0.0, 100.0),
    )
    node.declare_described(
        "keeps_height",
        False,
        "The camera stays at one height above the ground, as on a vehicle: the ground in the map keeps its scale "
        "from drifting.",
    )
    node.declare_described(
        "matcher", "optical_flow", "What matches frames: optical_flow, or droid (DROID-SLAM's network)."
    )
    node.declare_described("device", "cpu", "Where the droid matcher and the solver run: cpu or cuda.")
    node.declare_described(
        "droid_weights", "", "File of the droid matcher's weights; empty takes droid.pth from the cache folder."
    )
    node.declare_described(
        "depth_wait_s",
        0.3,
        "An image waits for its depth until one so much younger has come; later depth still counts.",
        bounds=(0.0, 10.0),
    )
    node.declare_described(
        "rectified",
        True,
        "True: images are rectified, P is their camera; false: K and D are, and the node rectifies to P.",
    )
    node.declare_described(
        "image_transport", RAW, "raw subscribes to image, compressed to image/compressed (CompressedImage)."
    )
    node.declare_described("map_frame", "map", "Frame of path and map; loops move odom_frame in it.")
    node.declare_described("odom_frame", "odom", "Frame of the odometry: the body frame of the first image.")
    node.declare_described("child_frame", "camera_link", "Body frame of the camera (x forward, z up).")
    node.declare_described("publish_tf", True, "Publish map_frame to odom_frame to child_frame on /tf.")
    node.declare_described(
        "output_dir", "", "Folder for trajectory files, kept current at every frame; empty writes none."
    )
    node.declare_described("threads", 1, "CPU threads of the solver; flow takes its own.", bounds=(1, 256))
    node.declare_described("loop_closure", True, "Look for places seen before, and correct the path by them.")
    node.declare_described(
        "max_keyframes", 2000, "Keyframes kept; above it the densest are thinned.", bounds=(40, 1_000_000)
    )
    node.declare_described(
        "global_adjustment",
        False,
        "At the end of a drive, adjust all keyframes together before its trajectory files are finished; takes "
        "about a tenth of a second a keyframe.",
    )
    node.declare_described("voxel_m", 0.2, "Side of the map's voxels in metres.", bounds=(0.01, 10.0))
    node.declare_described("save_dir", "", "Folder that the save services write to; empty refuses them.")
    node.declare_described("map_file", "map.ply", "Name in save_dir of what ~/save_map writes.", read_only=False)
    node.declare_described(
        "trajectory_file",
        "trajectory.txt",
        "Name in save_dir of what ~/save_trajectory writes: .txt or .tum for TUM, .kitti for KITTI.",
        read_only=False,
    )


def refusal_of(changes: Iterable[Any]) -> str:
    """Why these parameters (rclpy Parameters) cannot be; empty where they can."""
    suffixes_of = {"map_file": MAP_SUFFIXES, "trajectory_file": tuple(TRAJECTORY_WRITERS)}
    for parameter in changes:
        if parameter.name == "image_transport" and parameter.value not in TRANSPORTS:
            return f"image_transport {parameter.value!r} is not known; use {' or '.join(TRANSPORTS)}."
        if parameter.name in suffixes_of:
            path, suffixes = PurePath(parameter.value), suffixes_of[parameter.name]
            if path.is_absolute() or ".." in path.parts:
                return f"{parameter.name} {parameter.value!r} leads out of save_dir; give a name in it."
            if path.suffix not in suffixes:
                return f"{parameter.name} is {parameter.value!r}; its suffix must be {' or '.join(suffixes)}."
    return ""


def odometry_config_of(node: AutostartNode) -> OdometryConfig:
    """What the node's parameters tell the front end; raises DroidBridgeError where they cannot be."""
    weights, camera_height_m = node.value_of("droid_weights"), node.value_of("camera_height_m")
    return OdometryConfig(
        scale_prior=node.value_of("scale_prior"),
        camera_height_m=None if camera_height_m == UNKNOWN_HEIGHT else camera_height_m,
        keeps_height=node.value_of("keeps_height"),
        matcher=node.value_of("matcher"),
        device=node.value_of("device"),
        droid_weights=Path(weights).expanduser() if weights else None,
        torch_threads=node.value_of("threads"),
    )


def back_end_options_of(node: AutostartNode) -> BackEndOptions:
    """What they tell the back end."""
    return BackEndOptions(
        loop_closure=node.value_of("loop_closure"),
        max_keyframes=node.value_of("max_keyframes"),
        global_adjustment=node.value_of("global_adjustment"),
    )
