"""One SMTP session: aiosmtpd's dialogue, hardened.

What is added to the stock class, and why:

- every refusal is reported in one place (`push`), because a listener's answers are facts about mail too;
- enhanced status codes (RFC 2034) on every answer;
- addresses of the common form are read without the full e-mail grammar, which costs a third of a session's time;
- DATA has its own time limit and reader, which bounds memory (the stock one keeps an endless line until it ends);
- time-outs are announced with 421 instead of a silent close;
- a connection over the limits is answered 421 and closed before it costs a session;
- authentication is not there: nobody could log in yet.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, cast
from uuid import uuid4

from aiosmtpd.smtp import SMTP, Envelope

from mta.events.reply import SmtpReply, parse_reply
from mta.smtp.body import Overlong, read_body

__all__ = ["Session", "SessionOwner"]

_PLAIN_PATH = re.compile(r"\s*<([A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{1,255}|)>")
_PATH = re.compile(r"\s*<(?:\"|[^\"\s>]*>)")
"""What may be left to the full grammar: something in angle brackets, without blanks unless it is quoted."""
_CODE = re.compile(r"([245])\d\d[ ](?!\1\.\d)")
_ENHANCED = {
    250: "2.0.0",
    221: "2.0.0",
    252: "2.5.0",
    421: "4.3.2",
    451: "4.3.0",
    452: "4.3.1",
    454: "4.7.0",
    500: "5.5.2",
    501: "5.5.4",
    502: "5.5.1",
    503: "5.5.1",
    530: "5.7.0",
    550: "5.0.0",
    552: "5.3.4",
    553: "5.1.3",
    554: "5.5.0",
    555: "5.5.4",
}
_NO_LIMIT = 2**62
_WITHOUT_ENHANCED = frozenset({"", "HELO", "EHLO", "STARTTLS"})

_Command = Callable[[str | None], Awaitable[None]]


class SessionOwner(Protocol):
    """What a session needs of the listener that it belongs to."""

    def opened(self, session: Session) -> bool:
        """A client connected; False turns it away."""

    def closed(self, session: Session) -> None:
        """A client that was not turned away is gone."""

    def refused(self, session: Session, reply: SmtpReply) -> None:
        """A command was answered 4yz or 5yz."""


class Session(SMTP):
    """The SMTP dialogue with one client; `client_ip` is its address, `session_id` ties its log records together."""

    def __init__(
        self, handler: Any, owner: SessionOwner, *, max_line: int, data_timeout: float, **options: Any
    ) -> None:
        self.line_length_limit = max_line + 1
        super().__init__(handler, enable_SMTPUTF8=True, **options)
        self._owner = owner
        self._data_timeout = data_timeout
        self._admitted = False
        self._command = ""
        self._line = ""
        self.client_ip = ""
        self.in_data = False
        self.session_id = str(uuid4())
        self._smtp_methods = {
            name: self._remembering(name, method) for name, method in self._smtp_methods.items() if name != "AUTH"
        }

    def _remembering(self, name: str, method: _Command) -> _Command:
        async def run(arg: str | None) -> None:
            self._command, self._line = name, f"{name} {arg}" if arg else name
            try:
                await method(arg)
            finally:
                self._command = self._line = ""

        return run

    # Coming and going

    def connection_made(self, transport: Any) -> None:
        """Admit the client, or tell it to come back later."""
        if self._admitted:  # the same client, now over TLS
            super().connection_made(transport)
            return
        peer = transport.get_extra_info("peername")
        self.client_ip = peer[0] if peer else ""
        if not self._owner.opened(self):
            transport.write(f"421 4.3.2 {self.hostname} Too many connections, try again later\r\n".encode())
            transport.close()
            return
        self._admitted = True
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Count the client out, once."""
        if not self._admitted or self.session is None or self.transport is None:
            return
        super().connection_lost(error)
        self._owner.closed(self)

    def eof_received(self) -> bool | None:
        """The client will send no more."""
        return super().eof_received() if self._admitted else False

    def say_goodbye(self, text: str) -> None:
        """Answer 421 and close."""
        transport = cast("asyncio.Transport | None", self.transport)
        if transport is not None and not transport.is_closing():
            transport.write(f"421 {text}\r\n".encode())
            transport.close()

    def _timeout_cb(self) -> None:
        self.say_goodbye("4.4.2 Timed out")

    # The dialogue

    async def push(self, status: Any) -> None:
        """Send an answer, with an enhanced status code where RFC 2034 wants one; report it if it refuses."""
        text = status.decode("utf8", "replace") if isinstance(status, bytes) else status
        if self._command not in _WITHOUT_ENHANCED or text[:1] in "45":
            text = _with_enhanced(text)
        if text[:1] in "45":
            self._owner.refused(self, parse_reply(text, command=self._line or None))
        await super().push(text)

    async def smtp_DATA(self, arg: str | None) -> None:  # noqa: N802
        """Read the message, hand it to the handler, and answer what that says."""
        if await self.check_helo_needed():
            return
        if arg or self.envelope is None or not self.envelope.rcpt_tos:
            await self.push("501 Syntax: DATA" if arg else "503 Error: need RCPT command")
            return
        self.in_data = True
        self._reset_timeout(self._data_timeout)
        try:
            await self.push("354 End data with <CR><LF>.<CR><LF>")
            await self._receive(self.envelope)
        finally:
            self.in_data = False
            if self.transport is not None:
                self._reset_timeout()

    async def _receive(self, envelope: Envelope) -> None:
        limit = self.data_size_limit or _NO_LIMIT
        content = await read_body(self._reader, max_line=self.line_length_limit, max_bytes=limit)
        if isinstance(content, Overlong):
            answer = content.reply
        else:
            envelope.content = content
            answer = await self._call_handler_hook("DATA")
        self.envelope = self._create_envelope()
        await self.push(answer)
        if isinstance(content, Overlong) and content.cut_off and self.transport is not None:
            self.transport.close()

    def _getaddr(self, arg: str) -> tuple[str | None, str | None]:
        found = _PLAIN_PATH.match(arg)
        if found is not None:
            return found[1] or "<>", arg[found.end() :]
        if not arg.isprintable() or not _PATH.match(arg):  # control characters, or bytes that are no UTF-8
            return None, None
        return super()._getaddr(arg)


def _with_enhanced(text: str) -> str:
    found = _CODE.match(text)
    if found is None:
        return text
    status = _ENHANCED.get(int(text[:3]), f"{found[1]}.0.0")
    return f"{text[:3]} {status} {text[4:]}"
