"""Opening a session with a mail host: connect, greet, encrypt as is asked or can be, log in. aiosmtplib talks.

Where TLS is opportunistic and breaks, the connection is made again in clear, because mail in clear is what a host
without STARTTLS would get too. Where it is demanded, there is no session without.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from aiosmtplib import SMTP
from aiosmtplib.errors import (
    SMTPConnectResponseError,
    SMTPException,
    SMTPHeloError,
    SMTPResponseException,
)

from mta.control.record import Hop, Tls, internal_reply
from mta.delivery.egress import Source
from mta.delivery.errors import Unreachable
from mta.delivery.limits import Limits
from mta.delivery.outbound_socket import open_socket
from mta.delivery.tls import Demand, TlsOutcome, TlsPolicy, TlsReport, TrustRoots, failure_of
from mta.events.reply import SmtpReply, parse_reply
from mta.queue.message import Clock

__all__ = ["Credentials", "Opening", "Target"]

_SNI = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who we are to a smarthost."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect, from where, and what holds there."""

    host: str
    address: str
    port: int
    source: Source
    limits: Limits
    tls: TlsPolicy
    credentials: Credentials | None = None

    def __str__(self) -> str:
        return f"{self.host} [{self.address}]:{self.port}"


@dataclass(slots=True)
class Opening:
    """A connection on its way to a session; `client` changes when it is made again."""

    target: Target
    client: SMTP
    roots: TrustRoots
    clock: Clock
    report: TlsReport
    outcome: TlsOutcome | None = None

    @classmethod
    async def begin(cls, target: Target, roots: TrustRoots, clock: Clock, report: TlsReport) -> Opening:
        """All of it. Raises `Unreachable`."""
        opening = cls(target, await _connect(target, roots), roots, clock, report)
        try:
            await opening.encrypt()
            await opening.log_in()
        except BaseException:
            opening.client.close()
            raise
        return opening

    async def encrypt(self) -> None:
        """Meet the demand, or go on without TLS where nobody demands it."""
        policy = self.target.tls
        if policy.demand is Demand.NONE:  # what is not tried says nothing about the peer
            return
        if policy.implicit:
            self._judge()
        elif not self.client.supports_extension("starttls"):
            missing = "starttls-not-supported" if policy.origin else ""
            self._conclude(TlsOutcome("not_offered", failure=missing), "offers no STARTTLS")
        else:
            await self._start_tls()

    async def _start_tls(self) -> None:
        policy, limits, host = self.target.tls, self.target.limits, self.target.host
        try:
            await self.client.starttls(
                tls_context=self.roots.context(policy),
                server_hostname=host if _SNI.fullmatch(host) else None,
                timeout=limits.starttls_timeout,
            )
            self._judge()
            await self.client.ehlo(timeout=limits.ehlo_timeout)
        except (SMTPException, OSError, ValueError) as error:
            self.client.close()
            failure = failure_of(error) if policy.origin else ""
            self._conclude(TlsOutcome("failed", failure=failure), f"cannot agree on TLS: {error}")
            self.client = await _connect(self.target, self.roots)

    def _judge(self) -> None:
        transport = self.client.transport
        connection = transport.get_extra_info("ssl_object") if transport else None
        if connection is None:
            raise SMTPException("the peer closed the connection")
        outcome = self.roots.judge(connection, self.target.tls, self.target.host, self.clock())
        self._conclude(outcome, "is not vouched for")

    def _conclude(self, outcome: TlsOutcome, why: str) -> None:
        """Tell what came of it; raises `Unreachable` if that is less than is demanded."""
        self.outcome = outcome
        self.report(self.target.tls, outcome)
        if self.target.tls.demand.is_strict and outcome.failure:
            text = f"{self.target} {why} ({self.target.tls.origin} wants TLS: {outcome.failure})"
            raise Unreachable(internal_reply(451, text, "4.7.10"))

    async def log_in(self) -> None:
        """Say who we are, if the route wants that."""
        credentials = self.target.credentials
        if credentials is None:
            return
        try:
            await self.client.login(credentials.user, credentials.password, timeout=self.target.limits.auth_timeout)
        except SMTPResponseException as error:
            raise Unreachable(_peer_words(error.code, error.message, "AUTH"), self.hop()) from error
        except (SMTPException, OSError) as error:
            raise Unreachable(internal_reply(451, f"cannot log in to {self.target}: {error}", "4.7.0")) from error

    def hop(self) -> Hop:
        """The other end, as log records name it."""
        client, target = self.client, self.target
        cipher = client.get_transport_info("cipher")
        tls = None
        if cipher:
            verified = self.outcome.verified if self.outcome else None
            tls = Tls(cipher[1], cipher[0], verified, target.tls.origin)
        source, proxy = client.get_transport_info("sockname"), None
        if target.source.proxy:
            source, proxy = (target.source.address_for(target.address), 0), "{}:{}".format(*target.source.proxy)
        return Hop(target.host, target.address, tls, _endpoint(source), proxy=proxy)


def _endpoint(name: tuple[str, int]) -> str:
    return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"


async def _connect(target: Target, roots: TrustRoots) -> SMTP:
    """Connected and greeted."""
    limits, implicit = target.limits, target.tls.implicit
    client: SMTP | None = None
    try:
        opened = await open_socket(target.source, target.address, target.port, limits.connect_timeout)
        client = SMTP(
            hostname=target.host,
            sock=opened,
            local_hostname=limits.ehlo_domain or target.source.ehlo,
            timeout=limits.mail_from_timeout,
            start_tls=False,
            use_tls=implicit,
            tls_context=roots.context(target.tls) if implicit else None,
        )
        await client.connect(timeout=limits.banner_timeout)
        await _greet(client, limits.ehlo_timeout)
    except SMTPConnectResponseError as error:
        raise Unreachable(_peer_words(error.code, error.message, None), Hop(target.host, target.address)) from error
    except SMTPHeloError as error:
        _close(client)
        reply = _peer_words(error.code, error.message, f"EHLO {limits.ehlo_domain or target.source.ehlo}")
        raise Unreachable(reply, Hop(target.host, target.address)) from error
    except (SMTPException, OSError) as error:
        _close(client)
        why = str(error) or "it takes too long"
        reply = internal_reply(451, f"cannot connect to {target}: {why}", "4.4.1")
        raise Unreachable(reply, answered=client is not None) from error
    return client


def _close(client: SMTP | None) -> None:
    if client is not None:
        client.close()


async def _greet(client: SMTP, patience: float) -> None:
    try:
        await client.ehlo(timeout=patience)
    except SMTPHeloError as error:
        if error.code < 500 or not client.is_connected:
            raise
        await client.helo(timeout=patience)


def _peer_words(code: int, message: str, command: str | None) -> SmtpReply:
    if not 400 <= code < 600:
        return internal_reply(451, f"unexpected answer {code} {message}", "4.5.0")
    return parse_reply("\n".join(f"{code} {line}" for line in message.split("\n")), command=command)
