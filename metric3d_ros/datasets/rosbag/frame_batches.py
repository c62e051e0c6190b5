"""A recording cut at its images: what belongs to one frame, for playing frame by frame."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from metric3d_ros.datasets.rosbag.recording import Recording, StoredMessage


@dataclass(frozen=True)
class FrameBatch:
    """Messages from one image up to the next, in the order of their recording.

    Attributes
    ----------
    messages : what was recorded at the image's time and after it, before the next image's time.
    image_stamp_ns : stamp of the image; None for what comes before the first image.
    """

    messages: tuple[StoredMessage, ...]
    image_stamp_ns: int | None

    @property
    def log_time_ns(self) -> int:
        """When the first message was recorded."""
        return self.messages[0].log_time_ns


def frame_batches(
    recording: Recording,
    topics: Collection[str],
    image_topic: str,
    start_ns: int | None = None,
    end_ns: int | None = None,
) -> Iterator[FrameBatch]:
    """Cut the messages on these topics into frames; messages of one time are never parted.

    Raises
    ------
    DatasetError
        If the recording breaks off or is corrupt on the way.
    """
    batch: list[StoredMessage] = []
    image_stamp_ns: int | None = None
    stored = recording.messages(topics, start_ns, end_ns)
    for _, group in itertools.groupby(stored, key=lambda message: message.log_time_ns):
        simultaneous = list(group)
        images = [message for message in simultaneous if message.topic == image_topic]
        if images and batch:
            yield FrameBatch(tuple(batch), image_stamp_ns)
            batch = []
        if images:
            image_stamp_ns = recording.header_stamp_ns(images[-1])
        batch.extend(simultaneous)
    if batch:
        yield FrameBatch(tuple(batch), image_stamp_ns)
