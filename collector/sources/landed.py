"""Reading what a road has landed (`collector/landing.py`), one segment after the other, oldest first."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from collector.framing.lines import Spoiled
from collector.framing.parcels import FRAME_HEAD, Arrival, body_size, decode
from collector.quarantine import KEPT_BYTES, Reason
from collector.sources.segment import is_complete
from mta.events.errors import ParseError
from mta.events.intake import Checkpoint

__all__ = ["LandedSegment"]

_PORTION = 4 << 20


class LandedSegment:
    """One segment, read from `offset` on. Offsets are places in the file.

    A frame of which only a part is there is waited for, or, once the segment is complete, was promised to nobody.
    """

    def __init__(self, path: Path, source: str, offset: int = 0) -> None:
        self.path = str(path)
        self.source = source
        self.finished = False
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._at = 0
        """Where the next frame begins."""
        self._skip_to = self._offset = offset

    def read(self) -> Sequence[Arrival | Spoiled] | None:
        """The next parcels, about a portion; None when there is nothing more now, or, if `finished`, ever."""
        if self.finished:
            return None
        complete = is_complete(os.fstat(self._descriptor))  # looked at first: what is there then is all there will be
        pieces: list[Arrival | Spoiled] = []
        end = self._at + _PORTION
        while self._at < end and (piece := self._next()) is not None:
            pieces.append(piece)
        if pieces:
            self._offset = max(self._offset, self._at)
            return pieces
        self.finished = complete
        return None

    def checkpoint(self, offset: int | None = None) -> Checkpoint:
        """How far it has been read, or used."""
        at = self._offset if offset is None else offset
        return Checkpoint(self.source, at, self.path, finished=self.finished and at == self._offset)

    def close(self) -> None:
        """Give the file back."""
        os.close(self._descriptor)

    def _next(self) -> Arrival | Spoiled | None:
        """The next frame that has something to say. Frames that were used up are not even read."""
        while True:
            at = self._at
            head = os.pread(self._descriptor, FRAME_HEAD, at)
            if len(head) < FRAME_HEAD:
                return None
            try:
                size = body_size(head)
            except ParseError as error:
                return self._lost(os.fstat(self._descriptor).st_size, error)
            end = at + FRAME_HEAD + size
            if end > self._skip_to:
                break
            self._at = end
        body = os.pread(self._descriptor, size, at + FRAME_HEAD)
        if len(body) < size:
            return None
        try:
            arrival = decode(head, body, at, self._skip_to)
        except ParseError as error:
            return self._lost(end, error)
        self._at = end
        return arrival

    def _lost(self, end: int, error: ParseError) -> Spoiled:
        """Damage: everything up to `end` cannot be read."""
        at, self._at = self._at, end
        raw = os.pread(self._descriptor, min(KEPT_BYTES, end - at), at)
        return Spoiled(at, end, Reason.DAMAGED, error.what, raw, end - at)
