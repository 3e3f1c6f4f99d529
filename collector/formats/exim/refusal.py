"""Mail that was not accepted, in the main log and in the reject log, which repeats the main log's line.

H=host (helo) [192.0.2.1] F=<sender> temporarily rejected RCPT <a@b.example>: reason
"""

from __future__ import annotations

import re
from zlib import crc32

from collector.formats.exim.delivery import Line
from collector.formats.exim.fields import Fields
from collector.formats.outcome import Ignored, Outcome
from collector.formats.recurrence import Recurrence
from mta.events.event import Direction, Event, EventType, Origin
from mta.events.reply import SmtpReply, parse_reply

__all__ = ["REFUSED", "read_refusal"]

_STAGES = (
    "RCPT|MAIL|PREDATA|DATA|BDAT|VRFY|EXPN|ETRN|AUTH|STARTTLS|EHLO or HELO|HELO|EHLO|XCLIENT|WELLKNOWN|connection|"
    r"after DATA|after BDAT|by local_scan\(\)|by DATA ACL|by non-SMTP ACL|during MIME ACL checks"
)
REFUSED = re.compile(
    rf"(?:temporarily )?(?:rejected (?P<stage>{_STAGES})|dropped by '(?P<dropped>\w{{1,30}})' ACL)"
    r"(?: (?:FROM:|TO:)?(?P<about><[^>]*>|[^\s:<]+@[^\s:<]+))?"
)
_COMMANDS = {"RCPT": "RCPT TO", "MAIL": "MAIL FROM", "EHLO or HELO": "EHLO", "DATA": "DATA", "PREDATA": "DATA"}
_PROBES = frozenset({"VRFY", "EXPN", "ETRN", "XCLIENT", "WELLKNOWN", "AUTH", "STARTTLS"})
_PROBE = Ignored("address-probe")
_ORDINAL_BITS = 2**31 - 1


def read_refusal(line: Line, found: re.Match[str], recurrence: Recurrence) -> Outcome:
    """The rejection in `line.rest`, where `REFUSED` has found it."""
    stage = found["stage"] or found["dropped"]
    if stage in _PROBES:
        return _PROBE
    before, after = line.rest[: found.start()], line.rest[found.end() :]
    fields = Fields(f" {before}")
    host, ip = fields.peer
    about = found["about"]
    address = about.strip("<>") if about else None
    fingerprint = crc32(line.rest.encode("utf8", "replace")) >> 1
    return (
        Event(
            type=EventType.REJECTION,
            time=line.time,
            node=line.node,
            mta="exim",
            queue_id=line.queue_id,
            recipient=(address or "") if stage == "RCPT" else "",
            ordinal=(fingerprint + recurrence(line.time, (line.time, fingerprint))) & _ORDINAL_BITS,
            direction=Direction.OUTBOUND if fields.get("A") or fields.get("U") else Direction.INBOUND,
            origin=Origin.LOCAL,
            sender=address if stage == "MAIL" and fields.sender is None else fields.sender,
            reply=_reason(after, stage),
            peer_host=host,
            peer_ip=ip,
            tls_version=fields.tls,
        ),
    )


def _reason(after: str, stage: str) -> SmtpReply:
    _, _, reason = after.partition(": ")
    data = "DATA" in stage or "local_scan" in stage or "MIME" in stage
    command = _COMMANDS.get(stage) or ("." if data else None)
    return parse_reply(reason.replace("\\n", "\n"), command=command)
