"""Lines that are left to the store to read, and the way to read them one by one where it passes over one.

An odd line is read when the store asks for it, by the parser of its source, in the source's order; what it said is
remembered, because a store that refuses a batch for the moment will ask again, and parsers may count what they read.
"""

from __future__ import annotations

from collector.formats.outcome import LineParser
from collector.framing.lines import Lines
from collector.quarantine import refused
from mta.events.errors import ParseError
from mta.events.intake import Outcome

__all__ = ["LinesOfFile"]


class LinesOfFile:
    """Whole lines of one file, read by the parser of that file."""

    def __init__(self, source: str, piece: Lines, parse: LineParser, kept_bytes: int) -> None:
        self._source = source
        self._piece = piece
        self._parse = parse
        self._kept_bytes = kept_bytes
        self._known: dict[int, Outcome] = {}

    def read(self, index: int) -> Outcome:
        """What the line at this index says."""
        if index not in self._known:
            self._known[index] = self._read(index)
        return self._known[index]

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
