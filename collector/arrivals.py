"""Reading records that others shipped: out of their wrapping, by a parser for the log that they came from.

Shippers send again what they heard no answer for. A line with a place of its own (host, path, offset) is recognised
when it comes again within the last `REMEMBERED` ones, and gives the very same outcome. That matters for dialects that
count equal lines of one second: read afresh, a line that was sent twice would look like two.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from zlib import crc32

from collector.formats.outcome import LineParser, Outcome
from collector.formats.shipped import Shipped, unwrap
from collector.framing.parcels import Parcel
from collector.quarantine import refused
from mta.events.errors import ParseError
from mta.events.intake import Quarantined

__all__ = ["REMEMBERED", "Arrivals", "Place"]

REMEMBERED = 16_384
_MAX_SOURCES = 4096
"""Logs whose parsers are kept; the one that was silent for longest is forgotten first."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record stands: what it is called for ever, and the offset there."""

    source: str
    offset: int


class Arrivals:
    """Parsers by host and path. `open_for` makes one, given the host."""

    def __init__(self, open_for: Callable[[str], LineParser], kept_bytes: int) -> None:
        self._open_for = open_for
        self._kept_bytes = kept_bytes
        self._parsers: OrderedDict[tuple[str, str], LineParser] = OrderedDict()
        self._recent: OrderedDict[Place, Outcome] = OrderedDict()

    @staticmethod
    def line(raw: bytes, parcel: Parcel) -> bytes:
        """The line inside one record of a parcel; b"" if there is none that `read` would not refuse."""
        try:
            return unwrap(raw, parcel).line
        except ParseError:
            return b""

    def read(self, raw: bytes, parcel: Parcel, landed: Place, skipped: int) -> Outcome | Quarantined:
        """What one record of a parcel is; `skipped` are the bytes before it in the parcel, `landed` is where it lies.

        A refused record is known by its own place, if it has one, so that it is refused once however often it is sent.
        """
        place, line = landed, raw
        try:
            shipped = unwrap(raw, parcel)
            line = shipped.line
            if shipped.offset is None:
                return self._parser(shipped)(line)
            place = _own_place(shipped, skipped if parcel.offset is not None else 0)
            return self._once(place, shipped)
        except ParseError as error:
            entry = refused(place.source, place.offset, line, error, keep=self._kept_bytes)
            return entry if not parcel.size else _sized(entry, parcel.size)

    def _once(self, place: Place, shipped: Shipped) -> Outcome:
        outcome = self._recent.get(place)
        if outcome is None:
            outcome = self._recent[place] = self._parser(shipped)(shipped.line)
            if len(self._recent) > REMEMBERED:
                self._recent.popitem(last=False)
        return outcome

    def _parser(self, shipped: Shipped) -> LineParser:
        key = (shipped.host, shipped.path)
        parser = self._parsers.get(key)
        if parser is None:
            parser = self._parsers[key] = self._open_for(shipped.host)
            if len(self._parsers) > _MAX_SOURCES:
                self._parsers.popitem(last=False)
        else:
            self._parsers.move_to_end(key)
        return parser


def _own_place(shipped: Shipped, skipped: int) -> Place:
    """The content is part of the name: after a rotation a path and an offset are used again."""
    source = f"shipped:{shipped.host}:{shipped.path}:{crc32(shipped.line):08x}"
    return Place(source, (shipped.offset or 0) + skipped)


def _sized(entry: Quarantined, size: int) -> Quarantined:
    return Quarantined(entry.source, entry.offset, entry.reason, entry.detail, entry.raw, size)
