"""Any recording of ROS messages: opening it, listing its topics, streaming its messages as they were stored."""

from __future__ import annotations

import logging
import struct
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection, ConnectionExtRosbag2, QosDurability

from metric3d_ros.datasets.rosbag.messages import TYPESTORE
from metric3d_ros.datasets.rosbag.recovery import Recovered, is_cut_short, recover_mcap
from metric3d_ros.errors import DatasetError

log = logging.getLogger(__name__)

_SUFFIXES = (".mcap", ".db3", ".bag")


@dataclass(frozen=True)
class Topic:
    """One topic of a recording.

    Attributes
    ----------
    name, message_type : such as ``/camera/image_rect`` and ``sensor_msgs/msg/Image``.
    message_count : messages in the recording.
    is_latched : whether late subscribers were meant to get the last message (transient local).
    """

    name: str
    message_type: str
    message_count: int
    is_latched: bool


@dataclass(frozen=True)
class StoredMessage:
    """One message as it is stored: serialised, with the time it was recorded."""

    topic: str
    log_time_ns: int
    data: bytes


class Recording:
    """A rosbag2 folder, an MCAP or db3 file, or a ROS 1 bag, opened for reading; a context manager.

    An MCAP file that was cut off is read as far as it goes, from a copy in the temporary folder; ``recovered`` and
    the log say what was lost. It is None for a whole recording.

    Raises
    ------
    DatasetError
        If it is missing, is not a bag, or holds nothing that can be read.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        _require_bag(self.path)
        self.recovered: Recovered | None = None
        self._copies: tempfile.TemporaryDirectory[str] | None = None
        try:
            self._reader = AnyReader([self._readable()], default_typestore=TYPESTORE)
            self._reader.open()
        except DatasetError:
            self._remove_copies()
            raise
        # The library raises whatever a broken file leads it to.
        except Exception as error:
            self._remove_copies()
            raise _unreadable(self.path, error) from error
        self.is_ros2 = self._reader.is2

    def _readable(self) -> Path:
        """The recording itself, or a whole copy of what is left of it."""
        files = sorted(self.path.glob("*.mcap")) if self.path.is_dir() else [self.path]
        cut = [file for file in files if file.suffix == ".mcap" and is_cut_short(file)]
        if not cut:
            return self.path
        if len(files) > 1:
            raise DatasetError(
                f"{cut[0]} is truncated, one of {len(files)} files of the recording; "
                "run metric3d bag recover on it and read the files one by one."
            )
        self._copies = tempfile.TemporaryDirectory(prefix="recovered_bag.")
        copy = Path(self._copies.name) / cut[0].name
        self.recovered = recover_mcap(cut[0], copy)
        log.warning("%s is truncated: %s (metric3d bag recover keeps what is left).", cut[0], self.recovered)
        return copy

    def _remove_copies(self) -> None:
        if self._copies is not None:
            self._copies.cleanup()
            self._copies = None

    def __enter__(self) -> Recording:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        self.close()
        return False

    def close(self) -> None:
        """Close the files."""
        self._reader.close()
        self._remove_copies()

    @property
    def topics(self) -> dict[str, Topic]:
        """Topics by name."""
        return {
            name: Topic(
                name=name,
                message_type=info.msgtype or "of several types",
                message_count=info.msgcount,
                is_latched=any(_is_latched(connection) for connection in info.connections),
            )
            for name, info in sorted(self._reader.topics.items())
        }

    @property
    def start_ns(self) -> int:
        """Time of the first message."""
        return int(self._reader.start_time)

    @property
    def end_ns(self) -> int:
        """Time of the last message."""
        return int(self._reader.end_time) - 1

    def messages(
        self, topics: Collection[str], start_ns: int | None = None, end_ns: int | None = None
    ) -> Iterator[StoredMessage]:
        """Messages on these topics in the order of their recording, ``start_ns`` included, ``end_ns`` not.

        Raises
        ------
        DatasetError
            If the recording breaks off or is corrupt on the way.
        """
        connections = [connection for connection in self._reader.connections if connection.topic in topics]
        if not connections:
            return
        try:
            for connection, log_time_ns, data in self._reader.messages(connections, start_ns, end_ns):
                yield StoredMessage(connection.topic, log_time_ns, data)
        except Exception as error:
            raise _unreadable(self.path, error) from error

    def deserialize(self, message: StoredMessage) -> Any:
        """The message with its fields.

        Raises
        ------
        DatasetError
            If the bytes are not a message of the topic's type.
        """
        message_type = self.topics_types[message.topic]
        try:
            return self._reader.deserialize(message.data, message_type)
        except Exception as error:
            raise DatasetError(
                f"a message on {message.topic} at {message.log_time_ns} ns in {self.path} "
                f"is not a {message_type} ({error}); the bag is damaged there."
            ) from error

    def as_cdr(self, message: StoredMessage) -> bytes:
        """The message as ROS 2 sends it; that of a ROS 1 bag is converted.

        Raises
        ------
        DatasetError
            If ROS 2 has no message of that type, or it has other fields.
        """
        if self.is_ros2:
            return bytes(message.data)
        message_type = self.topics_types[message.topic]
        try:
            return bytes(TYPESTORE.ros1_to_cdr(message.data, message_type))
        except Exception as error:
            raise DatasetError(
                f"a {message_type} on {message.topic} in {self.path} does not convert from ROS 1 "
                f"({str(error) or type(error).__name__}); convert the bag with rosbags-convert."
            ) from error

    @property
    def topics_types(self) -> dict[str, str]:
        """Message type by topic name."""
        return {connection.topic: connection.msgtype for connection in self._reader.connections}

    def header_stamp_ns(self, message: StoredMessage) -> int:
        """The stamp of a message that starts with a header, without reading the rest of it."""
        try:
            if not self.is_ros2:
                seconds, nanoseconds = struct.unpack_from("<II", message.data, 4)
            else:
                little_endian = message.data[1] & 1
                seconds, nanoseconds = struct.unpack_from("<iI" if little_endian else ">iI", message.data, 4)
        except (struct.error, IndexError) as error:
            raise DatasetError(
                f"a message on {message.topic} at {message.log_time_ns} ns in {self.path} has no header; "
                "the bag is damaged there."
            ) from error
        return int(seconds) * 10**9 + int(nanoseconds)


def _is_latched(connection: Connection) -> bool:
    if isinstance(connection.ext, ConnectionExtRosbag2):
        return any(qos.durability == QosDurability.TRANSIENT_LOCAL for qos in connection.ext.offered_qos_profiles)
    return bool(connection.ext.latching)


def _require_bag(path: Path) -> None:
    if not path.exists():
        raise DatasetError(f"no bag at {path}; check the path.")
    if path.is_dir() and not (path / "metadata.yaml").exists():
        raise DatasetError(
            f"{path} is not a rosbag2 folder: it has no metadata.yaml (`ros2 bag reindex` writes it)."
        )
    if path.is_file() and path.suffix not in _SUFFIXES:
        raise DatasetError(f"{path} is not a bag; give a rosbag2 folder or a file named {', '.join(_SUFFIXES)}.")


def _unreadable(path: Path, error: Exception) -> DatasetError:
    return DatasetError(f"{path} cannot be read as a bag: {str(error) or type(error).__name__}")
