"""Telling equal facts of one source apart where its time stamps are coarse.

A syslog line has no fraction of a second, and two refusals of one second may read alike to the last letter. The first
of them is number 0, the next number 1, in the order of the source: a log that is read again gives the same numbers.
"""

from __future__ import annotations

from collections.abc import Hashable

from mta.events.instants import SECOND

__all__ = ["Recurrence"]

_MAX_KEPT = 65_536
_REORDERING = 5 * SECOND  # how far lines of several hosts in one log may be out of order


class Recurrence:
    """Counts equal facts within a few seconds of one source; holds at most some 65,000 of them."""

    __slots__ = ("_seen", "_since")

    def __init__(self) -> None:
        self._seen: dict[Hashable, int] = {}
        self._since = 0

    def __call__(self, time: int, fact: Hashable) -> int:
        """How often this very fact, which must include its time, came before."""
        seen = self._seen
        if time > self._since + _REORDERING or len(seen) > _MAX_KEPT:
            seen.clear()
            self._since = time
        count = seen.get(fact, -1) + 1
        seen[fact] = count
        return count
