"""From the pieces of a source to batches in the store: parse, gather, hand over, and only then go on.

A full batch is committed while the next one is gathered, never more: while the store is slow, or refuses for the
moment, nothing more is read, so it slows its sources down and memory stays where it is. The checkpoint of a source
always rides in the batch that holds the records before it (promise 3); a source's own order is kept within and across
batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from typing import Protocol

from collector.arrivals import Arrivals, Place
from collector.batching import BatchBuilder, BatchLimits
from collector.committing import Committer, Timing
from collector.formats.context import Context
from collector.formats.outcome import LineParser
from collector.formats.registry import AUTO, column_reader, open_parser
from collector.framing.lines import Lines, Rest, Spoiled
from collector.framing.lines import Piece as FilePiece
from collector.framing.parcels import Arrival
from collector.metrics import CollectorHealth
from collector.quarantine import KEPT_BYTES, Reason, refused
from collector.sources.followed import FollowedFile
from collector.store import EventStore, StagingStore
from collector.unread import LinesOfFile, RecordsOfParcel
from mta.events.errors import ParseError
from mta.events.intake import Checkpoint, ColumnReader, Quarantined, Receipt, Unread

__all__ = ["Pipeline", "Reading", "Source"]

Piece = FilePiece | Arrival


class Source(Protocol):
    """Whatever pieces come out of, in its order."""

    @property
    def source(self) -> str:
        """Its name for ever."""

    @property
    def finished(self) -> bool:
        """It will never give more."""

    def checkpoint(self, offset: int | None = None) -> Checkpoint:
        """How far it has given pieces, or was used up to `offset`."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How records are read and gathered, whatever their source."""

    format: str = AUTO
    node: str = ""
    zone: tzinfo | None = None
    year: int | None = None
    limits: BatchLimits = field(default_factory=BatchLimits)
    kept_bytes: int = KEPT_BYTES
    max_retry_s: float = 30.0
    patience_s: float = float("inf")
    """How long a store may refuse before its error is passed on."""


class Pipeline:
    """Takes pieces, gives batches to the store."""

    def __init__(
        self, store: EventStore, *, road: str, reading: Reading, timing: Timing, health: CollectorHealth | None = None
    ) -> None:
        self._store = store
        self._reading = reading
        self._monotonic = timing.monotonic
        self._committer = Committer(
            store, timing, health or CollectorHealth(), patience_s=reading.patience_s, max_retry_s=reading.max_retry_s
        )
        self._builder = BatchBuilder(road, reading.limits)
        self._begun = 0.0
        self._parsers: dict[str, LineParser] = {}
        self._arrivals = Arrivals(self._parser_for, reading.kept_bytes)
        self._reached: dict[str, Checkpoint] = {}
        """The last checkpoint of each unfinished source, so that a quiet one is not written again and again."""
        self._context = Context(reading.node, reading.zone, reading.year, timing.now)
        open_parser(reading.format)  # an unknown format is better refused before the first line

    @property
    def receipt(self) -> Receipt:
        """Everything that was committed."""
        return self._committer.receipt

    def take(self, file: Source, piece: Piece) -> None:
        """Parse a piece and gather its records; full batches are handed over on the way.

        Raises what the store raises when it refuses for good, or when the run is to stop while it refuses.
        """
        self._begin()
        if isinstance(piece, Lines):
            self._take_lines(file, piece, self._parser(file, piece.offset))
        elif isinstance(piece, Arrival):
            self._take_arrival(file, piece)
        elif isinstance(piece, Rest):
            self._take_rest(file, piece, self._parser(file, piece.offset))
        else:
            self._builder.refuse(_spoiled(file.source, piece))
        if self._builder.is_full:
            self._hand_over(file, piece.end)

    def reached(self, file: Source) -> None:
        """All pieces that `file` has given so far were taken."""
        checkpoint = file.checkpoint()
        if self._reached.get(file.source) != checkpoint:
            self._begin()
            self._reach(checkpoint)
        if file.finished:
            self._parsers.pop(file.source, None)
            self._reached.pop(file.source, None)

    def due(self) -> float:
        """Seconds until the batch in the making has waited long enough; infinity when there is none."""
        if not self._builder:
            return float("inf")
        return max(0.0, self._begun + self._reading.limits.age_s - self._monotonic())

    def flush(self) -> None:
        """Hand over what there is; returns when everything is committed."""
        if self._builder:
            self._committer.start(self._builder.build())
        self._committer.finish()

    def _begin(self) -> None:
        if not self._builder:
            self._begun = self._monotonic()

    def _reach(self, checkpoint: Checkpoint) -> None:
        self._reached[checkpoint.source] = checkpoint
        self._builder.reached(checkpoint)

    def _parser(self, file: Source, offset: int) -> LineParser:
        """The one that has read this source so far; one that begins in mid-file is shown the first line (a header)."""
        parser = self._parsers.get(file.source)
        if parser is None:
            parser = self._parsers[file.source] = open_parser(self._reading.format, self._context)
            if offset and isinstance(file, FollowedFile):
                with suppress(ParseError):
                    parser(file.first_line())
        return parser

    def _take_lines(self, file: Source, piece: Lines, parse: LineParser) -> None:
        builder, offset = self._builder, piece.offset
        if (columns := self._columns(piece.lines)) is not None:
            rest = LinesOfFile(file.source, piece, parse, self._reading.kept_bytes)
            builder.leave(Unread(piece.lines, columns, rest.read), piece.end - offset)
            return
        for line in piece.lines:
            size = len(line)
            try:
                outcome = parse(line)
            except ParseError as error:
                builder.refuse(refused(file.source, offset, line, error, keep=self._reading.kept_bytes))
            else:
                if isinstance(outcome, tuple):
                    builder.add(outcome, size)
                else:
                    builder.ignore(outcome.kind, size)
            offset += size + 1
            if builder.is_full and offset < piece.end:
                self._hand_over(file, offset)

    def _columns(self, lines: Sequence[bytes]) -> ColumnReader | None:
        """What the store may read these lines with, if it can."""
        return column_reader(self._reading.format, lines[0]) if isinstance(self._store, StagingStore) else None

    def _take_arrival(self, file: Source, piece: Arrival) -> None:
        """Records that others shipped."""
        builder, offset = self._builder, piece.offset
        if isinstance(self._store, StagingStore):
            lines = [self._arrivals.line(raw, piece.parcel) for raw in piece.parcel.records]
            if (columns := self._columns(lines)) is not None:
                rest = RecordsOfParcel(self._arrivals, file.source, piece)
                builder.leave(Unread(lines, columns, rest.read), piece.parcel.weight)
                return
        for raw in piece.parcel.records:
            outcome = self._arrivals.read(raw, piece.parcel, Place(file.source, offset), offset - piece.offset)
            if isinstance(outcome, tuple):
                builder.add(outcome, len(raw))
            elif isinstance(outcome, Quarantined):
                builder.refuse(outcome)
            else:
                builder.ignore(outcome.kind, len(raw))
            offset += len(raw) + 1
            if builder.is_full and offset < piece.end:
                self._hand_over(file, offset)

    def _parser_for(self, host: str) -> LineParser:
        """A parser for a log of that host."""
        return open_parser(self._reading.format, replace(self._context, node=host or self._context.node))

    def _take_rest(self, file: Source, piece: Rest, parse: LineParser) -> None:
        """A last line without its LF: a record if it reads as one, else cut off."""
        try:
            outcome = parse(piece.raw)
        except ParseError:
            error = ParseError(piece.detail, reason=Reason.TRUNCATED)
            self._builder.refuse(refused(file.source, piece.offset, piece.raw, error, keep=self._reading.kept_bytes))
        else:
            if isinstance(outcome, tuple):
                self._builder.add(outcome, len(piece.raw))
            else:
                self._builder.ignore(outcome.kind, len(piece.raw))

    def _hand_over(self, file: Source, offset: int) -> None:
        self._reach(file.checkpoint(offset))
        self._committer.start(self._builder.build())
        self._begun = self._monotonic()


def _spoiled(source: str, piece: Spoiled) -> Quarantined:
    return Quarantined(source, piece.offset, piece.reason, piece.detail, piece.raw, piece.size)
