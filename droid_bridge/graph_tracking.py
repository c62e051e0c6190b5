"""A drive through the real ROS 2 graph in lockstep: bag, player, depth node, SLAM node, trajectory files."""

from __future__ import annotations

import json
import resource
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from droid_bridge.depth_sources import DepthNoise, NetworkOptions, is_network, open_depth
from droid_bridge.errors import DroidBridgeError
from droid_bridge.graph import GraphProcesses
from droid_bridge.offline_tracking import frames_ahead
from droid_bridge.tracking_metrics import BYTES_PER_RSS_UNIT, MEGABYTE, Tracked
from droid_bridge.trajectory import read_tum
from droid_bridge.trajectory_recorder import TUM_FILE, recorded_odometry
from metric3d_ros import bag_topics
from metric3d_ros.datasets.frame import FrameSource
from metric3d_ros.datasets.rosbag import write_source

ANSWER_TIMEOUT_S = 60
NO_DEPTH = "none"
DEPTH_IN_BAG = "bag"
_DEPTH_TOPIC = "/camera/depth/image"
_CONFIDENCE_TOPIC = "/camera/depth/confidence"


@dataclass(frozen=True)
class Playback:
    """How the graph kept up; see `metric3d_ros.ros.playback.PlayReport`."""

    frames_in: int
    frames_out: int
    hz: float


def play_through_graph(
    bag: Path,
    out: Path,
    depth: str,
    slam_parameters: Mapping[str, str] | None = None,
    depth_parameters: Mapping[str, str] | None = None,
) -> Playback:
    """Play a bag through the nodes, each a process of its own, every frame waiting for the odometry of the last.

    Parameters
    ----------
    bag : what is played.
    out : a folder that exists; the SLAM node's trajectory files and all logs go there.
    depth : the prior: ``none``, ``bag`` for the bag's reference depth, or a depth network for the depth node.
    slam_parameters, depth_parameters : further parameters of the SLAM node and of the depth node.

    Raises
    ------
    DroidBridgeError
        If rclpy is not installed, or a process of the graph fails; the message names its log.
    """
    _require_ros()
    has_depth_node = depth not in (NO_DEPTH, DEPTH_IN_BAG)
    report = out / "player.json"
    with GraphProcesses(out) as graph:
        if has_depth_node:
            _start_depth_node(graph, depth, depth_parameters or {})
        depth_topic = bag_topics.REFERENCE_DEPTH if depth == DEPTH_IN_BAG else _DEPTH_TOPIC
        _start_slam_node(graph, out, depth_topic, depth != NO_DEPTH, slam_parameters or {})
        graph.run_player(
            [
                *(str(bag), "--lockstep", "--wait-subscribers", "2" if has_depth_node else "1"),
                *("--timeout", str(ANSWER_TIMEOUT_S), "--report", str(report)),
            ]
        )
    told: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return Playback(frames_in=told["frames_in"], frames_out=told["frames_out"], hz=told["hz"])


def track_over_ros(
    source: FrameSource,
    depth: str,
    noise: DepthNoise | None,
    out: Path,
    frames: int | None = None,
    slam_parameters: Mapping[str, str] | None = None,
    network: NetworkOptions | None = None,
) -> Tracked:
    """Track a recording through the graph; what it leaves is what `offline_tracking.track_recording` leaves.

    A network's depth comes from the depth node, every other depth (and one with noise) from the bag. The bag is
    there only while it is played.

    Parameters
    ----------
    source, depth, noise, network : the recording and its prior, as `depth_sources.open_depth` takes them.
    out : folder of the trajectory files and the nodes' logs.
    frames : how many; None is all.
    slam_parameters : further parameters of the SLAM node.

    Raises
    ------
    DroidBridgeError, Metric3dError
        What `play_through_graph` and `open_depth` raise, or if the bag cannot be written.
    """
    _require_ros()
    by_node = noise is None and is_network(depth)
    give_depth = open_depth(NO_DEPTH, source, None) if by_node else open_depth(depth, source, noise, network)
    count = len(source) if frames is None else min(frames, len(source))
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".bag.", dir=out) as folder:
        bag = Path(folder) / "drive.mcap"
        write_source(source, bag, frames=frames_ahead(source, give_depth, count), max_frames=count)
        prior = depth if by_node or depth == NO_DEPTH else DEPTH_IN_BAG
        depth_parameters = {} if network is None else network.node_parameters()
        playback = play_through_graph(bag, out, prior, slam_parameters, depth_parameters)
    most_rss = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return Tracked(
        trajectory=read_tum(out / TUM_FILE),
        odometry=recorded_odometry(out),
        told={
            "frames": playback.frames_in,
            "frames_in": playback.frames_in,
            "frames_out": playback.frames_out,
            "frames_per_second": playback.hz,
            "peak_memory_mb": most_rss * BYTES_PER_RSS_UNIT / MEGABYTE,
        },
    )


def _require_ros() -> None:
    if find_spec("rclpy") is None:
        raise DroidBridgeError(
            "a drive over ROS needs ROS 2; source your ROS setup, or run pip install 'metric3d_ros[ros]'."
        )


def _start_depth_node(graph: GraphProcesses, model: str, further: Mapping[str, str]) -> None:
    graph.start_node(
        "metric3d_ros.ros.depth_node",
        parameters={"model": model} | _reliable(bag_topics.IMAGE, bag_topics.CAMERA_INFO) | dict(further),
        remaps={
            "image": bag_topics.IMAGE,
            "camera_info": bag_topics.CAMERA_INFO,
            "depth/image": _DEPTH_TOPIC,
            "depth/confidence": _CONFIDENCE_TOPIC,
            "depth/camera_info": "/camera/depth/camera_info",
        },
    )


def _start_slam_node(
    graph: GraphProcesses, out: Path, depth_topic: str, has_prior: bool, further: Mapping[str, str]
) -> None:
    graph.start_node(
        "droid_bridge.ros.droid_node",
        parameters={"scale_prior": str(has_prior).lower(), "output_dir": str(out)}
        | _reliable(bag_topics.IMAGE, bag_topics.CAMERA_INFO, depth_topic, _CONFIDENCE_TOPIC)
        | dict(further),
        remaps={
            "image": bag_topics.IMAGE,
            "camera_info": bag_topics.CAMERA_INFO,
            "depth/image": depth_topic,
            "depth/confidence": _CONFIDENCE_TOPIC,
            "odometry": bag_topics.ODOMETRY,
        },
    )


def _reliable(*topics: str) -> dict[str, str]:
    """In lockstep every frame counts, so nothing may be lost between player and nodes."""
    return {f"qos_overrides.{topic}.subscription.reliability": "reliable" for topic in topics}
