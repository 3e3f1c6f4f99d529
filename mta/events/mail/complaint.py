"""Complaints: feedback reports (RFC 5965) and what providers send instead of them.

Without a feedback part there are Microsoft's bare copies (its X-HmXmrOriginalRecipient names who complained), XARF
(`xarf`), notifications of Amazon SES, and plain words above a returned mail (SpamCop, DMARC failures of old Exim).
"""

from __future__ import annotations

import re
from dataclasses import replace

from mta.events.errors import LimitExceeded
from mta.events.mail.addresses import find_addresses
from mta.events.mail.bounce_phrases import BouncePhrases, fold, says
from mta.events.mail.feedback_report import FeedbackReport, feedback_report
from mta.events.mail.message import read_fields
from mta.events.mail.notice import Notice
from mta.events.mail.ses_notification import read_ses_notification
from mta.events.mail.xarf import read_xarf

__all__ = ["read_complaint"]

_IP = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\w)")


def read_complaint(notice: Notice, phrases: BouncePhrases) -> FeedbackReport | None:
    """The complaint that this mail makes; None where it makes none. Who complained stands in `original_rcpt_to`."""
    if notice.feedback is not None and (report := _standard(notice, notice.feedback)) is not None:
        return report
    if (report := read_xarf(notice)) is not None:
        return report
    if notice.json is not None:
        named = [each.address for each in read_ses_notification(notice.json) if each.action == "complained"]
        if named:
            return FeedbackReport(feedback_type="abuse", user_agent="Amazon SES", original_rcpt_to=tuple(named))
    return _plain(notice, phrases)


def _standard(notice: Notice, text: str) -> FeedbackReport | None:
    try:
        fields = read_fields(text.strip().replace("\n\n", "\n").encode())
    except LimitExceeded:
        return None
    if not (fields.first("Feedback-Type") or "").strip():
        return None
    removal = fields.first("Removal-Recipient")
    found = feedback_report(fields, notice.original)
    if not found.original_rcpt_to:
        return replace(found, original_rcpt_to=(removal,) if removal and "@" in removal else _redacted(notice))
    return found


def _redacted(notice: Notice) -> tuple[str, ...]:
    """Who got the reported mail, by its header: some loops mask that address, some leave it out of the report."""
    head = notice.original_head
    for name in ("X-HmXmrOriginalRecipient", "To", "X-Original-To", "Delivered-To"):
        if found := find_addresses((head.first(name) or "")[:2_000]):
            return tuple(each.address for each in found[:20])
    return ()


def _plain(notice: Notice, phrases: BouncePhrases) -> FeedbackReport | None:
    """A complaint without fields: a returned mail, and a subject or text that says what it is for."""
    subject = fold(notice.subject)
    if notice.original is None or notice.status is not None:
        return None
    marked = notice.original_head.first("X-HmXmrOriginalRecipient") is not None
    if not (marked and notice.original_head.pairs) and not (
        subject.startswith(phrases.complaint_subjects) and says(fold(notice.text[:4_000]), phrases.complaint_texts)
    ):
        return None
    ip = _IP.search(notice.subject) or _IP.search(notice.text[:4_000])
    kind = "auth-failure" if "dmarc" in subject or "authentication" in subject else "abuse"
    return FeedbackReport(
        feedback_type=kind,
        original_rcpt_to=_redacted(notice),
        source_ip=ip[0] if ip else None,
        original_message=notice.original,
    )
