"""The client's side of an SMTP dialogue that is open and greeted: groups of commands out, groups of answers back.

aiosmtplib opens a connection, but it drops answers that it did not wait for, so it cannot pipeline. This protocol takes
the transport over from it and asks for several answers at once (RFC 2920); what they mean is not its business.
"""

from __future__ import annotations

import asyncio
from typing import cast

__all__ = ["Dialogue"]

_MAX_REPLY = 64 * 1024
_SHUTTING_DOWN = b"421"


class Dialogue(asyncio.Protocol):
    """One `exchange` at a time. `trouble` says why no answer comes any more: the first cause counts."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._line_start = 0
        self._replies: list[bytes] = []
        self._wanted = 0
        self._waiter: asyncio.Future[None] | None = None
        self.trouble: Exception | None = None
        transport.set_protocol(self)

    async def exchange(self, data: bytes, count: int, patience: float) -> list[bytes]:
        """Send `data` and wait at most `patience` seconds for `count` answers, each with its line ends.

        Fewer come if the peer says 421, after which it says no more, or if there is `trouble`.
        """
        if self.trouble is not None:
            return []
        self._replies, self._wanted = [], count
        self._waiter = self._loop.create_future()
        timer = self._loop.call_later(patience, self._fail, TimeoutError("no answer in time"))
        try:
            self._transport.write(data)
            await self._waiter
        finally:
            timer.cancel()
            self._wanted, self._waiter = 0, None
        return self._replies

    def close(self) -> None:
        """Close the connection."""
        self._fail(ConnectionResetError("we closed the connection"))

    def _fail(self, error: Exception) -> None:
        self.trouble = self.trouble or error
        self._transport.close()
        self._resume()

    def _resume(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # What the transport reports

    def data_received(self, data: bytes) -> None:
        """The peer said something. Unasked it can only mean that it wants no more of us."""
        self._buffer += data
        while (reply := self._next_reply()) is not None:
            if len(self._replies) >= self._wanted:
                text = reply.decode("utf8", "replace").strip()
                self._fail(ConnectionResetError(f"the peer said {text!r} unasked"))
                return
            self._replies.append(reply)
            if len(self._replies) == self._wanted or reply.startswith(_SHUTTING_DOWN):
                self._resume()
        if len(self._buffer) > _MAX_REPLY:
            self._fail(ValueError("an endless answer"))

    def _next_reply(self) -> bytes | None:
        """The next whole answer, which may have many lines (RFC 5321 section 4.2.1)."""
        while (end := self._buffer.find(b"\n", self._line_start) + 1) > 0:
            line = self._buffer[self._line_start : end]
            if not line[:3].isdigit():
                self._fail(ValueError(line[:200].decode("utf8", "replace").strip()))
                return None
            self._line_start = end
            if line[3:4] != b"-":
                reply = bytes(self._buffer[:end])
                del self._buffer[:end]
                self._line_start = 0
                return reply
        return None

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        self._fail(error or ConnectionResetError("the peer closed the connection"))

    @property
    def sockname(self) -> tuple[str, int]:
        """Our own address."""
        return cast("tuple[str, int]", self._transport.get_extra_info("sockname")[:2])
