"""Mail taken apart, in linear time and within limits, whatever the bytes are (RFC 5322, RFC 2045, RFC 2046).

Reading is lenient about form, because the mails that matter here were written by a thousand programs, and strict about
size: a mail that passes a limit raises LimitExceeded before it has cost memory. Nothing is decoded until somebody asks.
An enclosed mail (message/rfc822) is a leaf: read its `content()` in turn to look inside; the caller bounds that.
"""

from __future__ import annotations

import binascii
import quopri
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mta.events.errors import LimitExceeded

__all__ = ["Fields", "MailLimits", "Part", "read_fields", "read_head", "read_message"]

_BOUNDARY_LIMIT = 200
"""Characters; RFC 2046 section 5.1.1 allows 70."""
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_PARAMETER = re.compile(r""";\s*([\w!#$%&'*+.^`|~-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;\s"]*)""")
_GUESS_LIMIT = 64 * 1024
"""Bytes of a body in which a boundary is looked for that was not declared."""
_BOUNDARY_LINE = re.compile(rb"\n--([!-~]{4,200}+)[ \t]*+\r?\n(?=content-)", re.IGNORECASE)
_TRAILING_BLANKS = re.compile(rb"(?<![ \t])[ \t]++(?=\r?\n)")
"""Added in transport (RFC 2045 section 6.7, rule 3); behind a soft line break they would undo it."""
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")


@dataclass(frozen=True, slots=True)
class MailLimits:
    """What a mail may cost. The defaults hold for anything that an MTA would have taken."""

    size: int = 32 * 1024 * 1024
    """Bytes of the whole mail."""
    fields: int = 1_000
    """Header fields of one part."""
    head: int = 256 * 1024
    """Bytes of one part's header."""
    parts: int = 200
    """Parts of the whole mail."""
    depth: int = 10
    """Multiparts within multiparts."""


@dataclass(frozen=True, slots=True)
class Fields:
    """Header fields in order, unfolded; names compare without case. Bytes that are no UTF-8 become U+FFFD."""

    pairs: tuple[tuple[str, str], ...] = ()

    def first(self, name: str) -> str | None:
        """The value of the first field of that name."""
        wanted = name.lower()
        return next((value for key, value in self.pairs if key.lower() == wanted), None)

    def all(self, name: str) -> tuple[str, ...]:
        """The values of all fields of that name."""
        wanted = name.lower()
        return tuple(value for key, value in self.pairs if key.lower() == wanted)


@dataclass(frozen=True, slots=True)
class Part:
    """One entity: a mail, or a part of one. A multipart has `parts`, anything else a `body`, as it was transmitted."""

    fields: Fields
    content_type: str
    """In lower case, without parameters; `text/plain` where none is given (RFC 2045 section 5.2)."""
    parameters: Mapping[str, str]
    """Of the content type; names in lower case."""
    body: bytes
    parts: tuple[Part, ...] = ()

    def content(self, limit: int | None = None) -> bytes:
        """The body with its transfer encoding undone; damaged encoding yields what could be read.

        With a limit, so many octets of the transmitted body are read, no more.
        """
        body = self.body[:limit]
        encoding = (self.fields.first("Content-Transfer-Encoding") or "").strip().lower()
        if encoding == "base64":
            return _base64(body)
        if encoding == "quoted-printable":
            return quopri.decodestring(_TRAILING_BLANKS.sub(b"", body))
        return body

    def walk(self) -> Iterator[Part]:
        """This part and all within it, in the order of the mail."""
        waiting = [self]
        while waiting:
            part = waiting.pop()
            yield part
            waiting.extend(reversed(part.parts))


def read_message(data: bytes, limits: MailLimits = MailLimits()) -> Part:
    """Take a mail apart. The only error is LimitExceeded; what is no mail at all comes back as one text part."""
    if len(data) > limits.size:
        raise LimitExceeded(f"a mail of {len(data)} bytes; the limit is {limits.size}")
    return _Reader(data, limits).part(0, len(data), 0)


def read_head(data: bytes, limits: MailLimits = MailLimits()) -> Fields:
    """The header fields of a mail, without a look at its body. The only error is LimitExceeded."""
    end, _ = _split(data, 0, len(data))
    return read_fields(data[: min(end, limits.head + 1)], limits)


def read_fields(data: bytes, limits: MailLimits = MailLimits()) -> Fields:
    """The header fields that `data` consists of, unfolded, without lines that are none. May raise LimitExceeded."""
    if len(data) > limits.head:
        raise LimitExceeded(f"a header of {len(data)} bytes; the limit is {limits.head}")
    unfolded: list[list[bytes]] = []
    for line in _LINE_END.split(data):
        if line[:1] in (b" ", b"\t"):
            if unfolded:
                unfolded[-1].append(line)
        elif b":" in line:
            unfolded.append([line])
            if len(unfolded) > limits.fields:
                raise LimitExceeded(f"more than {limits.fields} header fields")
    return Fields(tuple(_pair(b"".join(lines)) for lines in unfolded))


def _pair(line: bytes) -> tuple[str, str]:
    name, _, value = line.partition(b":")
    return name.strip().decode("utf-8", "replace"), value.strip().decode("utf-8", "replace")


class _Reader:
    """Reads spans of one mail, so that only heads and leaves are copied, and counts parts over the whole of it.

    It recurses into multiparts; `MailLimits.depth` bounds that.
    """

    def __init__(self, data: bytes, limits: MailLimits) -> None:
        self._data = data
        self._limits = limits
        self._parts = 0

    def part(self, start: int, end: int, depth: int) -> Part:
        self._parts += 1
        if self._parts > self._limits.parts:
            raise LimitExceeded(f"more than {self._limits.parts} parts")
        head_end, body = _split(self._data, start, end)
        head = self._data[start : min(head_end, start + self._limits.head + 1)]
        fields = read_fields(head, self._limits)
        content_type, parameters = _content_type(fields.first("Content-Type") or "")
        boundary = parameters.get("boundary", "")
        if not content_type.startswith("multipart/"):
            return Part(fields, content_type, parameters, self._data[body:end])
        spans = self._sections(body, end, boundary) if 0 < len(boundary) <= _BOUNDARY_LIMIT else []
        spans = spans or self._guessed_sections(body, end)
        if not spans:
            return Part(fields, content_type, parameters, self._data[body:end])
        if depth >= self._limits.depth:
            raise LimitExceeded(f"multiparts nested more than {self._limits.depth} deep")
        return Part(fields, content_type, parameters, b"", tuple(self.part(*span, depth + 1) for span in spans))

    def _guessed_sections(self, body: int, end: int) -> list[tuple[int, int]]:
        """The same for a boundary that is missing or differs from the one declared: the body is believed."""
        found = _BOUNDARY_LINE.search(self._data, max(body - 1, 0), min(end, body + _GUESS_LIMIT))
        return self._sections(body, end, found[1].decode("ascii")) if found else []

    def _sections(self, body: int, end: int, boundary: str) -> list[tuple[int, int]]:
        """What stands between the boundary lines; where the last one is missing, the section ends with the body.

        The search begins one octet early: the line end before the body belongs to a boundary that stands first in it.
        """
        mark = re.compile(rb"\r?\n--" + re.escape(boundary.encode()) + rb"(--)?[ \t]*(?=\r?\n|\Z)")
        spans: list[tuple[int, int]] = []
        start: int | None = None
        for found in mark.finditer(self._data, max(body - 1, 0), end):
            if start is not None:
                spans.append((min(start, found.start()), found.start()))
            start = None if found[1] else min(_after_line_end(self._data, found.end()), end)
            if found[1] or len(spans) > self._limits.parts:
                break
        if start is not None:
            spans.append((start, end))
        return spans


def _after_line_end(data: bytes, at: int) -> int:
    return at + 2 if data.startswith(b"\r\n", at) else at + 1 if data.startswith(b"\n", at) else at


def _split(data: bytes, start: int, end: int) -> tuple[int, int]:
    """Where the head ends and where the body begins. A line end at the start means no head, no blank line no body."""
    if (body := min(_after_line_end(data, start), end)) != start:
        return start, body
    found = _BLANK_LINE.search(data, start, end)
    return found.span() if found else (end, end)


def _content_type(value: str) -> tuple[str, dict[str, str]]:
    bare = value.partition(";")[0].strip().lower()
    parameters: dict[str, str] = {}
    for found in _PARAMETER.finditer(value):
        parameters.setdefault(found[1].lower(), _unquoted(found[2]))
    return (bare if bare.count("/") == 1 else "text/plain"), parameters


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value


def _base64(body: bytes) -> bytes:
    clean = _NOT_BASE64.sub(b"", body)
    clean = clean[: len(clean) - (len(clean) % 4 == 1)]
    return binascii.a2b_base64(clean + b"=" * (-len(clean) % 4))
