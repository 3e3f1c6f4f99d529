"""One line of Haraka's log in any of its forms: level, transaction, origin, message and fields."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import orjson

from collector.formats.context import Context
from collector.formats.syslog import ISO_STAMP, SyslogReader
from collector.quarantine import Reason
from mta.events.errors import ParseError

__all__ = ["Envelope", "EnvelopeReader"]

_LEVELS = "DATA|PROTOCOL|DEBUG|INFO|NOTICE|WARN|ERROR|CRIT|ALERT|EMERG"
_DEFAULT = re.compile(rf"\[(?:{_LEVELS})\] \[([0-9A-Za-z.-]{{1,100}})\] (?:\[core\] (?=\[))?\[([^\]]{{1,100}})\] +")
_LOGFMT = re.compile(rf"level=(?:{_LEVELS}) uuid=(\S{{1,100}}) (?:origin|source)=(\S{{1,100}}) message=")
_STAMPED = re.compile(rf"({ISO_STAMP}) ")
_PAIR = re.compile(r'(?:^| )(delivered file|[A-Za-z_][\w-]{0,40})=("(?:[^"\\]|\\.)*"?|\S*)')
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"?')
_ESCAPED = re.compile(r"\\(.)")


@dataclass(slots=True)
class Envelope:
    """What a line says. `transaction` is Haraka's `uuid`; "" for a line that belongs to none."""

    time: int
    node: str
    transaction: str
    origin: str
    message: str
    record: dict[str, Any] | None = field(default=None)

    def fields(self) -> dict[str, str]:
        """The `key=value` pairs, or the keys of the JSON record, as text."""
        if self.record is not None:
            return {key: value if isinstance(value, str) else str(value) for key, value in self.record.items()}
        pairs = reversed(_PAIR.findall(self.message))
        return {key: _unquoted(value) for key, value in pairs}


class EnvelopeReader:
    """Reads the lines of one source."""

    __slots__ = ("_node", "_syslog")

    def __init__(self, context: Context) -> None:
        self._node = context.node
        self._syslog = SyslogReader(context)

    def read(self, text: str) -> Envelope | None:
        """The envelope, or None for a line of another program or without this shape. Raises ParseError."""
        stamped = _STAMPED.match(text)
        if stamped and (found := self._inside(text[stamped.end() :])):
            found.time, found.node = self._syslog.stamp(stamped[1]), self._node
            return found
        if (found := self._inside(text)) is not None:
            raise ParseError(
                "no time stamp", reason=Reason.MISSING_FIELD, where="time", remedy="set timestamps=true in log.ini"
            )
        entry = self._syslog.read(text)
        if entry is None:
            return None
        found = self._inside(entry.body)
        if found is not None:
            found.time, found.node = entry.time, entry.host
        return found

    @staticmethod
    def _inside(body: str) -> Envelope | None:
        """The line without its time; that of the answer is not known yet."""
        if found := _DEFAULT.match(body):
            return Envelope(0, "", _transaction(found[1]), found[2], body[found.end() :].rstrip())
        if found := _LOGFMT.match(body):
            quoted = _QUOTED.match(body, found.end())
            message = _unquoted(quoted[0]) if quoted else body[found.end() :].partition(" ")[0]
            rest = body[quoted.end() if quoted else found.end() + len(message) :]
            return Envelope(0, "", _transaction(found[1]), found[2], f"{message}{rest}".strip())
        return _from_json(body) if body.startswith('{"level"') else None


def _from_json(body: str) -> Envelope | None:
    try:
        record = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ParseError(f"not JSON: {error}", reason=Reason.MALFORMED) from None
    uuid, message = record.get("uuid"), record.get("message")
    if not (isinstance(uuid, str) and isinstance(message, str)):
        return None
    origin = record.get("origin") or record.get("source")
    return Envelope(0, "", _transaction(uuid), origin if isinstance(origin, str) else "", message, record)


def _transaction(uuid: str) -> str:
    return "" if uuid == "-" else uuid


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value
    bare = value[1:].removesuffix('"')
    return _ESCAPED.sub(r"\1", bare) if "\\" in bare else bare
