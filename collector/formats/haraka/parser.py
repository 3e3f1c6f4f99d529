"""What kind of line of a Haraka log this is, and the events in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from zlib import crc32

from collector.formats.context import Context
from collector.formats.haraka.envelope import Envelope, EnvelopeReader
from collector.formats.haraka.transactions import Mail, Transactions
from collector.formats.hosts import host_or_none, ip_or_none
from collector.formats.outcome import ALIEN, BLANK, Ignored, LineParser, Outcome
from collector.formats.recurrence import Recurrence
from collector.formats.replies import read_reply
from mta.events.errors import ParseError
from mta.events.event import Direction, Event, EventType, Origin
from mta.events.reply import SmtpReply

__all__ = ["opened", "recognises"]

_RECOGNISED = re.compile(
    rb"\[(?:INFO|NOTICE|WARN|ERROR|CRIT|DEBUG|PROTOCOL)\] \[[0-9A-Fa-f.-]{1,60}\] \[|"
    rb'\{"level":"[A-Z]+","uuid":"|level=[A-Z]+ uuid=\S+ (?:origin|source)='
)
_STARTUP = ("loaded ", "loglevel", "log format", "Starting up ", "Using iconv", "mode ", "[", "WARNING")
_SENDER = re.compile(r"sender <(.*?)>(?: |$)")
_RECIPIENT = re.compile(r"recipient <(.*?)>(?: |$)")
_REFUSED = re.compile(r"recipient <(?P<to>.*?)> (?P<how>deferred|rejected): (?P<why>.*)$", re.DOTALL)
_POSTPONED = re.compile(r"Temp failing (?P<file>\S{1,300}) for \S+ seconds: (?P<why>.*)$", re.DOTALL)
_BOUNCING = re.compile(r"bouncing mail: (?P<why>.*)$", re.DOTALL)
_GIVEN_UP = re.compile(r"Too many failures \((?P<why>.*)\)$", re.DOTALL)
_NOWHERE = re.compile(r" for domain: (\S{1,255})$")
_UPSTREAM = "Upstream error: "
_SOME = ("Some recipients temp", "Some recipients failed")
_NAMED = re.compile(r"<([^<>]+)>")
_FILE = re.compile(r"(\d{10,16})_\d+_(\d{1,6})_")
_CODE = re.compile(r"[2-5]\d\d[ -]")
_ORDINAL_BITS = 2**31 - 1
_NOTHING: Mapping[str, SmtpReply] = {}

_CONNECTION = Ignored("connection")
_TRANSACTION = Ignored("transaction")
_ATTEMPT = Ignored("attempt-detail")
_NOTICE = Ignored("bounce-notice")
_UNNAMED = Ignored("recipients-unknown")
_PLUGIN = Ignored("plugin")
_SERVER = Ignored("server")


def opened(context: Context) -> LineParser:
    """A parser of lines for one source."""
    return _Parser(context).parse_line


def recognises(line: bytes) -> bool:
    """The line has a level, a transaction and an origin where Haraka writes them."""
    return _RECOGNISED.search(line[:400]) is not None


class _Parser:
    """Reads one source. Holds the recipients of recent transactions and what `Recurrence` holds."""

    __slots__ = ("_read", "_recurrence", "_transactions")

    def __init__(self, context: Context) -> None:
        self._read = EnvelopeReader(context).read
        self._recurrence = Recurrence()
        self._transactions = Transactions()

    def parse_line(self, line: bytes) -> Outcome:
        """The outcome of one line. Raises ParseError."""
        text = line.decode("utf8", "replace").rstrip("\r")
        if not text.strip():
            return BLANK
        entry = self._read(text)
        if entry is None:
            return _without_envelope(text)
        if not entry.transaction:
            return _SERVER
        if entry.origin == "outbound":
            return self._outbound(entry)
        return self._incoming(entry) if entry.origin == "core" else _PLUGIN

    # --- the way in ---

    def _incoming(self, entry: Envelope) -> Outcome:
        message = entry.message
        if message.startswith("queue"):
            return self._queued(entry)
        if message.startswith(("sender <", "recipient <", "message mid=")) or message == "message":
            return self._named(entry)
        return _CONNECTION if message.startswith(("connect", "disconnect", "client ")) else _PLUGIN

    def _named(self, entry: Envelope) -> Outcome:
        """A sender, a recipient or a message, accepted or not."""
        fields = entry.fields()
        code = fields.get("code", "")
        if code.startswith("DENY"):
            return self._rejection(entry, fields)
        if found := _SENDER.match(entry.message):
            self._transactions.begin(entry.transaction, found[1])
        elif found := _RECIPIENT.match(entry.message):
            self._transactions.accept(entry.transaction, found[1])
        elif transaction := self._transactions.get(entry.transaction):
            transaction.message_id = fields.get("mid", "").strip("<>") or None
            size = fields.get("size", "")
            transaction.size = int(size) if size.isdecimal() and len(size) < 16 else None
        return _TRANSACTION

    def _queued(self, entry: Envelope) -> Outcome:
        """Haraka is responsible from here on; where another server took the mail, only for having received it."""
        fields = entry.fields()
        code = fields.get("code", "")
        if code.startswith("DENY"):
            return self._rejection(entry, fields)
        if code != "OK":
            return _TRANSACTION
        known = self._transactions.get(entry.transaction)
        outbound = "Message Queued" in fields.get("msg", "")
        recipients = known.recipients if known and outbound else []
        return tuple(
            Event(
                type=EventType.RECEPTION,
                time=entry.time,
                node=entry.node,
                mta="haraka",
                queue_id=entry.transaction,
                recipient=recipient,
                direction=Direction.OUTBOUND if outbound else Direction.INBOUND,
                sender=known.sender if known else None,
                message_id=known.message_id if known else None,
                size=known.size if known else None,
            )
            for recipient in (recipients or [""])
        )

    def _rejection(self, entry: Envelope, fields: dict[str, str]) -> Outcome:
        to, by = _RECIPIENT.match(entry.message), _SENDER.match(entry.message)
        known = self._transactions.get(entry.transaction)
        fingerprint = crc32(f"{entry.transaction} {entry.message}".encode("utf8", "replace")) >> 1
        command = "RCPT TO" if to else "MAIL FROM" if by else "."
        return (
            Event(
                type=EventType.REJECTION,
                time=entry.time,
                node=entry.node,
                mta="haraka",
                queue_id=entry.transaction,
                recipient=to[1] if to else "",
                ordinal=(fingerprint + self._recurrence(entry.time, (entry.time, fingerprint))) & _ORDINAL_BITS,
                origin=Origin.LOCAL,
                sender=by[1] if by else known.sender if known else None,
                reply=read_reply(fields.get("msg", ""), command=command),
            ),
        )

    # --- the way out ---

    def _outbound(self, entry: Envelope) -> Outcome:
        message = entry.message
        if message.startswith("delivered file=") or (entry.record and "delivered file" in entry.record):
            return self._delivered(entry)
        if found := _REFUSED.match(message):
            return self._refused(entry, found)
        if found := _POSTPONED.match(message):
            return self._postponed(entry, found["file"], found["why"])
        if found := _BOUNCING.match(message):
            return self._bounced(entry, found["why"])
        return _NOTICE if message.startswith("Double bounce") else _ATTEMPT

    def _delivered(self, entry: Envelope) -> Outcome:
        fields = entry.fields()
        mail = self._transactions.mail(entry.transaction, domain=fields.get("domain", ""))
        counted = fields.get("rcpts", "").partition("/")[0]
        taken = mail.taken(int(counted)) if counted.isdecimal() and len(counted) < 6 else None
        if taken == []:
            return _ATTEMPT
        if taken is not None:
            mail.ended(taken)
        file = fields.get("file") or fields.get("delivered file") or ""
        inbound = fields.get("mode") == "LMTP"
        event = _Outgoing(EventType.DELIVERY, read_reply(fields.get("response", ""), command="."), file=file)
        event.host, event.ip = host_or_none(fields.get("host", "")), ip_or_none(fields.get("ip", ""))
        event.direction = Direction.INBOUND if inbound else Direction.OUTBOUND
        return self._events(entry, event, taken or [f"@{fields.get('domain', '')}"])

    def _refused(self, entry: Envelope, found: re.Match[str]) -> Outcome:
        """One recipient of several was deferred or rejected by the peer."""
        recipient = found["to"]
        mail = self._transactions.mail(entry.transaction, recipient)
        reply = read_reply(found["why"], command="RCPT TO")
        if found["how"] == "deferred":
            mail.deferred.add(recipient)
            mail.told[recipient] = reply
            return self._events(entry, _Outgoing(EventType.DEFERRAL, reply), [recipient])
        mail.ended([recipient])
        return self._events(entry, _Outgoing(EventType.BOUNCE, reply), [recipient])

    def _postponed(self, entry: Envelope, file: str, why: str) -> Outcome:
        """The whole mail waits; where it says `some recipients`, each had a line of its own."""
        mail = self._transactions.mail(entry.transaction)
        mail.deferred.clear()
        if why.startswith(_SOME):
            return _ATTEMPT
        return self._of_all(entry, mail, _Outgoing(EventType.DEFERRAL, *_answer(why), file=file))

    def _bounced(self, entry: Envelope, why: str) -> Outcome:
        nowhere = _NOWHERE.search(why)
        mail = self._transactions.mail(entry.transaction, domain=nowhere[1] if nowhere else "")
        if found := _GIVEN_UP.match(why):
            last = found["why"]
            named = _NAMED.findall(last) if last.startswith(_SOME) else []
            reply, _ = _answer(last)
            return self._of_all(entry, mail, _Outgoing(EventType.EXPIRATION, reply, Origin.LOCAL), named, ends=True)
        if why.startswith(_SOME):
            return _ATTEMPT
        return self._of_all(entry, mail, _Outgoing(EventType.BOUNCE, *_answer(why)), ends=True)

    def _of_all(
        self, entry: Envelope, mail: Mail, event: _Outgoing, named: list[str] | None = None, *, ends: bool = False
    ) -> Outcome:
        """The event for everybody who still waits in the mail, or for those that the line names."""
        recipients = named or list(mail.waiting)
        told = dict(mail.told)
        if ends:
            mail.ended(recipients)
        return self._events(entry, event, recipients, told if named else {}) if recipients else _UNNAMED

    def _events(
        self, entry: Envelope, about: _Outgoing, recipients: list[str], told: Mapping[str, SmtpReply] = _NOTHING
    ) -> Outcome:
        queue_id = entry.transaction.rpartition(".")[0] or entry.transaction
        known = self._transactions.get(queue_id)
        created, attempt = _from_file(about.file)
        return tuple(
            Event(
                type=about.type,
                time=entry.time,
                node=entry.node,
                mta="haraka",
                queue_id=queue_id,
                recipient=recipient,
                ordinal=self._recurrence(entry.time, (entry.time, queue_id, recipient, about.type.value)),
                created=created if created is None or created <= entry.time else None,
                attempt=attempt,
                direction=about.direction,
                origin=about.origin,
                sender=known.sender if known else None,
                message_id=known.message_id if known else None,
                reply=told.get(recipient, about.reply),
                peer_host=about.host,
                peer_ip=about.ip,
            )
            for recipient in recipients
        )


class _Outgoing:
    """What an outbound line says, whoever it is about."""

    __slots__ = ("direction", "file", "host", "ip", "origin", "reply", "type")

    def __init__(self, kind: EventType, reply: SmtpReply, origin: Origin = Origin.REMOTE, *, file: str = "") -> None:
        self.type = kind
        self.reply = reply
        self.origin = origin
        self.file = file
        self.host: str | None = None
        self.ip: str | None = None
        self.direction = Direction.OUTBOUND


def _without_envelope(text: str) -> Outcome:
    if text.startswith(_STARTUP) or text[:1].isdigit():
        return _SERVER
    if " " in text and text[:1].isupper() and text[3:4] == " ":
        return ALIEN
    raise ParseError("no line of Haraka's log")


def _answer(why: str) -> tuple[SmtpReply, Origin]:
    """A peer's words, which begin with a code, or Haraka's own."""
    said = why.removeprefix(_UPSTREAM)
    if _CODE.match(said):
        return read_reply(said), Origin.REMOTE
    return SmtpReply(None, None, why), Origin.LOCAL


def _from_file(name: str) -> tuple[int | None, int | None]:
    """When the mail was queued and the number of the attempt, from the name of its queue file."""
    found = _FILE.match(name)
    return (int(found[1]) * 1000, int(found[2]) + 1) if found else (None, None)
