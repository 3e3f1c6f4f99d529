"""Syslog over TCP or TLS (RFC 6587, 5425) and UDP (RFC 5426).

Syslog has no acknowledgement: what a sender has written and we have not landed is lost with the connection, as with
every syslog server. TCP at least pushes back: while there is no room nothing is read. UDP cannot even do that; what
does not fit is counted as lost.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Iterator

from collector.errors import LandingFailed
from collector.framing.parcels import Parcel, Shape
from collector.framing.syslog import SyslogMessage, SyslogSplitter
from collector.landing import Landing
from collector.quarantine import KEPT_BYTES
from collector.settings import SyslogSettings
from collector.sources.connections import StreamListener, land_patiently
from collector.sources.http_server import listen, may_connect

__all__ = ["SyslogServer"]

_UDP_WAIT_S = 0.05
_UDP_BUFFER = 4 << 20


class SyslogServer(StreamListener):
    """Lands the messages of one port."""

    def __init__(self, landing: Landing, settings: SyslogSettings, max_line: int) -> None:
        super().__init__(landing, settings)
        self._max_line = max_line
        self._udp = _Datagrams(landing, settings, self.address[1]) if settings.udp else None

    async def start(self) -> None:
        """Serve from now on."""
        await super().start()
        if self._udp is not None:
            await self._udp.start()

    async def stop(self) -> None:
        """Cut every connection."""
        if self._udp is not None:
            await self._udp.stop()
        await super().stop()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sender: str) -> None:  # noqa: ARG002
        """Take messages until the peer closes. Raises ProtocolError and TimeoutError."""
        messages = SyslogSplitter(self._max_line)
        while True:
            async with asyncio.timeout(self._settings.stall_s if messages.is_inside else self._settings.idle_s):
                data = await reader.read(self.read_bytes)
            complete = messages.feed(data) if data else messages.rest()
            await land_patiently(self._landing, _parcels(complete, sender))
            if not data:
                return


class _Datagrams(asyncio.DatagramProtocol):
    """The lossy side: gathers for a moment, lands, and counts what there was no room for."""

    def __init__(self, landing: Landing, settings: SyslogSettings, port: int) -> None:
        self._landing = landing
        self._settings = settings
        self._socket = listen(settings.model_copy(update={"port": port}), socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _UDP_BUFFER)
        self._transport: asyncio.DatagramTransport | None = None
        self._waiting: dict[str, list[bytes]] = {}
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = asyncio.Event()

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=self._socket)

    async def stop(self) -> None:
        if self._transport is None:
            self._socket.close()
            return
        self._transport.close()
        await self._closed.wait()
        self._flush()
        await asyncio.gather(*self._tasks)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._closed.set()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if not may_connect(self._settings, addr):
            self._landing.health.refused("unauthorised", f"{addr[0]} may not send")
            return
        if self._bytes > self._settings.memory_bytes:
            self._landing.health.refused("lost", "datagrams came faster than the disk takes them")
            return
        self._waiting.setdefault(addr[0], []).append(data)
        self._bytes += len(data)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_UDP_WAIT_S, self._flush)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, {}
        for sender, messages in waiting.items():
            task = asyncio.get_running_loop().create_task(self._land(Parcel(messages, Shape.SYSLOG, sender)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _land(self, parcel: Parcel) -> None:
        try:
            await self._landing.land(parcel)
        except LandingFailed as error:
            for _ in parcel.records:
                self._landing.health.refused("lost", str(error))
        finally:
            self._bytes -= sum(map(len, parcel.records))


def _parcels(messages: Iterable[SyslogMessage], sender: str) -> Iterator[Parcel]:
    whole = [message.raw for message in messages if message.size == len(message.raw)]
    if whole:
        yield Parcel(whole, Shape.SYSLOG, sender)
    for message in messages:
        if message.size > len(message.raw):
            yield Parcel([message.raw[:KEPT_BYTES]], Shape.CUT, sender, size=message.size)
