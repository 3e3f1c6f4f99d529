"""Mails that come back, turned into log records: a complaint into `Feedback`, a late bounce into `OOB`.

The records have the shape that KumoMTA gives them, so that every reader of its logs understands ours. What the mail
does not say (node, spool id, creation time) is left for the log writer to fill in.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from mta.events.errors import LimitExceeded, ParseError
from mta.events.instants import SECOND, format_instant
from mta.events.mail.bounce import BouncedRecipient, BounceKind, BounceReport, read_bounce
from mta.events.mail.bounce_phrases import BouncePhrases
from mta.events.mail.complaint import read_complaint
from mta.events.mail.delivery_report import DeliveryReport, ReportedRecipient, read_delivery_report
from mta.events.mail.feedback_report import FeedbackReport, read_feedback_report
from mta.events.mail.message import Fields, Part, read_head, read_message
from mta.events.mail.notice import read_notice
from mta.events.reply import EnhancedStatus, SmtpReply
from mta.feedback.mail import FeedbackMail

__all__ = ["Reading", "feedback", "read"]

_DIAGNOSTIC_LIMIT = 2_000
_COUNTED = frozenset({"no-report", "no-failure", "forged", "expired"})
_ORIGINAL_LIMIT = 64 * 1024
_TRACE_MARKER = ("_@_", "\\_/")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a mail to our feedback domains turned out to be: records, or the reason why there are none."""

    records: tuple[dict[str, Any], ...] = ()
    reason: str | None = None
    """`no-report` for a mail that is no report, `no-failure` for a report of no failure, `forged` or `expired` for one
    whose address is not believed, else a ParseError's reason.
    """

    @property
    def result(self) -> str:
        """What the mail counts as: bounce, complaint, no-report, no-failure, forged, expired or unreadable."""
        if self.records:
            return "complaint" if self.records[0]["type"] == "Feedback" else "bounce"
        return self.reason if self.reason in _COUNTED else "unreadable"


def feedback(mail: FeedbackMail, phrases: BouncePhrases | None = None) -> Sequence[dict[str, Any]]:
    """The records of this mail; none where it is no report that we can read. Never raises.

    Reports of the standard forms are read as they are; with `phrases`, all others too.
    """
    return read(mail, phrases).records


def read(mail: FeedbackMail, phrases: BouncePhrases | None = None, *, addressed: bool = False) -> Reading:
    """The same with the reason why there is none.

    `addressed` says that the mail's own address tells whom it is about: then a bounce need not name anybody.
    """
    reading = _read_standard(mail, addressed=addressed)
    if phrases is None or reading.reason not in {"no-report", "missing-field"}:
        return reading
    return _read_any(mail, phrases, addressed=addressed)


def _read_any(mail: FeedbackMail, phrases: BouncePhrases, *, addressed: bool) -> Reading:
    """By its words. The envelope sender, which a delivered mail has in its header, tells much about it."""
    data = b"Return-Path: <" + mail.sender.encode("utf-8", "replace") + b">\n" + mail.body
    try:
        complaint = read_complaint(read_notice(read_message(data), phrases.markers), phrases)
        if complaint is not None:
            return Reading((_complaint(mail, complaint),))
        report = read_bounce(data, phrases)
    except ParseError as error:
        return Reading(reason=error.reason)
    failed = [each for each in report.recipients if each.kind is BounceKind.BOUNCE and (each.address or addressed)]
    reason = None if failed else "no-report" if report.kind is BounceKind.NONE else "no-failure"
    return Reading(tuple(_spoken_bounce(mail, report, each) for each in failed), reason)


def _read_standard(mail: FeedbackMail, *, addressed: bool) -> Reading:
    try:
        message = read_message(mail.body)
        if _has(message, "message/feedback-report"):
            return Reading((_complaint(mail, read_feedback_report(message)),))
        report = read_delivery_report(message)
    except ParseError as error:
        return Reading(reason=error.reason)
    failed = [
        each
        for each in report.recipients
        if each.action == "failed" and (each.original_recipient or each.final_recipient or addressed)
    ]
    return Reading(tuple(_late_bounce(mail, report, each) for each in failed), None if failed else "no-failure")


def _has(message: Part, content_type: str) -> bool:
    return any(part.content_type == content_type for part in message.walk())


def _complaint(mail: FeedbackMail, report: FeedbackReport) -> dict[str, Any]:
    return {
        **_record("Feedback", mail, mail.received_at),
        "sender": mail.sender,
        "recipient": mail.recipients[0] if len(mail.recipients) == 1 else list(mail.recipients),
        "response": _response(SmtpReply(250, None, "")),
        "feedback_report": _report(report),
    }


def _late_bounce(mail: FeedbackMail, report: DeliveryReport, recipient: ReportedRecipient) -> dict[str, Any]:
    """One record for one failed recipient; its time is that of the last attempt, where the report names it."""
    said = recipient.reply or SmtpReply(550)
    name = report.reporting_mta.name if report.reporting_mta else ""
    return {
        **_record("OOB", mail, recipient.last_attempt or mail.received_at),
        "sender": mail.recipients[0] if mail.recipients else "",
        "recipient": recipient.original_recipient or recipient.final_recipient or mail.recipients[0],
        "response": _response(SmtpReply(said.code, recipient.status or said.enhanced, said.text)),
        "peer_address": {"name": name, "addr": mail.peer_ip or ""},
        "feedback_report": None,
        "meta": _named_original(report.original_message),
    }


def _spoken_bounce(mail: FeedbackMail, report: BounceReport, recipient: BouncedRecipient) -> dict[str, Any]:
    said = SmtpReply(recipient.code or 550, recipient.status, recipient.diagnostic[:_DIAGNOSTIC_LIMIT])
    return {
        **_record("OOB", mail, mail.received_at),
        "sender": mail.recipients[0] if mail.recipients else "",
        "recipient": recipient.address or mail.recipients[0],
        "response": _response(said),
        "peer_address": {"name": report.reporting_mta or "", "addr": mail.peer_ip or ""},
        "feedback_report": None,
        "meta": {"original_message_id": report.original_message_id} if report.original_message_id else {},
    }


def _record(kind: str, mail: FeedbackMail, at: int) -> dict[str, Any]:
    return {
        "type": kind,
        "size": len(mail.body) if kind == "Feedback" else 0,
        "peer_address": {"name": "", "addr": mail.peer_ip} if mail.peer_ip else None,
        "timestamp": at // SECOND,
        "event_time": format_instant(at),
        "reception_protocol": "ESMTP",
    }


def _response(reply: SmtpReply) -> dict[str, Any]:
    return {
        "code": reply.code,
        "enhanced_code": _enhanced(reply.enhanced),
        "content": reply.text,
        "command": None,
    }


def _enhanced(status: EnhancedStatus | None) -> dict[str, int] | None:
    return None if status is None else {"class": status.klass, "subject": status.subject, "detail": status.detail}


def _report(report: FeedbackReport) -> dict[str, Any]:
    """KumoMTA's `feedback_report` object; `original_rcpto_to` is its spelling."""
    mta = report.reporting_mta
    return {
        "feedback_type": report.feedback_type,
        "user_agent": report.user_agent,
        "version": report.version,
        "arrival_date": None if report.arrival_date is None else format_instant(report.arrival_date),
        "incidents": report.incidents,
        "original_envelope_id": report.original_envelope_id,
        "original_mail_from": report.original_mail_from,
        "reporting_mta": None if mta is None else {"mta_type": mta.type, "name": mta.name},
        "source_ip": report.source_ip,
        "authentication_results": list(report.authentication_results),
        "original_rcpto_to": list(report.original_rcpt_to),
        "reported_domain": list(report.reported_domain),
        "reported_uri": list(report.reported_uri),
        "extensions": {name: list(values) for name, values in report.extensions.items()},
        "original_message": _text(report.original_message),
        "supplemental_trace": _supplemental_trace(report.original_message),
    }


def _text(original: bytes | None) -> str | None:
    """The reported mail with LF line ends, cut: a record must stay a line that its readers accept."""
    return None if original is None else original[:_ORIGINAL_LIMIT].decode("utf-8", "ignore").replace("\r\n", "\n")


def _named_original(original: bytes | None) -> dict[str, str]:
    """The Message-ID of the returned mail: an addition to KumoMTA's record, by which the bounce finds its mail."""
    found = (_head(original).first("Message-ID") or "").strip()
    return {"original_message_id": found} if found else {}


def _head(original: bytes | None) -> Fields:
    """The header of a returned mail; empty where there is none or it passes a limit: the report counts all the same."""
    try:
        return read_head(original or b"")
    except LimitExceeded:
        return Fields()


def _supplemental_trace(original: bytes | None) -> Any:
    """What the sending MTA hid in an X- header of the reported mail: base64 of JSON with a marker; None without."""
    for name, value in _head(original).pairs:
        if name.lower().startswith("x-") and (trace := _decoded(value)) is not None:
            return trace
    return None


def _decoded(value: str) -> dict[str, Any] | None:
    try:
        found = orjson.loads(binascii.a2b_base64("".join(value.split()), strict_mode=True))
    except (ValueError, binascii.Error):
        return None
    key, mark = _TRACE_MARKER
    return found if isinstance(found, dict) and found.get(key) == mark else None
