"""Publishers for what a recording holds, as far as this machine has the messages."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Collection
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from metric3d_ros.datasets.rosbag.recording import Recording, Topic

log = logging.getLogger(__name__)

_DEPTH = 10


def recorded_publishers(node: Node, recording: Recording, without: Collection[str]) -> dict[str, Any]:
    """A publisher for each topic of a recording, by topic.

    Parameters
    ----------
    node : what publishes.
    recording : what is published.
    without : topics that are for others to say; these, and messages that are not installed, go to the log.
    """
    publishers = {}
    for topic in recording.topics.values():
        if topic.name in without:
            log.info("%s is not played: it is not for the recording to say.", topic.name)
            continue
        message_class = _message_class(topic)
        if message_class is not None:
            qos = reliable(is_latched=topic.is_latched)
            publishers[topic.name] = node.create_publisher(message_class, topic.name, qos)
    return publishers


def reliable(*, is_latched: bool = False, depth: int = _DEPTH) -> QoSProfile:
    """Reliable, keeping the last ``depth``; for late subscribers as well where it is latched."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if is_latched else DurabilityPolicy.VOLATILE,
    )


def _message_class(topic: Topic) -> Any | None:
    package, _, name = topic.message_type.partition("/msg/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError, ValueError):
        log.info("%s is not played: %s is not installed.", topic.name, topic.message_type)
        return None
