"""Playing a bag into the ROS graph, as ``ros2 bag play`` does, or in lockstep with the odometry it causes.

Messages go out as the bytes the bag holds. In lockstep the next frame goes out when odometry with the stamp of
the last one is in, so that every frame counts and results do not depend on the machine's speed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

import rclpy
from nav_msgs.msg import Odometry
from rclpy.context import Context
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from rich.progress import Progress
from rosgraph_msgs.msg import Clock

from metric3d_ros import bag_topics
from metric3d_ros.datasets.rosbag.frame_batches import FrameBatch, frame_batches
from metric3d_ros.datasets.rosbag.reader import find_image_topic
from metric3d_ros.datasets.rosbag.recording import Recording, StoredMessage
from metric3d_ros.errors import DatasetError
from metric3d_ros.ros.interrupt import InterruptSwitch
from metric3d_ros.ros.large_messages import make_room_for_images
from metric3d_ros.ros.pause import PauseSwitch
from metric3d_ros.ros.playback import PlaybackError, PlayOptions, PlayReport
from metric3d_ros.ros.recorded_publishers import recorded_publishers, reliable

log = logging.getLogger(__name__)

_CLOCK_PERIOD_S = 0.01
_LONGEST_WAIT_S = 0.1
_STABLE_GRAPH_S = 1.0
_LAST_ANSWERS_S = 2.0
_REMINDER_S = 5.0


def play_bag(recording: Recording, options: PlayOptions) -> PlayReport:
    """Play a recording in a ROS node of its own and report what came of it.

    A run that stalls or is interrupted is reported as not completed.

    Raises
    ------
    DatasetError
        If the recording cannot be played: it has no images, is damaged, or is of ROS 1 with other messages.
    """
    make_room_for_images()
    context = Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    try:
        player = _BagPlayer(recording, options, context)
        try:
            with player.pause, player.interrupt:
                player.play()
            failure = ""
        except PlaybackError as error:
            failure = str(error)
        except KeyboardInterrupt:
            failure = "interrupted"
        return player.report(failure)
    finally:
        rclpy.try_shutdown(context=context)


class _BagPlayer:
    def __init__(self, recording: Recording, options: PlayOptions, context: Context) -> None:
        self._recording = recording
        self._options = options
        self._image_topic = find_image_topic(recording, options.image_topic)
        self._start_ns, self._end_ns = _played_range(recording, options)
        self._unanswered: set[int] = set()
        self._frames_in = 0
        self._frames_out = 0
        self._resent = 0
        self._first_frame_s: float | None = None
        self._last_event_s = 0.0
        self.pause = PauseSwitch()
        self.interrupt = InterruptSwitch()
        self._paused_s = 0.0

        self._node = rclpy.create_node("bag_player", context=context, enable_rosout=False)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self._node)
        self._publishers = recorded_publishers(
            self._node, recording, without=(options.odometry_topic, bag_topics.CLOCK)
        )
        self._clock = self._node.create_publisher(Clock, bag_topics.CLOCK, 10) if options.clock else None
        self._odometry = self._node.create_subscription(
            Odometry, options.odometry_topic, self._on_odometry, reliable(depth=100)
        )

    def play(self) -> None:
        """Wait for listeners, then play the chosen part once or in a loop."""
        self._wait_for_listeners()
        with Progress(disable=not self._options.progress) as progress:
            task = progress.add_task("playing", total=self._frame_total())
            while True:
                self._publish_latched_before_start()
                for batch in self._batches():
                    self._play_batch(batch)
                    progress.update(task, completed=self._frames_in)
                if not self._options.loop:
                    break
        self._collect_last_answers()

    def report(self, failure: str) -> PlayReport:
        """What has been played so far."""
        spent_s = self._last_event_s - self._first_frame_s if self._first_frame_s is not None else 0.0
        wall_s = max(0.0, spent_s - self._paused_s)
        return PlayReport(
            frames_in=self._frames_in,
            frames_out=self._frames_out,
            resent=self._resent,
            wall_s=wall_s,
            hz=self._frames_in / wall_s if wall_s > 0 else 0.0,
            completed=not failure,
            failure=failure,
            paused_s=self._paused_s,
        )

    def _frame_total(self) -> int | None:
        is_whole = self._options.start_s == 0 and self._options.duration_s is None and not self._options.loop
        return self._recording.topics[self._image_topic].message_count if is_whole else None

    def _batches(self) -> Iterator[FrameBatch]:
        self._epoch_s = time.monotonic()
        return frame_batches(
            self._recording, self._publishers.keys(), self._image_topic, self._start_ns, self._end_ns
        )

    def _publish_latched_before_start(self) -> None:
        latched = [topic.name for topic in self._recording.topics.values() if topic.is_latched]
        for message in self._recording.messages(latched, end_ns=self._start_ns):
            self._publish(message)

    def _spin_once(self, timeout_s: float) -> None:
        """Listen for a moment, which Ctrl-C can be seen after."""
        self._executor.spin_once(timeout_sec=min(timeout_s, _LONGEST_WAIT_S))
        self.interrupt.raise_if_on()

    def _hold_while_paused(self) -> None:
        """Wait where playing was paused, and let the recording's time stand still meanwhile."""
        if not self.pause.is_on:
            return
        since_s = time.monotonic()
        while self.pause.is_on:
            self._spin_once(_CLOCK_PERIOD_S)
        held_s = time.monotonic() - since_s
        self._epoch_s += held_s
        if self._first_frame_s is not None:
            self._paused_s += held_s

    def _play_batch(self, batch: FrameBatch) -> None:
        self.interrupt.raise_if_on()
        self._hold_while_paused()
        if self._options.lockstep:
            self._play_in_lockstep(batch)
        else:
            self._play_in_real_time(batch)

    def _play_in_real_time(self, batch: FrameBatch) -> None:
        for message in batch.messages:
            self._sleep_until(message.log_time_ns)
            if message.topic == self._image_topic:
                self._note_frame(self._recording.header_stamp_ns(message))
            self._publish(message)

    def _play_in_lockstep(self, batch: FrameBatch) -> None:
        self._publish_clock(batch.log_time_ns)
        if batch.image_stamp_ns is None:
            self._publish_all(batch)
            return
        self._note_frame(batch.image_stamp_ns)
        self._publish_all(batch)
        if self._is_answered_in_time(batch.image_stamp_ns):
            return
        self._resent += 1
        log.warning("no odometry for frame %d yet: sending it again.", self._frames_in - 1)
        self._publish_all(batch)
        if not self._is_answered_in_time(batch.image_stamp_ns):
            raise PlaybackError(
                f"no odometry with stamp {batch.image_stamp_ns} ns on {self._options.odometry_topic} for frame "
                f"{self._frames_in - 1}, sent twice, within {self._options.timeout_s:g} s each; "
                f"check the node that should answer {self._image_topic}."
            )

    def _publish_all(self, batch: FrameBatch) -> None:
        for message in batch.messages:
            self._publish(message)

    def _publish(self, message: StoredMessage) -> None:
        if message.topic in self._publishers:
            self._publishers[message.topic].publish(self._recording.as_cdr(message))

    def _note_frame(self, stamp_ns: int) -> None:
        self._unanswered.add(stamp_ns)
        self._frames_in += 1
        self._last_event_s = time.monotonic()
        if self._first_frame_s is None:
            self._first_frame_s = self._last_event_s

    def _on_odometry(self, odometry: Any) -> None:
        stamp = odometry.header.stamp
        stamp_ns = stamp.sec * 10**9 + stamp.nanosec
        if stamp_ns in self._unanswered:
            self._unanswered.remove(stamp_ns)
            self._frames_out += 1
            self._last_event_s = time.monotonic()

    def _is_answered_in_time(self, stamp_ns: int) -> bool:
        deadline_s = time.monotonic() + self._options.timeout_s
        while stamp_ns in self._unanswered:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return False
            self._spin_once(left_s)
        return True

    def _sleep_until(self, log_time_ns: int) -> None:
        since_start_s = (log_time_ns - self._start_ns) / 1e9 / self._options.rate
        while (left_s := self._epoch_s + since_start_s - time.monotonic()) > 0:
            self._hold_while_paused()
            if self._clock is not None:
                self._publish_clock(log_time_ns - int(left_s * self._options.rate * 1e9))
            self._spin_once(min(left_s, _CLOCK_PERIOD_S))
        self._publish_clock(log_time_ns)

    def _publish_clock(self, now_ns: int) -> None:
        if self._clock is not None:
            message = Clock()
            message.clock.sec, message.clock.nanosec = divmod(now_ns, 10**9)
            self._clock.publish(message)

    def _wait_for_listeners(self) -> None:
        if self._options.wait_subscribers <= 0:
            return
        started_s = time.monotonic()
        reminder_s = started_s
        while missing := self._missing_listeners():
            now_s = time.monotonic()
            if now_s - started_s > self._options.wait_timeout_s:
                raise PlaybackError(f"gave up after {self._options.wait_timeout_s:g} s of waiting for {missing}.")
            if now_s >= reminder_s:
                log.warning("waiting for %s.", missing)
                reminder_s = now_s + _REMINDER_S
            self._spin_once(0.05)
        self._wait_for_stable_graph()

    def _missing_listeners(self) -> str:
        wanted = self._options.wait_subscribers
        count = self._publishers[self._image_topic].get_subscription_count()
        if count < wanted:
            return f"{wanted} subscriber(s) on {self._image_topic} ({count} so far)"
        if self._options.lockstep and not self._odometry.get_publisher_count():
            return f"a publisher on {self._options.odometry_topic}"
        return ""

    def _wait_for_stable_graph(self) -> None:
        # A node's subscriptions are discovered one by one; the first frame needs all of them. Whether whoever
        # answers knows this one's subscription cannot be seen from here.
        counts: list[int] = []
        stable_since_s = time.monotonic()
        while time.monotonic() - stable_since_s < _STABLE_GRAPH_S:
            counts_now = [publisher.get_subscription_count() for publisher in self._publishers.values()]
            if counts_now != counts:
                counts, stable_since_s = counts_now, time.monotonic()
            self._spin_once(0.02)

    def _collect_last_answers(self) -> None:
        # Answers first: waiting for acknowledgements does not listen, and would count as the last answer's time.
        if self._node.count_publishers(self._options.odometry_topic):
            quiet_since_s = time.monotonic()
            while self._unanswered and time.monotonic() - quiet_since_s < _LAST_ANSWERS_S:
                answered_before = self._frames_out
                self._spin_once(0.1)
                if self._frames_out != answered_before:
                    quiet_since_s = time.monotonic()
        for publisher in self._publishers.values():
            publisher.wait_for_all_acked(Duration(seconds=_LAST_ANSWERS_S))


def _played_range(recording: Recording, options: PlayOptions) -> tuple[int, int]:
    start_ns = recording.start_ns + round(options.start_s * 1e9)
    end_ns = recording.end_ns + 1
    if start_ns >= end_ns:
        raise DatasetError(
            f"start is {options.start_s:g} s but {recording.path} lasts "
            f"{(recording.end_ns - recording.start_ns) / 1e9:.2f} s; start earlier."
        )
    if options.duration_s is not None:
        end_ns = min(end_ns, start_ns + round(options.duration_s * 1e9))
    return start_ns, end_ns
