"""What the nodes have, read off the nodes themselves: the page docs/nodes.md is written by this module.

python -m droid_bridge.ros.node_pages docs/nodes.md
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rclpy
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.context import Context
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile

from droid_bridge.ros.droid_node import DroidNode
from metric3d_ros.atomic_file import replaced_when_done
from metric3d_ros.ros.depth_node import DepthNode
from metric3d_ros.ros.depth_outputs import OUTPUTS
from metric3d_ros.ros.lifecycle import AutostartNode

EVERY_NODE_HAS = ("start_type_description_service", "qos_overrides", "use_sim_time")
EVERY_NODE_SAYS = {"parameter_events", "rosout", "transition_event", "clock"}
# There or not, depending on whether tf2_msgs is installed.
TF = "/tf"
WHAT_TOPICS_HOLD = {
    "image": "The camera's images; with image_transport compressed this is image/compressed.",
    "camera_info": "The calibration of the images; binning and region are honoured.",
    "depth/image": "Metric depth of the images, paired with them by exact stamp.",
    "/diagnostics": "State, rates, latency by stage, drops, refusals by reason, memory, GPU; once a second.",
    "odometry": "Pose of child_frame in odom_frame, twist in child_frame, their covariances; for every image.",
    "path": "All poses in map_frame, after loops were closed; every tenth image and after a loop.",
    "local_map": "Points of the last keyframes in map_frame, where someone listens.",
    **{output.topic: output.description for output in OUTPUTS},
}
WHAT_SERVICES_DO = {
    "reset": "Forget the drive; the next image is the first of a new world.",
    "adjust_map": "Bundle-adjust all keyframes together; answers when it is done, tracking goes on.",
    "save_map": "Write the map as map_file into save_dir.",
    "save_trajectory": "Write the corrected trajectory as trajectory_file into save_dir.",
}
HEAD = """# The nodes

Written by `python -m droid_bridge.ros.node_pages docs/nodes.md` from the nodes themselves; a test fails where page
and nodes differ. Topics are relative: namespaces and remaps apply. Both are lifecycle nodes that configure and
activate themselves unless `autostart` is false. Parameters marked ✎ can change while the node runs, and a value
that cannot be is refused with its reason; the others are read once, at start.

`metric3d_slam` runs both nodes in one process: images are received once, and depth goes over without a topic.
Every QoS can be overridden: `qos_overrides.<resolved topic>.subscription.reliability` and the like.

Frames (REP 103, REP 105): images and everything under `depth/` are in the image's own optical frame (x right, y
down, z forward); `map` to `odom` to `camera_link` have x forward, y left, z up. `odom` never jumps; loops move
`odom` in `map`. Where tf2_msgs is installed the SLAM node sends both transforms on `/tf`. Stamps are the image's,
never the time of now.

Covariances of `odometry` ([covariance.md](covariance.md)) are in the order x, y, z, turn about x, y, z: the pose's
along the axes of `odom`, grown since the first image, the twist's along those of `camera_link`. An image that
tells nothing is answered with a constant velocity, and a covariance that says so.
"""


@dataclass(frozen=True)
class TopicDescription:
    """A topic of a node, by its relative name."""

    name: str
    kind: str
    is_published: bool
    qos: QoSProfile
    text: str


@dataclass(frozen=True)
class NodeDescription:
    """A node, configured.

    Attributes
    ----------
    executable, name, summary : what runs it, what it is called, and what it does.
    parameters : its own, each as default and descriptor.
    topics, services : those it has beside what every node has.
    every_topic, every_service : resolved names of all; a topic's with whether it is published.
    """

    executable: str
    name: str
    summary: str
    parameters: dict[str, tuple[Any, ParameterDescriptor]]
    topics: tuple[TopicDescription, ...]
    services: tuple[str, ...]
    every_topic: frozenset[tuple[str, bool]]
    every_service: frozenset[str]


def described_nodes() -> tuple[NodeDescription, NodeDescription]:
    """The depth node and the SLAM node, configured with every output switched on."""
    every_output = {output.parameter: True for output in OUTPUTS} | {"engine": "onnxruntime_cpu"}
    return (
        _described("depth_node", DepthNode, every_output),
        _described("droid_node", DroidNode, {}),
    )


def nodes_page() -> str:
    """docs/nodes.md."""
    return "\n".join([HEAD, *(_section(node) for node in described_nodes())])


def _described(
    executable: str, make_node: Callable[..., AutostartNode], overrides: dict[str, Any]
) -> NodeDescription:
    with _running(make_node, {}) as fresh:
        parameters = {
            name: (parameter.value, fresh.describe_parameter(name))
            for name, parameter in fresh._parameters.items()
            if not name.startswith(EVERY_NODE_HAS)
        }
    with _running(make_node, overrides) as node:
        node.trigger_configure()
        services = frozenset(node.resolve_service_name(service.srv_name) for service in node.services)
        names = {service.rpartition("/")[2] for service in services}
        return NodeDescription(
            executable=executable,
            name=node.get_name(),
            summary=(make_node.__doc__ or "").partition("\n")[0],
            parameters=parameters,
            topics=_topics(node),
            services=tuple(name for name in WHAT_SERVICES_DO if name in names),
            every_topic=frozenset((str(entity.topic_name), published) for entity, published in _entities(node)),
            every_service=services,
        )


@contextmanager
def _running(make_node: Callable[..., AutostartNode], overrides: dict[str, Any]) -> Iterator[AutostartNode]:
    context = Context()
    rclpy.init(context=context)
    node = make_node(
        context=context, parameter_overrides=[Parameter(name, value=value) for name, value in overrides.items()]
    )
    try:
        yield node
    finally:
        node.release()
        node.destroy_node()
        rclpy.shutdown(context=context)


def _topics(node: AutostartNode) -> tuple[TopicDescription, ...]:
    found = []
    for entity, is_published in _entities(node):
        name = str(entity.topic_name)
        if name.rpartition("/")[2] in EVERY_NODE_SAYS:
            continue
        name = name if name in WHAT_TOPICS_HOLD else name.removeprefix("/")
        kind = f"{entity.msg_type.__module__.partition('.')[0]}/{entity.msg_type.__name__}"
        found.append(TopicDescription(name, kind, is_published, entity.qos_profile, WHAT_TOPICS_HOLD[name]))
    return tuple(sorted(found, key=lambda topic: (topic.is_published, topic.name)))


def _entities(node: AutostartNode) -> Iterator[tuple[Any, bool]]:
    for entities, is_published in ((node.subscriptions, False), (node.publishers, True)):
        for entity in entities:
            if entity.topic_name != TF:
                yield entity, is_published


def _section(node: NodeDescription) -> str:
    lines = [f"## {node.name} (`{node.executable}`)", "", node.summary, ""]
    for title, is_published in (("Subscribes to", False), ("Publishes", True)):
        lines += [f"### {title}", "", "| topic | type | QoS | |", "|---|---|---|---|"]
        lines += [
            f"| `{topic.name}` | {topic.kind} | {_qos_text(topic.qos)} | {topic.text} |"
            for topic in node.topics
            if topic.is_published == is_published
        ]
        lines.append("")
    if node.services:
        lines += ["### Services (std_srvs/Trigger)", "", "| service | |", "|---|---|"]
        lines += [f"| `~/{name}` | {WHAT_SERVICES_DO[name]} |" for name in node.services]
        lines.append("")
    lines += ["### Parameters", "", "| parameter | default | range | |", "|---|---|---|---|"]
    lines += [_parameter_row(name, *described) for name, described in sorted(node.parameters.items())]
    return "\n".join([*lines, ""])


def _parameter_row(name: str, default: Any, descriptor: ParameterDescriptor) -> str:
    ranges = [*descriptor.integer_range, *descriptor.floating_point_range]
    span = f"{ranges[0].from_value:.15g} to {ranges[0].to_value:.15g}" if ranges else ""
    shown = str(default).lower() if isinstance(default, bool) else str(default) or "(empty)"
    pen = "" if descriptor.read_only else " ✎"
    return f"| `{name}`{pen} | {shown} | {span} | {descriptor.description} |"


def _qos_text(qos: QoSProfile) -> str:
    return f"{qos.reliability.name.lower().replace('_', ' ')}, keep last {qos.depth}"


def main(arguments: list[str] | None = None) -> int:
    """Write the page to the file given."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("page", type=Path, help="the file to write, docs/nodes.md")
    with replaced_when_done(parser.parse_args(arguments).page) as temporary:
        temporary.write_text(nodes_page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
