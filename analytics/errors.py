"""What can go wrong with the store.

StoreError
├── StoreBusy        another process owns the database file          temporary
├── StoreFull        no space left to commit                         temporary
├── StoreDamaged     the file cannot be read                         permanent
├── QueryRefused     not a question that SQL is answered to here     permanent
├── QueryTooLong     took longer than it may                         permanent
└── SchemaTooNew     written by a newer mtascope                     permanent
"""

from __future__ import annotations

from mta.events.errors import MtascopeError

__all__ = ["QueryRefused", "QueryTooLong", "SchemaTooNew", "StoreBusy", "StoreDamaged", "StoreError", "StoreFull"]


class StoreError(MtascopeError):
    """The store refuses; nothing of the transaction was kept."""


class StoreBusy(StoreError):
    """Another process holds the database open: there is one owner at a time."""

    temporary = True


class StoreFull(StoreError):
    """The disk is full: nothing was committed, the batch can be loaded again when there is room."""

    temporary = True


class StoreDamaged(StoreError):
    """The database file cannot be read."""


class SchemaTooNew(StoreError):
    """The database was written by a newer version; a downgrade is refused rather than guessed at."""


class QueryRefused(StoreError):
    """A text that is no SELECT over the views, or one that the database cannot read."""


class QueryTooLong(StoreError):
    """A query was stopped because its time was over."""
