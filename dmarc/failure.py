"""Failure reports about single messages (RFC 5965, 6591, 9991), and the plain-text dialect of Exim, cPanel and Baruwa.

Of the failed message only its Message-ID and the domain of its From are read: enough to find it, nothing to leak.
"""

from __future__ import annotations

from dmarc import values
from dmarc.author import address_domain
from dmarc.deviation import Deviation, Deviations
from dmarc.errors import NotAReport
from dmarc.reports import FailureReport
from mta.events.errors import ParseError
from mta.events.mail.feedback_report import FeedbackReport, read_feedback_report
from mta.events.mail.message import Fields, MailLimits, Part, read_fields, read_head
from mta.events.mail.report import instant

__all__ = ["is_failure_report", "read_failure_report"]

_FEEDBACK = "message/feedback-report"
_SENTENCE = b"failed the published DMARC policy"
_COPY = b"------ This is a copy of"
_PLAIN_LIMIT = 64 * 1024


def is_failure_report(message: Part) -> bool:
    """Whether a mail has the machine-readable part of a feedback report, or reads like one written for people."""
    return any(part.content_type == _FEEDBACK for part in message.walk()) or _plain_text(message) is not None


def read_failure_report(message: Part, deviations: Deviations, limits: MailLimits) -> FailureReport:
    """The report in this mail. NotAReport where it has none."""
    carrier = address_domain(message.fields.first("From"))
    try:
        return _structured(read_feedback_report(message, limits), carrier, deviations)
    except ParseError as error:
        if error.reason not in ("no-report", "missing-field"):
            raise
    text = _plain_text(message)
    if text is None:
        raise NotAReport("a mail without a failure report", reason="no-report")
    deviations.note(Deviation.PLAIN_TEXT)
    return _plain(text, carrier, limits)


def _structured(report: FeedbackReport, carrier: str | None, deviations: Deviations) -> FailureReport:
    more = {name: found[0] for name, found in report.extensions.items()}
    if report.feedback_type != "auth-failure":
        deviations.note(Deviation.FEEDBACK_TYPE)
    head = read_head((report.original_message or b"")[:_PLAIN_LIMIT])
    author = address_domain(head.first("From"))
    return FailureReport(
        feedback_type=report.feedback_type[:100],
        auth_failure=values.token(more.get("auth-failure")),
        reported_domain=values.domain(report.reported_domain[0]) if report.reported_domain else author,
        org_name=carrier,
        user_agent=report.user_agent[:200] or None,
        version=report.version[:20] or None,
        authentication_results=tuple(value[:4_096] for value in report.authentication_results[:10]),
        align_failed=_alignment(more.get("identity-alignment")),
        delivery_result=values.token(more.get("delivery-result")),
        original_envelope_id=report.original_envelope_id,
        original_mail_from=report.original_mail_from,
        original_rcpt_to=report.original_rcpt_to[:100],
        source_ip=_ip(report.source_ip, deviations),
        source_port=values.count(more.get("source-port")),
        arrived=report.arrival_date,
        incidents=1 if report.incidents is None else report.incidents,
        dkim_domain=values.domain(more.get("dkim-domain", "").partition(";")[0]),
        dkim_identity=more.get("dkim-identity"),
        dkim_selector=values.token(more.get("dkim-selector")),
        spf_dns=more.get("spf-dns"),
        original_message_id=_message_id(head),
        original_from_domain=author,
        reported_uri=tuple(uri[:1_024] for uri in report.reported_uri[:20]),
    )


def _ip(text: str | None, deviations: Deviations) -> str | None:
    if text is None:
        return None
    address, odd = values.source_ip(text)
    if odd is not None:
        deviations.note(odd)
    return address


def _alignment(value: str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = (values.token(name) for name in value.split(",")[:10])
    return tuple(name for name in names if name is not None and name != "none")


def _message_id(head: Fields) -> str | None:
    return (head.first("Message-ID") or "").strip("<> ")[:998] or None


def _plain_text(message: Part) -> bytes | None:
    for part in message.walk():
        if part.content_type == "text/plain" and not part.parts:
            text = part.content()[:_PLAIN_LIMIT]
            if _SENTENCE in text:
                return text
    return None


def _plain(text: bytes, carrier: str | None, limits: MailLimits) -> FailureReport:
    """`Sender Domain: ...` lines, then a copy of the failed message's header."""
    about, _, copy = text.partition(_COPY)
    fields = read_fields(b"\n".join(line.strip() for line in about.splitlines()), limits)
    head = read_head(copy.partition(b"\n")[2].lstrip(b"\r\n"), limits)
    checks = {name: values.token(fields.first(f"{name} Alignment")) for name in ("SPF", "DKIM")}
    _, _, action = (fields.first("DMARC Results") or "").partition(",")
    return FailureReport(
        feedback_type="auth-failure",
        auth_failure="dmarc",
        reported_domain=values.domain(fields.first("Sender Domain")),
        org_name=carrier,
        authentication_results=head.all("Authentication-Results")[:10],
        align_failed=tuple(name.lower() for name, answer in checks.items() if answer == "no"),
        delivery_result={"accept": "delivered"}.get(values.token(action) or "", values.token(action)),
        source_ip=values.source_ip(fields.first("Sender IP Address"))[0],
        arrived=instant(fields.first("Received date")),
        original_message_id=_message_id(head),
        original_from_domain=address_domain(head.first("From")),
    )
