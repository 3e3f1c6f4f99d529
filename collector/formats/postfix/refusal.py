"""Mail that was not accepted: `reject`, `milter-reject` and `proxy-reject` lines of smtpd, postscreen and cleanup.

NOQUEUE: reject: RCPT from host[192.0.2.1]: 550 5.1.1 <a@b>: ...; from=<c@d> to=<a@b> proto=ESMTP helo=<e>
QUEUEID: reject: header Subject: ... from host[192.0.2.1]; from=<c@d> to=<a@b> proto=ESMTP helo=<e>: 5.7.1 text
"""

from __future__ import annotations

import re
from zlib import crc32

from collector.formats.hosts import host_or_none, ip_or_none
from collector.formats.outcome import Ignored, Outcome
from collector.formats.recurrence import Recurrence
from collector.formats.replies import read_reply
from collector.formats.syslog import Entry
from collector.quarantine import Reason
from mta.events.errors import ParseError
from mta.events.event import Direction, Event, EventType, Origin

__all__ = ["REFUSING", "TURNED_AWAY", "read_refusal", "turned_away"]

REFUSING = re.compile(r"(?:(?P<id>NOQUEUE|[0-9A-Za-z]{5,32}): )?(?P<action>(?:milter-|proxy-)?reject): ")

TURNED_AWAY = re.compile(r"warning: (?P<id>[0-9A-Za-z]{5,32}): message rejected: (?P<why>.*)$", re.DOTALL)

_REFUSAL = re.compile(
    r"(?P<stage>[A-Za-z-]{1,40})(?: from (?P<host>[^\s\[]{0,255})\[(?P<ip>[^\]\s]{0,255})\](?::\d{1,5})?)?: "
    r"(?P<reply>.*?)(?:; (?=from=<|to=<|proto=)|;? ?$)",
    re.DOTALL,
)
_CONTENT = re.compile(
    r"(?P<part>header|body|mime header|nested header) .{0,4000}? from "
    r"(?:(?P<host>[^\s\[]{0,255})\[(?P<ip>[^\]\s]{0,255})\]|local); "
    r"(?=from=<)",
    re.DOTALL,
)
_ENVELOPE = re.compile(
    r"(?:from=<(?P<sender>[^<>]{0,1000})>,? )?(?:to=<(?P<to>[^<>]{0,1000})>(?:,? |$))?(?:proto=|helo=|$|:)", re.DOTALL
)
_CONTENT_REPLY = re.compile(r">: (?P<reply>[^<>]*)$", re.DOTALL)
_COMMANDS = {"END-OF-MESSAGE": ".", "RCPT": "RCPT TO", "MAIL": "MAIL FROM", "CONNECT": None}
_PROBES = frozenset({"VRFY", "ETRN", "EXPN"})
_PROBE = Ignored("address-probe")
_ORDINAL_BITS = 2**31 - 1
_SUBMISSION = ("submission", "smtps")


def read_refusal(entry: Entry, start: int, queue_id: str, recurrence: Recurrence) -> Outcome:
    """The rejection that `entry.body` tells of from `start` on, behind what `REFUSING` found. Raises ParseError.

    A rejection has no id of its own: what the line says, and how often it said so, tell it from its neighbours.
    """
    found = _REFUSAL.match(entry.body, start)
    if found:
        stage, reply = found["stage"].upper(), found["reply"]
        if stage in _PROBES:
            return _PROBE
    else:
        found = _CONTENT.match(entry.body, start)
        if not found:
            raise ParseError("a rejection in no known form", reason=Reason.MALFORMED)
        told = _CONTENT_REPLY.search(entry.body, found.end())
        stage, reply = "END-OF-MESSAGE", told["reply"] if told else f"{found['part']} rejected"
    envelope = _ENVELOPE.match(entry.body, found.end())
    sender, to = envelope.groups() if envelope else (None, None)
    fingerprint = crc32(f"{entry.pid} {entry.body}".encode("utf8", "replace")) >> 1
    return (
        Event(
            type=EventType.REJECTION,
            time=entry.time,
            node=entry.host,
            mta="postfix",
            queue_id=queue_id,
            recipient=to or "",
            ordinal=(fingerprint + recurrence(entry.time, (entry.time, fingerprint))) & _ORDINAL_BITS,
            direction=Direction.OUTBOUND if any(name in entry.tag for name in _SUBMISSION) else Direction.INBOUND,
            origin=Origin.LOCAL,
            sender=sender,
            reply=read_reply(reply, command=_COMMANDS.get(stage, stage)),
            peer_host=host_or_none(found["host"] or ""),
            peer_ip=ip_or_none(found["ip"] or ""),
        ),
    )


def turned_away(entry: Entry, found: re.Match[str]) -> Outcome:
    """The rejection of a message that `cleanup` would not queue (too many hops), which `TURNED_AWAY` has found."""
    return (
        Event(
            type=EventType.REJECTION,
            time=entry.time,
            node=entry.host,
            mta="postfix",
            queue_id=found["id"],
            recipient="",
            direction=Direction.INBOUND,
            origin=Origin.LOCAL,
            reply=read_reply(found["why"], command="."),
        ),
    )
