"""Why nothing comes is said with the resolved topic: no publisher, another type, another QoS, or silence."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: source a ROS install or take the [ros] extra")

from graph_probe import GraphProbe
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from metric3d_ros.ros.input_watch import InputWatch

pytestmark = pytest.mark.ros
BEST_EFFORT = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)
RELIABLE = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.RELIABLE)


@pytest.fixture
def other():
    probe = GraphProbe()
    yield probe
    probe.close()


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def watch(probe, topic, qos, clock):
    subscription = probe.node.create_subscription(Image, topic, lambda _: None, qos)
    return InputWatch(probe.node, subscription, "image", {"sensor_msgs/msg/CompressedImage": "unpack it"}, clock)


def reason(probe, qos, other=None, kind=Image, publisher_qos=RELIABLE, topic="camera/image"):
    clock = Clock()
    watched = watch(probe, topic, qos, clock)
    if other is not None:
        other.node.create_publisher(kind, topic, publisher_qos)
        # Discovery tells of an endpoint before it tells of its node.
        assert probe.wait_for(
            lambda: any(
                info.node_name == other.node.get_name()
                for info in probe.node.get_publishers_info_by_topic(f"/{topic}")
            )
        )
    clock.now_s = 7.0
    return watched.problem()


def test_nobody_publishes(probe):
    assert reason(probe, BEST_EFFORT) == (
        "waiting for image on /camera/image since 7 s: nobody publishes it; "
        "start the publisher, or remap image to where it is."
    )


def test_another_type(probe, other):
    said = reason(probe, BEST_EFFORT, other, CompressedImage)
    assert "it carries sensor_msgs/msg/CompressedImage, not sensor_msgs/msg/Image; unpack it." in said


def test_a_qos_that_does_not_fit(probe, other):
    said = reason(probe, RELIABLE, other, publisher_qos=BEST_EFFORT)
    assert "the QoS of its publisher probe does not fit (Best effort publisher and reliable subscription)" in said
    assert "set qos_overrides./camera/image.subscription" in said


def test_a_durability_that_does_not_fit(probe, other):
    latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    assert "ransient local subscription" in reason(probe, latched, other)


def test_a_publisher_that_is_silent(probe, other):
    assert "its publisher is there but sends nothing" in reason(probe, BEST_EFFORT, other)


def test_nothing_is_said_while_messages_come(probe):
    clock = Clock()
    watched = watch(probe, "camera/image", BEST_EFFORT, clock)
    clock.now_s = 4.9
    assert watched.problem() == ""
    watched.mark()
    clock.now_s = 9.8
    assert watched.problem() == ""
    clock.now_s = 10.0
    assert "since 5 s" in watched.problem()
