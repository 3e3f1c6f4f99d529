"""OpenTelemetry's log export request (OTLP 1.x), protobuf or JSON, turned into events as other shippers make them.

Only what says where a line came from and what it was is read; everything else is passed over, whatever it is. Each
log record becomes one JSON object: its body as `body` (a string, or an object), its own attributes and those of its
resource under their names, and its time as `@timestamp`.

Protobuf is read by hand, because the few field numbers are stable by contract and a generated module would bring a
library along: `ExportLogsServiceRequest.resource_logs(1)`, `ResourceLogs.resource(1) scope_logs(2)`,
`Resource.attributes(1)`, `ScopeLogs.log_records(2)`, `LogRecord.time(1) body(5) attributes(6) observed(11)`,
`KeyValue.key(1) value(2)`, `AnyValue.string(1) bool(2) int(3) double(4) array(5) kvlist(6) bytes(7)`.
"""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import orjson

from mta.events.errors import LimitExceeded, ParseError
from mta.events.instants import format_instant

__all__ = ["events_of_json", "events_of_protobuf"]

_MAX_DEPTH = 16
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LATEST_US = 253_402_300_800_000_000


def events_of_protobuf(body: bytes) -> list[bytes]:
    """One event for each log record. Raises ParseError."""
    events: list[bytes] = []
    for number, resource_logs in _fields(body):
        if number != 1:
            continue
        parts = list(_fields(_message(resource_logs)))
        shared: dict[str, Any] = {}
        for _, resource in (part for part in parts if part[0] == 1):
            shared |= _attributes(_message(resource), 1)
        for _, scope in (part for part in parts if part[0] == 2):
            records = (value for field, value in _fields(_message(scope)) if field == 2)
            events.extend(_event(shared, _record(_message(record))) for record in records)
    return events


def events_of_json(body: bytes) -> list[bytes]:
    """The same for OTLP/JSON. Raises ParseError."""
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ParseError(f"not JSON: {error}") from None
    try:
        return [
            _event(_json_attributes(logs.get("resource") or {}), _json_record(record))
            for logs in request.get("resourceLogs") or ()
            for scope in logs.get("scopeLogs") or ()
            for record in scope.get("logRecords") or ()
        ]
    except (AttributeError, TypeError, KeyError, ValueError) as error:
        raise ParseError(f"no OTLP log request: {error}") from None


def _event(shared: dict[str, Any], record: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(shared | record)
    except (TypeError, orjson.JSONEncodeError) as error:  # integers beyond 64 bits
        raise ParseError(f"a log record that is no JSON: {error}") from None


# --- JSON ---------------------------------------------------------------------------------------------------


def _json_record(record: dict[str, Any]) -> dict[str, Any]:
    stamp = int(record.get("timeUnixNano") or record.get("observedTimeUnixNano") or 0)
    return _json_attributes(record) | {"body": _json_value(record.get("body") or {}, 0)} | _stamped(stamp)


def _json_attributes(holder: dict[str, Any]) -> dict[str, Any]:
    return {one["key"]: _json_value(one.get("value") or {}, 0) for one in holder.get("attributes") or ()}


def _json_value(value: dict[str, Any], depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise LimitExceeded(f"values nested deeper than {_MAX_DEPTH}")
    for kind, found in value.items():
        if kind == "intValue":
            return int(found)
        if kind == "arrayValue":
            return [_json_value(one, depth + 1) for one in found.get("values") or ()]
        if kind == "kvlistValue":
            return {one["key"]: _json_value(one.get("value") or {}, depth + 1) for one in found.get("values") or ()}
        return found
    return None


# --- protobuf -----------------------------------------------------------------------------------------------


def _record(data: bytes) -> dict[str, Any]:
    record = _attributes(data, 6)
    stamp = observed = 0
    for number, value in _fields(data):
        if number == 1 and isinstance(value, int):
            stamp = value
        elif number == 11 and isinstance(value, int):
            observed = value
        elif number == 5:
            record["body"] = _value(_message(value), 0)
    return record | _stamped(stamp or observed)


def _attributes(data: bytes, field: int) -> dict[str, Any]:
    return dict(_key_value(_message(value), 0) for number, value in _fields(data) if number == field)


def _key_value(data: bytes, depth: int) -> tuple[str, Any]:
    key, value = "", None
    for number, content in _fields(data):
        if number == 1:
            key = _message(content).decode("utf8", "replace")
        elif number == 2:
            value = _value(_message(content), depth)
    return key, value


def _value(data: bytes, depth: int) -> Any:  # noqa: PLR0911 - one for each kind of value
    if depth > _MAX_DEPTH:
        raise LimitExceeded(f"values nested deeper than {_MAX_DEPTH}")
    for number, content in _fields(data):
        match number:
            case 1:
                return _message(content).decode("utf8", "replace")
            case 2:
                return bool(content)
            case 3 if isinstance(content, int):
                return content - (1 << 64) if content >> 63 else content
            case 4 if isinstance(content, int):
                return struct.unpack("<d", content.to_bytes(8, "little"))[0]
            case 5:
                return [_value(_message(one), depth + 1) for field, one in _fields(_message(content)) if field == 1]
            case 6:
                pairs = (one for field, one in _fields(_message(content)) if field == 1)
                return dict(_key_value(_message(one), depth + 1) for one in pairs)
            case 7:
                return b64encode(_message(content)).decode()
            case _:
                continue
    return None


def _message(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ParseError("a number where OTLP has a message")
    return value


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and content of each field. Raises ParseError on what is no protobuf."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        content: int | bytes
        if kind == _VARINT:
            content, at = _varint(data, at)
            yield number, content
            continue
        if kind == _BYTES:
            size, at = _varint(data, at)
        elif kind in {_FIXED64, _FIXED32}:
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ParseError(f"no protobuf: wire type {kind}")
        raw = data[at : at + size]
        if len(raw) < size:
            raise ParseError("a protobuf message that is cut off")
        at += size
        yield number, raw if kind == _BYTES else int.from_bytes(raw, "little")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ParseError("a protobuf message that is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, at
    raise ParseError("no protobuf: a number of more than 64 bits")


def _stamped(nanoseconds: int) -> dict[str, Any]:
    microseconds = nanoseconds // 1000
    return {"@timestamp": format_instant(microseconds)} if 0 < microseconds < _LATEST_US else {}
