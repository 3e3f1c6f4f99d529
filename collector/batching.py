"""Gathering records into a batch that is neither too large to hold nor too old to wait."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from mta.events.event import Event
from mta.events.intake import Batch, Checkpoint, Quarantined, Unread

__all__ = ["BatchBuilder", "BatchLimits"]

_WORTH_COLUMNS = 1_000
"""Lines; reading in columns takes some milliseconds to begin, in which so many are read one by one."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """A batch is handed over when it holds so many records or events, so many bytes of input, or is so old."""

    records: int = 10_000
    bytes: int = 32 << 20
    age_s: float = 1.0


class BatchBuilder:
    """One batch in the making. Records of one source must be added in its order, its checkpoint after them."""

    def __init__(self, road: str, limits: BatchLimits) -> None:
        self._road = road
        self._limits = limits
        self._records: list[tuple[Event, ...]] = []
        self._quarantined: list[Quarantined] = []
        self._ignored: Counter[str] = Counter()
        self._checkpoints: dict[str, Checkpoint] = {}
        self._unread: list[Unread] = []
        self._room = limits.records
        self._bytes_left = limits.bytes

    @property
    def is_full(self) -> bool:
        """Hand it over before adding more."""
        return self._room <= 0 or self._bytes_left <= 0

    def __bool__(self) -> bool:
        """There is something in it, if only a checkpoint."""
        return bool(self._checkpoints) or self._room < self._limits.records

    def add(self, events: tuple[Event, ...], size: int) -> None:
        """An understood record of `size` bytes."""
        self._records.append(events)
        self._room -= len(events)
        self._bytes_left -= size

    def ignore(self, kind: str, size: int) -> None:
        """A record about something else."""
        self._ignored[kind] += 1
        self._room -= 1
        self._bytes_left -= size

    def refuse(self, record: Quarantined) -> None:
        """A record that could not be read."""
        self._quarantined.append(record)
        self._room -= 1
        self._bytes_left -= len(record.raw)

    def leave(self, lines: Unread, size: int) -> None:
        """Lines of `size` bytes that the store is to read."""
        self._unread.append(lines)
        self._room -= len(lines.lines)
        self._bytes_left -= size

    def reached(self, checkpoint: Checkpoint) -> None:
        """Everything of that source before the checkpoint is in this batch or an earlier one."""
        self._checkpoints[checkpoint.source] = checkpoint

    def build(self) -> Batch:
        """The batch; the builder starts anew."""
        if sum(len(portion.lines) for portion in self._unread) < _WORTH_COLUMNS:
            self._read_all()
        batch = Batch(
            self._road,
            records=self._records,
            quarantined=self._quarantined,
            ignored=dict(self._ignored),
            checkpoints=tuple(self._checkpoints.values()),
            unread=self._unread,
        )
        self.__init__(self._road, self._limits)  # type: ignore[misc]
        return batch

    def _read_all(self) -> None:
        """Read what was left to the store: it is too little."""
        unread, self._unread = self._unread, []
        for portion in unread:
            for outcome in map(portion.read, range(len(portion.lines))):
                if isinstance(outcome, tuple):
                    self._records.append(outcome)
                elif isinstance(outcome, Quarantined):
                    self._quarantined.append(outcome)
                else:
                    self._ignored[outcome] += 1
