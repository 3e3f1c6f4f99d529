"""What a client has sent and nobody has read yet: a bounded buffer between the socket and the dialogue.

It stands where aiosmtpd has an `asyncio.StreamReader` and is made for SMTP: whole lines without a task switch when they
are there already, and a buffer in which the end of a message can be looked for in place. When more than `high` bytes
wait, the socket is not read until somebody wants more.
"""

from __future__ import annotations

import asyncio

__all__ = ["Inbox"]

_HIGH = 64 * 1024


class Inbox:
    """Filled by `feed`; read by one task."""

    def __init__(self, high: int = _HIGH) -> None:
        # These two names are aiosmtpd's: STARTTLS swaps the one and clears the other (RFC 3207 section 4.2).
        self._buffer = bytearray()
        self._transport: asyncio.ReadTransport | None = None
        self._high = high
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None

    @property
    def buffer(self) -> bytearray:
        """What waits. Whoever takes bytes deletes them from it."""
        return self._buffer

    def attach(self, transport: asyncio.ReadTransport) -> None:
        """The transport whose reading is paused when too much waits."""
        self._transport = transport

    def feed(self, data: bytes) -> None:
        """The client sent this."""
        self._buffer += data
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        elif len(self._buffer) > self._high and not self._paused and self._transport is not None:
            self._transport.pause_reading()
            self._paused = True

    async def more(self) -> None:
        """Wait until the client has sent something more."""
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def take_line(self) -> bytes | None:
        """The next line with its end, if it is here."""
        end = self._buffer.find(b"\n") + 1
        if not end:
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[:end]
        return line

    async def line(self, limit: int) -> bytes | None:
        """The next line with its end; None for one longer than `limit`, which is read to its end and thrown away."""
        overlong = False
        while (line := self.take_line()) is None:
            if len(self._buffer) > limit:
                overlong = True
                self._buffer.clear()
            await self.more()
        return None if overlong or len(line) > limit else line

    async def readline(self) -> bytes:
        """An answer in an AUTH dialogue: aiosmtpd asks for it by this name. Overlong ones are no base64 (RFC 4954)."""
        return await self.line(12_288) or b"\xff"
