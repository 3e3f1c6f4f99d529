"""From a finished SMTP transaction to messages in the spool: policy, trace field, one message per recipient.

The methods named `handle_...` are aiosmtpd's hooks. A positive answer to DATA leaves only after the journal's fsync
(promise 2); it names the spool ids, as KumoMTA does.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from sys import intern
from typing import Any

from mta.control.record import Hop, Recorder, Tls
from mta.delivery.identity import Identity
from mta.errors import InjectionRefused, SpoolError
from mta.events.address import canonical_address, canonical_domain
from mta.events.instants import SECOND
from mta.feedback.mail import FeedbackMail
from mta.feedback.records import Reading
from mta.feedback.report_box import ReportBox
from mta.metrics import MtaMetrics
from mta.queue.entries import LogRecord
from mta.queue.message import Clock, Envelope, Message, SpoolIds
from mta.queue.naming import is_label, queue_name
from mta.queue.spool import Spool
from mta.settings import MtaSettings
from mta.smtp.access import RelayDomains
from mta.smtp.headers import HeaderFacts, line_ends_are_clean, read_header, received_field
from mta.smtp.login import MECHANISMS, Login
from mta.smtp.parameters import RcptParameters
from mta.smtp.rate import ClientRate
from mta.smtp.session import MailEnvelope, Session

__all__ = ["Feedback", "Reception"]

Feedback = Callable[[FeedbackMail], Reading]
"""Reads a mail that came back; answers KumoMTA `Feedback` and `OOB` records, or why there are none."""

_LOG = logging.getLogger(__name__)
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_DOMAIN = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MAX_LOCAL_PART = 64
_ASKED_NOTHING = RcptParameters()
_IDS_TOLD = 14
"""More would not fit into a reply line (512 bytes, RFC 5321 section 4.5.3.1.5)."""


@dataclass(frozen=True, slots=True)
class Reception:
    """The listener's policy and its way into the spool."""

    settings: MtaSettings
    spool: Spool
    recorder: Recorder
    metrics: MtaMetrics
    ids: SpoolIds
    clock: Clock
    identity: Identity
    feedback: Feedback | None = None
    login: Login | None = None
    report_box: ReportBox | None = None
    relay_domains: RelayDomains = field(default_factory=lambda: RelayDomains(()))
    message_rate: ClientRate | None = None

    # aiosmtpd's hooks

    async def handle_EHLO(  # noqa: N802
        self, server: Session, session: Any, envelope: Any, hostname: str, responses: list[str]
    ) -> list[str]:
        """Offer what we keep."""
        del envelope
        session.host_name = hostname
        kept = [line for line in responses[:-1] if not line.startswith("250-AUTH")]
        if self.login is not None and server.is_encrypted:
            kept.append(f"250-AUTH {' '.join(MECHANISMS)}")
        settings = self.settings
        limits = (
            f"250-LIMITS MAILMAX={settings.max_messages_per_connection} RCPTMAX={settings.max_recipients}"  # RFC 9422
        )
        return [
            *kept,
            "250-PIPELINING",
            "250-CHUNKING",
            "250-DSN",
            "250-MT-PRIORITY",
            limits,
            "250 ENHANCEDSTATUSCODES",
        ]

    async def handle_AUTH(self, server: Session, session: Any, envelope: Any, args: list[str]) -> str | None:  # noqa: N802
        """Let the client prove who it is."""
        del session, envelope
        return await self.login.attempt(server, args) if self.login else "502 5.5.1 Nobody can log in here"

    @property
    def offers_login(self) -> bool:
        """Whether anybody can log in."""
        return self.login is not None

    async def handle_RCPT(  # noqa: N802
        self, server: Session, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        """Whether this client may send to this recipient."""
        del session, options
        return self.answer_recipient(server, envelope, address)

    def answer_recipient(self, server: Session, envelope: MailEnvelope, address: str) -> str:
        """The same without a task switch."""
        refusal = self._refusal(server, address, len(envelope.rcpt_tos))
        if refusal:
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: Session, session: Any, envelope: Any) -> str:  # noqa: N802
        """Take the message, or say why not."""
        content: bytes = envelope.content
        if not line_ends_are_clean(content):
            return "552 5.6.0 Message data must use CRLF for line endings"
        facts = read_header(content, self.settings.max_header_bytes, self.settings.max_header_fields)
        refusal = self._content_refusal(facts) or self._space_refusal(len(content))
        if refusal:
            return refusal
        try:
            return await self._take(server, session, envelope, facts)
        except SpoolError as error:
            _LOG.error("cannot accept mail: %s", error)
            return "452 4.3.1 Insufficient system storage, try again later"

    async def handle_exception(self, error: Exception) -> str:
        """An error of ours must not tell a peer about us. A failed handshake is the peer's business as well."""
        if isinstance(error.__cause__, (ssl.SSLError, OSError)):
            self.metrics.tls("inbound", "", "failed", "")
        else:
            _LOG.error("SMTP session failed", exc_info=error)
        return "451 4.3.0 Internal error, try again later"

    def handle_STARTTLS(self, server: Session, session: Any, envelope: Any) -> bool:  # noqa: N802
        """The handshake succeeded."""
        del server, envelope
        tls = _tls_of(session)
        self.metrics.tls("inbound", "", "ok", tls.version if tls else "")
        return True

    # Policy

    def refuse_sender(self, server: Session) -> str | None:
        """Why this client may begin no message now."""
        if server.messages >= self.settings.max_messages_per_connection:
            return "451 4.5.3 Too many messages on one connection"
        if self.message_rate is not None and not self.message_rate.take(
            server.user or server.client_ip, self.clock() / SECOND
        ):
            return "450 4.7.1 Too many messages, slow down"
        return None

    def _refusal(self, server: Session, address: str, count: int) -> str | None:
        if bad := _bad_recipient(address):
            return bad
        if count >= self.settings.max_recipients:
            return "452 4.5.3 Too many recipients in one message"
        ours = self._is_feedback(address) or self._is_report(address)
        if server.may_relay or ours or self._is_relayed(address):
            return None
        return "550 5.7.1 Relaying denied"

    def _content_refusal(self, facts: HeaderFacts) -> str | None:
        if not facts.fits:
            return "552 5.6.0 The header is larger than this system takes"
        if facts.hops > self.settings.max_hops:
            return "554 5.4.6 Too many hops, this message is in a loop"
        for name, value in (("X-Tenant", facts.tenant), ("X-Campaign", facts.campaign), ("X-Pool", facts.pool)):
            if value and not is_label(value):
                return f"550 5.6.0 {name} may hold letters, digits, dot, dash and underscore, at most 64"
        return None

    def _space_refusal(self, size: int) -> str | None:
        if self.spool.free - size < self.settings.min_free_bytes:
            return "452 4.3.1 Insufficient system storage, try again later"
        if self.spool.backlog > self.settings.log_backlog:
            return "452 4.3.2 The log cannot keep up, try again later"
        return None

    # Acceptance

    async def _take(self, server: Session, session: Any, envelope: Any, facts: HeaderFacts) -> str:
        client = hop_of(server, session)
        now = self.clock()
        reports = [address for address in envelope.rcpt_tos if self._is_report(address)]
        ours = [address for address in envelope.rcpt_tos if self._is_feedback(address) and address not in reports]
        queued = [
            (address, envelope.asked_of.get(number, _ASKED_NOTHING))
            for number, address in enumerate(envelope.rcpt_tos)
            if not (self._is_feedback(address) or address in reports)
        ]
        ids = [self.ids.make() for _ in range(len(queued) + bool(ours) + bool(reports))]
        trace = received_field(client, self.settings.hostname, ids[0], now, _protocol(server, envelope))
        sender, meta = "" if envelope.mail_from == "<>" else envelope.mail_from, _meta(facts)
        own = self.identity.fields(envelope.content, sender, [address for address, _ in queued], meta, now)
        body = b"".join((trace, own, envelope.content))
        shared = Envelope(
            sender=sender,
            received_at=now,
            size=len(body),
            message_id=facts.message_id,
            meta=meta,
            utf8=envelope.smtp_utf8,
            session_id=client.session_id,
            ret=envelope.asked.ret,
            envid=envelope.asked.envid,
            priority=envelope.asked.priority,
        )
        if queued:
            messages = [
                self._message(id_, to, shared, facts, asked) for id_, (to, asked) in zip(ids, queued, strict=False)
            ]
            records = [self.recorder.reception(message, client) for message in messages]
            await self.spool.accept(shared, messages, body, records)
        if ours:
            mail = FeedbackMail(shared.sender, tuple(ours), envelope.content, now, client.address, ids[len(queued)])
            await self._take_feedback(mail, shared, client)
        if self.report_box is not None and reports:
            await asyncio.to_thread(self.report_box.keep, ids[-1], shared.sender, trace, envelope.content)
            await self.spool.record([self._inbound(ids[-1], reports[0], shared, client)])
        self.metrics.received(len(ids))
        return f"250 2.0.0 OK ids={','.join(ids[:_IDS_TOLD])}{',...' if len(ids) > _IDS_TOLD else ''}"

    async def inject(self, sender: str, recipient: str, content: bytes, client: Hop, request: str = "") -> str:
        """Take a message by HTTP; its spool id when it is durable. Raises `InjectionRefused`.

        `request` is kept with it (`Envelope.request`).
        """
        facts = read_header(content, self.settings.max_header_bytes, self.settings.max_header_fields)
        sender_is_bad = sender and not _is_address(sender)
        refusal = "553 5.1.3 The sender is no address" if sender_is_bad else _bad_recipient(recipient)
        refusal = (
            refusal or self._size_refusal(content) or self._content_refusal(facts) or self._space_refusal(len(content))
        )
        if refusal:
            raise InjectionRefused(refusal)
        now, queue_id = self.clock(), self.ids.make()
        meta = _meta(facts)
        body = self.identity.fields(content, sender, [recipient], meta, now) + content
        utf8 = not (sender.isascii() and recipient.isascii() and facts.is_ascii)
        shared = Envelope(sender, now, len(body), "HTTP", facts.message_id, meta, utf8, request=request)
        message = self._message(queue_id, recipient, shared, facts)
        try:
            await self.spool.accept(shared, [message], body, [self.recorder.reception(message, client)])
        except SpoolError as error:
            raise InjectionRefused("452 4.3.1 Insufficient system storage, try again later") from error
        self.metrics.received(1, "HTTP")
        return queue_id

    def _size_refusal(self, content: bytes) -> str | None:
        if len(content) > self.settings.max_message_bytes:
            return "552 5.3.4 The message is larger than this system takes"
        if max(map(len, content.split(b"\r\n"))) + 2 > self.settings.max_line_bytes:
            return "500 5.5.2 Line too long (RFC 5321 section 4.5.3.1.6)"
        return None

    @staticmethod
    def _message(
        queue_id: str, recipient: str, shared: Envelope, facts: HeaderFacts, asked: RcptParameters = _ASKED_NOTHING
    ) -> Message:
        domain = canonical_domain(recipient.rpartition("@")[2])
        queue = intern(queue_name(domain, facts.tenant, facts.campaign))
        return Message(
            *(queue_id, recipient, domain, queue, shared),
            due=shared.received_at,
            notify=asked.notify,
            orcpt=asked.orcpt,
        )

    async def _take_feedback(self, mail: FeedbackMail, shared: Envelope, client: Hop) -> None:
        """Log what the reader makes of it; what it can make nothing of was at least received."""
        reading = await asyncio.to_thread(self.feedback, mail) if self.feedback else Reading()
        records = [self.recorder.feedback(each, mail.queue_id, mail.received_at, client) for each in reading.records]
        self.metrics.came_back(reading.result)
        await self.spool.record(records or [self._inbound(mail.queue_id, mail.recipients[0], shared, client)])

    def _inbound(self, queue_id: str, recipient: str, shared: Envelope, client: Hop) -> LogRecord:
        """That a mail for ourselves was received."""
        domain = canonical_domain(recipient.rpartition("@")[2])
        inbound = replace(shared, meta={**shared.meta, "mtascope_direction": "inbound"})
        return self.recorder.reception(Message(queue_id, recipient, domain, domain, inbound), client)

    def _is_report(self, recipient: str) -> bool:
        return self.report_box is not None and canonical_address(recipient) in self.settings.report_addresses

    def _is_relayed(self, recipient: str) -> bool:
        return canonical_domain(recipient.rpartition("@")[2]) in self.relay_domains

    def _is_feedback(self, recipient: str) -> bool:
        return canonical_domain(recipient.rpartition("@")[2]) in self.settings.own_domains


def _protocol(server: Session, envelope: Any) -> str:
    """The name of what was spoken, for the trace field (RFC 3848, RFC 6531)."""
    name = "UTF8SMTP" if envelope.smtp_utf8 else "ESMTP"
    return name + ("S" if server.is_encrypted else "") + ("A" if server.user else "")


def _is_address(text: str) -> bool:
    local, _, domain = text.rpartition("@")
    plausible = local and len(local) <= _MAX_LOCAL_PART and not _CONTROL.search(text) and text.isprintable()
    return bool(plausible and _DOMAIN.fullmatch(canonical_domain(domain)))


def _bad_recipient(address: str) -> str | None:
    return None if _is_address(address) else "553 5.1.3 The recipient address is not a valid one for this system"


def hop_of(server: Session, session: Any) -> Hop:
    """The client, as log records name it."""
    return Hop(
        name=session.host_name or "",
        address=server.client_ip,
        tls=_tls_of(session),
        session_id=server.session_id,
    )


def _tls_of(session: Any) -> Tls | None:
    info = session.ssl or {}
    cipher = info.get("cipher")
    return Tls(cipher[1], cipher[0]) if cipher else None


def _meta(facts: HeaderFacts) -> dict[str, str]:
    return _labels(facts.tenant, facts.campaign, facts.pool)


@lru_cache(maxsize=65_536)
def _labels(tenant: str | None, campaign: str | None, pool: str | None) -> dict[str, str]:
    """One object for all messages with these labels: nobody changes it, and many of them wait for long."""
    return {name: value for name, value in (("tenant", tenant), ("campaign", campaign), ("pool", pool)) if value}
