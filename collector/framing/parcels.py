"""Records that arrived together, and the frame in which they wait on disk.

A frame can be told from a torn or damaged one and skipped without being understood:

    b"MTSP"  u32 length of body  u32 CRC-32 of body  body
    body = u16 length of head  head (JSON)  u32 count  count * u32 length of record  records, each with an LF behind it

All integers are big-endian. Records are kept byte for byte; what they are wrapped in (`Shape`) is looked at later, by
whoever reads the frame, because the sender waits for the disk and not for our understanding. The LF is for people with
`grep`, and it gives even an empty record a place of its own: a record's offset is that of its first byte in the file.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import accumulate
from zlib import crc32

import orjson

from mta.events.errors import ParseError

__all__ = ["FRAME_HEAD", "MAX_FRAME_BYTES", "Arrival", "Parcel", "Shape", "body_size", "decode", "encode"]

MAX_FRAME_BYTES = 1 << 30
"""A longer body is damage, not a frame."""

_MAGIC = b"MTSP"
_HEAD = struct.Struct(">4sII")
FRAME_HEAD = _HEAD.size


class Shape(StrEnum):
    """What a record is wrapped in."""

    LINE = "line"
    """Nothing: it is the line, or the JSON record, that the mail server wrote."""
    EVENT = "event"
    """A shipper's JSON object (Beats, Fluent Bit, Vector, Logstash, rsyslog) with the line or its fields inside."""
    SYSLOG = "syslog"
    """A syslog message (RFC 5424 or 3164) with its priority in front."""
    CUT = "cut"
    """The beginning of something longer than a limit allows; `Parcel.size` tells how long it was."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """Records that one sender sent in one go. `sender` is a host name or address; `path` the log, where known.

    `offset` is where in that log the first record begins, if the others follow it there without a gap.
    """

    records: Sequence[bytes]
    shape: Shape = Shape.LINE
    sender: str = ""
    path: str = ""
    offset: int | None = None
    size: int = 0
    """Only for `Shape.CUT`: bytes that there were."""
    weight: int = field(init=False, compare=False)
    """Bytes of the records, for budgets."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", sum(map(len, self.records)) + 5 * len(self.records))


@dataclass(frozen=True, slots=True)
class Arrival:
    """A parcel, or what is left of it to read, and where in its file it stands: from `offset` to before `end`."""

    offset: int
    end: int
    parcel: Parcel


def encode(parcel: Parcel) -> bytes:
    """The frame of a parcel."""
    head = orjson.dumps([parcel.shape, parcel.sender, parcel.path, parcel.offset, parcel.size])
    count = len(parcel.records)
    lengths = struct.pack(f">I{count}I", count, *map(len, parcel.records))
    body = b"".join((struct.pack(">H", len(head)), head, lengths, b"\n".join(parcel.records), b"\n" if count else b""))
    return _HEAD.pack(_MAGIC, len(body), crc32(body)) + body


def body_size(head: bytes) -> int:
    """How long the body behind these `FRAME_HEAD` bytes is. Raises ParseError if no frame begins like this."""
    magic, length, _ = _HEAD.unpack(head)
    if magic != _MAGIC or length > MAX_FRAME_BYTES:
        raise ParseError("no frame begins here", reason="damaged")
    return int(length)


def decode(head: bytes, body: bytes, at: int, skip_to: int = 0) -> Arrival:
    """The parcel of a frame whose head stands at `at` in its file, without the records before `skip_to`.

    Raises ParseError (reason damaged) for a frame that is not as it was written.
    """
    if crc32(body) != _HEAD.unpack(head)[2]:
        raise ParseError("the checksum of a frame is wrong", reason="damaged")
    (size,) = struct.unpack_from(">H", body)
    shape, sender, path, offset, full_size = orjson.loads(body[2 : 2 + size])
    (count,) = struct.unpack_from(">I", body, 2 + size)
    lengths = struct.unpack_from(f">{count}I", body, 6 + size)
    first = 6 + size + 4 * count
    starts = list(accumulate((length + 1 for length in lengths), initial=first))
    base = at + FRAME_HEAD
    kept = next((number for number in range(count) if base + starts[number] >= skip_to), count)
    records = [body[starts[number] : starts[number + 1] - 1] for number in range(kept, count)]
    if offset is not None:
        offset += starts[kept] - first
    parcel = Parcel(records, Shape(shape), sender, path, offset, full_size)
    return Arrival(base + starts[kept], base + len(body), parcel)
