"""Says what a node waits for, on which topic, and why it does not come."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSCompatibility, qos_check_compatible

PATIENCE_S = 5.0
IMAGE_REMEDIES = {
    "sensor_msgs/msg/CompressedImage": "set image_transport to compressed",
    "sensor_msgs/msg/Image": "set image_transport to raw",
}


class InputWatch:
    """Watches one subscription.

    Parameters
    ----------
    node : the node that subscribes.
    subscription : the subscription; its resolved topic is named.
    what : the input's name, such as ``camera_info``.
    remedies : what to do where the topic carries another type, by that type.
    clock_s : seconds that never go back.
    """

    def __init__(
        self,
        node: Node,
        subscription: Any,
        what: str,
        remedies: dict[str, str] | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._node = node
        # Kept, as the subscription may be destroyed while another thread asks.
        self._topic, self._qos = subscription.topic_name, subscription.qos_profile
        self._type = _type_name(subscription.msg_type)
        self._what = what
        self._remedies = remedies or {}
        self._clock_s = clock_s
        self._last_s = clock_s()

    def mark(self) -> None:
        """A message came."""
        self._last_s = self._clock_s()

    @property
    def age_s(self) -> float:
        """Seconds since the last message, or since watching began."""
        return self._clock_s() - self._last_s

    def problem(self) -> str:
        """One sentence once nothing came for five seconds; empty while messages come."""
        if self.age_s < PATIENCE_S:
            return ""
        return f"waiting for {self._what} on {self._topic} since {self.age_s:.0f} s: {self._reason()}."

    def _reason(self) -> str:
        publishers = self._node.get_publishers_info_by_topic(self._topic)
        if not publishers:
            return f"nobody publishes it; start the publisher, or remap {self._what} to where it is"
        others = [info.topic_type for info in publishers if info.topic_type != self._type]
        if len(others) == len(publishers):
            remedy = self._remedies.get(others[0], f"remap {self._what} to a topic of {self._type}")
            return f"it carries {others[0]}, not {self._type}; {remedy}"
        for info in publishers:
            compatibility, why = qos_check_compatible(info.qos_profile, self._qos)
            if info.topic_type == self._type and compatibility == QoSCompatibility.ERROR:
                return (
                    f"the QoS of its publisher{_named(info.node_name)} does not fit ({_policies_of(why)}); "
                    f"set qos_overrides.{self._topic}.subscription, or the publisher's"
                )
        return "its publisher is there but sends nothing"


def _named(node_name: str) -> str:
    """The name with a space before it; nothing where discovery has not told it yet."""
    return "" if node_name.startswith("_NODE_NAME_UNKNOWN") else f" {node_name}"


def _type_name(kind: type) -> str:
    package, _, _ = kind.__module__.partition(".")
    return f"{package}/msg/{kind.__name__}"


def _policies_of(reason: str) -> str:
    return "; ".join(part.removeprefix("ERROR: ") for part in reason.split(";") if part.strip()).strip()
