"""The little that the collector needs of a store."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from mta.events.intake import Batch, Checkpoint, Receipt

__all__ = ["EventStore", "StagingStore"]


class EventStore(Protocol):
    """Keeps batches. `analytics.store` is one; so is whatever hands them to the process that owns the database."""

    def load(self, batch: Batch) -> Receipt:
        """Keep the batch and its checkpoints in one transaction, and return after the commit.

        Raises a MtascopeError, having kept nothing of it; a `temporary` one means that the same batch may be offered
        again. Records that were kept before are counted as duplicates and change nothing. Called from any thread.
        """

    def checkpoint(self, source: str) -> Checkpoint | None:
        """How far `source` had been read at the last commit; None if it was never heard of."""


@runtime_checkable
class StagingStore(EventStore, Protocol):
    """A store that takes batches apart before their turn, and can read lines that nobody has read (`Batch.unread`)."""

    def stage(self, batch: Batch) -> Any:
        """What `load` takes in the place of this batch; made while another may be loading. Keeps nothing.

        Raises what `load` raises.
        """
