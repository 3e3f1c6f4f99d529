"""One SMTP session with one mail host; what the peer says becomes an `SmtpReply`, failures included.

`Opening` makes it; then `Dialogue` takes over, which can pipeline (RFC 2920). The body is sent as it was accepted, byte
for byte, with dots stuffed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import cast

from aiosmtplib import SMTP

from mta.control.record import Hop, internal_reply
from mta.delivery.dialogue import Dialogue
from mta.delivery.errors import Unreachable
from mta.delivery.limits import Limits
from mta.delivery.opening import Opening, Target
from mta.delivery.report_request import NOTHING_ASKED, ReportRequest
from mta.delivery.tls import TlsReport, TrustRoots
from mta.events.address import canonical_domain
from mta.events.reply import SmtpReply, parse_reply
from mta.queue.message import Clock

__all__ = ["Connection", "Mail", "Outcome"]

_QUIT_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class Mail:
    """What is to be delivered: an envelope with one recipient, and the body."""

    sender: str
    recipient: str
    body: bytes
    utf8: bool = False
    reports: ReportRequest = NOTHING_ASKED


@dataclass(frozen=True, slots=True)
class Outcome:
    """The reply that decided. `usable`: the connection may be used again. `stale`: it was gone before it was used.

    `reports`: the peer was told what the sender wants to hear, and will see to it.
    """

    reply: SmtpReply
    usable: bool
    stale: bool = False
    reports: bool = False


class Connection:
    """An open session; `deliveries` counts the transactions on it."""

    def __init__(self, client: SMTP, hop: Hop, limits: Limits) -> None:
        transport = client.transport
        if transport is None:
            raise Unreachable(internal_reply(451, "the peer closed the connection", "4.4.2"))
        self._offers = frozenset(client.esmtp_extensions)
        self._pipelines = limits.enable_pipelining and "pipelining" in self._offers
        self._dialogue = Dialogue(cast("asyncio.Transport", transport))
        self._limits = limits
        self._needs_reset = False
        self.hop = hop
        self.deliveries = 0

    @classmethod
    async def open(
        cls,
        target: Target,
        roots: TrustRoots,
        clock: Clock,
        report: TlsReport = lambda _policy, _outcome: None,
    ) -> Connection:
        """Connect, greet, encrypt as is asked or can be, and log in. Raises `Unreachable`."""
        opened = await Opening.begin(target, roots, clock, report)
        return cls(opened.client, opened.hop(), target.limits)

    async def deliver(self, mail: Mail) -> Outcome:
        """One transaction (RFC 5321 section 3.3). Never raises for anything the peer or the network does."""
        fresh, self.deliveries = self.deliveries == 0, self.deliveries + 1
        commands = self._commands(mail)
        if isinstance(commands, SmtpReply):
            return Outcome(commands, usable=True)
        refusal = await self._offer(commands, fresh=fresh)
        if refusal is not None:
            return refusal
        replies = await self._dialogue.exchange(_on_the_wire(mail.body), 1, self._limits.data_dot_timeout)
        if not replies:
            return self._broken(".")
        reply = _parse(replies[0], ".")
        if not (_is(replies[0], 2) or reply.is_permanent or reply.is_transient):
            return self._unexpected(reply, "the message")
        return Outcome(reply, usable=self.is_open and reply.code != 421, reports="dsn" in self._offers)

    def _commands(self, mail: Mail) -> tuple[str, ...] | SmtpReply:
        """The commands before the body, or why this peer cannot take the mail (RFC 6152, RFC 6531)."""
        sender, recipient, options = mail.sender, mail.recipient, ""
        if "size" in self._offers:
            options += f" SIZE={len(mail.body)}"
        if not mail.body.isascii():
            if "8bitmime" not in self._offers:
                return internal_reply(554, "the peer takes no 8-bit content and we convert none", "5.6.3")
            options += " BODY=8BITMIME"
        if mail.utf8 or not (sender.isascii() and recipient.isascii()):
            if "smtputf8" in self._offers:
                options += " SMTPUTF8"
            else:
                sender, recipient = _ascii_domain(sender), _ascii_domain(recipient)
                if not (sender.isascii() and recipient.isascii() and _header(mail.body).isascii()):
                    return internal_reply(553, "the peer takes no internationalized mail (SMTPUTF8)", "5.6.7")
        asked = mail.reports if "dsn" in self._offers else NOTHING_ASKED
        return f"MAIL FROM:<{sender}>{options}{asked.mail}", f"RCPT TO:<{recipient}>{asked.rcpt}", "DATA"

    async def _offer(self, commands: tuple[str, ...], *, fresh: bool) -> Outcome | None:
        """Say everything that comes before the body, in one go where the peer allows it. None: it waits for the body.

        After a refusal the transaction is still open at the peer; the next one begins with RSET.
        """
        if self._needs_reset:
            commands = ("RSET", *commands)
        groups = [commands] if self._pipelines else [(command,) for command in commands]
        first = True
        for group in groups:
            said = "".join(f"{command}\r\n" for command in group).encode("utf8", "surrogateescape")
            replies = await self._dialogue.exchange(said, len(group), max(map(self._patience, group)))
            for command, raw in zip(group, replies, strict=False):
                if not _is(raw, 3 if command == "DATA" else 2):
                    return await self._refused(_parse(raw, command), replies[-1], group)
            if len(replies) < len(group):
                lost = isinstance(self._dialogue.trouble, OSError) and not isinstance(
                    self._dialogue.trouble, TimeoutError
                )
                return self._broken(group[len(replies)], stale=lost and first and not replies and not fresh)
            first = False
        self._needs_reset = False
        return None

    def _patience(self, command: str) -> float:
        """Seconds in which the answer to a command must come."""
        match command[:4]:
            case "RCPT":
                return self._limits.rcpt_to_timeout
            case "DATA":
                return self._limits.data_timeout
            case _:
                return self._limits.mail_from_timeout

    async def _refused(self, reply: SmtpReply, last: bytes, group: tuple[str, ...]) -> Outcome:
        """A command before the body was refused. A peer that wants the body all the same must be given an end of it."""
        if not (reply.is_permanent or reply.is_transient):
            return self._unexpected(reply, reply.command or "")
        self._needs_reset = True
        if group[-1] == "DATA" and _is(last, 3):  # RFC 2920 section 3.1
            if reply.phase == "rcpt":
                await self._dialogue.exchange(b".\r\n", 1, self._limits.data_dot_timeout)
            else:
                self._dialogue.close()
        return Outcome(reply, usable=self.is_open and reply.code != 421)

    def _unexpected(self, reply: SmtpReply, to: str) -> Outcome:
        self._dialogue.close()
        return Outcome(internal_reply(451, f"unexpected answer {reply} to {to}", "4.5.0"), usable=False)

    def _broken(self, command: str, *, stale: bool = False) -> Outcome:
        """No answer came to `command`."""
        trouble = self._dialogue.trouble
        self._dialogue.close()
        match trouble:
            case TimeoutError():
                reply = internal_reply(451, f"no answer to {_verb(command)} in time", "4.4.2")
            case ValueError():
                reply = internal_reply(451, f"answer to {_verb(command)} is no SMTP: {trouble}", "4.5.0")
            case _:
                reply = internal_reply(451, f"connection lost at {_verb(command)}: {trouble}", "4.4.2")
        return Outcome(reply, usable=False, stale=stale)

    @property
    def is_open(self) -> bool:
        """Whether the peer has not closed it, as far as we know."""
        return self._dialogue.trouble is None

    async def close(self) -> None:
        """Say QUIT, and close whatever the answer."""
        await self._dialogue.exchange(b"QUIT\r\n", 1, _QUIT_TIMEOUT)
        self._dialogue.close()


def _parse(raw: bytes, command: str) -> SmtpReply:
    return parse_reply(raw.decode("utf8", "surrogateescape"), command=command)


def _is(raw: bytes, klass: int) -> bool:
    return raw[0] - 48 == klass


def _on_the_wire(body: bytes) -> bytes:
    """The message with dots stuffed, and its end (RFC 5321 section 4.5.2)."""
    stuffed = body.replace(b"\r\n.", b"\r\n..") if b"\r\n." in body else body
    if stuffed.startswith(b"."):
        stuffed = b"." + stuffed
    return stuffed + (b".\r\n" if stuffed.endswith(b"\r\n") or not stuffed else b"\r\n.\r\n")


def _verb(command: str) -> str:
    return {"DATA": "DATA", ".": "the final dot"}.get(command, command.partition(":")[0])


def _ascii_domain(address: str) -> str:
    local, at, domain = address.rpartition("@")
    return f"{local}@{canonical_domain(domain)}" if at else address


def _header(body: bytes) -> bytes:
    return body.partition(b"\r\n\r\n")[0]
