"""Cutting a stream of bytes into lines, whatever the pieces it arrives in, without ever holding more than one line.

Three things can come out, each with the offsets, in the decoded stream, of its first byte and of the byte behind it:

- `Lines`: whole lines, in one list, because a tuple for each line would cost more than parsing some of them;
- `Spoiled`: a record that cannot be had (longer than the limit, or in a damaged stream): its beginning and full size;
- `Rest`: what stands behind the last line end when the stream is over.

Nothing is skipped: the pieces of a stream follow each other without gap or overlap.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from collector.quarantine import KEPT_BYTES, Reason

__all__ = ["MAX_LINE_BYTES", "LineSplitter", "Lines", "Piece", "Rest", "Spoiled"]

MAX_LINE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Lines:
    """Whole lines without their LF."""

    offset: int
    end: int
    lines: list[bytes]


@dataclass(frozen=True, slots=True)
class Spoiled:
    """One record that is lost to reading. `size` may be far more than `raw` holds."""

    offset: int
    end: int
    reason: Reason
    detail: str
    raw: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Rest:
    """The bytes behind the last line end of a stream that is over; `detail` says what ended it."""

    offset: int
    end: int
    raw: bytes
    detail: str


Piece = Lines | Spoiled | Rest


class LineSplitter:
    """Feed it chunks in order; it gives pieces, and keeps what is not yet a whole line.

    `limit` is the longest line, in bytes without its LF, that is handed on; of a longer one the first `keep` bytes are
    kept and the others counted. `offset` is where in the stream the first chunk begins.
    """

    def __init__(self, *, limit: int = MAX_LINE_BYTES, keep: int = KEPT_BYTES, offset: int = 0) -> None:
        self._limit = limit
        self._keep = min(keep, limit)
        self._pending = bytearray()
        self._dropped = 0
        """Bytes of an overlong line beyond those in `_pending`."""
        self._overlong = False
        self.offset = offset
        """Where the line that is not yet whole begins: everything before it has been given out."""

    @property
    def pending(self) -> int:
        """How many bytes of an unfinished line have been taken in."""
        return len(self._pending) + self._dropped

    def feed(self, chunk: bytes) -> Iterator[Piece]:
        """The pieces that `chunk` completes."""
        if self.pending:
            head, newline, chunk = chunk.partition(b"\n")
            self._grow(head)
            if not newline:
                return
            yield self._finish_line()
        yield from self._whole_lines(chunk)

    def rest(self, detail: str, *, lost: int = 0) -> Iterator[Piece]:
        """The stream is over: what is left of it, if anything.

        `lost` counts stored bytes that could not even be decoded: with them the rest is spoiled, not a record.
        """
        size = self.pending
        if self._overlong:
            yield self._spoiled(end=self.offset + size)
        elif lost:
            raw = bytes(self._pending[: self._keep])
            yield Spoiled(self.offset, self.offset + size, Reason.TRUNCATED, detail, raw, size)
        elif size:
            yield Rest(self.offset, self.offset + size, bytes(self._pending), detail)
        self._restart(self.offset + size)

    def damaged(self, detail: str) -> Spoiled:
        """The stream cannot be read on from here; whatever was pending is part of the damage."""
        size = self.pending
        raw = bytes(self._pending[: self._keep])
        piece = Spoiled(self.offset, self.offset + size, Reason.DAMAGED, detail, raw, size)
        self._restart(piece.end)
        return piece

    def _whole_lines(self, chunk: bytes) -> Iterator[Piece]:
        """Lines that begin and end in `chunk`; nothing is pending."""
        lines = chunk.split(b"\n")
        tail = lines.pop()
        if lines and len(chunk) > self._limit and max(map(len, lines)) > self._limit:
            yield from self._one_by_one(lines)
        elif lines:
            start = self.offset
            self.offset = start + len(chunk) - len(tail)
            yield Lines(start, self.offset, lines)
        self._grow(tail)

    def _one_by_one(self, lines: list[bytes]) -> Iterator[Piece]:
        for line in lines:
            self._grow(line)
            yield self._finish_line()

    def _grow(self, data: bytes) -> None:
        if self._overlong:
            self._dropped += len(data)
            return
        self._pending += data
        if len(self._pending) > self._limit:
            self._overlong = True
            self._dropped = len(self._pending) - self._keep
            del self._pending[self._keep :]

    def _finish_line(self) -> Piece:
        """The pending line has met its LF."""
        end = self.offset + self.pending + 1
        piece = self._spoiled(end=end) if self._overlong else Lines(self.offset, end, [bytes(self._pending)])
        self._restart(end)
        return piece

    def _spoiled(self, *, end: int) -> Spoiled:
        detail = f"a line of {self.pending} bytes, at most {self._limit} are read"
        return Spoiled(self.offset, end, Reason.LIMIT, detail, bytes(self._pending), self.pending)

    def _restart(self, offset: int) -> None:
        self.offset = offset
        self._pending = bytearray()
        self._dropped = 0
        self._overlong = False
