"""When to try again: exponential retry with jitter and an end, and the order in which messages fall due.

Deterministic: the clock and the source of randomness are passed in.
"""

from __future__ import annotations

import heapq
import random
from array import array
from bisect import bisect_right
from dataclasses import dataclass, field

from mta.events.instants import HOUR, SECOND

__all__ = ["RetryPolicy", "Schedule"]

_JITTER_DIVISOR = 40
_JITTER_LIMIT = 30 * SECOND
_MAX_DOUBLINGS = 40


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The wait doubles from `interval` to `max_interval`; after `max_age` a message is given up. Microseconds.

    Jitter is a fortieth of the interval either way, at most 30 s (KumoMTA's rule), so that messages deferred together
    do not all come back together.
    """

    interval: int
    max_interval: int
    max_age: int
    delay_notice: int = 4 * HOUR
    """How long after its acceptance the sender of a delayed message hears of it, if it wants to."""

    def delay(self, attempts: int, source: random.Random) -> int:
        """Microseconds to wait after the `attempts`-th failure in a row (from 1)."""
        base = min(self.interval << min(attempts - 1, _MAX_DOUBLINGS), self.max_interval)
        jitter = min(self.interval // _JITTER_DIVISOR, _JITTER_LIMIT)
        return max(1, base + source.randint(-jitter, jitter))

    def expires(self, received_at: int) -> int:
        """The instant at which a message is given up."""
        return received_at + self.max_age


class Schedule:
    """Rows of the index in the order in which they fall due; equals in the order in which they came.

    Kept by the second in packed arrays, because a heap of a million Python objects would be most of a worker. A second
    is put in order when it comes.
    """

    def __init__(self, due: array[int]) -> None:
        self._due = due
        self._seconds: dict[int, _Second] = {}
        self._heap: list[int] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, row: int) -> None:
        """Hand the row out when its message is due."""
        number = self._due[row] // SECOND
        second = self._seconds.get(number)
        if second is None:
            second = self._seconds[number] = _Second()
            heapq.heappush(self._heap, number)
        second.rows.append(row)
        second.in_order = False
        self._count += 1

    def hold(self, row: int, until: int) -> None:
        """Hand the row out at that instant, which is when its message is due from now on."""
        self._due[row] = until
        self.add(row)

    def next_due(self) -> int | None:
        """When the next message falls due; None if none waits."""
        return self._due[self._first().rows[0]] if self._heap else None

    def take_due(self, now: int, limit: int) -> array[int]:
        """At most `limit` rows that are due, the longest due first."""
        taken = array("I")
        while self._heap and len(taken) < limit and self._heap[0] <= now // SECOND:
            second = self._first()
            most = limit - len(taken)
            ready = bisect_right(second.rows, now, hi=min(most, len(second.rows)), key=self._due.__getitem__)
            taken += second.rows[:ready]
            del second.rows[:ready]
            if second.rows:
                break
            del self._seconds[heapq.heappop(self._heap)]
        self._count -= len(taken)
        return taken

    def _first(self) -> _Second:
        """The second that comes next, in order."""
        second = self._seconds[self._heap[0]]
        if not second.in_order:
            second.rows = array("I", sorted(second.rows, key=self._due.__getitem__))
            second.in_order = True
        return second


@dataclass(slots=True)
class _Second:
    """The rows that fall due within one second."""

    rows: array[int] = field(default_factory=lambda: array("I"))
    in_order: bool = True
