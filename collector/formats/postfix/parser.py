"""Which process wrote a line decides what it can be about; that is how lines are sorted here.

The only thing remembered between lines is the TLS version of the connection that a process has just made, which
Postfix writes on a line of its own before the one that it belongs to.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from collector.formats.context import Context
from collector.formats.hosts import host_or_none, ip_or_none
from collector.formats.outcome import ALIEN, BLANK, UNRECOGNISED, Ignored, LineParser, Outcome
from collector.formats.postfix import phrases as say
from collector.formats.postfix.delivery import read_status
from collector.formats.postfix.refusal import REFUSING, TURNED_AWAY, read_refusal, turned_away
from collector.formats.recurrence import Recurrence
from collector.formats.syslog import Entry, SyslogReader
from collector.quarantine import Reason
from mta.events.errors import ParseError
from mta.events.event import Event, EventType, Origin
from mta.events.reply import SmtpReply

__all__ = ["opened", "recognises"]

_CLIENT, _MESSAGE_ID, _QUEUED, _PICKED_UP, _EXPIRED = (number << 16 for number in range(1, 6))
"""Ordinals by what a line about a whole message tells: all of them may stand in one second."""

_FROM_CLIENT = re.compile(r"(?P<id>[0-9A-Za-z]{5,32}): client=(?P<host>[^\s\[,]{0,255})\[(?P<ip>[^\]\s]{0,255})\]")
_FROM_PICKUP = re.compile(r"(?P<id>[0-9A-Za-z]{5,32}): uid=\d+ from=<(?P<sender>.*?)>")
_WITH_ID = re.compile(r"(?P<id>[0-9A-Za-z]{5,32}): (?:resent-)?message-id=(?P<written>.*)$", re.DOTALL)
_ACTIVE = re.compile(r"(?P<id>[0-9A-Za-z]{5,32}): from=<(?P<sender>.*?)>, size=(?P<size>\d{1,18}), nrcpt=\d+ ")
_GIVEN_UP = re.compile(r"(?P<id>[0-9A-Za-z]{5,32}): from=<(?P<sender>.*?)>, status=(?P<force>force-)?expired, ")
_DELETED = re.compile(r"(?P<id>[0-9A-Za-z]{5,32}): removed$")
_OF_MESSAGE = re.compile(r"[0-9A-Za-z]{5,32}: ")
_TLS_MADE = re.compile(
    r"\w+ TLS connection (?:established|reused) (?:to|from) (?P<peer>\S+): (?P<version>\S+) with cipher "
)
_REPEATED = re.compile(r"message repeated (?P<times>\d{1,5}) times: \[ (?P<body>.*)\]$", re.DOTALL)
_LOG_NOTES = ("-- ", "last message repeated ")
_RECOGNISED = re.compile(rb"[ \"][^\s\"\[:]{1,64}/([a-z-]{2,20})(?:\[\d{1,12}\]: |: | \d{1,12} |\")")

_MAX_PROCESSES = 16_384
_MAX_REPEATS = 10_000

_Process = tuple[str, str]
_Reader = Callable[["_Parser", Entry, str], Outcome]


def opened(context: Context) -> LineParser:
    """A parser of lines for one source."""
    return _Parser(context).parse_line


def recognises(line: bytes) -> bool:
    """The line was written by one of Postfix's programs, whatever the name of the instance."""
    found = _RECOGNISED.search(line[:1000])
    return found is not None and found[1].decode("latin-1") in _READERS


class _Parser:
    """Reads one source. Holds what `Recurrence` holds, and one short word for each process seen of late."""

    __slots__ = ("_recurrence", "_syslog", "_tls")

    def __init__(self, context: Context) -> None:
        self._syslog = SyslogReader(context)
        self._recurrence = Recurrence()
        self._tls: dict[_Process, tuple[str, str]] = {}
        """The connection that each process (host, pid) has encrypted last: its peer and the version."""

    def parse_line(self, line: bytes) -> Outcome:
        """The outcome of one line. Raises ParseError."""
        text = line.decode("utf8", "replace")
        text = text.removesuffix("\r")
        entry = self._syslog.read(text)
        if entry is None:
            return self._no_entry(text)
        known = _reader_of(entry.tag)
        if known is None:
            return ALIEN
        program, reader = known
        if entry.body.startswith("message repeated "):
            return self._repeated(entry, program, reader)
        return reader(self, entry, program)

    @staticmethod
    def _no_entry(text: str) -> Outcome:
        if not text.strip():
            return BLANK
        if any(note in text for note in _LOG_NOTES):
            return say.NOTE
        raise ParseError("no syslog line", reason=Reason.MALFORMED)

    def _repeated(self, entry: Entry, program: str, reader: _Reader) -> Outcome:
        """The syslog daemon has counted equal lines instead of writing them."""
        found = _REPEATED.match(entry.body)
        if not found:
            return UNRECOGNISED
        entry.body = found["body"]
        events: list[Event] = []
        for _ in range(min(int(found["times"]), _MAX_REPEATS)):
            outcome = reader(self, entry, program)
            if isinstance(outcome, Ignored):
                return outcome
            events += outcome
        return tuple(events) or UNRECOGNISED

    # --- delivery agents ---

    def delivery_agent(self, entry: Entry, program: str) -> Outcome:
        """`smtp`, `lmtp`, `local`, `virtual`, `pipe`, `error`, `discard`: status lines and how they came about."""
        body = entry.body
        if " status=" in body and ": to=" in body:
            return read_status(entry, program, self._tls.get((entry.host, entry.pid)), self._recurrence)
        if " TLS connection " in body and (made := _TLS_MADE.match(body)):
            return self._remember_tls(entry, made)
        if found := say.first_of(body, say.AGENT_LINES):
            return found
        known = _OF_MESSAGE.match(body) and any(words in body for words in say.ATTEMPT_WORDS)
        return say.ATTEMPT if known else UNRECOGNISED

    def _remember_tls(self, entry: Entry, made: re.Match[str]) -> Outcome:
        if len(self._tls) >= _MAX_PROCESSES:
            self._tls.pop(next(iter(self._tls)))
        self._tls[entry.host, entry.pid] = (made["peer"], made["version"])
        return say.TLS

    # --- the way in ---

    def smtpd(self, entry: Entry, _program: str) -> Outcome:
        """The server: connections, the client of each message, refusals."""
        body = entry.body
        if body.startswith(("connect from ", "disconnect from ")):
            self._tls.pop((entry.host, entry.pid), None)
            return say.CONNECTION
        if ": client=" in body and (found := _FROM_CLIENT.match(body)):
            return self._from_client(entry, *found.groups())
        if "reject: " in body and (refusing := REFUSING.match(body)):
            return self._refusal(entry, refusing)
        if " TLS connection " in body and (made := _TLS_MADE.match(body)):
            return self._remember_tls(entry, made)
        return say.first_of(body, say.SERVER_LINES) or say.triggered(body) or UNRECOGNISED

    def _from_client(self, entry: Entry, queue_id: str, host: str, ip: str) -> Outcome:
        if queue_id == "NOQUEUE":
            return say.PROXY
        _, version = self._tls.get((entry.host, entry.pid), (None, None))
        return (
            Event(
                type=EventType.RECEPTION,
                time=entry.time,
                node=entry.host,
                mta="postfix",
                queue_id=queue_id,
                recipient="",
                ordinal=_CLIENT,
                peer_host=host_or_none(host),
                peer_ip=ip_or_none(ip),
                tls_version=version,
            ),
        )

    def postscreen(self, entry: Entry, _program: str) -> Outcome:
        """The doorkeeper before the server."""
        refusing = REFUSING.match(entry.body)
        return (
            self._refusal(entry, refusing) if refusing else say.first_of(entry.body, say.SERVER_LINES) or say.POSTSCREEN
        )

    def pickup(self, entry: Entry, _program: str) -> Outcome:
        """Mail of local programs."""
        if found := _FROM_PICKUP.match(entry.body):
            return (
                Event(
                    type=EventType.RECEPTION,
                    time=entry.time,
                    node=entry.host,
                    mta="postfix",
                    queue_id=found["id"],
                    recipient="",
                    ordinal=_PICKED_UP,
                    sender=found["sender"],
                ),
            )
        return say.first_of(entry.body, say.SERVER_LINES) or UNRECOGNISED

    def cleanup(self, entry: Entry, _program: str) -> Outcome:
        """The Message-ID, and refusals of content."""
        body = entry.body
        if "message-id=" in body and (found := _WITH_ID.match(body)):
            return (
                Event(
                    type=EventType.RECEPTION,
                    time=entry.time,
                    node=entry.host,
                    mta="postfix",
                    queue_id=found["id"],
                    recipient="",
                    ordinal=_MESSAGE_ID,
                    message_id=_bare(found["written"]),
                ),
            )
        if "reject: " in body and (refusing := REFUSING.match(body)):
            return self._refusal(entry, refusing)
        if "message rejected: " in body and (found := TURNED_AWAY.match(body)):
            return turned_away(entry, found)
        return say.first_of(body, say.SERVER_LINES) or say.triggered(body) or UNRECOGNISED

    def _refusal(self, entry: Entry, refusing: re.Match[str]) -> Outcome:
        queue_id = "" if refusing["id"] == "NOQUEUE" else refusing["id"] or ""
        return read_refusal(entry, refusing.end(), queue_id, self._recurrence)

    # --- the queue ---

    def qmgr(self, entry: Entry, _program: str) -> Outcome:
        """The queue manager: sender and size whenever a message becomes active, and the end of its patience."""
        body = entry.body
        if body.endswith(": removed"):
            return say.REMOVED
        if found := _ACTIVE.match(body):
            queue_id, sender, size = found.groups()
            return (
                Event(
                    type=EventType.RECEPTION,
                    time=entry.time,
                    node=entry.host,
                    mta="postfix",
                    queue_id=queue_id,
                    recipient="",
                    ordinal=_QUEUED,
                    sender=sender,
                    size=int(size),
                ),
            )
        if found := _GIVEN_UP.match(body):
            kind = EventType.ADMIN_BOUNCE if found["force"] else EventType.EXPIRATION
            return self._ended(entry, found["id"], kind, body[found.end("id") + 2 :], sender=found["sender"])
        if body.endswith(": skipped, still being delivered"):
            return say.QUEUE
        return say.first_of(body, say.QUEUE_LINES) or UNRECOGNISED

    def postsuper(self, entry: Entry, _program: str) -> Outcome:
        """The operator's hand."""
        if found := _DELETED.match(entry.body):
            return self._ended(entry, found["id"], EventType.ADMIN_BOUNCE, "removed from the queue by an operator")
        return say.QUEUE

    def _ended(self, entry: Entry, queue_id: str, kind: EventType, why: str, *, sender: str | None = None) -> Outcome:
        """All recipients who were still waiting have their outcome."""
        return (
            Event(
                type=kind,
                time=entry.time,
                node=entry.host,
                mta="postfix",
                queue_id=queue_id,
                recipient="",
                ordinal=_EXPIRED,
                origin=Origin.LOCAL,
                sender=sender,
                reply=SmtpReply(None, None, why.partition("status=")[2] or why),
            ),
        )

    # --- everybody else ---

    def bounce(self, entry: Entry, _program: str) -> Outcome:
        """Which message reports to the sender; it has its own lines as any message."""
        return (
            say.NOTICE if "notification: " in entry.body else say.first_of(entry.body, say.SERVER_LINES) or UNRECOGNISED
        )

    def daemon(self, entry: Entry, _program: str) -> Outcome:
        """Helpers that never say anything about a message's way."""
        return say.first_of(entry.body, say.COMPLAINTS) or say.DAEMON


def _bare(written: str) -> str | None:
    return written.strip().removeprefix("<").removesuffix(">").strip() or None


_PROGRAMS: tuple[tuple[str, _Reader], ...] = (
    ("smtp lmtp local virtual pipe error discard", _Parser.delivery_agent),
    ("smtpd qmqpd", _Parser.smtpd),
    ("postscreen", _Parser.postscreen),
    ("pickup", _Parser.pickup),
    ("cleanup", _Parser.cleanup),
    ("qmgr nqmgr oqmgr", _Parser.qmgr),
    ("bounce defer trace", _Parser.bounce),
    ("postsuper", _Parser.postsuper),
    ("anvil dnsblog flush master proxymap scache showq spawn tlsmgr tlsproxy trivial-rewrite verify", _Parser.daemon),
    ("postalias postcat postconf postdrop postfix postfix-script postkick postlock postlog", _Parser.daemon),
    ("postlogd postmap postmulti postqueue sendmail post-install set-permissions", _Parser.daemon),
)
_READERS: dict[str, _Reader] = {name: reader for names, reader in _PROGRAMS for name in names.split()}
_BARE_NAMES = frozenset({"postfix-script", "postlog", "postfix", "postsuper", "postqueue", "postdrop", "postmap"})


@lru_cache(maxsize=1024)
def _reader_of(tag: str) -> tuple[str, _Reader] | None:
    """The program behind a syslog tag and who reads its lines; None for a program that is not Postfix's."""
    program = tag.rpartition("/")[2]
    reader = _READERS.get(program)
    return None if reader is None or (program == tag and program not in _BARE_NAMES) else (program, reader)
