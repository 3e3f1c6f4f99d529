"""One file, read as a stream of pieces that can be taken up again at any offset.

A segment may grow while it is read, may be compressed, and may end anywhere. Offsets count decoded bytes. While it is
open the decoder keeps its state, so growth is decoded once; taking up a compressed segment after a restart decodes it
from its beginning once, up to the offset.

**Identity.** A source is named after device, inode and a fingerprint of its first bytes. Renaming keeps all three. An
inode that the file system used again has another fingerprint, and so has a file that was emptied and written anew
(copytruncate): both are new sources, read from their beginning. A copy is a new source too; its events are duplicates
in the store. A file is named as soon as it has `FINGERPRINT_BYTES`, fewer than any record has, or is complete.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from io import FileIO
from typing import Literal, Protocol, overload

from collector.framing.compression import MAX_WINDOW_BYTES, Decoder, Plain, sniff
from collector.framing.lines import MAX_LINE_BYTES, LineSplitter, Piece
from collector.quarantine import KEPT_BYTES
from mta.events.errors import ParseError

__all__ = ["FINGERPRINT_BYTES", "ReadLimits", "SegmentReader", "identity", "is_complete"]

FINGERPRINT_BYTES = 64
_RAW_CHUNK = 256 << 10


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """What one source may cost: the longest line, how much of a refused one is kept, the largest zstd window."""

    line_bytes: int = MAX_LINE_BYTES
    kept_bytes: int = KEPT_BYTES
    window_bytes: int = MAX_WINDOW_BYTES


class Readable(Protocol):
    """An unbuffered file or pipe: what `io.FileIO` promises."""

    def read(self, size: int, /) -> bytes | None:
        """At most `size` bytes, b"" at the end of what there is now."""

    def seekable(self) -> bool:
        """False for a pipe."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go there; the new position."""


def is_complete(status: os.stat_result) -> bool:
    """No write permission for anybody: how KumoMTA and the bundled MTA mark a segment that will never grow.

    The mode bits say it, not `access(2)`: root may write to anything.
    """
    return not status.st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)


@overload
def identity(file: FileIO, *, complete: Literal[True]) -> str: ...


@overload
def identity(file: FileIO, *, complete: bool) -> str | None: ...


def identity(file: FileIO, *, complete: bool) -> str | None:
    """The name of the source, for ever; None while the file may grow and is too short to have one."""
    head = os.pread(file.fileno(), FINGERPRINT_BYTES, 0)
    if len(head) < FINGERPRINT_BYTES and not complete:
        return None
    status = os.fstat(file.fileno())
    return f"file:{status.st_dev:x}:{status.st_ino:x}:{sha256(head).hexdigest()[:16]}"


class SegmentReader:
    """Gives the pieces of one stream in order, from `offset` on.

    `read` gives what is there now; b"" from the file only means "not yet" until `finish` is called.
    """

    def __init__(self, file: Readable, *, offset: int = 0, limits: ReadLimits | None = None) -> None:
        self._file = file
        self._limits = limits or ReadLimits()
        self._head = b""
        self._decoder: Decoder | None = None
        self._to_skip = offset
        self._splitter = LineSplitter(limit=self._limits.line_bytes, keep=self._limits.kept_bytes, offset=offset)
        self.raw_position = 0
        """Stored bytes taken from the file, for telling how much is left."""
        self.is_damaged = False
        """The stream was corrupt; nothing more will come of it."""

    @property
    def offset(self) -> int:
        """Decoded bytes before the first line that is not yet whole: where to take up after a restart."""
        return self._splitter.offset

    @property
    def undecoded(self) -> int:
        """Stored bytes taken from the file that have not become anything yet."""
        return self._decoder.unread if self._decoder else len(self._head)

    @property
    def falls_short(self) -> bool:
        """The stream is over before the offset at which it should be taken up: it is not what was read before."""
        return self._to_skip > 0

    def read(self) -> list[Piece] | None:
        """The next pieces (none, if no line was completed), or None when there is nothing more to read now."""
        if self.is_damaged:
            return None
        try:
            data = self._decoded()
        except ParseError as error:
            self.is_damaged = True
            return [self._splitter.damaged(error.what)]
        if data is None:
            return None
        if self._to_skip:
            skipped = min(self._to_skip, len(data))
            self._to_skip -= skipped
            data = data[skipped:]
        return list(self._splitter.feed(data))

    def finish(self) -> Iterator[Piece]:
        """The stream is complete and has been read to its end: what is left behind its last line end."""
        if self._decoder is None and self._head:  # too short to be anything but plain
            self._decoder = Plain()
            yield from self._splitter.feed(self._head)
        inside, unread = (self._decoder.inside, self._decoder.unread) if self._decoder else (False, 0)
        detail = "the source ends inside a line"
        if unread:
            detail = f"the source ends inside a compressed stream, {unread} bytes of it cannot be decoded"
        elif inside:
            detail = "the source ends inside a compressed stream"
        yield from self._splitter.rest(detail, lost=unread)

    def _decoded(self) -> bytes | None:
        """Decoded bytes, b"" when the raw ones told nothing yet, None when there are none."""
        if self._decoder is not None and (data := self._decoder.read()):
            return data
        raw = self._file.read(_RAW_CHUNK)
        if not raw:
            return None
        self.raw_position += len(raw)
        if self._decoder is None:
            self._head += raw
            self._decoder = sniff(self._head, complete=False, max_window=self._limits.window_bytes)
            if self._decoder is None:
                return b""
            raw, self._head = self._head, b""
            if isinstance(self._decoder, Plain) and self._jump():
                return b""
        self._decoder.feed(raw)
        return self._decoder.read()

    def _jump(self) -> bool:
        """Go straight to where reading should be taken up; False if that is the beginning or cannot be reached."""
        target = self._to_skip
        if not target or not self._file.seekable():
            return False
        reachable = self._file.seek(0, os.SEEK_END) >= target
        self.raw_position = self._file.seek(target if reachable else self.raw_position)
        self._to_skip -= target if reachable else 0
        return reachable
