"""What the TCP roads have in common: a socket that is bound before it serves, bounds, and an orderly end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress

from collector.errors import LandingFailed, ProtocolError
from collector.framing.parcels import Parcel
from collector.landing import Landing
from collector.settings import ListenerSettings
from collector.sources.http import land_all
from collector.sources.http_server import listen, may_connect, tls_context

__all__ = ["StreamListener", "land_patiently", "sender_of"]

_log = logging.getLogger(__name__)

_HANDSHAKE_S = 10
_PATIENCE_S = 0.2
_FIRST_S = 0.05


class StreamListener:
    """Serves each connection with `serve`, which subclasses define; it may raise ProtocolError or TimeoutError."""

    def __init__(self, landing: Landing, settings: ListenerSettings) -> None:
        self._landing = landing
        self._health = landing.health
        self._settings = settings
        self._socket = listen(settings)
        self._tls = tls_context(settings.tls) if settings.tls is not None else None
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        fair = settings.memory_bytes // (2 * settings.max_connections)
        self.read_bytes = max(64 << 10, min(1 << 20, fair))
        """How much is read at a time; twice as much may wait unread. Each read of syslog costs a sync."""

    async def start(self) -> None:
        """Serve from now on."""
        handshake = _HANDSHAKE_S if self._tls is not None else None
        self._server = await asyncio.start_server(
            self._connected, sock=self._socket, ssl=self._tls, ssl_handshake_timeout=handshake, limit=self.read_bytes
        )

    async def stop(self) -> None:
        """Cut every connection; what was not acknowledged comes again."""
        if self._server is None:
            self._socket.close()
            return
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await self._server.wait_closed()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sender: str) -> None:
        """Speak the road's protocol until the peer is done."""
        raise NotImplementedError

    def share(self) -> int:
        """How many bytes one connection may gather before it must land them."""
        return max(64 << 10, min(1 << 20, self._settings.memory_bytes // (4 * max(1, self._health.connections))))

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        if not may_connect(self._settings, peer):
            self._health.refused("unauthorised", f"{peer} may not connect")
        elif self._health.connections >= self._settings.max_connections:
            self._health.refused("connections")
        else:
            await self._guarded(reader, writer)
        writer.transport.abort() if writer.transport.is_closing() else writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    async def _guarded(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._serving.add(task)
        self._health.connections += 1
        sender = sender_of(writer)
        try:
            await self.serve(reader, writer, sender)
        except ProtocolError as error:
            self._health.refused(error.reason, f"{sender}: {error}")
            _log.warning("connection of %s ended: %s", sender, error)
        except TimeoutError:
            self._health.refused("timeout", f"{sender} fell silent")
            _log.info("connection of %s ended: it fell silent", sender)
        except (OSError, asyncio.IncompleteReadError) as error:
            _log.info("connection of %s broke: %s", sender, error)
        except asyncio.CancelledError:  # we are stopping; asyncio would report this as an error of the callback
            writer.transport.abort()
        finally:
            self._health.connections -= 1
            if task is not None:
                self._serving.discard(task)


def sender_of(writer: asyncio.StreamWriter) -> str:
    """Who the peer's certificate says it is, else its address."""
    certificate = writer.get_extra_info("peercert") or {}
    for kind, name in certificate.get("subjectAltName", ()):
        if kind in {"DNS", "IP Address"}:
            return str(name)
    for ((key, name),) in (part for part in certificate.get("subject", ()) if len(part) == 1):
        if key == "commonName":
            return str(name)
    peer = writer.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) else ""


async def land_patiently(landing: Landing, parcels: Iterable[Parcel]) -> None:
    """Land them however long it takes: the sender is not read meanwhile, which is how it learns to wait."""
    parcels = list(parcels)
    pause = _FIRST_S
    refused = ""
    while True:
        try:
            await land_all(landing, parcels)
        except LandingFailed as error:
            if error.reason != refused:  # one wait is one refusal, however often we look
                refused = error.reason
                landing.health.refused(error.reason, str(error))
                _log.warning("senders wait: %s", error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _PATIENCE_S)
        else:
            return
