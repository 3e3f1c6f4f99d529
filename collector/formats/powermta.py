"""PowerMTA's accounting records: CSV rows (RFC 4180) under a header row that says which columns there are.

Each operator chooses the columns, and a file may hold several types of record; so a row is read by the names in the
last header row, in any spelling. A row before any header (a pipe that was joined in the middle) is read only where the
number of its columns is that of the stock configuration.

PowerMTA gives a message no id. The same message has the same Message-ID header, where that column is logged, or else
the same sender, job, envelope id and time of queueing: a hash of these is its queue id here, and binds its records.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from hashlib import sha256

from collector.formats.context import Context
from collector.formats.hosts import host_or_none, ip_or_none
from collector.formats.outcome import BLANK, Ignored, LineParser, Outcome
from collector.formats.recurrence import Recurrence
from collector.formats.replies import enhanced_status, read_reply
from collector.formats.stamps import Stamps
from collector.quarantine import Reason
from mta.events.errors import LimitExceeded, ParseError
from mta.events.event import Event, EventType, Origin
from mta.events.instants import SECOND
from mta.events.reply import EnhancedStatus, SmtpReply

__all__ = ["STOCK_COLUMNS", "opened", "recognises"]

STOCK_COLUMNS = (
    "type,timeLogged,timeQueued,orig,rcpt,orcpt,dsnAction,dsnStatus,dsnDiag,dsnMta,bounceCat,srcType,srcMta,dlvType,"
    "dlvSourceIp,dlvDestinationIp,dlvEsmtpAvailable,dlvSize,vmta,jobId,envId,queue,vmtaPool"
)
"""What an accounting file holds unless it is told otherwise."""

_MAX_COLUMNS = 500
_HEADER = Ignored("header")
_QUEUE_STATE = Ignored("queue-transient")
_STATUS_REPORT = Ignored("remote-status")

_TYPES = {
    "d": EventType.DELIVERY,
    "delivery": EventType.DELIVERY,
    "b": EventType.BOUNCE,
    "bounce": EventType.BOUNCE,
    "t": EventType.DEFERRAL,
    "transient": EventType.DEFERRAL,
    "tq": EventType.DEFERRAL,
    "transient-queue": EventType.DEFERRAL,
    "r": EventType.RECEPTION,
    "receipt": EventType.RECEPTION,
    "received": EventType.RECEPTION,
    "f": EventType.COMPLAINT,
    "feedback": EventType.COMPLAINT,
    "feedback-loop": EventType.COMPLAINT,
    "fbl": EventType.COMPLAINT,
    "rb": EventType.OOB_BOUNCE,
    "remote-bounce": EventType.OOB_BOUNCE,
    "rs": EventType.OOB_BOUNCE,
    "remote-status": EventType.OOB_BOUNCE,
}
_OF_ACTION = {"failed": EventType.BOUNCE, "delayed": EventType.DEFERRAL}
"""A delivery record whose action says otherwise is none."""
_REPORTS = frozenset({"f", "feedback", "feedback-loop", "fbl", "rb", "remote-bounce", "rs", "remote-status"})
_STATUS_ONLY = frozenset({"rs", "remote-status"})
_QUEUE_TYPES = frozenset({"tq", "transient-queue"})

_RECOGNISED = re.compile(rb"(?:\xef\xbb\xbf)?\"?(?:type\"?,|(?:d|b|t|tq|r|f|rb|rs)\"?,\"?\d{4})")
_EPOCH = re.compile(r"\d{9,11}(?:\.\d{1,9})?")
_DIAG_TYPE = re.compile(r"[A-Za-z][\w-]{0,20}; ?")
_MTA = re.compile(r"(?P<name>[^\s()\[\]]+)?(?: ?[(\[](?P<ip>[^)\]]{1,64})[)\]])?")
_STATUS_WORDS = re.compile(r"[\d.]+ \((?P<words>.*)\)$", re.DOTALL)

Row = Callable[[str], str]
"""The value in a column, by its lower-case name; "" if the column is absent or empty."""


def opened(context: Context) -> LineParser:
    """A parser of rows for one source."""
    return _Parser(context).parse_line


def recognises(line: bytes) -> bool:
    """The line is a header row or begins like a record."""
    return _RECOGNISED.match(line) is not None


class _Parser:
    """Reads one source. Holds the columns of the last header row and what `Recurrence` holds."""

    __slots__ = ("_columns", "_context", "_recurrence", "_stamp")

    def __init__(self, context: Context) -> None:
        self._context = context
        self._columns: dict[str, int] = {}
        self._recurrence = Recurrence()
        self._stamp = Stamps(context)

    def parse_line(self, line: bytes) -> Outcome:
        """The outcome of one row. Raises ParseError."""
        text = line.decode("utf8", "replace").removeprefix("\ufeff").rstrip("\r")
        if not text.strip():
            return BLANK
        values = _values(text)
        kind = values[0].strip().lower()
        if kind == "type":
            self._columns = _positions(values)
            return _HEADER
        event_type = _TYPES.get(kind)
        if event_type is None:
            raise ParseError(f"unknown record type {kind[:40]!r}", reason=Reason.UNKNOWN_TYPE, where="type")
        return self._record(kind, event_type, self._row(values))

    def _row(self, values: list[str]) -> Row:
        columns = self._columns or (_STOCK if len(values) == len(_STOCK) else None)
        if columns is None:
            raise ParseError("a record before any header row", reason=Reason.MISSING_FIELD, where="header")

        def value(name: str) -> str:
            at = columns.get(name, -1)
            return values[at] if 0 <= at < len(values) else ""

        return value

    def _record(self, kind: str, event_type: EventType, row: Row) -> Outcome:
        recipient = row("rcpt")
        if kind in _QUEUE_TYPES and not recipient:
            return _QUEUE_STATE
        if kind in _STATUS_ONLY and row("dsnaction").lower() != "failed":
            return _STATUS_REPORT
        if not recipient:
            raise ParseError("missing or empty", reason=Reason.MISSING_FIELD, where="rcpt")
        if event_type is EventType.DELIVERY:
            event_type = _OF_ACTION.get(row("dsnaction").lower(), event_type)
        time = self._instant(row("timelogged"), "timeLogged")
        if time is None:
            raise ParseError("missing or empty", reason=Reason.MISSING_FIELD, where="timeLogged")
        reply, origin = _reply(row, event_type)
        if event_type is EventType.BOUNCE and _expired(row, reply):
            event_type, origin = EventType.EXPIRATION, Origin.LOCAL
        return (self._event(event_type, row, time, reply, origin, is_report=kind in _REPORTS),)

    def _event(
        self, event_type: EventType, row: Row, time: int, reply: SmtpReply | None, origin: Origin, *, is_report: bool
    ) -> Event:
        """A report is about another message: its id is not its own."""
        recipient, message_id = row("rcpt"), _bare(row("header_message-id"))
        queue_id = _queue_id(row, message_id, "report" if is_report else "")
        host, ip = _mta(row("dsnmta"))
        size = row("dlvsize")
        return Event(
            type=event_type,
            time=time,
            node=self._context.node,
            mta="powermta",
            queue_id=queue_id,
            recipient=recipient,
            ordinal=self._recurrence(time, (time, row("type"), queue_id, recipient)),
            created=None if is_report else self._instant(row("timequeued"), "timeQueued"),
            origin=origin,
            sender=row("orig") or None,
            message_id=None if is_report else message_id,
            size=int(size) if size.isdecimal() and 0 < len(size) < 16 and int(size) else None,
            reply=reply,
            peer_host=host,
            peer_ip=ip_or_none(row("dlvdestinationip")) or ip,
            source=row("vmta") or None,
            source_ip=ip_or_none(row("dlvsourceip")),
            pool=row("vmtapool") or None,
            campaign=row("jobid") or None,
            tls_version=row("dlvtlsprotocol") or None,
            feedback_type=(row("feedbacktype") or None) if event_type is EventType.COMPLAINT else None,
            original_recipient=recipient if is_report else None,
            original_message_id=message_id if is_report else None,
        )

    def _instant(self, written: str, column: str) -> int | None:
        """`2026-09-21 12:00:05+0000`, its RFC 3339 spelling, or seconds since 1970."""
        if not written:
            return None
        if _EPOCH.fullmatch(written):
            return round(float(written) * SECOND)
        try:
            return self._stamp(written)
        except ParseError as error:
            raise ParseError(error.what, reason=error.reason, where=column) from None


def _values(text: str) -> list[str]:
    try:
        values = next(csv.reader([text], strict=True))
    except csv.Error as error:
        raise ParseError(f"no CSV row: {error}", reason=Reason.MALFORMED) from None
    if len(values) > _MAX_COLUMNS:
        raise LimitExceeded(f"{len(values)} columns, at most {_MAX_COLUMNS} are read")
    return values


def _positions(names: list[str]) -> dict[str, int]:
    """Where each column stands; of two with one name, the first."""
    return {name.strip().lower(): at for at, name in reversed(list(enumerate(names)))}


_STOCK = _positions(STOCK_COLUMNS.split(","))


def _queue_id(row: Row, message_id: str | None, kind: str) -> str:
    sender = row("orig").lower()
    parts: tuple[str, ...] = (
        (message_id, sender) if message_id else (row("timequeued"), sender, row("envid"), row("jobid"))
    )
    if not any(parts[:1]) and not row("envid"):
        parts = (row("timelogged"), row("rcpt"), sender)  # nothing binds it to another record
    return sha256("\0".join((kind, *parts)).encode("utf8", "replace")).hexdigest()[:16]


def _reply(row: Row, event_type: EventType) -> tuple[SmtpReply | None, Origin]:
    """What was answered, and whether the peer said it: its words begin with the type of the diagnostic and a code."""
    written = row("dsnstatus")
    status = enhanced_status(written)
    diagnostic = row("dsndiag")
    quoted = diagnostic[found.end() :] if (found := _DIAG_TYPE.match(diagnostic)) else diagnostic
    words = _STATUS_WORDS.match(written)
    if not quoted and status is None:
        return None, Origin.REMOTE
    reply = read_reply(quoted, status)
    if not quoted and words:
        reply = SmtpReply(None, status, words["words"])
    spoken = reply.code is not None or event_type not in {EventType.BOUNCE, EventType.DEFERRAL}
    return reply, Origin.REMOTE if spoken else Origin.LOCAL


def _expired(row: Row, reply: SmtpReply | None) -> bool:
    """Given up after its time in the queue."""
    late = EnhancedStatus(4, 4, 7), EnhancedStatus(5, 4, 7)
    return row("bouncecat").lower() == "message-expired" or (reply is not None and reply.enhanced in late)


def _mta(written: str) -> tuple[str | None, str | None]:
    """`mx.example (192.0.2.1)`."""
    found = _MTA.match(written)
    return (host_or_none(found["name"] or ""), ip_or_none(found["ip"] or "")) if found else (None, None)


def _bare(written: str) -> str | None:
    return written.strip().removeprefix("<").removesuffix(">") or None
