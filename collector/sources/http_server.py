"""uvicorn for strangers: a listener that bounds connections, silence and slowness, which uvicorn alone does not.

A connection that has not sent a whole request head in time is cut (slow-loris); one too many, or from a network that
may not send, is cut before a byte of it is read. Applications find `abort` in their state: cutting the connection
instead of answering, for senders that give up for good when they are refused and try again when they are cut off.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from collector.errors import SourceError
from collector.metrics import RoadHealth
from collector.settings import ListenerSettings, TlsSettings

__all__ = ["EmbeddedServer", "HttpListener", "listen", "may_connect", "tls_context"]


def listen(settings: ListenerSettings, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """A bound socket. Raises SourceError naming the address."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    sock = socket.socket(family, kind)
    try:
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((settings.host, settings.port))
        if kind == socket.SOCK_STREAM:
            sock.listen(256)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise SourceError(
            f"cannot listen: {error.strerror}", where=f"{settings.host}:{settings.port}", remedy="choose another port"
        ) from error
    return sock


def tls_context(settings: TlsSettings) -> ssl.SSLContext:
    """What the settings ask for; TLS 1.2 at least. Raises SourceError naming the files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.certificate, settings.key)
        if settings.client_ca is not None:
            context.load_verify_locations(settings.client_ca)
            required = settings.client_certificate == "required"
            context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    except OSError as error:  # ssl.SSLError is one
        raise SourceError(
            f"certificate, key or client CA cannot be used: {error.strerror or error}",
            where=f"{settings.certificate}, {settings.key}, {settings.client_ca}",
        ) from error
    return context


def may_connect(settings: ListenerSettings, peer: object) -> bool:
    """The peer's address is in one of the networks that may send."""
    if not settings.networks:
        return True
    if not isinstance(peer, tuple):
        return False
    address = ip_address(str(peer[0]).partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in settings.networks)


class HttpListener:
    """An ASGI application on a socket of its own, in the running event loop."""

    def __init__(self, app: Callable[..., Any], settings: ListenerSettings, health: RoadHealth) -> None:
        self._socket = listen(settings)
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        config = uvicorn.Config(
            app,
            http=_protocol(settings, health),
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=max(1, int(settings.idle_s)),
            timeout_graceful_shutdown=3,
            h11_max_incomplete_event_size=64 << 10,
        )
        if settings.tls is not None:
            config.load()
            config.ssl = tls_context(settings.tls)
        self._server = EmbeddedServer(config)
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Serve from now on."""
        self._serving = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        while not self._server.started and not self._serving.done():  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Finish what is being answered, for three seconds, and close."""
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving


class EmbeddedServer(uvicorn.Server):
    """One server of several in a process: it leaves signals to the process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def _protocol(settings: ListenerSettings, health: RoadHealth) -> type[H11Protocol]:
    """A protocol class for one listener; uvicorn makes an instance for each connection."""
    return type("Bounded", (_Bounded,), {"settings": settings, "health": health})


class _Bounded(H11Protocol):
    settings: ListenerSettings
    health: RoadHealth
    _watch: asyncio.TimerHandle | None = None
    """Runs while a request head is awaited or coming."""
    _counted = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "abort": transport.abort}
        peer = transport.get_extra_info("peername")
        if not may_connect(self.settings, peer):
            self.health.refused("unauthorised", f"{peer} may not connect")
            transport.abort()
        elif self.health.connections >= self.settings.max_connections:
            self.health.refused("connections")
            transport.abort()
        else:
            self.health.connections += 1
            self._counted = True
            self._start_watch()

    def data_received(self, data: bytes) -> None:
        if self._watch is None and self._between_requests:
            self._start_watch()
        super().data_received(data)
        if self._watch is not None and not self._between_requests:
            self._watch.cancel()
            self._watch = None

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._watch is None and self._between_requests and self.conn.trailing_data[0]:
            self._start_watch()  # the next head has begun already

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._watch is not None:
            self._watch.cancel()
        if self._counted:
            self.health.connections -= 1

    @property
    def _between_requests(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def _start_watch(self) -> None:
        self._watch = self.loop.call_later(self.settings.stall_s, self._cut)

    def _cut(self) -> None:
        self._watch = None
        if self._between_requests:
            self.health.refused("timeout", "no request head came in time")
            self.transport.abort()
