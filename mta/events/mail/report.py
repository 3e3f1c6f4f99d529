"""What the two kinds of report mail have in common: a multipart/report with one machine-readable part (RFC 6522)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

from mta.events.errors import ParseError
from mta.events.instants import from_datetime
from mta.events.mail.message import Part

__all__ = ["NamedMta", "bare_address", "instant", "named_mta", "original_message", "report_part"]

_ENCLOSED = frozenset({"message/rfc822", "message/global", "text/rfc822-headers", "message/global-headers"})


@dataclass(frozen=True, slots=True)
class NamedMta:
    """A mail server as reports name one: `dns; mx.example.com` (RFC 3464 section 2.1.2)."""

    type: str
    name: str


def report_part(message: Part, *content_types: str) -> Part:
    """The machine-readable part of a report; ParseError with reason `no-report` where the mail has none."""
    for part in message.walk():
        if part.content_type in content_types:
            return part
    raise ParseError(f"no {content_types[0]} part in this mail", reason="no-report")


def original_message(message: Part) -> bytes | None:
    """The reported mail, or its header alone, as it was enclosed; None where the report encloses neither."""
    return next((part.content() for part in message.walk() if part.content_type in _ENCLOSED), None)


def named_mta(value: str | None) -> NamedMta | None:
    """Read `type; name`; a value without a type is taken for a DNS name."""
    if not value or not value.strip():
        return None
    kind, semicolon, name = value.partition(";")
    return NamedMta(kind.strip().lower(), name.strip()) if semicolon else NamedMta("dns", kind.strip())


def bare_address(value: str) -> str:
    """`rfc822; <user@example.com>` without its type, blanks and angle brackets."""
    kind, semicolon, rest = value.partition(";")
    text = (rest if semicolon and "@" not in kind else value).strip()
    return text[1:-1] if text.startswith("<") and text.endswith(">") else text


def instant(value: str | None) -> int | None:
    """The instant of a date field (RFC 5322 section 3.3); None where it cannot be read or names no zone.

    `-0000` is UTC told by a host that does not know its own zone; the standard library reads it as no zone at all.
    """
    if not value:
        return None
    try:
        moment = parsedate_to_datetime(value)
        return from_datetime(moment.replace(tzinfo=moment.tzinfo or UTC) if "-0000" in value else moment)
    except (ValueError, OverflowError):
        return None
