"""A store in memory that keeps the whole promise of `EventStore`, for tests of whatever hands batches over."""

from __future__ import annotations

from mta.events.event import Event
from mta.events.intake import Batch, Checkpoint, Quarantined, Receipt

__all__ = ["MemoryStore"]

_Identity = tuple[object, ...]


class MemoryStore:
    """Keeps a batch whole or not at all; a record, or a refused one, that comes again is a duplicate.

    `refusals` are raised one by one, each instead of keeping a batch. `lost_answers` are raised one by one *after*
    keeping a batch, as when the process dies between commit and answer.
    """

    def __init__(self) -> None:
        self.events: dict[_Identity, Event] = {}
        self.quarantined: dict[tuple[str, int], Quarantined] = {}
        self.ignored: dict[str, int] = {}
        self.checkpoints: dict[str, Checkpoint] = {}
        self.batches: list[Batch] = []
        self.receipt = Receipt()
        self.refusals: list[BaseException] = []
        self.lost_answers: list[BaseException] = []

    def load(self, batch: Batch) -> Receipt:
        """See `EventStore.load`."""
        if self.refusals:
            raise self.refusals.pop(0)
        receipt = self._keep(batch)
        self.batches.append(batch)
        self.receipt += receipt
        if self.lost_answers:
            raise self.lost_answers.pop(0)
        return receipt

    def checkpoint(self, source: str) -> Checkpoint | None:
        """See `EventStore.checkpoint`."""
        return self.checkpoints.get(source)

    def _keep(self, batch: Batch) -> Receipt:
        new_events = [self._keep_record(events) for events in batch.records]
        refused = {(item.source, item.offset): item for item in batch.quarantined}
        fresh = len(refused.keys() - self.quarantined.keys())
        self.quarantined |= refused
        for kind, count in batch.ignored.items():
            self.ignored[kind] = self.ignored.get(kind, 0) + count
        self.checkpoints |= {checkpoint.source: checkpoint for checkpoint in batch.checkpoints}
        return Receipt(
            received=batch.received,
            stored=sum(new > 0 for new in new_events),
            duplicates=new_events.count(0) + len(batch.quarantined) - fresh,
            quarantined=fresh,
            ignored=sum(batch.ignored.values()),
            events_stored=sum(new_events),
            events_duplicate=sum(map(len, batch.records)) - sum(new_events),
        )

    def _keep_record(self, events: tuple[Event, ...]) -> int:
        """How many of the record's events are new."""
        fresh = {identity: event for event in events if (identity := _identity(event)) not in self.events}
        self.events |= fresh
        return len(fresh)


def _identity(event: Event) -> _Identity:
    """What `mta.events.pseudonym.event_id` is made of, in clear."""
    code = event.reply.code if event.reply else None
    return (event.node, event.queue_id, event.recipient, event.type, event.time, event.attempt, code, event.ordinal)
