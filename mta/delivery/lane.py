"""The messages that are ready for one destination, and how many connections may work on them. No I/O.

A lane learns: when the peer turns a connection away, fewer are used; while it refuses all, one probe at a time goes
after growing pauses; success opens the lane again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from mta.delivery.routing import Destination
from mta.delivery.shaping import Limits, Throttle
from mta.queue.message import Message

__all__ = ["Lane"]

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0


class Lane:
    """Ready messages for `destination`, served within `limits` by tasks (which the dispatcher keeps in `tasks`)."""

    def __init__(self, destination: Destination, limits: Limits, longest_pause: float = _LONGEST_PAUSE) -> None:
        self.destination = destination
        self.waiting: deque[Message] = deque()
        self.tasks: set[asyncio.Task[None]] = set()
        self.connected = 0
        self._idle = 0
        self.limits = limits
        self._most = self._limit = limits.connection_limit
        self._messages = Throttle(limits.max_message_rate) if limits.max_message_rate else None
        self._connections = Throttle(limits.max_connection_rate) if limits.max_connection_rate else None
        self._failures = 0
        self._longest_pause = min(longest_pause, _LONGEST_PAUSE)
        self._changed = asyncio.Event()
        self._closed = False

    @property
    def wants_task(self) -> bool:
        """Whether there is more to do than idle tasks for it, and room for one more task."""
        return len(self.waiting) > self._idle and len(self.tasks) < self._limit and not self._closed

    @property
    def is_crowded(self) -> bool:
        """Whether a task should end, because fewer connections are wanted than there are tasks."""
        return len(self.tasks) > self._limit or self._closed

    def put(self, message: Message) -> None:
        """One more message is ready."""
        self.waiting.append(message)
        self._changed.set()

    async def take(self, patience: float) -> Message | None:
        """The next message; None if none comes within `patience` seconds or the task should end."""
        deadline = asyncio.get_running_loop().time() + patience
        self._idle += 1
        try:
            while not self.waiting and not self.is_crowded:
                self._changed.clear()
                left = deadline - asyncio.get_running_loop().time()
                if left <= 0:
                    return None
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), left)
        finally:
            self._idle -= 1
        return self.waiting.popleft() if self.waiting and not self.is_crowded else None

    def remove(self, unwanted: Callable[[Message], bool]) -> list[Message]:
        """Take out the waiting messages for which that holds."""
        removed = [message for message in self.waiting if unwanted(message)]
        self.waiting = deque(message for message in self.waiting if not unwanted(message)) if removed else self.waiting
        return removed

    def succeeded(self) -> None:
        """The peer took a connection and answered on it."""
        self._failures = 0
        self._limit = min(self._limit + 1, self._most)

    def failed(self) -> float:
        """The peer turned a connection away. Seconds to pause: 0 while other connections work."""
        if self.connected:
            self._limit = max(1, self.connected)
            return 0.0
        self._limit = 1
        self._failures += 1
        return min(_FIRST_PAUSE * 2.0 ** min(self._failures - 1, 16), self._longest_pause)

    async def pace_message(self) -> None:
        """Wait until the rate allows one more message."""
        await self._pace(self._messages)

    async def pace_connection(self) -> None:
        """Wait until the rate allows one more connection."""
        await self._pace(self._connections)

    async def _pace(self, throttle: Throttle | None) -> None:
        while throttle and not self._closed and (wait := throttle.wait(asyncio.get_running_loop().time())) > 0:
            await self.pause(wait)

    async def pause(self, seconds: float) -> None:
        """Wait, but not when closing."""
        self._changed.clear()
        deadline = asyncio.get_running_loop().time() + seconds
        while not self._closed and (left := deadline - asyncio.get_running_loop().time()) > 0:
            self._changed.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), left)

    def close(self) -> None:
        """Hand out nothing more."""
        self._closed = True
        self._changed.set()
