"""What can still be read of an MCAP file that was cut off: a recorder was killed, or a download broke."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mcap.records import Channel, DataEnd, Header, Message, Schema
from mcap.stream_reader import StreamReader
from mcap.writer import CompressionType, Writer

from metric3d_ros.atomic_file import atomic_file
from metric3d_ros.errors import DatasetError

MCAP_MAGIC = b"\x89MCAP0\r\n"


@dataclass(frozen=True)
class Recovered:
    """What was recovered.

    Attributes
    ----------
    messages : how many.
    first_ns, last_ns : recording times of the first and the last of them.
    lost_bytes : of the file, from the first byte that could not be read on.
    is_all : whether the cut came after the last message, so that only the index is lost.
    """

    messages: int
    first_ns: int
    last_ns: int
    lost_bytes: int
    is_all: bool

    def __str__(self) -> str:
        seconds = (self.last_ns - self.first_ns) / 1e9
        if self.is_all:
            return f"all {self.messages} messages over {seconds:.2f} s are read, only the index is lost"
        return f"{self.messages} messages over {seconds:.2f} s are read, the last {self.lost_bytes} bytes are lost"


def is_cut_short(path: Path) -> bool:
    """Whether a file begins as MCAP but does not end so."""
    with path.open("rb") as file:
        starts_well = file.read(len(MCAP_MAGIC)) == MCAP_MAGIC
        if path.stat().st_size < 2 * len(MCAP_MAGIC):
            return starts_well
        file.seek(-len(MCAP_MAGIC), 2)
        return starts_well and file.read() != MCAP_MAGIC


def recover_mcap(path: Path, out: Path) -> Recovered:
    """Write the messages that can be read as a whole MCAP file, or nothing.

    Messages are recorded in chunks of about a megabyte; the one that was cut is lost.

    Raises
    ------
    DatasetError
        If there is no whole message in it.
    OutputError
        If ``out`` cannot be written.
    """
    with path.open("rb") as cut, atomic_file(out) as whole:
        found = _copy(cut, whole, path)
        if found.messages == 0:
            raise DatasetError(f"{path} is truncated and holds no whole message; record it again.")
    return found


def _copy(cut: IO[bytes], whole: IO[bytes], path: Path) -> Recovered:
    # Uncompressed: the copy is read at once, and from its middle.
    writer = Writer(whole, compression=CompressionType.NONE)
    schema_ids: dict[int, int] = {0: 0}
    channel_ids: dict[int, int] = {}
    times_ns: list[int] = []
    read_to, is_all = 0, False
    for record in _records_until_the_cut(cut):
        if isinstance(record, Header):
            writer.start(record.profile, record.library)
        elif isinstance(record, Schema) and record.id not in schema_ids:
            schema_ids[record.id] = writer.register_schema(record.name, record.encoding, record.data)
        elif isinstance(record, Channel) and record.id not in channel_ids:
            channel_ids[record.id] = writer.register_channel(
                record.topic, record.message_encoding, schema_ids[record.schema_id], record.metadata
            )
        elif isinstance(record, Message):
            channel_id = channel_ids[record.channel_id]
            writer.add_message(channel_id, record.log_time, record.data, record.publish_time, record.sequence)
            times_ns.append(record.log_time)
        is_all = is_all or isinstance(record, DataEnd)
        read_to = cut.tell()
    lost_bytes = path.stat().st_size - read_to
    if not times_ns:
        return Recovered(0, 0, 0, lost_bytes, is_all)
    writer.finish()
    return Recovered(len(times_ns), min(times_ns), max(times_ns), lost_bytes, is_all)


def _records_until_the_cut(cut: IO[bytes]) -> Iterator[Any]:
    try:
        yield from StreamReader(cut).records
    # The cut falls anywhere, so the library stumbles over it in many ways: all of them mean that it is there.
    except Exception:
        return
