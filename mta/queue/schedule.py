"""When to try again: exponential retry with jitter and an end, and the order in which messages fall due.

Deterministic: the clock and the source of randomness are passed in.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass
from itertools import count

from mta.events.instants import SECOND
from mta.queue.message import Message

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

    def delay(self, attempts: int, source: random.Random) -> int:
        """Microseconds to wait after the `attempts`-th failure in a row (from 1)."""
        base = min(self.interval << min(attempts - 1, _MAX_DOUBLINGS), self.max_interval)
        jitter = min(self.interval // _JITTER_DIVISOR, _JITTER_LIMIT)
        return max(1, base + source.randint(-jitter, jitter))

    def expires(self, received_at: int) -> int:
        """The instant at which a message is given up."""
        return received_at + self.max_age


class Schedule:
    """Messages in the order in which they fall due; equals in the order in which they came."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Message]] = []
        self._order = count()

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, message: Message) -> None:
        """Hand the message out when it is due."""
        heapq.heappush(self._heap, (message.due, next(self._order), message))

    def hold(self, message: Message, until: int) -> None:
        """Hand the message out at that instant, whenever it is due."""
        heapq.heappush(self._heap, (until, next(self._order), message))

    def next_due(self) -> int | None:
        """When the next message falls due; None if none waits."""
        return self._heap[0][0] if self._heap else None

    def take_due(self, now: int, limit: int) -> list[Message]:
        """At most `limit` messages that are due, the longest due first."""
        taken: list[Message] = []
        while self._heap and self._heap[0][0] <= now and len(taken) < limit:
            taken.append(heapq.heappop(self._heap)[2])
        return taken
