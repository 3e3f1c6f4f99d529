"""One SMTP connection to one mail host, by aiosmtplib; what the peer says becomes an `SmtpReply`, failures included.

TLS is opportunistic (RFC 7435): used where it is offered, without checking the certificate; where it breaks, the
connection is made again in clear, because mail in clear is what a host without STARTTLS would get too. The body is
sent as it was accepted, byte for byte, with dots stuffed.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from aiosmtplib import SMTP
from aiosmtplib.errors import (
    SMTPConnectResponseError,
    SMTPException,
    SMTPHeloError,
    SMTPResponseException,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)
from aiosmtplib.response import SMTPResponse

from mta.control.record import Hop, Tls, internal_reply
from mta.events.address import canonical_domain
from mta.events.errors import MtascopeError
from mta.events.reply import SmtpReply, parse_reply
from mta.settings import MtaSettings

__all__ = ["Connection", "Mail", "Outcome", "TlsReport", "Unreachable"]

TlsReport = Callable[[str, str], None]
"""Told the result (ok, failed, not_offered) and the TLS version ("" without) of each connection."""

_SNI = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}")
_LEADING_DOT = re.compile(rb"^\.", re.MULTILINE)


class Unreachable(MtascopeError):
    """No SMTP session with a host. `reply` is the peer's refusal, or ours where it said nothing; `hop` who refused."""

    temporary = True

    def __init__(self, reply: SmtpReply, hop: Hop | None = None) -> None:
        super().__init__(str(reply))
        self.reply = reply
        self.hop = hop


@dataclass(frozen=True, slots=True)
class Mail:
    """What is to be delivered: an envelope with one recipient, and the body."""

    sender: str
    recipient: str
    body: bytes
    utf8: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """The reply that decided. `usable`: the connection may be used again. `stale`: it was gone before it was used."""

    reply: SmtpReply
    usable: bool
    stale: bool = False


class Connection:
    """An open session; `deliveries` counts the transactions on it."""

    def __init__(self, client: SMTP, hop: Hop) -> None:
        self._client = client
        self.hop = hop
        self.deliveries = 0

    @classmethod
    async def open(
        cls, host: str, address: str, port: int, settings: MtaSettings, report: TlsReport = lambda *_: None
    ) -> Connection:
        """Connect, greet, and encrypt if that works. Raises `Unreachable`."""
        client = await _connect(host, address, port, settings)
        if not settings.starttls or not client.supports_extension("starttls"):
            report("not_offered", "")
            return cls(client, _hop(client, host, address))
        try:
            context = _unchecked_context()
            await client.starttls(tls_context=context, server_hostname=host if _SNI.fullmatch(host) else None)
            await client.ehlo()
        except (SMTPException, OSError, ValueError):
            report("failed", "")
            client.close()
            client = await _connect(host, address, port, settings)
            return cls(client, _hop(client, host, address))
        hop = _hop(client, host, address)
        report("ok", hop.tls.version if hop.tls else "")
        return cls(client, hop)

    async def deliver(self, mail: Mail) -> Outcome:
        """One transaction (RFC 5321 section 3.3). Never raises for anything the peer or the network does."""
        command = "MAIL FROM"
        fresh, self.deliveries = self.deliveries == 0, self.deliveries + 1
        prepared = self._prepared(mail)
        if isinstance(prepared, SmtpReply):
            return Outcome(prepared, usable=True)
        try:
            for command in prepared:
                reply = _reply(await self._client.execute_command(command.encode()), command)
                if not _positive(reply, 354 if command == "DATA" else 250):
                    return await self._after_refusal(reply)
            command = "."
            reply = _reply(await self._send(mail.body), command)
            return self._after_message(reply)
        except SMTPTimeoutError:
            return self._broken(internal_reply(451, f"no answer to {_verb(command)} in time", "4.4.2"))
        except SMTPResponseException as error:
            return self._broken(internal_reply(451, f"answer to {_verb(command)} is no SMTP: {error.message}", "4.5.0"))
        except (SMTPException, OSError, ValueError) as error:
            stale = not fresh and command.startswith("MAIL") and isinstance(error, (SMTPServerDisconnected, OSError))
            text = f"connection lost at {_verb(command)}: {error}"
            return self._broken(internal_reply(451, text, "4.4.2"), stale=stale)

    def _prepared(self, mail: Mail) -> tuple[str, ...] | SmtpReply:
        """The commands before the body, or why this peer cannot take the mail (RFC 6152, RFC 6531)."""
        offers = self._client.supports_extension
        sender, recipient, options = mail.sender, mail.recipient, ""
        if offers("size"):
            options += f" SIZE={len(mail.body)}"
        if not mail.body.isascii():
            if not offers("8bitmime"):
                return internal_reply(554, "the peer takes no 8-bit content and we convert none", "5.6.3")
            options += " BODY=8BITMIME"
        if mail.utf8 or not (sender.isascii() and recipient.isascii()):
            if offers("smtputf8"):
                options += " SMTPUTF8"
            else:
                sender, recipient = _ascii_domain(sender), _ascii_domain(recipient)
                if not (sender.isascii() and recipient.isascii() and _header(mail.body).isascii()):
                    return internal_reply(553, "the peer takes no internationalized mail (SMTPUTF8)", "5.6.7")
        return f"MAIL FROM:<{sender}>{options}", f"RCPT TO:<{recipient}>", "DATA"

    async def _after_refusal(self, reply: SmtpReply) -> Outcome:
        if reply.code not in range(400, 600):
            return self._broken(internal_reply(451, f"unexpected answer {reply} to {reply.command}", "4.5.0"))
        if reply.code == 421 or not self._client.is_connected:
            return Outcome(reply, usable=False)
        try:
            await self._client.rset()
        except (SMTPException, OSError):
            return Outcome(reply, usable=False)
        return Outcome(reply, usable=True)

    def _after_message(self, reply: SmtpReply) -> Outcome:
        if _positive(reply, 250) or reply.code in range(400, 600):
            return Outcome(reply, usable=self._client.is_connected and reply.code != 421)
        return self._broken(internal_reply(451, f"unexpected answer {reply} to the message", "4.5.0"))

    async def _send(self, body: bytes) -> SMTPResponse:
        protocol = self._client.protocol
        if protocol is None:
            raise SMTPServerDisconnected("the peer closed the connection")
        stuffed = _LEADING_DOT.sub(b"..", body)
        protocol.write(stuffed + (b".\r\n" if stuffed.endswith(b"\r\n") else b"\r\n.\r\n"))
        return await protocol.read_response(timeout=self._client.timeout)

    def _broken(self, reply: SmtpReply, *, stale: bool = False) -> Outcome:
        self._client.close()
        return Outcome(reply, usable=False, stale=stale)

    @property
    def is_open(self) -> bool:
        """Whether the peer has not closed it, as far as we know."""
        return self._client.is_connected

    async def close(self) -> None:
        """Say QUIT, and close whatever the answer."""
        try:
            await self._client.quit(timeout=5)
        except (SMTPException, OSError):
            self._client.close()


async def _connect(host: str, address: str, port: int, settings: MtaSettings) -> SMTP:
    client = SMTP(
        hostname=address,
        port=port,
        local_hostname=settings.hostname,
        timeout=settings.reply_timeout,
        start_tls=False,
        use_tls=False,
    )
    where = f"{host} [{address}]:{port}"
    try:
        await client.connect(timeout=settings.connect_timeout)
        await _greet(client)
    except SMTPConnectResponseError as error:
        raise Unreachable(_peer_words(error.code, error.message, None), Hop(host, address)) from error
    except SMTPHeloError as error:
        client.close()
        reply = _peer_words(error.code, error.message, f"EHLO {settings.hostname}")
        raise Unreachable(reply, Hop(host, address)) from error
    except (SMTPException, OSError) as error:
        client.close()
        raise Unreachable(internal_reply(451, f"cannot connect to {where}: {error}", "4.4.1")) from error
    return client


async def _greet(client: SMTP) -> None:
    try:
        await client.ehlo()
    except SMTPHeloError as error:
        if error.code < 500 or not client.is_connected:
            raise
        await client.helo()


def _hop(client: SMTP, host: str, address: str) -> Hop:
    own = client.get_transport_info("sockname")
    cipher = client.get_transport_info("cipher")
    return Hop(
        name=host,
        address=address,
        tls=Tls(cipher[1], cipher[0]) if cipher else None,
        source=f"[{own[0]}]:{own[1]}" if ":" in own[0] else f"{own[0]}:{own[1]}",
    )


def _unchecked_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _reply(response: SMTPResponse, command: str) -> SmtpReply:
    return parse_reply("\n".join(f"{response.code} {line}" for line in response.message.split("\n")), command=command)


def _peer_words(code: int, message: str, command: str | None) -> SmtpReply:
    if not 400 <= code < 600:
        return internal_reply(451, f"unexpected answer {code} {message}", "4.5.0")
    return parse_reply("\n".join(f"{code} {line}" for line in message.split("\n")), command=command)


def _positive(reply: SmtpReply, wanted: int) -> bool:
    return reply.code is not None and reply.code // 100 == wanted // 100


def _verb(command: str) -> str:
    return {"DATA": "DATA", ".": "the final dot"}.get(command, command.partition(":")[0])


def _ascii_domain(address: str) -> str:
    local, at, domain = address.rpartition("@")
    return f"{local}@{canonical_domain(domain)}" if at else address


def _header(body: bytes) -> bytes:
    return body.partition(b"\r\n\r\n")[0]
