"""Taking what shippers push to a Redis list (Filebeat's `output.redis`, `datatype: list`), losing nothing on a crash.

Elements are moved to a list of our own, landed, and only then removed from it. What a crash leaves there is landed at
the next start; by then it may have been landed before, and is a duplicate. One collector for each list.

Redis keeps what waits in its memory: watch the length of the list.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from contextlib import suppress

from collector.errors import ProtocolError
from collector.framing.parcels import Parcel, Shape
from collector.landing import Landing
from collector.quarantine import KEPT_BYTES
from collector.settings import RedisSettings
from collector.sources.connections import land_patiently

__all__ = ["RedisList"]

_log = logging.getLogger(__name__)

_BATCH = 500
_BLOCK_S = 1
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 30.0
_LARGEST = 64 << 20
_EVENT_OVERHEAD = 64 << 10


class RedisList:
    """Empties one list for as long as it runs, whatever becomes of the server."""

    def __init__(self, landing: Landing, settings: RedisSettings, max_line: int) -> None:
        self._landing = landing
        self._settings = settings
        self._limit = max_line + _EVENT_OVERHEAD
        self._taking: asyncio.Task[None] | None = None
        self.address = (settings.host, settings.port)

    async def start(self) -> None:
        """Take from now on."""
        self._taking = asyncio.create_task(self._keep_taking())

    async def stop(self) -> None:
        """Take no more; what was moved and not landed stays in our list."""
        if self._taking is not None:
            self._taking.cancel()
            with suppress(asyncio.CancelledError):
                await self._taking

    async def _keep_taking(self) -> None:
        pause = _FIRST_PAUSE_S
        while True:
            try:
                async with asyncio.timeout(self._settings.stall_s):
                    connection = await _Connection.open(self._settings)
                pause = _FIRST_PAUSE_S
                await self._take(connection)
            except (OSError, EOFError, ProtocolError, TimeoutError) as error:
                self._landing.health.refused("protocol", f"Redis: {error}")
                _log.warning("Redis at %s:%d: %s; trying again", *self.address, error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)

    async def _take(self, connection: _Connection) -> None:
        key = self._settings.key.encode()
        ours = key + b":mtascope"
        self._landing.health.connections = 1
        try:
            while True:
                async with asyncio.timeout(self._settings.stall_s):
                    moved = await connection.call(b"BLMOVE", key, ours, b"LEFT", b"RIGHT", b"%d" % _BLOCK_S)
                    if moved is not None:
                        await connection.calls([(b"LMOVE", key, ours, b"LEFT", b"RIGHT")] * (_BATCH - 1))
                    waiting = await connection.call(b"LRANGE", ours, b"0", b"%d" % (_BATCH - 1))
                if not isinstance(waiting, list) or not waiting:
                    continue
                await land_patiently(self._landing, self._parcels([one for one in waiting if isinstance(one, bytes)]))
                async with asyncio.timeout(self._settings.stall_s):
                    await connection.call(b"LTRIM", ours, b"%d" % len(waiting), b"-1")
        finally:
            self._landing.health.connections = 0
            connection.close()

    def _parcels(self, events: list[bytes]) -> list[Parcel]:
        sender = self._settings.host
        whole = Parcel([event for event in events if len(event) <= self._limit], Shape.EVENT, sender)
        long = [event for event in events if len(event) > self._limit]
        return [whole, *(Parcel([event[:KEPT_BYTES]], Shape.CUT, sender, size=len(event)) for event in long)]


Reply = bytes | int | None | list["Reply"]


class _Connection:
    """The little of RESP 2 that is needed."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, settings: RedisSettings) -> _Connection:
        context = ssl.create_default_context(cafile=settings.ca) if settings.ca is not None else None
        connection = cls(*await asyncio.open_connection(settings.host, settings.port, ssl=context))
        try:
            await connection._introduce(settings)
        except BaseException:
            connection.close()
            raise
        return connection

    async def _introduce(self, settings: RedisSettings) -> None:
        if settings.password is not None:
            words = (settings.user, settings.password.get_secret_value())
            await self.call(b"AUTH", *(word.encode() for word in words if word is not None))
        if settings.database:
            await self.call(b"SELECT", b"%d" % settings.database)

    async def call(self, *words: bytes) -> Reply:
        """One command and its reply. Raises ProtocolError with what Redis said."""
        return (await self.calls([words]))[0]

    async def calls(self, commands: list[tuple[bytes, ...]]) -> list[Reply]:
        """Commands sent together, and their replies."""
        self._writer.write(b"".join(map(_command, commands)))
        await self._writer.drain()
        return [await self._reply() for _ in commands]

    def close(self) -> None:
        self._writer.close()

    async def _reply(self, depth: int = 0) -> Reply:
        try:
            line = (await self._reader.readuntil(b"\r\n"))[:-2]
        except asyncio.LimitOverrunError:
            raise ProtocolError("no Redis answers there") from None
        kind, rest = line[:1], line[1:]
        if kind == b"-":
            raise ProtocolError(rest.decode("utf8", "replace")[:200])
        if kind == b"+":
            return rest
        if not rest.lstrip(b"-").isdigit() or kind not in {b":", b"$", b"*"}:
            raise ProtocolError("no Redis answers there")
        size = int(rest)
        if kind == b":":
            return size
        if size < 0:
            return None
        if size > _LARGEST or depth > 2:
            raise ProtocolError(f"an answer of {size}, at most {_LARGEST} is taken", reason="limit")
        if kind == b"*":
            return [await self._reply(depth + 1) for _ in range(size)]
        return (await self._reader.readexactly(size + 2))[:-2]


def _command(words: tuple[bytes, ...]) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
