"""Status lines: what became of one recipient, as `smtp`, `lmtp`, `local`, `virtual`, `pipe`, `error`, `discard` say it.

    QUEUEID: to=<a@b>, orig_to=<c@d>, relay=mx[192.0.2.1]:25, delay=1.2, delays=a/b/c/d, dsn=2.0.0, status=sent (250 ok)

A mail that is handed to a content filter on this host and comes back from it is one mail: its first half is no
delivery but a transfer, known by a relay that is this host itself and by the queue id in its answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from collector.formats.hosts import host_or_none, ip_or_none, is_loopback, is_loopback_name
from collector.formats.outcome import Ignored, Outcome
from collector.formats.postfix.answer import Answer, read_answer
from collector.formats.recurrence import Recurrence
from collector.formats.replies import enhanced_status, read_reply
from collector.formats.syslog import Entry
from collector.quarantine import Reason
from mta.events.errors import ParseError
from mta.events.event import Direction, Event, EventType, Origin

__all__ = ["Relay", "read_status"]

_STATUS_LINE = re.compile(
    r"(?P<id>[0-9A-Za-z]{5,32}): to=(?:<(?P<to>.*?)>|(?P<bare>[^\s,]*)), "
    r"(?:orig_to=(?:<.*?>|[^\s,]*), )?"
    r"relay=(?P<relay>[^,]*), (?:[a-z_]{1,20}=[^,]*, ){0,4}?delay=(?P<delay>[\d.]+), (?:delays=(?P<delays>[\d./]+), )?"
    r"(?:[a-z_]{1,20}=[^,]*, ){0,4}?(?:dsn=(?P<dsn>\d\.\d{1,3}\.\d{1,3}), )?(?:[a-z_]{1,20}=[^,]*, ){0,4}?"
    r"status=(?P<status>[A-Za-z-]+)(?: \((?P<text>.*)|$)",
    re.DOTALL,
)
_SUCCESSOR = re.compile(r"queued as ([0-9A-Za-z]{5,32})\b(?!.*queued as)", re.DOTALL)
_TYPES = {
    "sent": EventType.DELIVERY,
    "bounced": EventType.BOUNCE,
    "deferred": EventType.DEFERRAL,
    "expired": EventType.EXPIRATION,
    "softbounce": EventType.DEFERRAL,
}
_INBOUND = frozenset({"local", "virtual", "pipe", "lmtp"})
_PROBE = Ignored("address-probe")
_LONGEST_DELAY = 100_000_000  # seconds; three years


@dataclass(frozen=True, slots=True)
class Relay:
    """The next hop of a status line; None for what it does not name."""

    host: str | None
    ip: str | None

    @classmethod
    def read(cls, written: str) -> Relay:
        """`mx.example[192.0.2.1]:25`; `none`, `local` and a pipe's service name are no hosts."""
        name, bracket, rest = written.partition("[")
        if not bracket:
            return _NOBODY
        return cls(host_or_none(name), ip_or_none(rest.partition("]")[0]))

    @property
    def is_this_host(self) -> bool:
        """The mail stays on the machine."""
        return self.host is not None and is_loopback_name(self.host) and (self.ip is None or is_loopback(self.ip))


_NOBODY = Relay(None, None)


def read_status(entry: Entry, program: str, encrypted: tuple[str, str] | None, recurrence: Recurrence) -> Outcome:
    """The event of one status line; `encrypted` is the connection (peer, TLS version) its process has encrypted last.

    Raises ParseError.
    """
    found = _STATUS_LINE.match(entry.body)
    if not found:
        raise ParseError("a status line in no known form", reason=Reason.MALFORMED)
    queue_id, to, bare, next_hop, delay, _delays, dsn, status, text = found.groups()
    event_type = _TYPES.get(status.lower())
    if event_type is None:
        if status.lower().startswith(("deliverable", "undeliverable")):
            return _PROBE
        raise ParseError(f"unknown status {status[:40]!r}", reason=Reason.UNKNOWN_TYPE, where="status")
    relay, recipient = Relay.read(next_hop), to or bare or ""
    answer = _answer(event_type, text or "", dsn, relay)
    successor = None
    if event_type is EventType.DELIVERY and relay.is_this_host and (hop := _SUCCESSOR.search(text or "")):
        event_type, successor = EventType.TRANSFER_OUT, hop[1]
    return (
        Event(
            type=event_type,
            time=entry.time,
            node=entry.host,
            mta="postfix",
            queue_id=queue_id,
            recipient=recipient,
            ordinal=recurrence(entry.time, (entry.time, queue_id, recipient, status)),
            created=_created(entry.time, delay),
            direction=Direction.INBOUND if program in _INBOUND and successor is None else Direction.OUTBOUND,
            origin=answer.origin,
            reply=answer.reply,
            peer_host=relay.host or answer.host,
            peer_ip=relay.ip or answer.ip,
            tls_version=encrypted[1] if encrypted and encrypted[0] == next_hop else None,
            successor_id=successor,
        ),
    )


def _answer(event_type: EventType, text: str, dsn: str | None, relay: Relay) -> Answer:
    text = text.removesuffix(")")
    status = enhanced_status(dsn) if dsn else None
    if event_type is not EventType.DELIVERY:
        return read_answer(text, status)
    return Answer(read_reply(text, status, command=None if relay is _NOBODY else "."), Origin.REMOTE)


def _created(time: int, delay: str) -> int | None:
    """When the message arrived; None if the line tells nonsense."""
    try:
        seconds = float(delay)
    except ValueError:
        return None
    if seconds > _LONGEST_DELAY:
        return None
    created = time - round(seconds * 1_000_000)
    return created if created >= 0 else None
