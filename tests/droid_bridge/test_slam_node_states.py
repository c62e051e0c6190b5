"""The SLAM node's lifecycle, its parameters and its transforms."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: source a ROS install or take the [ros] extra")

from builtin_interfaces.msg import Time
from geometry_msgs.msg import TransformStamped
from inner_graph import InnerNode
from inner_slam import InnerSlam
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from nav_msgs.msg import Odometry
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from sliding_camera import PERIOD_NS

from droid_bridge.ros import slam_publishers, transform_broadcaster
from droid_bridge.ros.droid_node import DroidNode
from droid_bridge.ros.transform_broadcaster import TransformBroadcaster

pytestmark = pytest.mark.ros


def publishes_odometry(graph: InnerSlam) -> bool:
    """Whether the middleware says so, which it does a moment later."""
    return "/odometry" in dict(graph.node.get_publisher_names_and_types_by_node("droid_slam", "/"))


def test_it_goes_through_its_states_and_starts_a_new_drive_after_cleanup(
    start_slam: Callable[..., InnerSlam],
) -> None:
    graph = start_slam()
    graph.send(PERIOD_NS)
    graph.send(2 * PERIOD_NS, 1)
    client = graph.probe.node.create_client(ChangeState, "/droid_slam/change_state")
    assert graph.probe.wait_for(client.service_is_ready)
    for transition in (
        Transition.TRANSITION_DEACTIVATE,
        Transition.TRANSITION_CLEANUP,
        Transition.TRANSITION_CONFIGURE,
        Transition.TRANSITION_ACTIVATE,
    ):
        answer = client.call_async(ChangeState.Request(transition=Transition(id=transition)))
        assert graph.probe.wait_for(answer.done, 60)
        assert answer.result().success
        is_there = transition != Transition.TRANSITION_CLEANUP
        assert graph.probe.wait_for(lambda is_there=is_there: publishes_odometry(graph) == is_there, 60)
    assert graph.probe.wait_for(lambda: graph.images.get_subscription_count() == 1)
    graph.probe.spin_for(0.5)
    graph.send(3 * PERIOD_NS, 2)
    assert graph.node._last_update.frame_index == 0


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("trajectory_file", "../secret.txt", "leads out of save_dir; give a name in it."),
        ("map_file", "/etc/map.ply", "leads out of save_dir; give a name in it."),
        ("trajectory_file", "path.csv", "its suffix must be .txt or .tum or .kitti."),
        ("map_file", "map.txt", "its suffix must be .ply."),
        ("voxel_m", 0.5, "read-only"),
    ],
)
def test_parameters_that_cannot_be_are_refused_with_a_reason(
    start_slam: Callable[..., InnerSlam], name: str, value: object, reason: str
) -> None:
    graph = start_slam()
    before = graph.node.value_of(name)
    result = graph.node.set_parameters([Parameter(name, value=value)])[0]
    assert not result.successful
    assert reason in result.reason
    assert graph.node.value_of(name) == before
    assert graph.node.set_parameters([Parameter("trajectory_file", value="drive/path.kitti")])[0].successful


def test_an_unknown_transport_is_refused_at_start() -> None:
    inner = InnerNode(DroidNode, {"image_transport": "theora"})
    try:
        assert not inner.has_started
    finally:
        inner.close()


class RecordedTransforms:
    """Takes the broadcaster's place where tf2_msgs is not installed."""

    sent: list[tuple[TransformStamped, ...]]

    def __init__(self, node: object) -> None:
        RecordedTransforms.sent = []

    def send(self, *transforms: TransformStamped) -> None:
        self.sent.append(transforms)


def test_map_to_odom_to_camera_link_goes_out_with_every_pose(
    start_slam: Callable[..., InnerSlam], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slam_publishers, "TransformBroadcaster", RecordedTransforms)
    graph = start_slam(odom_frame="odometry_frame", child_frame="camera_base")
    odometry = graph.probe.collect(Odometry, "odometry")
    assert graph.probe.wait_for(lambda: graph.node.count_subscribers("odometry") >= 2)
    for frame in range(4):
        graph.send((frame + 1) * PERIOD_NS, frame)
    assert graph.probe.wait_for(lambda: len(odometry) == 4)
    for message, (map_to_odom, odom_to_link) in zip(odometry, RecordedTransforms.sent, strict=True):
        assert (map_to_odom.header.frame_id, map_to_odom.child_frame_id) == ("map", "odometry_frame")
        assert (odom_to_link.header.frame_id, odom_to_link.child_frame_id) == ("odometry_frame", "camera_base")
        assert map_to_odom.header.stamp == odom_to_link.header.stamp == message.header.stamp
        assert odom_to_link.transform.rotation == message.pose.pose.orientation
        position, translation = message.pose.pose.position, odom_to_link.transform.translation
        assert (translation.x, translation.y, translation.z) == (position.x, position.y, position.z)
        shift = map_to_odom.transform.translation
        np.testing.assert_allclose([shift.x, shift.y, shift.z], 0, atol=1e-9)
        assert map_to_odom.transform.rotation.w == pytest.approx(1.0)


def test_publish_tf_off_makes_no_broadcaster(
    start_slam: Callable[..., InnerSlam], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(node: object) -> None:
        raise AssertionError("publish_tf is false")

    monkeypatch.setattr(slam_publishers, "TransformBroadcaster", never)
    graph = start_slam(publish_tf=False)
    graph.send(PERIOD_NS)
    assert graph.node._statistics._answered == 1


def test_the_broadcaster_sends_both_in_one_message_on_tf(monkeypatch: pytest.MonkeyPatch) -> None:
    class Message:
        def __init__(self, transforms: list[TransformStamped]) -> None:
            self.transforms = transforms

    class FakeNode:
        def __init__(self) -> None:
            self.topics: list[tuple[type, str]] = []
            self.sent: list[Message] = []

        def create_publisher(self, kind: type, topic: str, qos: object) -> FakeNode:
            self.topics.append((kind, topic))
            return self

        def publish(self, message: Message) -> None:
            self.sent.append(message)

    monkeypatch.setattr(transform_broadcaster, "TFMessage", Message)
    node = FakeNode()
    both = [TransformStamped(child_frame_id="odom"), TransformStamped(child_frame_id="camera_link")]
    TransformBroadcaster(node).send(*both)  # type: ignore[arg-type]
    assert node.topics == [(Message, "/tf")]
    assert [message.transforms for message in node.sent] == [both]


def test_with_use_sim_time_the_clock_is_the_players(
    start_slam: Callable[..., InnerSlam],
) -> None:
    graph = start_slam(use_sim_time=True)
    clock = graph.probe.publisher(Clock, "/clock")
    assert graph.probe.wait_for(lambda: clock.get_subscription_count() > 0, 60)
    played = Time(sec=1234, nanosec=500)

    def follows() -> bool:
        clock.publish(Clock(clock=played))
        return bool(graph.node.get_clock().now().to_msg() == played)

    assert graph.probe.wait_for(follows, 60)
    graph.send(1234 * 10**9)
    graph.send(1234 * 10**9 + PERIOD_NS, 1)
    assert graph.probe.wait_for(lambda: len(graph.answers) == 2, 60)
