"""What can go wrong while metrics are declared, gathered and shown."""

from __future__ import annotations

from mta.events.errors import MtascopeError

__all__ = ["CatalogueError"]


class CatalogueError(MtascopeError):
    """A metric is declared twice, or something names a metric or label that no part declares."""
