"""One SMTP session: aiosmtpd's dialogue, hardened, and with a fast road for what nearly all mail is made of.

What is added to the stock class, and why:

- every refusal is reported in one place (`push`), because a listener's answers are facts about mail too;
- enhanced status codes (RFC 2034) on every answer, and PIPELINING (RFC 2920);
- MAIL and RCPT of the common form are answered without the full e-mail grammar and without a task switch; whatever has
  another form goes the stock way, which is also what the tests compare the fast road with;
- CHUNKING (RFC 3030), and the parameters of MAIL and RCPT that `parameters` reads;
- commands and messages are read from a buffer of our own (`Inbox`, `read_body`), which bounds memory;
- DATA has its own time limit; time-outs are announced with 421 instead of a silent close, by one timer a session;
- AUTH is `Login`'s; what follows the mechanism's name is never shown to anybody;
- a connection over the limits is answered 421 and closed before it costs a session.
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast
from uuid import uuid4

from aiosmtpd.smtp import SMTP, Envelope, TLSSetupException

from mta.events.reply import SmtpReply, parse_reply
from mta.smtp.body import Overlong, check_chunks, read_body, read_chunk
from mta.smtp.inbox import Inbox
from mta.smtp.parameters import MailParameters, RcptParameters, mail_parameters, rcpt_parameters

__all__ = ["Bounds", "MailEnvelope", "Session", "SessionOwner"]

_ADDRESS = r"([A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{1,255})"
_PLAIN_PATH = re.compile(rf"\s*<(?:{_ADDRESS}|)>")
_MAIL = re.compile(
    rf"MAIL FROM: ?<(?:{_ADDRESS}|)>((?: SIZE=\d{{1,15}}| BODY=7BIT| BODY=8BITMIME)*)\r?\n".encode(), re.IGNORECASE
)
_RCPT = re.compile(rf"RCPT TO: ?<{_ADDRESS}>\r?\n".encode(), re.IGNORECASE)
_SIZE = re.compile(rb"SIZE=(\d+)", re.IGNORECASE)
_OURS = re.compile(r" (?:RET|ENVID|MT-PRIORITY|AUTH|NOTIFY|ORCPT)(?:=| |$)", re.IGNORECASE)
_BDAT = re.compile(r"(\d{1,18})( +LAST)?", re.IGNORECASE)
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
_MAX_COMMAND = 1001
_MAX_BOGUS = 5
_MAX_IDLE_COMMANDS = 1000
"""Commands since the last message after which a client is sent away that sends none."""
_UNSENT = 64 * 1024
"""Answers that may wait for a client which reads none, before we stop listening to it."""
_WITHOUT_ENHANCED = frozenset({"", "HELO", "EHLO", "STARTTLS"})

_Command = Callable[[str | None], Awaitable[None]]
_Asked = TypeVar("_Asked")


class MailEnvelope(Envelope):
    """aiosmtpd's envelope, with what MAIL and RCPT asked for beyond what that knows, and the chunks that came.

    `asked_of` is by the recipient's place in `rcpt_tos`. `chunks` is None until BDAT is used.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked = MailParameters()
        self.asked_of: dict[int, RcptParameters] = {}
        self.chunks: list[bytes] | None = None
        self.chunks_size = 0
        self.is_spoilt = False
        """A chunk was refused: nothing but RSET or a new greeting mends it."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a client may say, and how long it may take. Seconds, bytes."""

    max_line: int
    """Longest line of a message, CRLF included."""
    data_timeout: float
    greeting_delay: float = 0.0
    """Who talks before we greet is sent away."""
    greeting_timeout: float = 30.0
    """From connecting to EHLO."""
    max_errors: int = 100
    """Refusals since the last message after which a client that may not relay is sent away."""


class SessionOwner(Protocol):
    """What a session needs of the listener that it belongs to."""

    def opened(self, session: Session) -> bool:
        """A client connected; False turns it away."""

    def closed(self, session: Session) -> None:
        """A client that was not turned away is gone."""

    def refused(self, session: Session, reply: SmtpReply) -> None:
        """A command was answered 4yz or 5yz."""


class Policy(Protocol):
    """What a session's handler decides at once, besides aiosmtpd's hooks."""

    @property
    def offers_login(self) -> bool:
        """Whether anybody can log in."""

    def refuse_sender(self, server: Session) -> str | None:
        """Why MAIL is refused, if it is; else the message is counted."""

    def answer_recipient(self, server: Session, envelope: MailEnvelope, address: str) -> str:
        """Answer RCPT; a positive answer has added the recipient to the envelope."""


class Session(SMTP):
    """The SMTP dialogue with one client; `client_ip` is its address, `session_id` ties its log records together.

    `may_relay` says that the client may send to anywhere; whoever admits it sets that. `messages` counts those begun.
    A `client_ip` that is given is believed: a load balancer has told it.
    """

    def __init__(
        self,
        handler: Policy,
        owner: SessionOwner,
        *,
        bounds: Bounds,
        needs_login: bool = False,
        client_ip: str = "",
        **options: Any,
    ) -> None:
        self.line_length_limit = bounds.max_line + 1
        self.command_size_limits = defaultdict(lambda: self.command_size_limit)  # aiosmtpd's is one for all sessions
        super().__init__(handler, enable_SMTPUTF8=True, auth_require_tls=False, **options)  # Login requires it
        self._auth_required = needs_login
        self.command_size_limits["RCPT"] += 528  # ORCPT and NOTIFY: RFC 3461 section 4
        self.command_size_limits["MAIL"] += 160  # RET, ENVID, MT-PRIORITY, AUTH
        self._inbox = Inbox()
        self._owner = owner
        self._policy = handler
        self._admitted = False
        self._command = ""
        self._line = ""
        self._deadline = self._timer_due = 0.0
        self._bogus = 0
        self._bounds = bounds
        self._greet_by = 0.0
        self._errors = self._idle_commands = 0
        self.client_ip = client_ip
        self.messages = 0
        self.may_relay = False
        self.user: str | None = None
        self.failed_logins = 0
        self.in_data = False
        self.session_id = str(uuid4())
        self._smtp_methods = {
            name: self._remembering(name, method)
            for name, method in self._smtp_methods.items()
            if name != "AUTH" or handler.offers_login
        }

    def _remembering(self, name: str, method: _Command) -> _Command:
        async def run(arg: str | None) -> None:
            shown = arg.partition(" ")[0] if arg and name == "AUTH" else arg  # the rest of AUTH is a secret
            self._command, self._line = name, f"{name} {shown}" if shown else name
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
        if not self.client_ip:
            peer = transport.get_extra_info("peername")
            self.client_ip = peer[0] if peer else ""
        if not self._owner.opened(self):
            transport.write(f"421 4.3.2 {self.hostname} Too many connections, try again later\r\n".encode())
            transport.close()
            return
        self._admitted = True
        super().connection_made(transport)
        cipher = transport.get_extra_info("cipher")
        if cipher and self.session is not None:  # TLS from the first byte
            self.session.ssl = {"cipher": cipher}

    @property
    def is_encrypted(self) -> bool:
        """Whether the client speaks TLS."""
        return self.session is not None and self.session.ssl is not None

    def logged_in(self, user: str) -> None:
        """The client has proved to be this user, who may send to anywhere."""
        self.user, self.may_relay = user, True
        if self.session is not None:
            self.session.authenticated = True

    def _cb_client_connected(self, reader: Any, writer: asyncio.StreamWriter) -> None:
        del reader  # nothing is fed to it
        self._reader: Any = self._inbox
        self._writer = writer
        self._inbox.attach(cast("asyncio.ReadTransport", writer.transport))

    def data_received(self, data: bytes) -> None:
        """The client sent something."""
        self._inbox.feed(data)

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

    # Time: one timer a session, which looks at the deadline when it fires. A timer a command would cost more than that.

    def _reset_timeout(self, duration: float | None = None) -> None:
        now = self.loop.time()
        self._deadline = now + (duration or self._timeout_duration)
        if self.session is not None and not self.session.host_name:
            self._greet_by = self._greet_by or now + self._bounds.greeting_timeout
            self._deadline = min(self._deadline, self._greet_by)
        if self._timeout_handle is None or self._deadline < self._timer_due:
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timeout_handle is not None:
            self._timeout_handle.cancel()
        self._timer_due = self._deadline
        self._timeout_handle = self.loop.call_at(self._deadline, self._timeout_cb)

    def _timeout_cb(self) -> None:
        if self.loop.time() < self._deadline:
            self._set_timer()
        else:
            self.say_goodbye("4.4.2 Timed out")

    # The dialogue

    async def _handle_client(self) -> None:
        if self._bounds.greeting_delay and await self._talks_early():
            return
        await self.push(f"220 {self.hostname} {self.__ident__}")
        while self.transport is not None:
            try:
                line = self._inbox.take_line() or await self._inbox.line(_MAX_COMMAND)
                if line is None or not self._answer_at_once(line):
                    await self._execute(line)
                elif not self._has_room():
                    await self._writer.drain()
            except (asyncio.CancelledError, ConnectionResetError):
                self._writer.close()
                raise
            except Exception as error:  # noqa: BLE001 - one session's trouble is answered in it and logged
                await self._stumbled(error)

    async def _talks_early(self) -> bool:
        """Whether the client talked before it was greeted; then it was sent away."""
        await asyncio.sleep(self._bounds.greeting_delay)
        if not self._inbox.buffer:
            return False
        await self.push("554 5.5.0 You talked before you were greeted")
        if self.transport is not None:
            self.transport.close()
        return True

    async def _stumbled(self, error: Exception) -> None:
        status = await self.handle_exception(error)
        if isinstance(error, TLSSetupException):
            if self.transport is not None:
                self.transport.close()
                self.connection_lost(error)
        else:
            await self.push(status)

    def _answer_at_once(self, line: bytes) -> bool:
        """Answer a plain MAIL or RCPT; False leaves the line to the stock methods."""
        envelope, session = self.envelope, self.session
        if envelope is None or session is None or not session.host_name or not self._tls_handshake_okay:
            return False
        if self._lacks_login or self._is_a_nuisance():
            return False
        if envelope.mail_from and (found := _RCPT.fullmatch(line)):
            answer = self._policy.answer_recipient(self, self._mail, found[1].decode())
        elif not envelope.mail_from and (found := _MAIL.fullmatch(line)) and self._takes(found[2]):
            answer = self._begin_message() or "250 2.1.0 OK"
            if answer.startswith("2"):
                envelope.mail_from = (found[1] or b"<>").decode()
                envelope.mail_options.extend(found[2].decode().upper().split())
                envelope.smtp_utf8 = False
        else:
            return False
        self._reset_timeout()
        self._send(answer, line)
        return True

    def _begin_message(self) -> str | None:
        """Count a message; or why it may not begin."""
        refusal = self._policy.refuse_sender(self)
        self.messages += refusal is None
        return refusal

    def _takes(self, options: bytes) -> bool:
        """Whether these options of MAIL need no closer look: none is there twice, and the size is within the limit."""
        if not options:
            return True
        sizes = _SIZE.findall(options)
        limit = self.data_size_limit or _NO_LIMIT
        extended = self.session is not None and self.session.extended_smtp
        return (
            extended and len(sizes) < 2 and options.count(b"=") - len(sizes) < 2 and all(int(n) <= limit for n in sizes)
        )

    async def _execute(self, line: bytes | None) -> None:
        """Find the method of a command and run it, as aiosmtpd does."""
        stripped = (line or b"").rstrip(b"\r\n")
        name, _, argument = stripped.partition(b" ")
        command = name.upper().decode("ascii", "replace")
        if line is None or len(stripped) > self._limit_of(command):
            await self.push("500 Command line too long")
        elif not stripped or not command.isascii():
            await self.push("500 Error: bad syntax")
        elif not self._tls_handshake_okay and command != "QUIT":
            await self.push("554 Command refused due to lack of security")
        elif (method := self._smtp_methods.get(command)) is None:
            await self._unknown(command)
        elif self._is_a_nuisance() and command != "QUIT":
            self.say_goodbye("4.7.0 Too many errors, or commands without mail")
        else:
            self._idle_commands += 1
            self._reset_timeout()
            await method(argument.strip().decode("utf8", "surrogateescape") or None)

    def _limit_of(self, command: str) -> int:
        extended = self.session is not None and self.session.extended_smtp
        return self.command_size_limits[command] if extended else self.command_size_limit

    async def _unknown(self, command: str) -> None:
        self._bogus += 1
        if self._bogus < _MAX_BOGUS:
            await self.push(f'500 Error: command "{command}" not recognized')
            return
        await self.push("502 5.5.1 Too many unrecognized commands, goodbye.")
        if self.transport is not None:
            self.transport.close()

    async def push(self, status: Any) -> None:
        """Send an answer, with an enhanced status code where RFC 2034 wants one; report it if it refuses."""
        text = status.decode("utf8", "replace") if isinstance(status, bytes) else status
        if self._command not in _WITHOUT_ENHANCED or text[:1] in "45":
            text = _with_enhanced(text)
        self._send(text, self._line)
        if text.startswith("421") and self.transport is not None:
            self.transport.close()
        elif not self._has_room():
            await self._writer.drain()

    def _send(self, text: str, line: str | bytes) -> None:
        if text[:1] in "45":
            self._errors += 1
            command = line.decode("utf8", "surrogateescape").rstrip() if isinstance(line, bytes) else line
            self._owner.refused(self, parse_reply(text, command=command or None))
        self._writer.write(f"{text}\r\n".encode())

    def _is_a_nuisance(self) -> bool:
        """Whether the client only makes mistakes, or talks for ever and sends nothing."""
        return self._idle_commands > _MAX_IDLE_COMMANDS or (
            self._errors > self._bounds.max_errors and not self.may_relay
        )

    def _has_room(self) -> bool:
        transport = cast("asyncio.Transport | None", self.transport)
        return transport is None or transport.get_write_buffer_size() < _UNSENT

    def _create_envelope(self) -> MailEnvelope:
        return MailEnvelope()

    # Parameters that aiosmtpd does not know

    async def smtp_MAIL(self, arg: str | None) -> None:  # noqa: N802
        """Begin a transaction."""
        asked, rest = self._parameters("FROM:", arg, mail_parameters)
        if asked is None:
            await self.push(rest or "")
            return
        if self.session is not None and self.session.host_name and not self._mail.mail_from:
            refusal = self._begin_message()
            if refusal is not None:
                await self.push(refusal)
                return
        await super().smtp_MAIL(rest)
        if self.envelope is not None and self.envelope.mail_from:
            self._mail.asked = asked

    async def smtp_RCPT(self, arg: str | None) -> None:  # noqa: N802
        """Add a recipient."""
        asked, rest = self._parameters("TO:", arg, rcpt_parameters)
        if asked is None:
            await self.push(rest or "")
            return
        before = len(self._mail.rcpt_tos)
        await super().smtp_RCPT(rest)
        if len(self._mail.rcpt_tos) > before and asked != RcptParameters():
            self._mail.asked_of[before] = asked

    def _parameters(
        self, keyword: str, arg: str | None, read: Callable[[str], tuple[_Asked, str]]
    ) -> tuple[_Asked | None, str | None]:
        """What a command asked for, and the command without it; or None and an answer that refuses it."""
        nothing = read("")[0]
        if arg is None or not _OURS.search(arg) or self.session is None or not self.session.extended_smtp:
            return nothing, arg
        path = self._strip_command_keyword(keyword, arg)
        address, options = self._getaddr(path) if path else (None, None)
        if not path or address is None or options is None:
            return nothing, arg  # the stock method knows what is wrong with it
        try:
            asked, rest = read(options)
        except ValueError as error:
            return None, f"501 5.5.4 {error}"
        return asked, f"{keyword}{path[: len(path) - len(options)]} {rest}".rstrip()

    @property
    def _mail(self) -> MailEnvelope:
        return cast("MailEnvelope", self.envelope)

    # Messages

    async def smtp_BDAT(self, arg: str | None) -> None:  # noqa: N802
        """Read a chunk (RFC 3030), and after the last one hand the message to the handler."""
        found = _BDAT.fullmatch(arg or "")
        if found is None:  # nobody knows where the next command begins
            await self.push("501 5.5.4 Syntax: BDAT size [LAST]")
            await self.push("421 4.7.0 Closing, what follows cannot be told from commands")
            return
        self.in_data = True
        self._reset_timeout(self._bounds.data_timeout)
        try:
            await self._chunk(int(found[1]), is_last=found[2] is not None)
        finally:
            self.in_data = False
            if self.transport is not None:
                self._reset_timeout()

    async def _chunk(self, size: int, *, is_last: bool) -> None:
        envelope, limit = self._mail, self.data_size_limit or _NO_LIMIT
        ready = bool(envelope.rcpt_tos) and not envelope.is_spoilt and not self._lacks_login
        chunk = await read_chunk(self._inbox, size, limit - envelope.chunks_size if ready else 0)
        if not ready:
            await self.push("503 5.5.1 Error: need RCPT command, or RSET after a refused chunk")
        elif isinstance(chunk, Overlong):
            envelope.is_spoilt = True
            await self.push(chunk.reply)
        else:
            envelope.chunks = [*(envelope.chunks or ()), chunk]
            envelope.chunks_size += size
            if is_last:
                await self._finish_chunks(envelope)
            else:
                await self.push(f"250 2.0.0 {size} octets received")
        if isinstance(chunk, Overlong) and chunk.cut_off and self.transport is not None:
            self.transport.close()

    async def _finish_chunks(self, envelope: MailEnvelope) -> None:
        envelope.content = b"".join(envelope.chunks or ())
        refused = check_chunks(envelope.content, self.line_length_limit)
        answer = refused.reply if refused else await self._hand_over()
        self.envelope = self._create_envelope()
        await self.push(answer)

    async def _hand_over(self) -> str:
        """Give the message to the handler; its answer."""
        answer = str(await self._call_handler_hook("DATA"))
        if answer.startswith("2"):
            self._errors = self._idle_commands = 0
        return answer

    @property
    def _lacks_login(self) -> bool:
        return bool(self._auth_required) and not (self.session is not None and self.session.authenticated)

    async def smtp_DATA(self, arg: str | None) -> None:  # noqa: N802
        """Read the message, hand it to the handler, and answer what that says."""
        if await self.check_helo_needed():
            return
        if self._mail.chunks is not None or self._mail.is_spoilt:
            await self.push("503 5.5.1 Error: BDAT was used, DATA cannot be")  # RFC 3030 section 3
            return
        if arg or self.envelope is None or not self.envelope.rcpt_tos:
            await self.push("501 Syntax: DATA" if arg else "503 Error: need RCPT command")
            return
        self.in_data = True
        self._reset_timeout(self._bounds.data_timeout)
        try:
            await self.push("354 End data with <CR><LF>.<CR><LF>")
            await self._receive(self.envelope)
        finally:
            self.in_data = False
            if self.transport is not None:
                self._reset_timeout()

    async def _receive(self, envelope: Envelope) -> None:
        limit = self.data_size_limit or _NO_LIMIT
        content = await read_body(self._inbox, max_line=self.line_length_limit, max_bytes=limit)
        if isinstance(content, Overlong):
            answer = content.reply
        else:
            envelope.content = content
            answer = await self._hand_over()
        self.envelope = self._create_envelope()
        await self.push(answer)
        if isinstance(content, Overlong) and content.cut_off and self.transport is not None:
            self.transport.close()

    def _getaddr(self, arg: str) -> tuple[str | None, str | None]:
        found = _PLAIN_PATH.match(arg)
        if found is not None:
            return found[1] or "<>", arg[found.end() :]
        if arg and (not arg.isprintable() or not _PATH.match(arg)):  # control characters, or bytes that are no UTF-8
            return None, None
        return super()._getaddr(arg)


def _with_enhanced(text: str) -> str:
    found = _CODE.match(text)
    if found is None:
        return text
    status = _ENHANCED.get(int(text[:3]), f"{found[1]}.0.0")
    return f"{text[:3]} {status} {text[4:]}"
