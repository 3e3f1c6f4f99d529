"""The mail that carried a report: what it says about itself, and whether it is who it says.

Anyone can send a report about anyone (RFC 9990 section 8): a report whose carrier does not pass DMARC is read and kept,
but must steer nobody. The verdict comes from an `Authentication-Results` field (RFC 8601) of a host we trust; fields
that carry any other name were perhaps written by the forger.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from dmarc import values
from dmarc.author import address_domain
from mta.events.mail.message import Fields, Part
from mta.events.mail.report import instant

__all__ = ["Carrier", "MailAuth", "carrier_of", "judge_carrier"]

_RESULT = re.compile(r"(?:^|;)\s*dmarc\s*=\s*([a-z]+)", re.IGNORECASE)
_TEXT = 998


class MailAuth(StrEnum):
    """Whether the carrier passed DMARC."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    NONE = "none"
    """Checked; the sender's domain publishes no policy or nothing could be checked."""
    UNKNOWN = "unknown"
    """Nobody whom we trust has looked: a file, or a mail without a trusted result."""


@dataclass(frozen=True, slots=True)
class Carrier:
    """What identifies the carrying mail. Text is as sent, cut to the length of a mail line."""

    message_id: str | None = None
    from_domain: str | None = None
    subject: str | None = None
    date: int | None = None
    tls_domain: str | None = None
    """TLS-Report-Domain (RFC 8460 section 5.3)."""
    authentication_results: tuple[str, ...] = ()


def carrier_of(message: Part) -> Carrier:
    """Read the header of the carrying mail."""
    fields = message.fields
    return Carrier(
        message_id=_text(fields, "Message-ID"),
        from_domain=address_domain(fields.first("From")),
        subject=_text(fields, "Subject"),
        date=instant((fields.first("Date") or "")[:100]),
        tls_domain=values.domain(_text(fields, "TLS-Report-Domain")),
        authentication_results=tuple(value[:4_096] for value in fields.all("Authentication-Results")[:20]),
    )


def judge_carrier(carrier: Carrier | None, trusted: Collection[str]) -> MailAuth:
    """The DMARC result of the first field that a trusted host wrote; `trusted` holds authserv-ids in lower case."""
    for field in () if carrier is None else carrier.authentication_results:
        host = field.partition(";")[0].strip().partition(" ")[0].lower()
        if host in trusted:
            found = _RESULT.search(_without_comments(field))
            return _verdict(found[1].lower() if found else "none")
    return MailAuth.UNKNOWN


def _verdict(result: str) -> MailAuth:
    if result in ("pass", "fail", "none"):
        return MailAuth(result)
    return MailAuth.PASS if result == "bestguesspass" else MailAuth.NONE


def _without_comments(value: str) -> str:
    """Drop what stands in parentheses, so that `(dmarc=pass)` in a comment is not taken for a result."""
    kept, depth = [], 0
    for character in value:
        depth += character == "("
        if not depth:
            kept.append(character)
        depth -= character == ")" and depth > 0
    return "".join(kept)


def _text(fields: Fields, name: str) -> str | None:
    return (fields.first(name) or "")[:_TEXT] or None
