"""The envelope of a syslog line, in each way it reaches a file or a collector.

- `Nov  4 13:35:23 host postfix/smtp[123]: body` (RFC 3164; rsyslog, syslogd, Postfix's own postlogd)
- `2026-11-04T13:35:23.123456+01:00 host postfix/smtp[123]: body` (rsyslog's file format; `journalctl -o short-iso`)
- `<22>1 2026-11-04T13:35:23.123Z host postfix/smtp 123 - - body` (RFC 5424), and the first two with a `<22>` in front
- journald's JSON (`journalctl -o json`, systemd-journal-upload)

Only the envelope is read here. What the body says is the dialect's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson

from collector.formats.context import Context
from collector.formats.stamps import Stamps
from collector.quarantine import Reason
from mta.events.errors import ParseError

__all__ = ["ISO_STAMP", "Entry", "SyslogReader"]

ISO_STAMP = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?: ?(?:Z|[+-]\d\d:?\d\d))?"
_BSD_STAMP = r"[A-Z][a-z]{2} {1,2}\d{1,2} \d\d:\d\d:\d\d"

_BSD = re.compile(
    rf"(?:<\d{{1,3}}>)?({_BSD_STAMP}|{ISO_STAMP}) (?:<[\w.]{{1,20}}> )?(\S{{1,255}}) "
    r"(?:info |\w+\.\w+ )?([^\s\[:]{1,200})(?:\[(\d{1,12})\])?: (?:\[ID \d+ [\w.]+\] )?"
)
_RFC5424 = re.compile(rf"<\d{{1,3}}>\d{{1,2}} ({ISO_STAMP}) (\S{{1,255}}) (\S{{1,200}}) (\S{{1,128}}) \S+ ")
_MAX_PROCESSES = 8192
_STRUCTURED_DATA = re.compile(r'(?:-|(?:\[(?:[^"\]]|"(?:[^"\\]|\\.)*")*\])+) ?(?:\ufeff)?')


@dataclass(slots=True)
class Entry:
    """One line of a log: when, on which host, by which program (`tag`) and process, and what it says."""

    time: int
    host: str
    tag: str
    pid: str
    body: str


class SyslogReader:
    """Reads the envelopes of one source; the host of lines that name none is the context's node.

    Lines of one second and host begin alike, and processes write many lines: the last beginning and a few thousand
    names of processes are kept, because reading them again and again would take longer than all the rest.
    """

    __slots__ = ("_head", "_host", "_node", "_processes", "_time", "stamp")

    def __init__(self, context: Context) -> None:
        self._node = context.node
        self._head = "\n"  # no line begins so
        self._time = 0
        self._host = ""
        self._processes: dict[str, tuple[str, str]] = {}
        self.stamp = Stamps(context)

    def read(self, text: str) -> Entry | None:
        """The entry, or None for text that is no syslog line. Raises ParseError for a stamp that is none."""
        if text.startswith(self._head):
            start = len(self._head)
            end = text.find(": ", start)
            process = self._processes.get(text[start:end])
            if process is not None:
                return Entry(self._time, self._host, process[0], process[1], text[end + 2 :])
        if found := _BSD.match(text):
            stamp, host, tag, pid = found.groups()
            entry = Entry(self.stamp(stamp), host, tag, pid or "", text[found.end() :])
            self._keep(entry, text[: found.start(3)], text[found.start(3) : found.end() - 2])
            return entry
        if text.startswith("{"):
            return self._journal(text)
        return self._rfc5424(text)

    def _keep(self, entry: Entry, head: str, process: str) -> None:
        """Remember how the line began; `process` is all between host and body, without the colon."""
        self._head, self._time, self._host = head, entry.time, entry.host
        if ": " not in process:
            if len(self._processes) >= _MAX_PROCESSES:
                self._processes.clear()
            self._processes[process] = (entry.tag, entry.pid)

    def _rfc5424(self, text: str) -> Entry | None:
        found = _RFC5424.match(text)
        if not found:
            return None
        stamp, host, tag, pid = found.groups()
        data = _STRUCTURED_DATA.match(text, found.end())
        body = text[data.end() if data else found.end() :]
        return Entry(self.stamp(stamp), self._node if host == "-" else host, tag, "" if pid == "-" else pid, body)

    def _journal(self, text: str) -> Entry | None:
        try:
            record = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise ParseError(f"not JSON: {error}", reason=Reason.MALFORMED) from None
        if "MESSAGE" not in record:
            return None
        time = record.get("__REALTIME_TIMESTAMP")
        if not isinstance(time, str) or not time.isdecimal() or len(time) > 18:
            raise ParseError("microseconds expected", reason=Reason.MALFORMED, where="__REALTIME_TIMESTAMP")
        return Entry(
            int(time),
            _string(record.get("_HOSTNAME")) or self._node,
            _string(record.get("SYSLOG_IDENTIFIER")),
            _string(record.get("SYSLOG_PID")) or _string(record.get("_PID")),
            _message(record["MESSAGE"]),
        )


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _message(value: Any) -> str:
    """A string, or its bytes where they are no UTF-8 text."""
    if isinstance(value, str):
        return value
    try:
        return bytes(value).decode("utf8", "replace")
    except (TypeError, ValueError):
        raise ParseError("a string or an array of bytes expected", reason=Reason.MALFORMED, where="MESSAGE") from None
