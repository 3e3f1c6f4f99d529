"""An open log file: read as far as it goes, told apart from what may have taken its place, checkpointed."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from io import FileIO

from collector.framing.compression import Plain, sniff
from collector.framing.lines import Piece
from collector.sources.segment import ReadLimits, SegmentReader, identity, is_complete
from mta.events.intake import Checkpoint

__all__ = ["FollowedFile"]

_log = logging.getLogger(__name__)

_HEAD_BYTES = 64 << 10
"""A longer first line is no header."""


class FollowedFile:
    """One open source. Read it until None: then it has nothing more for now. `finished` says that it never will.

    `complete` makes the end of the file the end of the source: its last line counts although no LF follows. The
    checkpoint still says what is true of the file: one that may grow is taken up again before that line.
    """

    def __init__(
        self,
        file: FileIO,
        path: str,
        source: str,
        *,
        offset: int = 0,
        complete: bool = False,
        limits: ReadLimits | None = None,
    ) -> None:
        self.path = path
        self.source = source
        self.finished = False
        self.caught_up = False
        """The last read found nothing more. A file can be read to its end and still hold much that is not decoded."""
        self.replaced = False
        """The file was emptied and written anew: what is in it now is another source."""
        self._file = file
        self._complete = complete
        self._for_good = is_complete(os.fstat(file.fileno()))
        self._limits = limits or ReadLimits()
        self._reader = SegmentReader(file, offset=offset, limits=self._limits)
        self._stable: int | None = None
        """Where the last line begins that counts only because the source was called complete."""

    def backlog(self, size: int) -> int:
        """How many of `size` stored bytes have not been read, or read and not decoded."""
        return max(0, size - self._reader.raw_position) + self._reader.undecoded

    @property
    def deleted(self) -> bool:
        """No name leads to it any more: once it is closed, nobody can read it."""
        return os.fstat(self._file.fileno()).st_nlink == 0

    def first_line(self) -> bytes:
        """The line that a plain file begins with, wherever reading is; b"" for a compressed file or a pipe."""
        try:
            head = os.pread(self._file.fileno(), _HEAD_BYTES, 0)
        except OSError:
            return b""
        line, newline, _ = head.partition(b"\n")
        return line if newline and isinstance(sniff(head, complete=True), Plain) else b""

    def refresh(self, *, over: bool = False) -> bool:
        """Look at the file's state before reading on; True if it has something to say.

        It is complete when it is marked so, or when the caller knows that it is `over`.
        """
        status = os.fstat(self._file.fileno())
        grown = status.st_size > self._reader.raw_position
        shrunk = status.st_size < self._reader.raw_position
        self.replaced = shrunk or (grown and identity(self._file, complete=True) != self.source)
        self._for_good = over or is_complete(status)
        self._complete = self._for_good
        return grown or not self.caught_up or self._complete or self.replaced

    def read(self) -> Sequence[Piece] | None:
        """The next pieces, or None when there is nothing more now."""
        if self.finished:
            return None
        if not self.replaced:
            if (pieces := self._reader.read()) is not None:
                self.caught_up = False
                self.finished = self._reader.is_damaged
                return pieces
            if self._reader.falls_short:
                return self._start_over()
        self.caught_up = True
        return self._finish() if self._complete or self.replaced else None

    def checkpoint(self, offset: int | None = None) -> Checkpoint:
        """How far it has been read: to the end of the pieces given out, or to `offset` if they are used up to there."""
        at = self._reader.offset if offset is None else offset
        whole = self.finished and at == self._reader.offset
        if self._stable is not None:
            return Checkpoint(self.source, min(at, self._stable), self.path)
        return Checkpoint(self.source, at, self.path, finished=whole)

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def _finish(self) -> Sequence[Piece]:
        self.finished = True
        if not (self._for_good or self.replaced):
            self._stable = self._reader.offset
        return list(self._reader.finish())

    def _start_over(self) -> Sequence[Piece]:
        """It ends before the offset at which to go on: that was read elsewhere. Duplicates are safe, loss is not."""
        _log.warning("%s is shorter than when it was last read: reading it from its beginning", self.path)
        self._file.seek(0)
        self._reader = SegmentReader(self._file, limits=self._limits)
        return ()
