"""Lines that are left to the store to read, and the way to read them one by one where it passes over one.

An odd line is read when the store asks for it, by the parser of its source, in the source's order; what it said is
remembered, because a store that refuses a batch for the moment will ask again, and parsers may count what they read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from collector.arrivals import Arrivals, Place
from collector.formats.outcome import LineParser
from collector.framing.lines import Lines
from collector.framing.parcels import Arrival
from collector.quarantine import refused
from mta.events.errors import ParseError
from mta.events.intake import Outcome, Quarantined

__all__ = ["LinesOfFile", "RecordsOfParcel"]


class _Remembered(ABC):
    """Reads each record once, and the first before any other: it shows a parser which dialect it is in."""

    def __init__(self) -> None:
        self._known: dict[int, Outcome] = {}

    def read(self, index: int) -> Outcome:
        """What the record at this index says."""
        for wanted in (0, index):
            if wanted not in self._known:
                self._known[wanted] = self._read(wanted)
        return self._known[index]

    @abstractmethod
    def _read(self, index: int) -> Outcome: ...


class LinesOfFile(_Remembered):
    """Whole lines of one file, read by the parser of that file."""

    def __init__(self, source: str, piece: Lines, parse: LineParser, kept_bytes: int) -> None:
        super().__init__()
        self._source = source
        self._piece = piece
        self._parse = parse
        self._kept_bytes = kept_bytes

    def _read(self, index: int) -> Outcome:
        line = self._piece.lines[index]
        try:
            outcome = self._parse(line)
        except ParseError as error:
            return refused(self._source, self._offset(index), line, error, keep=self._kept_bytes)
        return outcome if isinstance(outcome, tuple) else outcome.kind

    def _offset(self, index: int) -> int:
        """Where the line begins."""
        return self._piece.offset + sum(map(len, self._piece.lines[:index])) + index


class RecordsOfParcel(_Remembered):
    """Records that others shipped, taken out of their wrapping and read by the parsers of their logs."""

    def __init__(self, arrivals: Arrivals, source: str, piece: Arrival) -> None:
        super().__init__()
        self._arrivals = arrivals
        self._source = source
        self._piece = piece

    def _read(self, index: int) -> Outcome:
        parcel = self._piece.parcel
        before = sum(map(len, parcel.records[:index])) + index
        place = Place(self._source, self._piece.offset + before)
        outcome = self._arrivals.read(parcel.records[index], parcel, place, before)
        return outcome if isinstance(outcome, (tuple, Quarantined)) else outcome.kind
