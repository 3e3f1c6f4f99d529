"""KumoMTA's JSON log record, one object a line, in every age of its schema; the bundled MTA writes it too.

Three rules shape this module. A record is believed whole or not at all: a field of the wrong type refuses the record
and is named. What a record lacks is unknown, not refused, unless nothing is left to count without it (type, time, id,
recipient). What a peer said is told apart from what the node decided by itself (`Origin`), because KumoMTA logs a
throttled or suspended queue as a failure like any other.

Where ages differ: `recipient` is a string or, since batches, an array; `event_time` and `created_time` (RFC 3339,
fractions) came late beside `timestamp` and `created` (whole seconds); `site`, `meta`, `headers` and others may be
absent; byte arrays stand for strings in some feedback reports.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache, partial
from ipaddress import ip_address
from typing import Any
from zlib import crc32

import orjson

from collector.formats.fields import first_text, kind_of, mapping, missing, number, text, texts, wrong
from collector.formats.outcome import BLANK, Ignored, LineParser, Outcome
from collector.quarantine import Reason
from mta.events.errors import LimitExceeded, ParseError
from mta.events.event import KUMOMTA_TYPES, Direction, Event, EventType, Origin
from mta.events.instants import SECOND, parse_instant
from mta.events.reply import EnhancedStatus, SmtpReply

__all__ = ["MAX_RECIPIENTS", "opened", "parse_line", "parse_record", "recognises"]

MAX_RECIPIENTS = 10_000
"""Recipients in one record; KumoMTA itself takes 1,024 in one transaction unless told otherwise."""

_LATEST = 253_402_300_800 * SECOND  # the year 10000: later instants cannot be written as RFC 3339
_LOCAL_MARK = "KumoMTA internal: "
_LOCAL_TYPES = frozenset(
    {EventType.EXPIRATION, EventType.ADMIN_BOUNCE, EventType.DELAYED, EventType.REJECTION, EventType.REBIND}
)
_DIRECTIONS: dict[str | None, Direction] = {direction.value: direction for direction in Direction}
_MESSAGE_ID_KEYS = ("message_id", "message-id", "Message-ID")
_MESSAGE_ID_HEADER = re.compile(r"^message-id:[ \t]*(?:\r?\n[ \t]+)?([^\s>]{1,998}>?)", re.IGNORECASE | re.MULTILINE)
_DKIM_DOMAIN = re.compile(r"(?:^|;)[ \t\r\n]*d[ \t]*=[ \t\r\n]*([A-Za-z0-9._-]{1,255})")
_SUCCESSOR = re.compile(r"\bnew id is ([0-9A-Za-z-]{1,64})")
_UNIT = re.compile(r"[0-9a-f]{16}")
_HEADER_BLOCK = 65_536  # characters of a returned message in which its Message-ID is looked for

_LOG_HOOK = Ignored("log-hook")
_INTERNAL_QUEUE = Ignored("internal-queue")
_NULL_QUEUE = Ignored("null-queue")
_INTERNAL_SUFFIXES = (".kumomta.internal", ".log_hook", ".tsa.kumomta")


def opened(node: str = "") -> LineParser:
    """A parser of lines. `node` names the node of records that do not name theirs."""
    return partial(parse_line, node=node)


def recognises(line: bytes) -> bool:
    """The line looks like a record of this schema: a JSON object that has a type."""
    return line.lstrip()[:1] == b"{" and b'"type"' in line


def parse_line(line: bytes, node: str = "") -> Outcome:
    """The outcome of one line (a CR at its end is harmless). Raises ParseError."""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        if not line.strip():
            return BLANK
        raise ParseError(f"not JSON: {error}", reason=Reason.MALFORMED) from None
    if type(record) is not dict:
        raise ParseError(f"a JSON object was expected, not {kind_of(record)}", reason=Reason.MALFORMED)
    return parse_record(record, node)


def parse_record(record: dict[str, Any], node: str = "") -> Outcome:
    """The outcome of one decoded record, as lines and webhook bodies carry it. Raises ParseError naming the field."""
    event_type = _event_type(record)
    campaign, tenant, domain = _queue(text(record, "queue") or "")
    if (ignored := _not_ours(record, domain)) is not None:
        return ignored
    recipients = _recipients(record, event_type)
    reply = _reply(record)
    peer_host, peer_ip, has_peer = _peer(record)
    meta = mapping(record, "meta")
    ours = "mtascope_seq" in meta
    attempts = number(record, "num_attempts", 2**31)
    time, created = _instants(record)
    first = Event(
        type=event_type,
        time=time,
        node=text(record, "nodeid") or node,
        mta="mtascope" if ours else "kumomta",
        queue_id=_queue_id(record, event_type),
        recipient=recipients[0],
        ordinal=_ordinal(record, event_type, reply, peer_ip),
        created=created,
        attempt=attempts + 1 if attempts is not None and event_type.is_attempt else None,
        direction=_DIRECTIONS.get(_meta_text(meta, "mtascope_direction"), Direction.OUTBOUND),
        origin=_origin(record, event_type, reply, has_peer=has_peer),
        sender=text(record, "sender"),
        message_id=_message_id(record, meta),
        size=number(record, "size", 2**63) or None,  # 0: the body was not in memory
        reply=reply,
        peer_host=peer_host,
        peer_ip=peer_ip,
        source=text(record, "egress_source") or None,
        source_ip=_source_ip(record),
        pool=text(record, "egress_pool") or (_meta_text(meta, "pool") if ours else None),
        tenant=tenant or _meta_text(meta, "tenant"),
        campaign=campaign or _meta_text(meta, "campaign"),
        dkim_domain=_dkim_domain(record, meta),
        tls_version=text(record, "tls_protocol_version") or None,
        bounce_class="suppressed" if ours and _meta_text(meta, "mtascope_suppressed") else None,
    )
    if event_type in _EXTENSIONS:
        return _EXTENSIONS[event_type](record, first, recipients)
    if len(recipients) == 1:
        return (first,)
    return (first, *(replace(first, recipient=recipient) for recipient in recipients[1:]))


# --- what makes a record one of ours ------------------------------------------------------------------------


def _event_type(record: dict[str, Any]) -> EventType:
    name = text(record, "type")
    if name is None:
        raise missing("type")
    event_type = KUMOMTA_TYPES.get(name)
    if event_type is None:
        raise ParseError(f"unknown record type {name[:64]!r}", reason=Reason.UNKNOWN_TYPE, where="type")
    return event_type


def _not_ours(record: dict[str, Any], domain: str) -> Ignored | None:
    """The node's talk with itself: log hooks, HTTP requests that wait to become messages, its own daemons, the sink."""
    if record.get("reception_protocol") == "LogRecord":
        return _LOG_HOOK
    if domain.endswith(_INTERNAL_SUFFIXES):
        return _LOG_HOOK if domain.endswith(".log_hook") else _INTERNAL_QUEUE
    return _NULL_QUEUE if domain == "null" else None


@lru_cache(maxsize=16_384)
def _queue(name: str) -> tuple[str, str, str]:
    """Campaign, tenant and domain in `campaign:tenant@domain!routing_domain`; "" for each part that is absent."""
    scope, _, domain = name.partition("!")[0].rpartition("@")
    campaign, colon, tenant = scope.partition(":")
    return (campaign, tenant, domain) if colon else ("", scope, domain)


# --- fields that became facts -------------------------------------------------------------------------------


def _queue_id(record: dict[str, Any], event_type: EventType) -> str:
    spool_id = text(record, "id")
    if not spool_id and event_type is not EventType.REJECTION:
        raise missing("id")
    return spool_id or ""


def _recipients(record: dict[str, Any], event_type: EventType) -> list[str]:
    """At least one; a rejection may come before any was named."""
    value = record.get("recipient")
    if type(value) is str:
        found = [value]
    elif value is None:
        found = []
    elif type(value) is list and all(type(one) is str for one in value):
        found = value
    else:
        raise wrong("recipient", "a string or an array of strings", value)
    if len(found) > MAX_RECIPIENTS:
        raise LimitExceeded(f"{len(found)} recipients, at most {MAX_RECIPIENTS} are read", where="recipient")
    if event_type is EventType.REJECTION:
        return found or [""]
    if not found or not all(found):
        raise missing("recipient")
    return found


def _instants(record: dict[str, Any]) -> tuple[int, int | None]:
    """When it happened and when the message entered the spool."""
    time = _instant(record, "event_time", "timestamp")
    if time is None:
        raise missing("event_time or timestamp")
    return time, _instant(record, "created_time", "created")


def _instant(record: dict[str, Any], precise: str, coarse: str) -> int | None:
    """The precise stamp if there is one, else the one in whole seconds."""
    stamp = text(record, precise)
    if stamp is None:
        seconds = number(record, coarse, _LATEST // SECOND)
        return None if seconds is None else seconds * SECOND
    try:
        instant = parse_instant(stamp)
    except ValueError:
        raise ParseError("no RFC 3339 time stamp with a zone", reason=Reason.MALFORMED, where=precise) from None
    if not 0 <= instant < _LATEST:
        raise ParseError("a time outside the years 1970 to 9999", reason=Reason.MALFORMED, where=precise)
    return instant


def _ordinal(record: dict[str, Any], event_type: EventType, reply: SmtpReply | None, peer_ip: str | None) -> int:
    """Tells rejections of one second apart: they have no id, and old records no fraction either.

    A fingerprint of what else the record says, not a count, so that it is the same over every road and after a restart.
    """
    if event_type is not EventType.REJECTION or record.get("event_time") is not None:
        return 0
    told = (text(record, "session_id"), peer_ip, text(record, "sender"), reply and reply.command, reply and reply.text)
    return crc32(repr(told).encode("utf8", "replace")) >> 1


def _reply(record: dict[str, Any]) -> SmtpReply | None:
    response = record.get("response")
    if response is None:
        return None
    if type(response) is not dict:
        raise wrong("response", "an object", response)
    content = text(response, "content", "response.") or ""
    enhanced = _enhanced(response.get("enhanced_code"))
    if enhanced is None and content[:1] in {"2", "4", "5"} and (enhanced := EnhancedStatus.parse(content)):
        content = content.lstrip("0123456789.").lstrip(" -")
    command = (text(response, "command", "response.") or "").strip()  # the whole line, with its CRLF
    return SmtpReply(number(response, "code", 1000, "response."), enhanced, content, command or None)


def _enhanced(value: Any) -> EnhancedStatus | None:
    if value is None:
        return None
    if type(value) is not dict:
        raise wrong("response.enhanced_code", "an object", value)
    parts = (value.get("class"), value.get("subject"), value.get("detail"))
    if any(type(part) is not int for part in parts):
        raise wrong("response.enhanced_code", "class, subject and detail as integers", None)
    return _status(*parts)


@lru_cache(maxsize=4096)
def _status(klass: int, subject: int, detail: int) -> EnhancedStatus | None:
    """None for a code that RFC 3463 does not know: a peer's nonsense is no reason to disbelieve the record."""
    try:
        return EnhancedStatus(klass, subject, detail)
    except ValueError:
        return None


def _origin(record: dict[str, Any], event_type: EventType, reply: SmtpReply | None, *, has_peer: bool) -> Origin:
    """Local: by its type, by KumoMTA's mark, or because no delivery was tried with anybody."""
    if event_type in _LOCAL_TYPES:
        return Origin.LOCAL
    if event_type not in {EventType.DEFERRAL, EventType.BOUNCE}:
        return Origin.REMOTE
    if reply is not None and reply.text.startswith(_LOCAL_MARK):
        return Origin.LOCAL
    untried = not has_peer and "delivery_protocol" in record and record["delivery_protocol"] is None
    return Origin.LOCAL if untried else Origin.REMOTE


def _peer(record: dict[str, Any]) -> tuple[str | None, str | None, bool]:
    """Host name and IP of the other side, and whether there was one."""
    peer = record.get("peer_address")
    if peer is None:
        return None, None, False
    if type(peer) is not dict:
        raise wrong("peer_address", "an object", peer)
    name, address = text(peer, "name", "peer_address."), text(peer, "addr", "peer_address.")
    return (name.rstrip(".") or None) if name else None, _ip(address) if address else None, True


def _source_ip(record: dict[str, Any]) -> str | None:
    source = mapping(record, "source_address")
    address = text(source, "address", "source_address.") if source else None
    return _ip(address) if address else None


@lru_cache(maxsize=65_536)
def _ip(address: str) -> str | None:
    """The IP in `ip`, `ip:port`, `[v6]` or `[v6]:port`; None for a unix socket's path or anything else."""
    if address.startswith("["):
        host = address[1:].partition("]")[0]
    elif address.count(":") == 1:
        host = address.partition(":")[0]
    else:
        host = address
    try:
        return str(ip_address(host))
    except ValueError:
        return None


def _message_id(record: dict[str, Any], meta: dict[str, Any]) -> str | None:
    """From the logged headers, whatever their spelling, else from the meta data; without angle brackets."""
    for name, value in mapping(record, "headers").items():
        if name.lower() == "message-id" and (found := _bare_id(first_text(value, "headers"))):
            return found
    for key in _MESSAGE_ID_KEYS if meta else ():
        if found := _bare_id(_meta_text(meta, key)):
            return found
    return None


def _dkim_domain(record: dict[str, Any], meta: dict[str, Any]) -> str | None:
    """Who signed: what the meta data says, else the first logged signature. No default log holds either."""
    if named := _meta_text(meta, "dkim_domain"):
        return named.lower()
    for name, value in mapping(record, "headers").items():
        if name.lower() == "dkim-signature" and (found := _DKIM_DOMAIN.search(first_text(value, "headers") or "")):
            return found[1].lower()
    return None


def _bare_id(written: str | None) -> str | None:
    return (_without_brackets(written) or None) if written else None


def _without_brackets(written: str) -> str:
    return written.strip().removeprefix("<").removesuffix(">").strip()


# --- types that say more ------------------------------------------------------------------------------------


def _complaint(record: dict[str, Any], event: Event, _mailboxes: list[str]) -> Outcome:
    """One event for each original recipient that the report names, or one without if it names none."""
    report = record.get("feedback_report")
    if report is None:
        raise missing("feedback_report")
    if type(report) is not dict:
        raise wrong("feedback_report", "an object", report)
    complaint = replace(
        event,
        feedback_type=text(report, "feedback_type", "feedback_report.") or None,
        original_message_id=_original_message_id(report),
        original_unit=_original_unit(record),
    )
    return tuple(
        replace(complaint, original_recipient=recipient, ordinal=ordinal)
        for ordinal, recipient in enumerate(_original_recipients(report))
    ) or (complaint,)


def _original_recipients(report: dict[str, Any]) -> list[str]:
    """What the report says, else what KumoMTA's own trace header in the returned message says."""
    named = texts(report.get("original_rcpto_to"), "feedback_report.original_rcpto_to")
    if not named:
        trace = report.get("supplemental_trace")
        named = texts(trace.get("recipient"), "feedback_report.supplemental_trace") if type(trace) is dict else []
    if len(named) > MAX_RECIPIENTS:
        raise LimitExceeded(f"{len(named)} recipients in a report", where="feedback_report")
    return [bare for address in named if (bare := _without_brackets(address))]


def _original_message_id(report: dict[str, Any]) -> str | None:
    """The Message-ID in the header of the returned message."""
    message = report.get("original_message")
    if type(message) is list:
        try:
            message = bytes(message[:_HEADER_BLOCK]).decode("utf8", "replace")
        except (TypeError, ValueError):
            raise wrong("feedback_report.original_message", "a string or an array of bytes", message) from None
    if message is None:
        return None
    if type(message) is not str:
        raise wrong("feedback_report.original_message", "a string or an array of bytes", message)
    header = re.split(r"\r?\n\r?\n", message[:_HEADER_BLOCK], maxsplit=1)[0]
    found = _MESSAGE_ID_HEADER.search(header)
    return _bare_id(found[1]) if found else None


def _out_of_band(record: dict[str, Any], event: Event, recipients: list[str]) -> Outcome:
    """`recipient` is whom the bounce is about, `sender` the original return path; `id` and `meta` are the report's."""
    original_id = _bare_id(_meta_text(mapping(record, "meta"), "original_message_id"))
    bounce = replace(event, original_message_id=original_id, original_unit=_original_unit(record))
    return tuple(replace(bounce, recipient=one, original_recipient=one) for one in recipients)


def _original_unit(record: dict[str, Any]) -> int | None:
    """The unit that a signed return path named; only our own MTA writes it, when it has checked the signature."""
    meta = mapping(record, "meta")
    found = _UNIT.fullmatch(_meta_text(meta, "mtascope_unit") or "") if "mtascope_seq" in meta else None
    return int(found[0], 16) if found else None


def _transfer(_record: dict[str, Any], event: Event, recipients: list[str]) -> Outcome:
    """The message goes on under another id, on the node that took it."""
    found = _SUCCESSOR.search(event.reply.text) if event.reply else None
    moved = replace(event, successor_id=found[1] if found else None)
    return tuple(replace(moved, recipient=one) for one in recipients)


_EXTENSIONS = {
    EventType.COMPLAINT: _complaint,
    EventType.OOB_BOUNCE: _out_of_band,
    EventType.TRANSFER_OUT: _transfer,
}


def _meta_text(meta: dict[str, Any], key: str) -> str | None:
    """Meta values are whatever the operator put there; only text names anything."""
    value = meta.get(key)
    return value if type(value) is str and value else None
