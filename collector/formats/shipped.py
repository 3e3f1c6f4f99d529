"""Taking a mail server's own line, or JSON record, out of what a shipper wrapped around it.

A fact must be the same event by whatever road it comes, so nothing that the shipper adds takes part in reading it: the
original line goes to the same parser that reads the file itself. Three ways of carrying it are understood, in any
shipper's spelling:

- as text: `event.original`, `message` (Beats, Vector, Logstash), `log` (Fluent Bit), `rawmsg` (rsyslog), `body`;
- decoded, with its fields merged into the event's root;
- decoded, in an object of its own under any key.

A text that lost its syslog header to the shipper (journald, the syslog inputs of Filebeat and Fluent Bit) gets one
back from the fields that the shipper made of it, as RFC 3339 time, host and tag.

What the shipper says about the place (host, path, offset) names the source, for parsers that remember earlier lines and
for telling a refused record that comes again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson

from collector.formats.fields import kind_of
from collector.framing.parcels import Parcel, Shape
from collector.quarantine import Reason
from mta.events.errors import LimitExceeded, ParseError

__all__ = ["Shipped", "unwrap"]

_TEXT_KEYS = ("message", "log", "rawmsg", "body")
_RECORD_KEYS = frozenset({"type", "id", "recipient"})
"""A mail server's JSON record has these (KumoMTA's schema); a shipper's own fields never have all of them."""
_SHIPPERS_OWN = frozenset(
    {"@timestamp", "@metadata", "@version", "agent", "ecs", "event", "fields", "host", "input", "log", "tags", "error",
     "cloud", "container", "kubernetes", "process", "service", "journald", "systemd", "syslog", "file", "attributes"}
)  # fmt: skip
_MAX_NAME = 1024
_SYSLOG = re.compile(rb"<\d{1,3}>(?P<version>1 )?(?P<rest>.*)", re.DOTALL)
_RFC5424 = re.compile(
    rb"(?P<time>-|\S{1,64}) (?P<host>\S{1,255}) (?P<app>\S{1,48}) (?P<pid>\S{1,128}) \S{1,32} "
    rb"(?:-|(?:\[(?:[^\]\"\\]|\"(?:[^\"\\]|\\.)*\"|\\.)*\])+) ?(?:\xef\xbb\xbf)?(?P<text>.*)",
    re.DOTALL,
)
_HAS_STAMP = re.compile(r"(?:[A-Z][a-z]{2} [ \d]\d \d\d:|\d{4}-\d\d-\d\d[T ]\d\d:|<\d{1,3}>)")


@dataclass(frozen=True, slots=True)
class Shipped:
    """The line as its mail server wrote it, and where it stood; "" and None where nobody said."""

    line: bytes
    host: str = ""
    path: str = ""
    offset: int | None = None


def unwrap(raw: bytes, parcel: Parcel) -> Shipped:
    """The line inside one record of a parcel. Raises ParseError if there is none.

    `Parcel.offset` is taken as it is: whoever goes through the records adds the bytes that came before.
    """
    if parcel.shape is Shape.CUT:
        raise LimitExceeded(f"a record of {parcel.size} bytes, only its beginning was kept")
    if parcel.shape is Shape.EVENT:
        return _event(raw, parcel)
    if parcel.shape is Shape.SYSLOG:
        return _syslog(raw, parcel)
    return Shipped(raw, parcel.sender, parcel.path, parcel.offset)


# --- a shipper's JSON event ---------------------------------------------------------------------------------


def _event(raw: bytes, parcel: Parcel) -> Shipped:
    try:
        event = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ParseError(f"a shipper's event that is not JSON: {error}", reason=Reason.MALFORMED) from None
    if type(event) is not dict:
        raise ParseError(f"a shipper's event is an object, not {kind_of(event)}", reason=Reason.MALFORMED)
    host = _host(event) or parcel.sender
    path = _text(event, "log.file.path", "file", "path", "filename", "source", "file_name") or parcel.path
    line = _line(event, raw, host)
    return Shipped(line, host[:_MAX_NAME], path[:_MAX_NAME], _offset(event))


def _line(event: dict[str, Any], raw: bytes, host: str) -> bytes:
    if event.keys() >= _RECORD_KEYS or "MESSAGE" in event:  # the latter is journald's, a dialect of its own
        return raw
    if original := _text(event, "event.original"):
        return original.encode("utf8", "surrogatepass")
    if (nested := _nested(event)) is not None:
        return orjson.dumps(nested)
    for key in _TEXT_KEYS:
        value = event.get(key)
        if type(value) is str:
            return _with_header(event, value, host).encode("utf8", "surrogatepass")
        if type(value) is dict and value.keys() >= _RECORD_KEYS:
            return orjson.dumps(value)
    return raw  # perhaps a dialect knows it


def _nested(event: dict[str, Any]) -> dict[str, Any] | None:
    """The one object that looks like a mail server's record."""
    for key, value in event.items():
        if key not in _SHIPPERS_OWN and type(value) is dict and value.keys() >= _RECORD_KEYS:
            return value
    return None


def _with_header(event: dict[str, Any], text: str, host: str) -> str:
    """The text, with the syslog header that the shipper took away."""
    tag = _text(event, "syslogtag", "log.syslog.appname", "syslog.identifier", "SYSLOG_IDENTIFIER", "ident", "appname")
    if not tag or _HAS_STAMP.match(text):
        return text
    pid = _text(event, "log.syslog.procid", "process.pid", "_PID", "pid", "procid")
    time = _text(event, "timereported", "@timestamp", "timestamp", "date")
    tag = tag.rstrip(":")
    if pid and not tag.endswith("]"):
        tag = f"{tag}[{pid}]"
    return f"{time} {host or '-'} {tag}: {text.lstrip()}"


def _host(event: dict[str, Any]) -> str:
    return _text(
        event, "host.name", "host.hostname", "log.syslog.hostname", "host", "hostname", "fromhost", "_HOSTNAME",
        "agent.name", "agent.hostname", "beat.hostname",
    )  # fmt: skip


def _offset(event: dict[str, Any]) -> int | None:
    for key in ("log.offset", "offset"):
        value = _at(event, key)
        if type(value) is int and 0 <= value < 2**63:
            return value
    return None


def _text(event: dict[str, Any], *keys: str) -> str:
    """The first of these that is a text or a number; "" if none is. A dot leads into an object, or stands as it is."""
    for key in keys:
        value = _at(event, key)
        if type(value) is str and value:
            return value
        if type(value) is int:
            return str(value)
    return ""


def _at(event: dict[str, Any], key: str) -> Any:
    if key in event:
        return event[key]
    value: Any = event
    for part in key.split("."):
        value = value.get(part) if type(value) is dict else None
    return value


# --- syslog -------------------------------------------------------------------------------------------------


def _syslog(raw: bytes, parcel: Parcel) -> Shipped:
    """RFC 5424 becomes `time host app[pid]: text`; RFC 3164 is that already, once its priority is gone.

    A text that is a JSON record is the record: its header says nothing more.
    """
    found = _SYSLOG.match(raw)
    if found is None:
        return Shipped(raw.rstrip(b"\r\n"), parcel.sender)
    rest = found["rest"].rstrip(b"\r\n\x00")
    if not found["version"]:
        return Shipped(_bare_record(rest), parcel.sender)
    head = _RFC5424.match(rest)
    if head is None:
        raise ParseError("no RFC 5424 header behind <PRI>1", reason=Reason.MALFORMED)
    host = parcel.sender if head["host"] == b"-" else head["host"].decode("ascii", "replace")
    text = head["text"]
    if text[:1] == b"{":
        return Shipped(text, host)
    tag = head["app"] if head["pid"] == b"-" else b"%s[%s]" % (head["app"], head["pid"])
    return Shipped(b"%s %s %s: %s" % (head["time"], host.encode(), tag, text), host)


def _bare_record(message: bytes) -> bytes:
    """`Nov 24 00:32:02 host kumo: {...}` without its header, if what it carries is a JSON object."""
    start = -1 if message[:1] == b"{" else message.find(b": {", 0, 512)
    return message[start + 2 :] if start >= 0 and message.endswith(b"}") else message
