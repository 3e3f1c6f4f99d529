"""The bytes of the spool journal: how entries are framed, and how they are found again in damaged bytes. Pure.

A segment file is a header and then frames. A frame is a mark, the length and the CRC-32 of its payload, and the
payload. The CRC starts from the segment's random salt: after damage the reader searches for the next mark, and a
message whose body imitates a frame must not be able to pass for one.

A payload is one entry: a JSON head that says what happened, the body of a message (if any), and the log records that
became true with it. Records are numbered: `first_seq` is the number of an entry's first record.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import accumulate, pairwise
from mmap import mmap
from zlib import crc32

__all__ = [
    "FRAME_BYTES",
    "HEADER_BYTES",
    "Damage",
    "Entry",
    "EntryKind",
    "SegmentHeader",
    "frame",
    "head_range",
    "pack",
    "scan",
    "unpack",
]

_MAGIC = b"mtascope spool 1"
_HEADER = struct.Struct("<16sIQ")
_MARK = b"\xf5\n#\xf5"
_FRAME = struct.Struct("<4sII")
_ENTRY = struct.Struct("<BQIIH")

HEADER_BYTES = _HEADER.size
FRAME_BYTES = _FRAME.size


class EntryKind(IntEnum):
    """What an entry records."""

    MESSAGES = 1
    """Accepted, or copied forward by compaction: an envelope, its recipients and the body."""
    RESULT = 2
    """An attempt's result: the message's new state, or that it is finished."""
    RECORDS = 3
    """Log records that belong to no queued message: rejections, feedback."""
    LOGGED = 4
    """All records up to a number are durable in the log."""


_KINDS = {kind.value: kind for kind in EntryKind}


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry, read or to be written. `records` are lines of JSON without line ends."""

    kind: EntryKind
    head: bytes
    body: bytes = b""
    first_seq: int = 0
    records: tuple[bytes, ...] = ()

    @property
    def last_seq(self) -> int:
        """Number of the last record; 0 if there is none."""
        return self.first_seq + len(self.records) - 1 if self.records else 0


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """`salt` seeds the segment's checksums; `next_seq` is the record number that was next when it was begun."""

    salt: int
    next_seq: int

    def to_bytes(self) -> bytes:
        """The header as it stands at the start of the file."""
        return _HEADER.pack(_MAGIC, self.salt, self.next_seq)

    @classmethod
    def parse(cls, data: bytes | mmap) -> SegmentHeader | None:
        """The header that `data` begins with, or None."""
        if len(data) < _HEADER.size:
            return None
        magic, salt, next_seq = _HEADER.unpack_from(data)
        return cls(salt, next_seq) if magic == _MAGIC else None


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes `start` to `end` of a segment are no frames. `at_end` tells that nothing readable follows."""

    start: int
    end: int
    at_end: bool


def pack(entry: Entry) -> bytes:
    """The payload of an entry."""
    sizes = [len(record) for record in entry.records]
    fixed = _ENTRY.pack(entry.kind, entry.first_seq, len(entry.head), len(entry.body), len(sizes))
    return b"".join((fixed, struct.pack(f"<{len(sizes)}I", *sizes), entry.head, *entry.records, entry.body))


def unpack(payload: memoryview, *, with_body: bool = True) -> Entry:
    """The entry of a payload that passed its checksum. The body can be left out, to spare memory."""
    kind, first_seq, head_size, _, count = _ENTRY.unpack_from(payload)
    sizes = struct.unpack_from(f"<{count}I", payload, _ENTRY.size)
    start = _ENTRY.size + 4 * count + head_size
    ends = list(accumulate(sizes, initial=start))
    records = tuple(bytes(payload[a:b]) for a, b in pairwise(ends))
    body = bytes(payload[ends[-1] :]) if with_body else b""
    return Entry(_KINDS[kind], bytes(payload[start - head_size : start]), body, first_seq, records)


def head_range(payload: bytes) -> range:
    """Where in the payload that begins with these bytes the head stands."""
    _, _, size, _, count = _ENTRY.unpack_from(payload)
    start = _ENTRY.size + 4 * count
    return range(start, start + size)


def frame(payload: bytes, salt: int) -> bytes:
    """What stands before a payload in a segment."""
    return _FRAME.pack(_MARK, len(payload), crc32(payload, salt))


def scan(data: memoryview, salt: int, start: int = HEADER_BYTES) -> Iterator[tuple[int, memoryview] | Damage]:
    """Offset and payload of each frame; a `Damage` for each range that cannot be read."""
    while start < len(data):
        payload = _payload_at(data, start, salt)
        if payload is None:
            following = _resume(data, start + 1, salt)
            end = len(data) if following is None else following
            yield Damage(start, end, at_end=following is None)
            start = end
        else:
            yield start, payload
            start += FRAME_BYTES + len(payload)


def _payload_at(data: memoryview, offset: int, salt: int) -> memoryview | None:
    if offset + FRAME_BYTES > len(data):
        return None
    mark, size, crc = _FRAME.unpack_from(data, offset)
    payload = data[offset + FRAME_BYTES : offset + FRAME_BYTES + size]
    if mark != _MARK or len(payload) != size or size < _ENTRY.size or crc32(payload, salt) != crc:
        return None
    return payload


def _resume(data: memoryview, start: int, salt: int) -> int | None:
    """Offset of the next whole frame."""
    rest = bytes(data[start:])
    found = rest.find(_MARK)
    while found >= 0:
        if _payload_at(data, start + found, salt) is not None:
            return start + found
        found = rest.find(_MARK, found + 1)
    return None
