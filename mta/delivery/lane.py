"""The messages that are ready for one way out, and how many connections may work on them.

A lane learns: when the peer turns a connection away, fewer are used; while it refuses all, one probe at a time goes
after growing pauses; success opens the lane again. What the limits allow is asked of the table that all workers share.
"""

from __future__ import annotations

import asyncio
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

from mta.delivery.egress import Source
from mta.delivery.limit_table import Hold, LimitTable, Ration
from mta.delivery.limits import Limits, Rate
from mta.delivery.routing import Destination
from mta.delivery.shaping import Shape
from mta.queue.message import Message

__all__ = ["Lane", "Way"]

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_MOST_READY = 256
"""Messages that a lane keeps in memory unless shaping says otherwise; the rest stand before it as numbers."""
_LONGEST_TOLD = 3600.0
_POLL, _SLOWEST_POLL = 0.2, 1.0
_NEAR = 1.0
"""A turn that comes within so many seconds is waited for with a connection at hand."""


@dataclass(frozen=True)
class Way:
    """From a source to the mail hosts of a site, within what holds there. Ways with equal `key` share a lane."""

    source: Source
    destination: Destination
    shape: Shape

    @cached_property
    def path(self) -> str:
        """What limits count by."""
        return f"{self.source.name}->{self.destination.lane}{'#' if self.shape.scope else ''}{self.shape.scope}"

    @cached_property
    def key(self) -> tuple[str, str]:
        """The same, apart by what TLS must be: a connection is used only by mail that asks the same of it."""
        return self.path, self.destination.assurance


class Lane:
    """Ready messages for a way, served by tasks (which the dispatcher keeps in `tasks`)."""

    def __init__(self, way: Way, table: LimitTable, longest_pause: float = _LONGEST_PAUSE) -> None:
        self.waiting: deque[Message] = deque()
        self.overflow = array("I")
        self.tasks: set[asyncio.Task[None]] = set()
        self.connected = 0
        self._idle = 0
        self._seeking = False
        self._holds: set[Hold] = set()
        self._table = table
        self._failures = 0
        self._longest_pause = min(longest_pause, _LONGEST_PAUSE)
        self._changed = asyncio.Event()
        self._closed = False
        self._limit = way.shape.limits.connection_limit
        self._version = 0
        self.way = way
        self._keep_limits()

    def adopt(self, way: Way) -> None:
        """From now on this holds: another domain of the same hosts, hosts that were looked up anew, or other limits."""
        before, self.way = self.way, way
        if way.shape.limits != before.shape.limits or way.shape.provider != before.shape.provider:
            self._keep_limits()

    def _keep_limits(self) -> None:
        """Take up the limits of the way; who waits by the old ones looks again."""
        way, limits, path = self.way, self.way.shape.limits, self.way.path
        by_provider = f"{way.source.name}->provider {way.shape.provider}"
        self._version += 1
        self._limit = min(self._limit, limits.connection_limit)
        self._rations = [Ration(f"connections {path}", limits.connection_limit)]
        if limits.provider_connection_limit is not None:
            self._rations.append(Ration(f"connections {by_provider}", limits.provider_connection_limit))
        self._message_rates = _rates(
            (f"messages {path}", limits.max_message_rate), (f"messages {by_provider}", limits.provider_max_message_rate)
        )
        self._connection_rates = _rates((f"opened {path}", limits.max_connection_rate))
        self._changed.set()

    @property
    def limits(self) -> Limits:
        """What holds for this lane."""
        return self.way.shape.limits

    @property
    def wants_task(self) -> bool:
        """Whether there is more to do than idle tasks for it, and room for one more task."""
        busy = len(self.tasks)
        return len(self.waiting) > self._idle and busy < self._limit and not self._closed and not self._seeking

    @property
    def is_crowded(self) -> bool:
        """Whether a task should end, because fewer connections are wanted than there are tasks."""
        return len(self.tasks) > self._limit or self._closed

    def has_room(self, *, waited: bool) -> bool:
        """Whether a message may come in; else it stands in `overflow`. Who `waited` there goes before who comes now."""
        return len(self.waiting) < self._most_ready and (waited or not self.overflow)

    def next_overflow(self) -> array[int]:
        """The rows that may come in now, taken off `overflow`; none while half of the room is in use."""
        most = self._most_ready
        rows = self.overflow[: most - len(self.waiting) if len(self.waiting) * 2 < most else 0]
        del self.overflow[: len(rows)]
        return rows

    @property
    def _most_ready(self) -> int:
        return _MOST_READY if self.limits.max_ready is None else self.limits.max_ready

    def put(self, message: Message) -> None:
        """One more message is ready."""
        self.waiting.append(message)
        self._changed.set()

    def put_back(self, message: Message) -> None:
        """A message that was taken and not tried is first again."""
        self.waiting.appendleft(message)
        self._changed.set()

    def remove(self, unwanted: Callable[[Message], bool]) -> list[Message]:
        """Take out the waiting messages for which that holds."""
        removed = [message for message in self.waiting if unwanted(message)]
        self.waiting = deque(message for message in self.waiting if not unwanted(message)) if removed else self.waiting
        return removed

    # What tasks ask for

    async def admit(self) -> Hold | None:
        """The right to a connection, when other workers leave one and a turn is near; None if it is needed no more.

        One task of a lane asks at a time. The next begins to ask when this one has been let in.
        """
        self._seeking, poll = True, _POLL
        try:
            while self.waiting and not self.is_crowded:
                until_turn = self._table.until_turn(self._message_rates) if self._message_rates else 0.0
                if until_turn > _NEAR:
                    await self.pause(until_turn - _NEAR / 2)
                elif hold := self._table.hold(self._rations, has_some=bool(self._holds)):
                    self._holds.add(hold)
                    return hold
                else:
                    await self.pause(poll)
                    poll = min(poll * 1.5, _SLOWEST_POLL)
        finally:
            self._seeking = False
        return None

    def release(self, hold: Hold) -> None:
        """The right is needed no more; again does nothing."""
        self._holds.discard(hold)
        hold.give_back()

    async def take(self, patience: float) -> Message | None:
        """The next message, in its turn; None if there is none within `patience` seconds or the task should end."""
        deadline = self._now() + patience
        self._idle += 1
        try:
            while not self.is_crowded:
                left = deadline - self._now()
                if self.waiting:
                    wait = self._table.take_turn(self._message_rates) if self._message_rates else 0.0
                    if wait <= 0:
                        return self.waiting.popleft()
                    if wait > max(left, _NEAR):
                        return None
                    await self.pause(wait)
                elif left <= 0:
                    return None
                else:
                    await self._change(left)
        finally:
            self._idle -= 1
        return None

    async def pace_connection(self) -> None:
        """Wait until the rate allows one more connection."""
        while self._connection_rates and not self._closed:
            wait = self._table.take_turn(self._connection_rates)
            if wait <= 0:
                return
            await self.pause(wait)

    async def pause(self, seconds: float) -> None:
        """Wait, but not when closing, and not longer than the limits hold for which it is."""
        deadline, version = self._now() + seconds, self._version
        while not self._closed and version == self._version and (left := deadline - self._now()) > 0:
            await self._change(left)

    async def _change(self, patience: float) -> None:
        self._changed.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), patience)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    # What tasks report

    def succeeded(self) -> None:
        """The peer took a connection and answered on it."""
        self._failures = 0
        self._limit = min(self._limit + 1, self.limits.connection_limit)

    def failed(self, told: float | None = None) -> float:
        """The peer turned us away, and perhaps told for how long (seconds). Seconds to pause: 0 while others work."""
        if self.connected and told is None:
            self._limit = max(1, self.connected)
            return 0.0
        self._limit = 1
        self._failures += 1
        doublings = max(0, self._failures - self.limits.consecutive_connection_failures_before_delay)
        pause = min(_FIRST_PAUSE * 2.0 ** min(doublings, 16), self._longest_pause)
        return max(pause, min(told or 0.0, _LONGEST_TOLD))

    def close(self) -> None:
        """Hand out nothing more."""
        self._closed = True
        self._changed.set()


def _rates(*named: tuple[str, Rate | None]) -> Sequence[tuple[str, Rate]]:
    return [(name, rate) for name, rate in named if rate is not None]
