"""Feedback reports, by which a mailbox provider says that a recipient complained (ARF, RFC 5965).

The standard form is read: a multipart/report with a message/feedback-report part and the reported mail. Of the fields
that the RFC requires only Feedback-Type is insisted on, because a complaint without a version is still a complaint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mta.events.errors import ParseError
from mta.events.mail.message import Fields, MailLimits, Part, read_fields
from mta.events.mail.report import NamedMta, bare_address, instant, named_mta, original_message, report_part

__all__ = ["FeedbackReport", "feedback_report", "read_feedback_report"]

_KNOWN = frozenset(
    {
        "feedback-type",
        "user-agent",
        "version",
        "arrival-date",
        "received-date",
        "incidents",
        "original-envelope-id",
        "original-mail-from",
        "original-rcpt-to",
        "source-ip",
        "reporting-mta",
        "authentication-results",
        "reported-domain",
        "reported-uri",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackReport:
    """One report. Addresses have no angle brackets; `arrival_date` is an instant; "" or None where nothing was said."""

    feedback_type: str
    """abuse, fraud, virus, other, not-spam, opt-out, auth-failure ...; in lower case."""
    user_agent: str = ""
    version: str = ""
    arrival_date: int | None = None
    incidents: int | None = None
    """How many reports this one stands for; None means one."""
    original_envelope_id: str | None = None
    original_mail_from: str | None = None
    original_rcpt_to: tuple[str, ...] = ()
    source_ip: str | None = None
    reporting_mta: NamedMta | None = None
    authentication_results: tuple[str, ...] = ()
    reported_domain: tuple[str, ...] = ()
    reported_uri: tuple[str, ...] = ()
    extensions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Fields that the RFC does not name, by their name in lower case."""
    original_message: bytes | None = None
    """The reported mail, or its header alone."""


def read_feedback_report(message: Part, limits: MailLimits = MailLimits()) -> FeedbackReport:  # noqa: B008 (frozen)
    """The report in this mail. ParseError: `no-report` where there is none, `missing-field` where it names no type."""
    fields = read_fields(report_part(message, "message/feedback-report").content(), limits)
    if not (fields.first("Feedback-Type") or "").strip():
        raise ParseError("a feedback report without Feedback-Type", reason="missing-field")
    return feedback_report(fields, original_message(message))


def feedback_report(fields: Fields, original: bytes | None) -> FeedbackReport:
    """The report that these fields make, wherever they stood."""
    return FeedbackReport(
        feedback_type=(fields.first("Feedback-Type") or "").strip().lower(),
        user_agent=fields.first("User-Agent") or "",
        version=fields.first("Version") or "",
        arrival_date=instant(fields.first("Arrival-Date") or fields.first("Received-Date")),
        incidents=_count(fields.first("Incidents")),
        original_envelope_id=fields.first("Original-Envelope-Id"),
        original_mail_from=_address(fields.first("Original-Mail-From")),
        original_rcpt_to=tuple(bare_address(value) for value in fields.all("Original-Rcpt-To")),
        source_ip=fields.first("Source-IP"),
        reporting_mta=named_mta(fields.first("Reporting-MTA")),
        authentication_results=fields.all("Authentication-Results"),
        reported_domain=fields.all("Reported-Domain"),
        reported_uri=fields.all("Reported-URI"),
        extensions=_extensions(fields),
        original_message=original,
    )


def _address(value: str | None) -> str | None:
    return None if value is None else bare_address(value)


def _count(value: str | None) -> int | None:
    text = (value or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None


def _extensions(fields: Fields) -> dict[str, tuple[str, ...]]:
    names = dict.fromkeys(name.lower() for name, _ in fields.pairs if name.lower() not in _KNOWN)
    return {name: fields.all(name) for name in names}
