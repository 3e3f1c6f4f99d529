"""Single values of reports, read as leniently as is safe: each function gives the value and notes what was odd.

Nothing here raises on bad input: what cannot be read is None, and the deviation says so.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from datetime import UTC, datetime
from functools import lru_cache

from dmarc.deviation import Deviation
from dmarc.reports import AuthKind, AuthResult, Disposition, Result
from mta.events.address import canonical_domain
from mta.events.instants import DAY, SECOND, from_datetime
from mta.events.mail.report import instant as mail_instant

__all__ = [
    "COUNT_LIMIT",
    "aligned",
    "auth_result",
    "count",
    "disposition",
    "domain",
    "instant",
    "printable",
    "source_ip",
    "token",
]

COUNT_LIMIT = 10**12
"""Messages in one record; no receiver has so many, and sums of a million records still fit 64 bits."""

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
_PADDED = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")
_INTEGER = re.compile(r"[+-]?\d{1,20}(?:\.0*)?")
_SECONDS = re.compile(r"[+-]?\d{1,20}(?:\.\d{0,9})?")
_DATE_LENGTH = 100
_LITERAL = re.compile(r"IPv6:|/(?:32|128)\Z", re.IGNORECASE)
"""What stands around an address as a mail server or a router writes it (RFC 5321 section 4.1.3)."""
_DOMAIN_LENGTH = 255
_CACHED_LENGTH = 500
"""Only short values are remembered, so that no report can fill the caches with megabytes."""
_MILLISECONDS_FROM = 10**11
_LATEST = 253_402_300_799
"""9999-12-31T23:59:59Z in seconds."""

_RESULTS = {result.value: result for result in Result}
_SYNONYMS = {
    "hardfail": Result.FAIL,
    "error": Result.TEMPERROR,
    "unknown": Result.PERMERROR,
    "invalid": Result.PERMERROR,
}
"""`error` and `unknown` are the names that drafts of SPF (before RFC 4408) gave to temperror and permerror."""
_DISPOSITIONS = {disposition.value: disposition for disposition in Disposition}


def printable(text: str) -> str:
    """Without what could drive a terminal or turn the direction of writing: for names that strangers chose."""
    return _UNPRINTABLE.sub("", text)


def token(text: str | None) -> str | None:
    """A keyword: trimmed, in lower case; None where empty."""
    return (text or "").strip().lower() or None


def count(text: str | None) -> int | None:
    """A number of messages from 0 to `COUNT_LIMIT`; None where it is none."""
    value = (text or "").strip()
    if not value.isascii() or not _INTEGER.fullmatch(value):
        return None
    number = int(value.partition(".")[0])
    return number if 0 <= number <= COUNT_LIMIT else None


def source_ip(text: str | None) -> tuple[str | None, Deviation | None]:
    """The canonical text of an address. Zero-padded IPv4 is read as decimal, mapped IPv4 shown as IPv4."""
    if not text or not text.strip():
        return None, Deviation.SOURCE_IP_MISSING
    return _canonical_ip(text) if len(text) <= 64 else (None, Deviation.SOURCE_IP_UNREADABLE)


@lru_cache(maxsize=16_384)
def _canonical_ip(text: str) -> tuple[str | None, Deviation | None]:
    value = text.strip().strip("[]")
    try:
        if ":" not in value:
            socket.inet_pton(socket.AF_INET, value)
            return value, None if value == text else Deviation.SOURCE_IP_FORM
        address = ipaddress.IPv6Address(value.partition("%")[0])
    except (OSError, ValueError, UnicodeEncodeError):
        return _odd_ip(value)
    canonical = str(address.ipv4_mapped or address)
    return canonical, None if canonical == text else Deviation.SOURCE_IP_FORM


def _odd_ip(value: str) -> tuple[str | None, Deviation]:
    if _PADDED.fullmatch(value) and value.isascii():
        octets = [int(part) for part in value.split(".")]
        if max(octets) <= 255:
            return ".".join(map(str, octets)), Deviation.SOURCE_IP_FORM
    bare = _LITERAL.sub("", value)
    address = _canonical_ip(bare)[0] if bare != value else None
    if address is not None:
        return address, Deviation.SOURCE_IP_FORM
    return None, Deviation.SOURCE_IP_UNREADABLE


def domain(text: str | None) -> str | None:
    """A domain in lower-case A-labels, of `user@example.com` what follows the `@`; None where empty."""
    if not text:
        return None
    return _domain(text) if len(text) <= _CACHED_LENGTH else _domain.__wrapped__(text)


@lru_cache(maxsize=4_096)
def _domain(text: str) -> str | None:
    value = text.strip().strip("<>").rpartition("@")[2]
    if len(value) > _DOMAIN_LENGTH:
        return value[:_DOMAIN_LENGTH].lower()
    return canonical_domain(value) or None


def instant(text: str | None) -> tuple[int | None, Deviation | None]:
    """Seconds since 1970; milliseconds, ISO 8601 and mail dates are understood (without a zone they are UTC)."""
    value = (text or "").strip()[:_DATE_LENGTH]
    if value.isascii() and _SECONDS.fullmatch(value):
        seconds = int(value.partition(".")[0])
        if abs(seconds) > _MILLISECONDS_FROM:
            return _bounded(seconds * 1000), Deviation.TIME_FORMAT
        return _bounded(seconds * SECOND), None
    try:
        moment = datetime.fromisoformat(value.removesuffix("UTC").removesuffix("GMT").strip())
        return from_datetime(moment if moment.tzinfo else moment.replace(tzinfo=UTC)), Deviation.TIME_FORMAT
    except (ValueError, OverflowError):
        written = mail_instant(value)
        return written, Deviation.PERIOD_MISSING if written is None else Deviation.TIME_FORMAT


def _bounded(moment: int) -> int | None:
    return moment if 0 <= moment <= _LATEST * SECOND - DAY else None


def disposition(text: str | None) -> tuple[Disposition | None, Deviation | None]:
    """What was done with the message."""
    value = token(text)
    found = _DISPOSITIONS.get(value or "")
    if found is None:
        return None, Deviation.DISPOSITION_UNKNOWN
    return found, None if found.value == (text or "").strip() else Deviation.LETTER_CASE


def aligned(text: str | None) -> tuple[bool | None, Deviation | None]:
    """DMARC's evaluation of a mechanism: `pass` is, every other result is not; nothing said is None."""
    value = token(text)
    if value is None:
        return None, Deviation.RESULT_EMPTY
    if value in ("pass", "fail"):
        return value == "pass", None if value == (text or "").strip() else Deviation.LETTER_CASE
    return False, Deviation.RESULT_UNKNOWN


def auth_result(
    kind: AuthKind, name: str | None, selector: str | None, scope: str | None, text: str | None, human: str | None
) -> tuple[AuthResult, tuple[Deviation, ...]]:
    """One result and what is odd about it. The records of a report repeat a few results over and over."""
    length = len(name or "") + len(selector or "") + len(scope or "") + len(text or "") + len(human or "")
    make = _auth_result if length <= _CACHED_LENGTH else _auth_result.__wrapped__
    return make(kind, name, selector, scope, text, human)


@lru_cache(maxsize=4_096)
def _auth_result(
    kind: AuthKind, name: str | None, selector: str | None, scope: str | None, text: str | None, human: str | None
) -> tuple[AuthResult, tuple[Deviation, ...]]:
    odd: list[Deviation] = []
    value = token(text)
    result = _RESULTS.get(value or "")
    raw = None
    if value is None:
        odd.append(Deviation.RESULT_EMPTY)
    elif result is None:
        odd.append(Deviation.RESULT_UNKNOWN)
        raw, result = value, _SYNONYMS.get(value)
    elif value != (text or "").strip():
        odd.append(Deviation.LETTER_CASE)
    found = domain(name)
    if kind is AuthKind.DKIM:
        odd += [Deviation.DKIM_DOMAIN_MISSING] if found is None else []
        odd += [Deviation.DKIM_SELECTOR_MISSING] if not token(selector) else []
    elif not token(scope):
        odd.append(Deviation.SPF_SCOPE_MISSING)
    made = AuthResult(kind, found, token(selector), token(scope), result, raw, human or None)
    return made, tuple(odd)
