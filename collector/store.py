"""The little that the collector needs of a store."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from mta.events.intake import Batch, Checkpoint, Receipt

__all__ = ["ColumnStore", "EventStore"]


class EventStore(Protocol):
    """Keeps batches. `analytics.store` is one; so is whatever hands them to the process that owns the database."""

    def load(self, batch: Batch) -> Receipt:
        """Keep the batch and its checkpoints in one transaction, and return after the commit.

        Raises a MtascopeError, having kept nothing of it; a `temporary` one means that the same batch may be offered
        again. Records that were kept before are counted as duplicates and change nothing.
        """

    def checkpoint(self, source: str) -> Checkpoint | None:
        """How far `source` had been read at the last commit; None if it was never heard of."""


@runtime_checkable
class ColumnStore(EventStore, Protocol):
    """A store that may be given lines that nobody has read yet (`Batch.unread`), and reads them itself."""

    @property
    def reads_columns(self) -> bool:
        """It does so now."""
