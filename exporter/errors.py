"""What can go wrong while figures are declared, gathered and shown.

CatalogueError    the metric catalogue contradicts itself
TokenFileDamaged  the file of tokens cannot be read: nobody is let in by it
"""

from __future__ import annotations

from mta.events.errors import MtascopeError

__all__ = ["CatalogueError", "TokenFileDamaged"]


class CatalogueError(MtascopeError):
    """A metric is declared twice, or something names a metric or label that no part declares."""


class TokenFileDamaged(MtascopeError):
    """The file of tokens is not what we wrote."""
