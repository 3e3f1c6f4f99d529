"""What can go wrong on the way out, under `MtascopeError`."""

from __future__ import annotations

from mta.events.errors import MtascopeError

__all__ = ["PolicyError"]


class PolicyError(MtascopeError):
    """An MTA-STS policy cannot be had or cannot be read; mail goes on by what is known without it."""

    temporary = True
