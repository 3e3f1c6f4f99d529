"""The nouns of taking records in, shared by whoever reads records and whoever stores them.

Promise 1 is arithmetic on these: `received = stored + duplicates + quarantined + ignored`, counted in input records (a
line, a JSON object, a report, a mail). Events made from records are counted apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mta.events.event import Event

__all__ = ["REASONS", "Batch", "Checkpoint", "ColumnReader", "Outcome", "Quarantined", "Receipt", "Unread"]

REASONS = ("malformed", "missing-field", "unknown-type", "unknown-format", "limit", "truncated", "damaged")
"""Words for why a record was refused; counters have them from the start."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far one source has been read: commit it together with what was read (promise 3).

    `source` identifies the input for ever (for a file: what survives renaming). `offset` counts *decoded* bytes that
    need not be read again. `path` is for people. `finished` means the source will never grow.
    """

    source: str
    offset: int
    path: str = ""
    finished: bool = False


@dataclass(frozen=True, slots=True)
class Quarantined:
    """One record that could not be read: why, where it stood, and its bytes, cut to a bound by whoever made it.

    `reason` is a short stable word; the well-known ones are in `REASONS`. `detail` is a sentence.
    `size` is the record's full length in bytes even where `raw` was cut.
    """

    source: str
    offset: int
    reason: str
    detail: str
    raw: bytes
    size: int


Outcome = tuple[Event, ...] | Quarantined | str
"""What reading one record gave: its events, why it could not be read, or the kind of thing that it is about instead."""


@dataclass(frozen=True, slots=True)
class ColumnReader:
    """How SQL reads the everyday records of a dialect of JSON lines, many at once.

    `fields` are the keys of a record and the types as which to read them. `events` makes, of a relation of those fields
    and `n`, the line's number, a SELECT of events (`mta.events.rows.COLUMNS`, those that are not NULL), `n`, and
    `sure`: what it says of a line counts only if that is true.
    """

    fields: Mapping[str, str]
    events: Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Unread:
    """Lines that a store may read by itself. `read` is the other way: what the line at an index says, one by one.

    `read` gives the same answer however often it is asked.
    """

    lines: Sequence[bytes]
    columns: ColumnReader
    read: Callable[[int], Outcome]


@dataclass(frozen=True, slots=True)
class Batch:
    """Records read in one go, to be stored in one transaction or not at all.

    `records` holds the events of each understood record: one for most, several where one record names many recipients.
    `ignored` counts records that are about something else, by kind. `road` names how they came (tail, ingest, http).
    `unread` is for a store that can read it; the others want everything in `records`.
    """

    road: str
    records: Sequence[tuple[Event, ...]] = ()
    quarantined: Sequence[Quarantined] = ()
    ignored: Mapping[str, int] = field(default_factory=dict)
    checkpoints: Sequence[Checkpoint] = ()
    unread: Sequence[Unread] = ()

    @property
    def received(self) -> int:
        """How many input records the batch accounts for."""
        unread = sum(len(portion.lines) for portion in self.unread)
        return len(self.records) + len(self.quarantined) + sum(self.ignored.values()) + unread


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a batch, or of several added up. Given only after the commit (promise 2)."""

    received: int = 0
    stored: int = 0
    duplicates: int = 0
    quarantined: int = 0
    ignored: int = 0
    events_stored: int = 0
    events_duplicate: int = 0

    def __add__(self, other: Receipt) -> Receipt:
        """Both together."""
        return Receipt(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))

    @property
    def adds_up(self) -> bool:
        """Promise 1 holds."""
        return self.received == self.stored + self.duplicates + self.quarantined + self.ignored
