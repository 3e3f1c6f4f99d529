"""What kind of line of an Exim log this is. Nothing is remembered between lines but how often equal ones came."""

from __future__ import annotations

import re

from collector.formats.context import Context
from collector.formats.exim.delivery import Line, delivered, failed
from collector.formats.exim.fields import Fields, tls_version
from collector.formats.exim.refusal import REFUSED, read_refusal
from collector.formats.exim.usual import ARRIVAL
from collector.formats.hosts import host_or_none, ip_or_none
from collector.formats.outcome import ALIEN, BLANK, UNRECOGNISED, Ignored, LineParser, Outcome
from collector.formats.recurrence import Recurrence
from collector.formats.syslog import SyslogReader
from collector.quarantine import Reason
from mta.events.errors import ParseError
from mta.events.event import Event, EventType, Origin
from mta.events.reply import SmtpReply

__all__ = ["opened", "recognises"]

_STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,6})?(?: [+-]\d{4})?"
_ID = r"[0-9A-Za-z]{6}-(?:[0-9A-Za-z]{6}-[0-9A-Za-z]{2}|[0-9A-Za-z]{11}-[0-9A-Za-z]{4})"
_HEAD = rf"(?:\[\d{{1,10}}\] )?(?:({_ID}) )?(?:(<=|\(=|=>|->|>>|\*>|\*\*|==|Completed)(?: |$))?"
_LINE = re.compile(rf"(?:({_STAMP}) )?{_HEAD}")
_WRAPPED = re.compile(rf"{_STAMP} \S{{1,255}} exim\d?(?:\[\d+\])?: ")
_ARRIVED = re.compile(r'(<>|"(?:[^"\\]|\\.)*"@\S+|\S+)')
_HEADER_DUMP = re.compile(r"-{5,}|Envelope-(?:from|to): |[A-Z*+ ] {1,2}[!-9;-~]{1,76}:|\s|rewritten ")
_RECOGNISED = re.compile(
    rf"(?:{_STAMP} |.{{0,120}} exim\d?(?:\[\d+\])?: (?:{_STAMP} )?)(?:\[\d+\] )?"
    rf"(?:{_ID} |(?:H=|U=).{{0,300}}rejected |Start queue run|End queue run|exim \S+ daemon started)".encode()
)

_RECEPTION = EventType.RECEPTION
_COMPLETED = Ignored("completed")
_ATTEMPT = Ignored("attempt-detail")
_CONNECTION = Ignored("connection")
_CONTENT = Ignored("content-check")
_QUEUE = Ignored("queue")
_SERVER = Ignored("server")
_HEADERS = Ignored("rejected-header")
_VERIFY = Ignored("sender-verify")
_DISCARDED = Ignored("discarded")
_TLS = Ignored("tls")

_DELETED = re.compile(r"(?:removed|deleted) by \S{1,64}$")


def opened(context: Context) -> LineParser:
    """A parser of lines for one source."""
    return _Parser(context).parse_line


def recognises(line: bytes) -> bool:
    """The line begins as those of a main or reject log do, or was sent to syslog by Exim."""
    return _RECOGNISED.match(line[:600]) is not None


class _Parser:
    """Reads one source. Holds what `Recurrence` holds."""

    __slots__ = ("_node", "_recurrence", "_syslog")

    def __init__(self, context: Context) -> None:
        self._node = context.node
        self._syslog = SyslogReader(context)
        self._recurrence = Recurrence()

    def parse_line(self, line: bytes) -> Outcome:
        """The outcome of one line. Raises ParseError."""
        text = line.decode("utf8", "replace").removesuffix("\r")
        if text[:1].isdigit() and not (" exim" in text and _WRAPPED.match(text)):
            return self._read(text, None, self._node)
        if not text.strip():
            return BLANK
        if _HEADER_DUMP.match(text):
            return _HEADERS
        entry = self._syslog.read(text)
        if entry is None:
            raise ParseError("a line without a time stamp", reason=Reason.MALFORMED)
        if not entry.tag.startswith("exim"):
            return ALIEN
        return self._read(entry.body, entry.time, entry.host)

    def _read(self, text: str, time: int | None, node: str) -> Outcome:
        """A line of the log proper; `time` is that of the syslog line around it, which may have no stamp inside."""
        found = _LINE.match(text)
        stamp, queue_id, flag = found.groups() if found else (None, None, None)
        if flag == "Completed" and queue_id is not None:
            return _COMPLETED
        if stamp is not None:
            time = self._syslog.stamp(stamp)
        if found is None or time is None:
            raise ParseError("a line without a time stamp", reason=Reason.MALFORMED)
        line = Line(time, node, queue_id or "", text[found.end() :])
        if queue_id is None:
            return self._without_id(line if flag is None else Line(time, node, "", text[found.start(3) :]))
        return self._of_message(line, flag)

    def _of_message(self, line: Line, flag: str | None) -> Outcome:
        if flag in {"<=", "(="}:  # the latter: taken, though the client was told otherwise
            return _arrived(line)
        if flag == "**":
            return failed(line, EventType.BOUNCE, self._recurrence)
        if flag == "==":
            return failed(line, EventType.DEFERRAL, self._recurrence)
        if flag is not None:
            return delivered(line, flag, self._recurrence)
        return self._refusal(line) or _removal(line) or _noted(line.rest)

    def _without_id(self, line: Line) -> Outcome:
        return self._refusal(line) or next((kind for words, kind in _LOOSE if words in line.rest), _SERVER)

    def _refusal(self, line: Line) -> Outcome | None:
        if "rejected" not in line.rest and "dropped by" not in line.rest:
            return None
        found = REFUSED.search(line.rest)
        if found is None or line.rest.startswith(_NO_REFUSALS):
            return None
        return read_refusal(line, found, self._recurrence)


def _arrived(line: Line) -> Outcome:
    """A reception of the whole message. Raises ParseError."""
    usual = ARRIVAL.fullmatch(line.rest)
    if usual:
        return _usually_arrived(line, usual)
    found = _ARRIVED.match(line.rest)
    if not found:
        raise ParseError("no sender", reason=Reason.MALFORMED)
    rest = line.rest[found.end() :]
    recipients = rest.rfind(" for ")
    fields = Fields(rest if recipients < 0 or rest.find('"', recipients) >= 0 else rest[:recipients])
    message_id = fields.get("id") or fields.get("id*")  # with a star: Exim made it up
    host, ip = fields.peer
    return (
        Event(
            type=EventType.RECEPTION,
            time=line.time,
            node=line.node,
            mta="exim",
            queue_id=line.queue_id,
            recipient="",
            sender="" if found[1] == "<>" else found[1],
            message_id=message_id.strip("<>") if message_id else None,
            size=fields.size,
            peer_host=host,
            peer_ip=ip,
            tls_version=fields.tls,
        ),
    )


def _usually_arrived(line: Line, usual: re.Match[str]) -> Outcome:
    sender, host, address, cipher, size, message_id = usual.groups()
    return (
        Event(
            type=_RECEPTION,
            time=line.time,
            node=line.node,
            mta="exim",
            queue_id=line.queue_id,
            recipient="",
            sender="" if sender == "<>" else sender,
            message_id=message_id.strip("<>") if message_id else None,
            size=int(size),
            peer_host=host_or_none(host),
            peer_ip=ip_or_none(address),
            tls_version=tls_version(cipher) if cipher else None,
        ),
    )


def _removal(line: Line) -> Outcome | None:
    """The operator's hand: all recipients who were still waiting have their outcome."""
    if not _DELETED.match(line.rest):
        return None
    return (
        Event(
            type=EventType.ADMIN_BOUNCE,
            time=line.time,
            node=line.node,
            mta="exim",
            queue_id=line.queue_id,
            recipient="",
            origin=Origin.LOCAL,
            reply=SmtpReply(None, None, line.rest),
        ),
    )


def _noted(rest: str) -> Outcome:
    for words, kind in _NOTED:
        if words[:-1] in rest if words.endswith("^") else rest.startswith(words):
            return kind
    return UNRECOGNISED


_NO_REFUSALS = ("SMTP protocol ", "SMTP call ", "SMTP command ", "ignoring AUTH", "no MAIL in")
_LOOSE: tuple[tuple[str, Ignored], ...] = (
    ("sender verify ", _VERIFY),
    ("discarded by ", _DISCARDED),
    ("SMTP connection", _CONNECTION),
    ("SMTP call from", _CONNECTION),
    ("SMTP protocol", _CONNECTION),
    ("no MAIL in SMTP", _CONNECTION),
    ("unexpected disconnection", _CONNECTION),
    ("Connection from", _CONNECTION),
    ("authenticator failed", _CONNECTION),
    ("no host name found", _CONNECTION),
    ("no IP address found", _CONNECTION),
    ("TLS error", _TLS),
    ("TLS session", _TLS),
    ("queue run", _QUEUE),
)
"""Words in lines without a message id, and the kind that each such line is counted under; the others are `server`."""

_NOTED: tuple[tuple[str, Ignored], ...] = (
    ("SMTP error from^", _ATTEMPT),
    ("SMTP timeout", _ATTEMPT),
    ("SMTP connection", _CONNECTION),
    ("SMTP data timeout", _CONNECTION),
    ("Remote host", _ATTEMPT),
    ("H=", _ATTEMPT),
    ("remote host address is the local host", _ATTEMPT),
    ("Connection refused^", _ATTEMPT),
    ("connection timed out^", _ATTEMPT),
    ("TLS ", _TLS),
    ("DANE ", _TLS),
    ("[", _ATTEMPT),
    ("Spool file is locked", _QUEUE),
    ("no immediate delivery", _QUEUE),
    ("no recipients found", _QUEUE),
    ("Message is frozen", _QUEUE),
    ("Message frozen", _QUEUE),
    ("Frozen", _QUEUE),
    ("*** Frozen", _QUEUE),
    ("Unfrozen", _QUEUE),
    ("cancelled by ", _QUEUE),
    ("cancelled due to", _QUEUE),
    ("error ignored^", _QUEUE),
    ("original recipients ignored", _QUEUE),
    ("retry time not reached^", _QUEUE),
    ("return message ", _QUEUE),
    ("DKIM: ", _CONTENT),
    ("Authentication-Results: ", _CONTENT),
    ("Warning: ", _CONTENT),
    ("U=", _CONTENT),
    ("F=", _CONTENT),
    ("malware acl", _CONTENT),
    ("spam acl", _CONTENT),
    ("SA: ", _CONTENT),
    ("PRDR ", _CONTENT),
    ("tls_out_resumption", _TLS),
    ("qualify/rewrite: ", _QUEUE),
    ("skipped error", _QUEUE),
    ("Delivery deferred by", _QUEUE),
    (" router: ^", _QUEUE),
    (" transport: ^", _ATTEMPT),
)
"""Beginnings of lines about a message (with `^` at their end: words anywhere), and the kind they are counted under."""
