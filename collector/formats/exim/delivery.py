"""Outcomes: lines with `=>`, `->`, `>>`, `*>`, `**` and `==`, each about one address.

    => final@a.example <original@b.example> F=<sender> R=router T=transport H=host [192.0.2.1]:25 C="250 OK" QT=3s
    ** user@a.example R=router T=transport H=host [192.0.2.1]: SMTP error from remote mail server after RCPT TO:<>: 550
    == user@a.example R=router T=transport defer (-44) H=host [192.0.2.1]: SMTP error from remote mail server after ...

The recipient is the final address where it is one, else the one that it came from (a file, a pipe, a local part).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from collector.formats.exim.fields import Fields, queued_before, tls_version
from collector.formats.exim.usual import DELIVERY
from collector.formats.hosts import host_or_none, ip_or_none
from collector.formats.outcome import Ignored, Outcome
from collector.formats.recurrence import Recurrence
from collector.formats.replies import read_reply
from collector.quarantine import Reason
from mta.events.errors import ParseError
from mta.events.event import Direction, Event, EventType, Origin
from mta.events.reply import SmtpReply, parse_reply

__all__ = ["Line", "delivered", "failed"]

_END = re.compile(r" (?:[A-Z][A-Z0-9]{0,7}=|: |routing defer|defer \()|: |$")
_SPECIAL = re.compile(r":\w{1,20}:")
_ADDRESS = re.compile(r"(?P<final>.*?)(?: \([^()]*\))*(?: <(?P<parent>[^<>]*)>)?", re.DOTALL)
_QUOTED_COLON = re.compile(r'(?:[^":]|"(?:[^"\\]|\\.)*"|:(?! ))*: ')
_SAID = re.compile(
    r"(?:SMTP|LMTP) error (?:from remote mail server )?after (?P<after>.{1,1200}?): "
    r"(?:host (?P<host>\S{1,255}) \[(?P<ip>[^\]\s]{1,64})\](?::\d{1,5})?: )?(?=[2-5]\d\d(?:[ \-]|$))",
    re.DOTALL,
)
_TIMES = re.compile(r"(?: [QDR]T=[\d.wdhms]{1,30})+$")
_TIMED_OUT = "retry timeout exceeded"
_CANCELLED = "delivery cancelled by administrator"
_DISCARDED = Ignored("discarded")
_DELIVERY, _INBOUND, _OUTBOUND = (
    EventType.DELIVERY,
    Direction.INBOUND,
    Direction.OUTBOUND,
)  # looked up once, not per line


@dataclass(slots=True)
class Line:
    """A main-log line taken apart: `rest` is what follows the flag."""

    time: int
    node: str
    queue_id: str
    rest: str


def delivered(line: Line, flag: str, recurrence: Recurrence) -> Outcome:
    """The event of a line with `=>`, `->`, `>>` or `*>`. Raises ParseError."""
    if flag != "*>" and (usual := DELIVERY.fullmatch(line.rest)):
        return _usually_delivered(line, usual, recurrence)
    if line.rest.startswith("blackhole ("):
        return _DISCARDED
    final, parent, end = _addresses(line.rest)
    fields = Fields(line.rest[end:])
    said = fields.confirmation
    host, ip = fields.peer
    suppressed = flag == "*>"
    kind = EventType.ADMIN_BOUNCE if suppressed else EventType.DELIVERY
    recipient = _recipient(final, parent)
    return (
        Event(
            type=kind,
            time=line.time,
            node=line.node,
            mta="exim",
            queue_id=line.queue_id,
            recipient=recipient,
            ordinal=recurrence(line.time, (line.time, line.queue_id, recipient)),
            created=fields.queued_before(line.time),
            direction=Direction.INBOUND if ip is None else Direction.OUTBOUND,
            origin=Origin.LOCAL if suppressed else Origin.REMOTE,
            sender=fields.sender,
            size=fields.size,
            reply=_reply(said, ".") if said is not None else None,
            bounce_class="suppressed" if suppressed else None,
            peer_host=host,
            peer_ip=ip,
            tls_version=fields.tls,
        ),
    )


def _usually_delivered(line: Line, usual: re.Match[str], recurrence: Recurrence) -> Outcome:
    recipient, sender, size, host, address, cipher, said, queued = usual.groups()
    time, ip = line.time, ip_or_none(address)
    return (
        Event(
            type=_DELIVERY,
            time=time,
            node=line.node,
            mta="exim",
            queue_id=line.queue_id,
            recipient=recipient,
            ordinal=recurrence(time, (time, line.queue_id, recipient)),
            created=queued_before(queued, time) if queued else None,
            direction=_INBOUND if ip is None else _OUTBOUND,
            sender=sender,
            size=int(size) if size else None,
            reply=_reply(said, ".") if said is not None else None,
            peer_host=host_or_none(host),
            peer_ip=ip,
            tls_version=tls_version(cipher) if cipher else None,
        ),
    )


def failed(line: Line, kind: EventType, recurrence: Recurrence) -> Outcome:
    """The event of a line with `**` (`kind` BOUNCE) or `==` (DEFERRAL). Raises ParseError."""
    final, parent, end = _addresses(line.rest)
    before, text = _fields_and_text(line.rest[end:])
    fields = Fields(before)
    host, ip = fields.peer
    if ip is None and " H=" in text:
        host, ip = Fields(text).peer
    reply, origin, said_host, said_ip = _answer(text)
    attempted = True
    if kind is EventType.BOUNCE and text.endswith(_TIMED_OUT):
        kind, attempted = EventType.EXPIRATION, False
    elif text.startswith(_CANCELLED):
        kind, attempted = EventType.ADMIN_BOUNCE, False
    recipient = _recipient(final, parent)
    return (
        Event(
            type=kind,
            time=line.time,
            node=line.node,
            mta="exim",
            queue_id=line.queue_id,
            recipient=recipient,
            ordinal=recurrence(line.time, (line.time, line.queue_id, recipient)),
            created=fields.queued_before(line.time),
            origin=origin if attempted else Origin.LOCAL,
            sender=fields.sender,
            reply=reply,
            peer_host=host or said_host,
            peer_ip=ip or said_ip,
            tls_version=fields.tls,
        ),
    )


def _addresses(rest: str) -> tuple[str, str | None, int]:
    """The final address, the one it came from, and where the fields begin. Raises ParseError."""
    special = _SPECIAL.match(rest)  # :blackhole:
    stop = _END.search(rest, special.end() if special else 0)
    end = stop.start() if stop else len(rest)
    if end and rest.find(" ", 0, end) < 0:
        return rest[:end], None, end
    found = _ADDRESS.fullmatch(rest, 0, end)
    if not found or not (found["final"] or found["parent"]):
        raise ParseError("no address", reason=Reason.MALFORMED)
    return found["final"], found["parent"], end


def _recipient(final: str, parent: str | None) -> str:
    """A file, a pipe or a bare local part belongs to the address that led there."""
    return parent if parent and ("@" not in final or final[0] in "/|:>") else final


def _fields_and_text(tail: str) -> tuple[str, str]:
    """What stands before the colon and behind it; quoted colons do not count."""
    end = tail.find(": ")
    if end >= 0 and '"' in tail[:end]:
        found = _QUOTED_COLON.match(tail)
        end = found.end() - 2 if found else -1
    return (tail, "") if end < 0 else (tail[:end], _TIMES.sub("", tail[end + 2 :]))


def _answer(text: str) -> tuple[SmtpReply, Origin, str | None, str | None]:
    """The reply in a failure's text, who gave it, and the host that it names."""
    found = _SAID.search(text)
    if not found:
        return _reply(text, None), Origin.LOCAL, None, None
    quoted = text[found.end() :].removesuffix(f": {_TIMED_OUT}")
    host, ip = host_or_none(found["host"] or ""), ip_or_none(found["ip"] or "")
    return _reply(quoted, _command(found["after"])), Origin.REMOTE, host, ip


def _reply(quoted: str, command: str | None) -> SmtpReply:
    """Exim writes the lines of a long reply on one, with a backslash and an n between them."""
    if "\\n" in quoted:
        return parse_reply(quoted.replace("\\n", "\n"), command=command)
    return read_reply(quoted, command=command)


def _command(after: str) -> str | None:
    """`RCPT TO:<a@b>`, `pipelined MAIL FROM:<>`, `end of data`: the last is the final dot."""
    command = after.removeprefix("pipelined ")
    if command in {"end of data", "sending data block"}:
        return "."
    return None if command == "initial connection" else command
