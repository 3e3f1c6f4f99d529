"""The sockets that mail comes in by, and the sessions open on them."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Any

from mta.control.record import Hop, Recorder
from mta.errors import ListenError
from mta.events.errors import SettingsError
from mta.events.reply import SmtpReply
from mta.metrics import MtaMetrics
from mta.networks import Networks
from mta.queue.entries import LogRecord
from mta.queue.message import Clock
from mta.settings import Endpoint, MtaSettings
from mta.smtp.access import Admission
from mta.smtp.proxied import ProxiedSocket
from mta.smtp.rate import client_rate
from mta.smtp.reception import Reception
from mta.smtp.session import Bounds, Session

__all__ = ["Door", "Listener", "server_context"]

_PATH = re.compile(r"<([^<>]*)>")
_POLL = 0.02
_HANDSHAKE = 10.0
_BACKLOG = 1024


class Door(Enum):
    """What a socket is for (RFC 8314 for the last two)."""

    RELAY = "smtp"
    SUBMISSION = "submission"
    """STARTTLS, and no mail without a login."""
    TLS = "submissions"
    """TLS from the first byte, and no mail without a login."""


class Listener:
    """Listens from `start` to `stop`. `on_refusal` gets the log record of each refused command."""

    def __init__(
        self,
        settings: MtaSettings,
        reception: Reception,
        recorder: Recorder,
        metrics: MtaMetrics,
        clock: Clock,
        on_refusal: Callable[[LogRecord], None],
    ) -> None:
        self._settings = settings
        self._reception = reception
        self._recorder = recorder
        self._metrics = metrics
        self._clock = clock
        self._on_refusal = on_refusal
        self._relays = Networks(settings.relay_networks)
        self._admission = Admission(
            total=settings.max_connections,
            per_ip=settings.max_connections_per_ip,
            per_relay_ip=settings.max_connections_per_relay_ip,
            relays=self._relays,
            rate=client_rate(settings.connection_rate_per_ip),
        )
        self._tls = server_context(settings)
        self._balancers = Networks(settings.proxy_networks)
        self._servers: list[asyncio.Server | ProxiedSocket] = []
        self._sessions: set[Session] = set()
        self.doors: dict[Door, list[Endpoint]] = {}

    def reload(self, settings: MtaSettings, reception: Reception) -> None:
        """From now on these hold for new connections; those that are open go on as they began."""
        self._settings, self._reception = settings, reception
        self._relays = Networks(settings.relay_networks)
        self._admission.total = settings.max_connections
        self._admission.per_ip = settings.max_connections_per_ip
        self._admission.per_relay_ip = settings.max_connections_per_relay_ip
        self._admission.relays = self._relays
        self._admission.rate = client_rate(settings.connection_rate_per_ip)
        if self._tls is None:
            self._tls = server_context(settings)
        elif settings.tls_certificate is not None and settings.tls_key is not None:
            # The sockets of TLS from the first byte hold this very context.
            self._tls.load_cert_chain(settings.tls_certificate, settings.tls_key)

    @property
    def connections(self) -> int:
        """Clients connected now."""
        return self._admission.count

    async def start(self) -> None:
        """Open the sockets; `addresses` then says which ports they got. Raises `ListenError`."""
        for kind, endpoints in self._doors():
            for endpoint in endpoints:
                await self._open(kind, endpoint)

    def _doors(self) -> tuple[tuple[Door, tuple[Endpoint, ...]], ...]:
        settings = self._settings
        return (
            (Door.RELAY, settings.listen),
            (Door.SUBMISSION, settings.listen_submission),
            (Door.TLS, settings.listen_tls),
        )

    async def _open(self, door: Door, endpoint: Endpoint) -> None:
        host, port = endpoint
        tls: dict[str, Any] = {}
        if door is Door.TLS:
            tls = {"ssl": self._tls, "ssl_handshake_timeout": _HANDSHAKE}
        try:
            server = await self._server(door, host, port, tls)
        except OSError as error:
            what = f"cannot listen: {error.strerror or error}"
            raise ListenError(what, where=f"{host}:{port}", remedy="set mta.listen or --listen") from error
        self._servers.append(server)
        self.doors[door] = self.doors.get(door, []) + [each.getsockname()[:2] for each in server.sockets]

    async def _server(self, door: Door, host: str, port: int, tls: dict[str, Any]) -> asyncio.Server | ProxiedSocket:
        reuse = self._settings.reuse_port
        if not self._balancers.blocks:
            loop = asyncio.get_running_loop()
            options = {"reuse_port": reuse or None, "backlog": _BACKLOG, **tls}
            return await loop.create_server(partial(self._session, door), host, port, **options)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=_BACKLOG, reuse_port=reuse)
        proxied = ProxiedSocket(listening, self._balancers, partial(self._session, door), tls)
        proxied.start()
        return proxied

    @property
    def addresses(self) -> list[Endpoint]:
        """Where SMTP is spoken between servers."""
        return self.doors.get(Door.RELAY, [])

    async def stop(self, grace: float) -> None:
        """Take no more connections, tell idle clients to go, and wait at most `grace` seconds for mail under way."""
        for server in self._servers:
            server.close()
        deadline = asyncio.get_running_loop().time() + grace
        while self._sessions:
            late = asyncio.get_running_loop().time() >= deadline
            for session in list(self._sessions):
                if late or not session.in_data:
                    session.say_goodbye("4.3.2 Shutting down")
            if late:
                return
            await asyncio.sleep(_POLL)

    def _session(self, door: Door, client_ip: str = "") -> Session:
        return Session(
            self._reception,
            self,
            client_ip=client_ip,
            bounds=Bounds(
                max_line=self._settings.max_line_bytes,
                data_timeout=self._settings.data_timeout,
                greeting_delay=self._settings.greeting_delay,
                greeting_timeout=self._settings.greeting_timeout,
                max_errors=self._settings.max_errors,
            ),
            hostname=self._settings.hostname,
            ident="ESMTP mtascope",
            data_size_limit=self._settings.max_message_bytes,
            timeout=self._settings.command_timeout,
            tls_context=None if door is Door.TLS else self._tls,
            needs_login=door is not Door.RELAY,
            loop=asyncio.get_running_loop(),
        )

    # What sessions report

    def opened(self, session: Session) -> bool:
        """Count the client in, unless there are too many."""
        if not self._admission.enter(session.client_ip):
            self._metrics.rejected("connections")
            return False
        self._sessions.add(session)
        session.may_relay = session.client_ip in self._relays
        return True

    def closed(self, session: Session) -> None:
        """Count the client out."""
        self._sessions.discard(session)
        self._admission.leave(session.client_ip)

    def refused(self, session: Session, reply: SmtpReply) -> None:
        """Log a Rejection. Turning clients away and shutting down (421 4.3.2) is no fact about mail."""
        self._metrics.rejected(_reason(reply))
        envelope = session.envelope
        sender = (envelope.mail_from or "") if envelope else ""
        recipients = envelope.rcpt_tos if envelope else []
        recipient = recipients[0] if recipients else ""
        if reply.phase == "rcpt" and reply.command and (found := _PATH.search(reply.command)):
            recipient = found[1]
        name = (session.session.host_name if session.session else None) or ""
        hop = Hop(name, session.client_ip, session_id=session.session_id)
        record = self._recorder.rejection(
            self._clock(), reply, sender="" if sender == "<>" else sender, recipient=recipient, hop=hop
        )
        self._on_refusal(record)


def _reason(reply: SmtpReply) -> str:
    """A short stable word for the counter, from the code and where in the dialogue it was said."""
    status = str(reply.enhanced or "")
    words = {
        "5.7.1": "relay-denied",
        "5.7.8": "login",
        "4.7.0": "login",
        "5.7.11": "login",
        "5.7.0": "login",
        "4.3.1": "no-space",
        "4.3.2": "log-backlog",
        "4.5.3": "too-many-recipients",
        "5.3.4": "too-large",
        "5.1.3": "bad-address",
        "5.6.0": "bad-content",
        "5.4.6": "loop",
        "4.3.0": "internal",
    }
    return words.get(status, "syntax" if reply.code in {500, 501, 502, 503, 555} else "other")


def server_context(settings: MtaSettings) -> ssl.SSLContext | None:
    """What clients are offered, if anything. Raises `SettingsError`."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    except OSError as error:  # ssl.SSLError is one
        where = f"mta.tls_certificate {settings.tls_certificate}, mta.tls_key {settings.tls_key}"
        raise SettingsError(f"cannot be used: {error}", where=where, remedy="name two PEM files that match") from error
    return context
